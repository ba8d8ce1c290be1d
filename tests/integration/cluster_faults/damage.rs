//! Damages the files in which a NATS server keeps the messages of a stream.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::Rng;

/// Bytes that are changed in one file.
const CHANGES: usize = 3;

/// Changes some bytes of a block file of the stream. Returns their number.
pub fn damage(dir: &Path, rng: &mut Rng) -> u64 {
    let blocks = blocks_in(dir);
    assert!(!blocks.is_empty(), "no block files in {}", dir.display());
    let file = &blocks[rng.below(blocks.len())];
    let mut bytes = fs::read(file).expect("readable");
    assert!(!bytes.is_empty(), "{} is empty", file.display());
    for _ in 0..CHANGES {
        let at = rng.below(bytes.len());
        bytes[at] ^= 1 << rng.below(8);
    }
    fs::write(file, &bytes).expect("written");
    CHANGES as u64
}

/// The block files of the stream, not those of its consensus.
fn blocks_in(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("a folder") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            found.extend(blocks_in(&path));
        } else if path.extension().is_some_and(|it| it == "blk") && is_of_stream(&path) {
            found.push(path);
        }
    }
    found.retain(|path| path.metadata().is_ok_and(|file| file.len() > 0));
    found.sort();
    found
}

fn is_of_stream(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "streams")
        && path.components().any(|part| part.as_os_str().to_string_lossy().starts_with("jeton-"))
}
