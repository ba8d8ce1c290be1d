//! Expiry: frees what nobody can see any more, some timers a turn.

use crate::model::time::UnixMillis;
use crate::model::token::Prefix;

use super::shared::Shared;
use super::state::{Accounting, expire};

/// Timers asked about in one turn: about a millisecond's work.
const TIMERS_PER_TURN: usize = 2_048;
/// Entries freed between two times that memory is given back. Calls wait meanwhile, the longer the
/// more there is to give: some 1.4 ms for these where 7 million entries live.
const FREED_PER_SLICE: u64 = 50_000;

/// What was freed.
#[derive(Default)]
pub(super) struct Expiry {
    /// Timers are due that were not asked yet.
    pub(super) is_behind: bool,
    /// The latest deadline that was acted on: the log must get to know that time.
    pub(super) expired_until: UnixMillis,
    /// Entries freed since memory was last given back.
    freed: u64,
}

impl Expiry {
    /// Before the first turn: recovery has freed what had expired by then.
    pub(super) fn after(expired_until: UnixMillis) -> Expiry {
        Expiry { expired_until, ..Expiry::default() }
    }

    /// Lets the allocator give memory back, in slices: also while more is due, and however much
    /// lives.
    pub(super) fn give_memory_back(&mut self, shared: &Shared) {
        if self.freed >= FREED_PER_SLICE {
            self.freed = 0;
            if let Some(give_back) = shared.config.give_memory_back {
                give_back();
            }
        }
    }

    /// Frees entries whose deadline has come.
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
            // All look-ups before the first removal, so that their cache misses overlap.
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
