//! How much an attack does, and what it tells: little in `cargo test`, much where a variable asks.
//!
//! An attack named `NAME` runs as many seeds (rounds, hits) as `JETON_NAME` says, or its own small
//! default. `JETON_SEED=N` runs seed N alone, which repeats a failure. Each attack ends with a line
//! of counts on standard output that begins with `attack `; the long runs collect these.

use std::fmt::Write as _;
use std::io::Write as _;
use std::ops::Range;

/// How much of an attack to do: what the variable `JETON_` and the name in capitals says, or
/// `default`.
pub fn volume(name: &str, default: u64) -> u64 {
    let variable = format!("JETON_{}", name.to_uppercase());
    number(&variable).unwrap_or(default)
}

/// The seeds to run: from 1 on, so many as [`volume`] says; or the one that `JETON_SEED` names.
pub fn seeds(name: &str, default: u64) -> Range<u64> {
    match number("JETON_SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..volume(name, default) + 1,
    }
}

/// What to tell about a failure, so that it can be repeated.
pub fn replay(test: &str, seed: u64) -> String {
    format!("repeat with: JETON_SEED={seed} cargo test --test integration {test} -- --nocapture")
}

/// Tells how to repeat a round, if it ends in a panic.
pub struct Round {
    pub test: &'static str,
    pub seed: u64,
    pub round: u64,
}

impl Drop for Round {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let told = replay(self.test, self.seed);
            let _ = writeln!(std::io::stderr(), "in round {}; {told}", self.round);
        }
    }
}

/// Tells what an attack did.
#[expect(clippy::print_stdout, reason = "the long runs collect these lines")]
pub fn tell(attack: &str, counts: &[(&str, u64)]) {
    let mut line = format!("attack {attack}");
    for (what, count) in counts {
        let _ = write!(line, " {what}={count}");
    }
    println!("{line}");
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} must be a number, not {text:?}")))
}
