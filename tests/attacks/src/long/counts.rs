//! Reads the summaries of attacks: lines `attack NAME what=count …`, and checks that were not run.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// All counts in `output`; repeated lines of one attack are added up.
pub fn of(output: &str) -> String {
    let mut attacks: Vec<(&str, BTreeMap<&str, u64>)> = Vec::new();
    for line in output.lines() {
        // The harness may have begun the line with the name of a test.
        let Some((_, told)) = line.split_once("attack ") else { continue };
        let mut words = told.split_whitespace();
        let (Some(name), counts) = (words.next(), words.filter_map(count)) else { continue };
        let mut counts = counts.peekable();
        if counts.peek().is_none() {
            continue;
        }
        let at = attacks.iter().position(|(known, _)| *known == name).unwrap_or_else(|| {
            attacks.push((name, BTreeMap::new()));
            attacks.len() - 1
        });
        for (what, number) in counts {
            *attacks[at].1.entry(what).or_default() += number;
        }
    }
    let mut text = String::new();
    for (name, counts) in attacks {
        let counts: Vec<_> =
            counts.iter().map(|(what, number)| format!("{} {what}", thousands(*number))).collect();
        let separator = if text.is_empty() { "" } else { "; " };
        let _ = write!(text, "{separator}{name}: {}", counts.join(", "));
    }
    text
}

fn count(word: &str) -> Option<(&str, u64)> {
    let (what, number) = word.split_once('=')?;
    Some((what, number.parse().ok()?))
}

/// With a comma between each three digits.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The checks that were not run according to the output, and why.
pub fn not_run(output: &str) -> Vec<String> {
    let mut told: Vec<String> = output
        .lines()
        .filter_map(|line| Some(line.split_once("NOT RUN: ")?.1.trim().to_owned()))
        .collect();
    told.dedup();
    told
}

/// Number of passed tests, over all harnesses in the output.
pub fn tests_run(output: &str) -> u64 {
    let passed = output.lines().filter_map(|line| line.strip_prefix("test result: ok. "));
    passed.filter_map(|rest| rest.split(' ').next()?.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "running 2 tests\ntest a ... attack crash rounds=900 lost=0\n\
        attack crash rounds=1100 lost=0\nattack power cuts=200\nan attack on nothing\nok\n\
        NOT RUN: power: no /dev/fuse\n\
        test result: ok. 2 passed; 0 failed; 0 ignored\n";

    #[test]
    fn counts_of_one_attack_add_up() {
        assert_eq!(of(OUTPUT), "crash: 0 lost, 2,000 rounds; power: 200 cuts");
        assert_eq!(not_run(OUTPUT), ["power: no /dev/fuse"]);
        assert_eq!((tests_run(OUTPUT), tests_run("")), (2, 0));
    }

    #[test]
    fn numbers_are_readable() {
        let texts = [0, 999, 1_000, 123_456_789].map(thousands);
        assert_eq!(texts, ["0", "999", "1,000", "123,456,789"]);
    }
}
