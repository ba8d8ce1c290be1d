//! What only a person looks at: the segments of the log, and the timers of the next hour. The committer
//! computes it when it was asked for, and not in every turn.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use crate::wal::Segment;

/// Maximum parts that the log is shown in.
const PARTS_MAX: usize = 256;

/// What only a person looks at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Detail {
    /// The log, oldest first: at most 256 parts of one or more segments.
    pub log: Vec<LogPart>,
    /// Timers that are due in each span of the next hour, the present span first. Timers of entries
    /// that are gone or extended count too.
    pub coming: Vec<u64>,
    /// Length of a span in milliseconds.
    pub span_ms: u64,
}

/// Some segments of the log, one after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LogPart {
    /// Number of segments.
    pub segments: u64,
    /// Bytes of their files.
    pub bytes: u64,
    /// Bytes up to the end of their last frame.
    pub used_bytes: u64,
    /// Bytes of live entries in them.
    pub living_bytes: u64,
}

/// The latest detail, and whether a newer one is asked for.
#[derive(Debug, Default)]
pub(super) struct Detailed {
    is_wanted: AtomicBool,
    latest: Mutex<Detail>,
}

impl Detailed {
    /// The latest detail, and asks for the next.
    pub(super) fn get(&self) -> Detail {
        self.is_wanted.store(true, Ordering::Relaxed);
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps the detail that `compute` makes, if one was asked for.
    pub(super) fn renew(&self, compute: impl FnOnce() -> Detail) {
        if self.is_wanted.load(Ordering::Relaxed) {
            self.is_wanted.store(false, Ordering::Relaxed);
            *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = compute();
        }
    }
}

impl Detail {
    /// The log in at most 256 parts.
    pub(super) fn parts<'a>(segments: impl ExactSizeIterator<Item = &'a Segment>) -> Vec<LogPart> {
        let each = segments.len().div_ceil(PARTS_MAX).max(1);
        let mut parts: Vec<LogPart> = Vec::new();
        for (place, segment) in segments.enumerate() {
            if place % each == 0 {
                parts.push(LogPart::default());
            }
            let Some(part) = parts.last_mut() else { continue };
            part.segments += 1;
            part.bytes += segment.header.size;
            part.used_bytes += segment.used_bytes;
            part.living_bytes += segment.live_bytes;
        }
        parts
    }
}
