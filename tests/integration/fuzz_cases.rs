//! The fuzzing targets in the ordinary test suite: all seeds, all that was found once, and a few
//! random bytes, through the same properties.

use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::support::files_under;
use crate::volume;

#[path = "../fuzz/src/lib.rs"]
mod properties;

/// Runs every file of a target.
fn replay(folder: &str, target: properties::Target) -> u64 {
    let (name, check) = target;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz").join(folder).join(name);
    if !folder.is_dir() {
        return 0;
    }
    let files = files_under(&folder);
    for file in &files {
        let bytes = std::fs::read(file).expect("a readable file");
        let run = std::panic::catch_unwind(|| check(&bytes));
        assert!(run.is_ok(), "{} breaks the property {name}", file.display());
    }
    files.len() as u64
}

#[test]
fn fuzz_seeds_keep_their_properties() {
    for target in properties::TARGETS {
        let seeds = replay("seeds", target);
        assert!(seeds > 0, "{} has no seeds", target.0);
        volume::tell(&format!("fuzz_seeds_{}", target.0), &[("files", seeds)]);
    }
}

#[test]
fn fuzz_findings_stay_mended() {
    let files = properties::TARGETS.map(|target| replay("regressions", target));
    volume::tell("fuzz_regressions", &[("files", files.iter().sum())]);
}

/// Bytes as no fuzzer would choose them: a seed, and something random behind, before or in it.
#[test]
fn fuzz_random_bytes_keep_the_properties() {
    let cases = volume::volume("fuzz_cases", 60);
    for (name, check) in properties::TARGETS {
        let config = Config { cases: cases as u32, failure_persistence: None, ..Config::default() };
        let bytes = prop::collection::vec(any::<u8>(), 0..400);
        let run = TestRunner::new(config).run(&bytes, |bytes| {
            check(&bytes);
            Ok(())
        });
        assert!(run.is_ok(), "{name}: {run:?}");
        volume::tell(&format!("fuzz_random_{name}"), &[("runs", cases)]);
    }
}
