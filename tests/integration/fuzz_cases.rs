//! The fuzzing targets in the ordinary test suite: all seeds, all cases that were found before, and
//! a few random bytes, with the same properties.

use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestError, TestRunner};

use crate::support::files_under;
use crate::volume;

#[path = "../fuzz/src/lib.rs"]
mod properties;

/// Runs every file of a target; returns their number and the files that break the property.
fn replay(folder: &str, target: properties::Target) -> (u64, Vec<String>) {
    let (name, check) = target;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz").join(folder).join(name);
    if !folder.is_dir() {
        return (0, Vec::new());
    }
    let files = files_under(&folder);
    let breaks = |file: &&std::path::PathBuf| {
        let bytes = std::fs::read(file).expect("a readable file");
        std::panic::catch_unwind(|| check(&bytes)).is_err()
    };
    let broken = files.iter().filter(breaks).map(|file| file.display().to_string());
    (files.len() as u64, broken.collect())
}

#[test]
fn fuzz_seeds_keep_their_properties() {
    let mut broken = Vec::new();
    for target in properties::TARGETS {
        let (seeds, more) = replay("seeds", target);
        assert!(seeds > 0, "{} has no seeds", target.0);
        volume::tell(&format!("fuzz_seeds_{}", target.0), &[("files", seeds)]);
        broken.extend(more);
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn fuzz_findings_stay_mended() {
    let (mut count, mut broken) = (0, Vec::new());
    for target in properties::TARGETS {
        let (files, more) = replay("regressions", target);
        count += files;
        broken.extend(more);
    }
    volume::tell("fuzz_regressions", &[("files", count)]);
    assert!(broken.is_empty(), "{broken:#?}");
}

/// Random bytes: for all targets, or for the one that `JETON_FUZZ_TARGET` names.
#[test]
fn fuzz_random_bytes_keep_the_properties() {
    let cases = volume::volume("fuzz_cases", 60);
    let only = std::env::var("JETON_FUZZ_TARGET").ok();
    let targets = properties::TARGETS.into_iter().filter(|(name, _)| match &only {
        Some(only) => name == only,
        None => true,
    });
    let mut count = 0;
    for (name, check) in targets {
        let found = random_bytes(check, cases as u32).map(|found| found.told(name));
        assert!(found.is_none(), "{}", found.unwrap_or_default());
        volume::tell(&format!("fuzz_random_{name}"), &[("runs", cases)]);
        count += 1;
    }
    assert!(count > 0, "JETON_FUZZ_TARGET={only:?} is no target");
}

/// An input that breaks a property, made as short as possible.
struct Found {
    input: Vec<u8>,
    reason: String,
}

impl Found {
    /// The failure, with the commands that keep its input and repeat it.
    fn told(&self, target: &str) -> String {
        let hex: String = self.input.iter().map(|byte| format!("{byte:02x}")).collect();
        format!(
            "{target}: {}\nthe input in hex: {hex}\nkeep it with: echo {hex} | xxd -r -p > \
             tests/fuzz/regressions/{target}/NAME\nrepeat with: \
             cargo test --test integration fuzz_findings_stay_mended -- --nocapture",
            self.reason
        )
    }
}

/// Checks a property on random bytes.
fn random_bytes(check: impl Fn(&[u8]), cases: u32) -> Option<Found> {
    // Without a bound of its own, shrinking ends after four steps a case: too few for the shortest.
    let config =
        Config { cases, failure_persistence: None, max_shrink_iters: 100_000, ..Config::default() };
    let bytes = prop::collection::vec(any::<u8>(), 0..400);
    let run = TestRunner::new(config).run(&bytes, |bytes| {
        check(&bytes);
        Ok(())
    });
    match run {
        Ok(()) => None,
        Err(TestError::Fail(reason, input)) => Some(Found { input, reason: reason.to_string() }),
        Err(TestError::Abort(reason)) => panic!("no bytes were made: {reason}"),
    }
}

#[test]
fn a_failure_on_random_bytes_shows_its_target_and_its_input() {
    let check = |bytes: &[u8]| assert!(!bytes.iter().any(|byte| *byte > 0xA0), "too large");
    let found = random_bytes(check, 60).expect("60 inputs with a large byte among them");
    assert_eq!(found.input, [0xA1], "the shortest input that fails");
    let told = found.told("log");
    for part in
        ["log: ", "too large", "hex: a1\n", "echo a1 | xxd -r -p > tests/fuzz/regressions/log/"]
    {
        assert!(told.contains(part), "{part:?} in {told}");
    }
}

/// Random bytes are of use only where many of them reach the strong checks.
#[test]
fn fuzz_logs_of_every_kind_are_opened_and_refused() {
    use properties::{forge, model, spec};
    let counts = std::cell::RefCell::new(std::collections::BTreeMap::<_, u64>::new());
    let count = |bytes: &[u8]| {
        let segments = forge::segments(bytes);
        let read = spec::log(&segments).and_then(|log| model::replay(&log));
        let end = match read {
            Ok(read) if read.is_of_an_engine && !read.entries.is_empty() => "compared",
            Ok(_) => "opened",
            Err(spec::Damaged) => "refused",
        };
        *counts.borrow_mut().entry((segments[0].is_of_node(), end)).or_default() += 1;
    };
    assert!(random_bytes(count, 2_000).is_none());
    let counts = counts.into_inner();
    for is_node in [false, true] {
        for (end, floor) in [("compared", 20), ("opened", 2), ("refused", 100)] {
            let seen = counts.get(&(is_node, end)).copied().unwrap_or(0);
            assert!(seen >= floor, "{end}, in a cluster: {is_node}: {seen} of 2,000: {counts:?}");
        }
    }
}
