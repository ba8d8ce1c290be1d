//! What two sides are called: by what differs between them, so that a reader need not remember which
//! letter was which.

use std::collections::BTreeMap;

use super::comparable::{arguments, is_place};
use crate::report::model::Report;
use crate::report::units;

/// A name holds at most this many differences: further ones are in the table of each run.
const DIFFERENCES_MAX: usize = 2;

/// `A: jeton 0.1.0`, `B: jeton 0.2.0`; where nothing else differs, by when each began.
pub fn names(a: &Report, b: &Report) -> [String; 2] {
    let found = DIFFERENCES.iter().filter_map(|difference| difference(a, b));
    let found: Vec<[String; 2]> = found.take(DIFFERENCES_MAX).collect();
    let named = |letter: &str, side: usize| {
        let parts: Vec<&str> = found.iter().map(|pair| pair[side].as_str()).collect();
        format!("{letter}: {}", parts.join(", "))
    };
    match found.is_empty() {
        true => [format!("A: {}", began(a)), format!("B: {}", began(b))],
        false => [named("A", 0), named("B", 1)],
    }
}

type Difference = fn(&Report, &Report) -> Option<[String; 2]>;

/// What a reader would ask for first comes first.
const DIFFERENCES: [Difference; 7] = [
    |a, b| differ(a, b, server),
    |a, b| {
        let (of_a, of_b) = (words(a)?, words(b)?);
        let only = |of: &[String], not: &[String]| -> Vec<String> {
            of.iter().filter(|word| !not.contains(word)).cloned().collect()
        };
        let said = |own: &[String], others: &[String]| match own.is_empty() {
            true => format!("without {}", others.join(" ")),
            false => own.join(" "),
        };
        let (more_a, more_b) = (only(&of_a, &of_b), only(&of_b, &of_a));
        // The same words in another order are no difference for a reader.
        let differ = !more_a.is_empty() || !more_b.is_empty();
        differ.then(|| [said(&more_a, &more_b), said(&more_b, &more_a)])
    },
    settings,
    |a, b| differ(a, b, |report| report.workload.name.clone()),
    |a, b| {
        differ(a, b, |report| match report.totals.rate {
            Some(rate) => format!("{}/s", units::rate(rate)),
            None => "closed loop".to_owned(),
        })
    },
    |a, b| differ(a, b, |report| report.machine.cpu.clone()),
    |a, b| differ(a, b, |report| report.harness.commit.clone().unwrap_or_default()),
];

fn differ(a: &Report, b: &Report, of: impl Fn(&Report) -> String) -> Option<[String; 2]> {
    let pair = [of(a), of(b)];
    (pair[0] != pair[1] && !pair.iter().any(String::is_empty)).then_some(pair)
}

fn server(report: &Report) -> String {
    let target = &report.target;
    let version = target.version.as_deref().map(|version| format!(" {version}"));
    target.kind.clone() + &version.unwrap_or_default()
}

/// The server's arguments, each flag with its value.
fn words(report: &Report) -> Option<Vec<String>> {
    let mut words: Vec<String> = Vec::new();
    for word in arguments(&report.target)? {
        match words.last_mut() {
            Some(flag)
                if flag.starts_with("--")
                    && !flag.contains(['=', ' '])
                    && !word.starts_with('-') =>
            {
                *flag = format!("{flag} {word}");
            }
            _ => words.push(word),
        }
    }
    Some(words)
}

/// The first setting that both servers state, and state otherwise.
fn settings(a: &Report, b: &Report) -> Option<[String; 2]> {
    let config = |report: &Report| -> Option<BTreeMap<String, String>> {
        (a.target.kind == b.target.kind).then(|| report.target.config.clone())?
    };
    let (of_a, of_b) = (config(a)?, config(b)?);
    let mut both = of_a.iter().filter(|(name, _)| !is_place(name));
    let found = both.find(|(name, value)| of_b.get(*name).is_some_and(|other| other != *value));
    let (name, value) = found?;
    Some([format!("{name}={value}"), format!("{name}={}", of_b[name])])
}

/// To the second: enough to distinguish two runs, and readable.
fn began(report: &Report) -> String {
    let at = report.started_at.replace('T', " ");
    let time: String = at.chars().take("2026-11-22 21:00:00".len()).collect();
    format!("begun {time}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::Sample;

    #[test]
    fn runs_are_named_by_what_differs() {
        let a = Sample { slices: 2, requests: 20, ..Sample::default() }.report();
        let named = |change: fn(&mut Report)| {
            let mut b = a.clone();
            change(&mut b);
            names(&a, &b)
        };
        let pair = |a: &str, b: &str| [a.to_owned(), b.to_owned()];
        assert_eq!(
            named(|b| b.target.version = Some("0.2.0".to_owned())),
            pair("A: jeton 0.1.0", "B: jeton 0.2.0")
        );
        assert_eq!(
            named(|b| b.target.command.as_mut().unwrap().push("--workers=2".to_owned())),
            pair("A: without --workers=2", "B: --workers=2")
        );
        let mut one = a.clone();
        one.target.command.as_mut().unwrap().extend(["--workers".to_owned(), "1".to_owned()]);
        let mut two = a.clone();
        two.target.command.as_mut().unwrap().extend(["--workers".to_owned(), "2".to_owned()]);
        assert_eq!(names(&one, &two), pair("A: --workers 1", "B: --workers 2"));
        assert_eq!(named(|b| b.totals.rate = Some(4_000.0)), pair("A: 20.0/s", "B: 4,000/s"));
        assert_eq!(
            named(|b| b.started_at = "2026-11-23T09:30:00Z".to_owned()),
            pair("A: begun 2026-11-22 21:00:00", "B: begun 2026-11-23 09:30:00")
        );
    }
}
