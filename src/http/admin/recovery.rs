//! How far the recovery of the server is, for `/readyz`, the metrics and the service manager.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::engine::Progress;
use crate::model::text::size_text;

/// How far recovery is.
#[derive(Debug, Default)]
pub struct Recovery {
    done: AtomicU64,
    all: AtomicU64,
}

impl Recovery {
    /// Bytes of the log that have been read, and all that are to be read: 0 before that is known.
    pub(super) fn bytes(&self) -> (u64, u64) {
        (self.done.load(Ordering::Relaxed), self.all.load(Ordering::Relaxed))
    }
}

impl Progress for Recovery {
    fn advance(&self, done: u64, all: u64) {
        // Threads report in any order.
        self.done.fetch_max(done.min(all), Ordering::Relaxed);
        self.all.fetch_max(all, Ordering::Relaxed);
    }
}

impl fmt::Display for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the log is being read")?;
        match self.bytes() {
            (_, 0) => Ok(()),
            (done, all) => {
                let percent = u128::from(done) * 100 / u128::from(all);
                write!(f, ": {percent} % of {}", size_text(all))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_goes_back() {
        let recovery = Recovery::default();
        assert_eq!(recovery.to_string(), "the log is being read");
        recovery.advance(0, 4 << 20);
        assert_eq!(recovery.to_string(), "the log is being read: 0 % of 4MiB");
        recovery.advance(3 << 20, 4 << 20);
        recovery.advance(1 << 20, 4 << 20);
        assert_eq!(recovery.to_string(), "the log is being read: 75 % of 4MiB");
        recovery.advance(u64::MAX, 4 << 20);
        assert_eq!(recovery.bytes(), (4 << 20, 4 << 20));
    }
}
