//! Expiry: frees expired entries, some timers per turn.

use crate::model::time::UnixMillis;
use crate::model::token::Prefix;

use super::shared::Shared;
use super::state::{Accounting, expire};

/// Timers processed in one turn: about a millisecond of work.
const TIMERS_PER_TURN: usize = 2_048;
/// Entries freed between two returns of memory to the system. Calls wait meanwhile, in proportion
/// to the memory: some 1.4 ms for this many entries among 7 million live ones.
const FREED_PER_SLICE: u64 = 50_000;

/// State of expiry.
#[derive(Default)]
pub(super) struct Expiry {
    /// Whether due timers are left.
    pub(super) is_behind: bool,
    /// The latest deadline that was acted on; the log must record that time.
    pub(super) expired_until: UnixMillis,
    /// Entries freed since memory was last returned.
    freed: u64,
}

impl Expiry {
    /// The state before the first turn: recovery has freed entries that had expired by then.
    pub(super) fn after(expired_until: UnixMillis) -> Self {
        Self { expired_until, ..Self::default() }
    }

    /// Makes the allocator return memory in slices, even while more entries are due, and however
    /// many are alive.
    pub(super) fn give_memory_back(&mut self, shared: &Shared) {
        if self.freed >= FREED_PER_SLICE {
            self.freed = 0;
            if let Some(give_back) = shared.config.give_memory_back {
                give_back();
            }
        }
    }

    /// Frees entries whose deadline has passed.
    pub(super) fn free_expired(
        &mut self,
        shared: &Shared,
        accounting: &mut Accounting,
        now: UnixMillis,
    ) {
        let (store, timings) = (&shared.store, &shared.timings);
        let Accounting { wheel, totals } = accounting;
        let before = totals.entries;
        wheel.review(totals.entries);
        let mut latest = self.expired_until;
        self.is_behind = wheel.advance(now, TIMERS_PER_TURN, |timers, verdicts| {
            let pinned = store.pin();
            // All look-ups come before the first removal, so that their cache misses overlap.
            let deadlines: Vec<Option<UnixMillis>> = timers
                .iter()
                .map(|timer: &Prefix| pinned.find(*timer).map(|(_, entry)| entry.deadline()))
                .collect();
            let due = deadlines.iter().flatten().filter(|deadline| **deadline <= now);
            latest = due.clone().copied().fold(latest, UnixMillis::max);
            timings.expiry_lag.record_us(due.map(|deadline| now.since(*deadline) * 1_000));
            verdicts.extend(timers.iter().map(|timer| expire(&pinned, totals, *timer, now)));
        });
        self.expired_until = latest;
        let freed = before - totals.entries;
        self.freed += freed;
        shared.counters.expired.add(freed);
    }
}
