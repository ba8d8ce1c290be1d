//! The volume of attacks, and their summaries: small in `cargo test`, large if a variable is set.
//!
//! An attack named `NAME` runs as many seeds (rounds, hits) as `JETON_NAME` says, or its own small
//! default. `JETON_SEED=N` runs seed N alone, which repeats a failure. Each attack ends with a line
//! of counts on standard output that begins with `attack `; the long runs collect these.

use std::fmt::Write as _;
use std::io::Write as _;
use std::ops::Range;

/// The volume of an attack: the value of the variable `JETON_` plus the name in capitals, or
/// `default`.
pub fn volume(name: &str, default: u64) -> u64 {
    number(&variable(name)).unwrap_or(default)
}

/// The seeds to run: 1 to [`volume`], or the one of `JETON_SEED`.
pub fn seeds(name: &str, default: u64) -> Range<u64> {
    match number("JETON_SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..volume(name, default) + 1,
    }
}

/// The message about a failure, with the command that repeats it.
pub fn replay(test: &str, seed: u64) -> String {
    format!("repeat with: {}", command(test, seed))
}

fn command(test: &str, seed: u64) -> String {
    format!("JETON_SEED={seed} cargo test --test integration {test} -- --nocapture")
}

/// Prints how to repeat a round that panics. Rounds depend on earlier ones, so the command runs all
/// rounds up to the failed one.
pub struct Round {
    pub test: &'static str,
    /// The argument of [`volume`].
    pub attack: &'static str,
    pub seed: u64,
    /// The first is 0.
    pub round: u64,
}

impl Round {
    fn told(&self) -> String {
        let (variable, rounds) = (variable(self.attack), self.round + 1);
        let command = command(self.test, self.seed);
        format!("in round {rounds}; repeat with: {variable}={rounds} {command}")
    }
}

impl Drop for Round {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = writeln!(std::io::stderr(), "{}", self.told());
        }
    }
}

/// Prints the summary of an attack.
#[expect(clippy::print_stdout, reason = "the long runs collect these lines")]
pub fn tell(attack: &str, counts: &[(&str, u64)]) {
    let mut line = format!("attack {attack}");
    for (what, count) in counts {
        let _ = write!(line, " {what}={count}");
    }
    println!("{line}");
}

fn variable(name: &str) -> String {
    format!("JETON_{}", name.to_uppercase())
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} must be a number, not {text:?}")))
}

#[test]
fn a_late_round_is_told_with_as_many_rounds_as_lead_to_it() {
    let round = Round { test: "p1_kills", attack: "kills", seed: 3, round: 699 };
    let command = "JETON_KILLS=700 JETON_SEED=3 cargo test --test integration p1_kills";
    let told = round.told();
    assert!(told.starts_with(&format!("in round 700; repeat with: {command} ")), "{told}");
}
