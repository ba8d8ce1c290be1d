//! Whether a worker serves one connection alone, so that it may wait for the disk itself.

use std::cell::Cell;
use std::time::Duration;

use super::tick::Tick;

/// How long one connection alone must have been served before its changes are committed by its worker.
const ALONE_AFTER: Duration = Duration::from_secs(1);

/// The connection that a worker served last, and since when it served no other.
#[derive(Debug)]
pub(crate) struct Alone(Cell<(usize, Tick)>);

impl Default for Alone {
    fn default() -> Self {
        Self(Cell::new((0, Tick(0))))
    }
}

impl Alone {
    /// The connection `id`, which is not 0, is served at `now`.
    #[inline]
    pub(crate) fn serves(&self, id: usize, now: Tick) {
        if self.0.get().0 != id {
            self.0.set((id, now));
        }
    }

    /// Whether no other connection was served for a time, so that hardly anybody would notice that the
    /// worker waits for the disk.
    pub(crate) fn serves_one(&self, now: Tick) -> bool {
        self.0.get().1.is_over(ALONE_AFTER, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_waits_for_the_disk_only_while_it_serves_one_connection() {
        let alone = Alone::default();
        alone.serves(1, Tick(0));
        assert!(!alone.serves_one(Tick(4)), "not longer than a second");
        alone.serves(1, Tick(5));
        assert!(alone.serves_one(Tick(5)));
        alone.serves(2, Tick(5));
        assert!(!alone.serves_one(Tick(5)), "another was served");
        assert!(alone.serves_one(Tick(10)));
    }
}
