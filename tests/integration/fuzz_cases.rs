//! The fuzzing targets in the ordinary test suite: all seeds, all cases that were found before, and
//! a few random bytes, with the same properties.

use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

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

/// Random bytes.
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
