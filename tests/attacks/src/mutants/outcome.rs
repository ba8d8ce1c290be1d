//! The outcome of a mutant, read from the output of the tests.

use std::fmt;

use super::list::Tests;
use crate::process::Ended;

/// The outcome of a mutant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// These tests failed.
    Caught(Vec<String>),
    /// The tests were ended by this signal: an abort is a failure too.
    Aborted(String, i32),
    /// All tests passed.
    Survived,
    /// The tests did not end, so the mutant does not count as caught.
    TimedOut,
    /// The mutant did not compile.
    NotBuilt,
}

impl Outcome {
    /// Reads the outcome from the `output` of these tests.
    pub fn of(ended: Ended, output: &str, tests: &Tests) -> Self {
        let signal = match ended {
            Ended::Code(0) => return Self::Survived,
            Ended::TimedOut => return Self::TimedOut,
            Ended::Code(_) => aborted_by(output),
            Ended::Signal(signal) => Some(signal),
        };
        let failed = failed_tests(output);
        match signal {
            None if !failed.is_empty() => Self::Caught(failed),
            signal => Self::Aborted(tests.filters.join(" "), signal.unwrap_or_default()),
        }
    }

    /// Whether a test has failed.
    pub fn is_caught(&self) -> bool {
        matches!(self, Self::Caught(_) | Self::Aborted(..))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Caught(tests) => match &tests[..] {
                [one] => write!(f, "{one}"),
                [first, others @ ..] => write!(f, "{first} and {} more", others.len()),
                [] => f.write_str("a test"),
            },
            Self::Aborted(tests, signal) => write!(f, "{tests} (ended by signal {signal})"),
            Self::Survived => f.write_str("SURVIVED"),
            Self::TimedOut => f.write_str("TIMED OUT"),
            Self::NotBuilt => f.write_str("DID NOT BUILD"),
        }
    }
}

/// The tests that the harness lists as failed at its end.
fn failed_tests(output: &str) -> Vec<String> {
    let Some((_, list)) = output.rsplit_once("\nfailures:\n") else {
        return Vec::new();
    };
    let names = list.lines().take_while(|line| line.starts_with("    "));
    names.map(|line| line.trim().to_owned()).collect()
}

/// The signal that cargo says a test program has ended by.
fn aborted_by(output: &str) -> Option<i32> {
    let (_, rest) = output.rsplit_once("(signal: ")?;
    rest.split([',', ')']).next()?.parse().ok()
}

/// A filter that matches none of the listed tests.
pub fn without_tests<'a>(listed: &str, filters: &'a [String]) -> Option<&'a String> {
    let names: Vec<_> = listed.lines().filter_map(|line| line.strip_suffix(": test")).collect();
    filters.iter().find(|filter| !names.iter().any(|name| name.contains(filter.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tests() -> Tests {
        Tests::try_from("--lib wal:: store".to_owned()).unwrap()
    }

    #[test]
    fn the_failed_tests_are_those_of_the_last_list() {
        let output = "test a::b ... FAILED\n\nfailures:\n\n---- a::b stdout ----\nfailures:\n\n\
            failures:\n    a::b\n    a::c\n\ntest result: FAILED. 1 passed; 2 failed\n";
        let caught = Outcome::of(Ended::Code(101), output, &tests());
        assert_eq!(caught, Outcome::Caught(vec!["a::b".to_owned(), "a::c".to_owned()]));
        assert_eq!(caught.to_string(), "a::b and 1 more");
    }

    #[test]
    fn a_program_that_ends_in_the_middle_was_caught_and_one_that_does_not_end_was_not() {
        let output = "test a ... \nerror: test failed\n\nCaused by:\n  process didn't exit \
            successfully: `x` (signal: 6, SIGABRT: process abort signal)\n";
        let aborted = Outcome::of(Ended::Code(101), output, &tests());
        assert_eq!(aborted, Outcome::Aborted("wal:: store".to_owned(), 6));
        assert!(aborted.is_caught());
        for (ended, outcome) in
            [(Ended::Code(0), Outcome::Survived), (Ended::TimedOut, Outcome::TimedOut)]
        {
            assert_eq!(Outcome::of(ended, "", &tests()), outcome);
            assert!(!outcome.is_caught());
        }
    }

    #[test]
    fn filters_without_a_test_are_found() {
        let listed = "wal::tests::x: test\nstore::y: test\n\n2 tests, 0 benchmarks\n";
        let filters = |names: &[&str]| names.iter().map(|&name| name.into()).collect::<Vec<_>>();
        assert_eq!(without_tests(listed, &filters(&["wal::", "store"])), None);
        let unknown = filters(&["wal::", "entry"]);
        assert_eq!(without_tests(listed, &unknown), Some(&unknown[1]));
    }
}
