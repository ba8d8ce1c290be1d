//! The nonces of all frames that were ever written to a disk, or tried to be.
//!
//! Two frames with one nonce under one key would show what they have in common, and allow others to
//! make frames. A segment's salt decides its key, so salt and nonce together must never come again
//! with other bytes: not after a power cut, not after a full disk, and not in a copy of the disk.
//! Copies ([`super::Memory::crash`]) share the record with the disk that they were made from.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Where the header block ends, and where the salt is in it.
const FRAMES_AT: usize = 4096;
const SALT: std::ops::Range<usize> = 66..98;
/// Where the nonce is in a frame.
const NONCE: std::ops::Range<usize> = 32..44;

#[derive(Default)]
pub(super) struct Nonces {
    /// A hash of the frame by salt and nonce.
    seen: HashMap<([u8; 32], [u8; 12]), u64>,
    reused: u64,
}

impl Nonces {
    /// Notes a write at `offset` of a file that has these bytes so far.
    pub(super) fn note(&mut self, file: &[u8], bytes: &[u8], offset: usize) {
        let (Some(salt), Some(nonce)) = (file.get(SALT), bytes.get(NONCE)) else { return };
        let is_zero = bytes[..NONCE.end].iter().all(|byte| *byte == 0);
        let (Ok(salt), Ok(nonce)) = (salt.try_into(), nonce.try_into()) else { return };
        if offset < FRAMES_AT || is_zero {
            return;
        }
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        let hash = hasher.finish();
        if *self.seen.entry((salt, nonce)).or_insert(hash) != hash {
            self.reused += 1;
        }
    }

    /// Different frames so far, and how many of them had the nonce of another one.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.seen.len() as u64, self.reused)
    }
}
