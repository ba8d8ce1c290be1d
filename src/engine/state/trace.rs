//! Traces: the remains of consumed tokens that nothing depends on.
//!
//! A token that nothing depends on once it is consumed (no key, no reference) leaves a *trace*: an
//! entry without payload that ends at the instant its Consume names. It belongs to the segment of
//! that Consume, and a replay makes the same trace from the Consume alone, so a live and a
//! restarted engine have the same traces. A trace only decides whether a miss counts as a replay.
//! An issue under its digest wins, so no record's outcome depends on when the segment was freed.

use crate::model::entry::{Entry, JournalPart, Parts};
use crate::model::time::UnixMillis;
use crate::model::token::Digest;
use crate::store::Pinned;

use super::accounting::{Accounting, Totals, must_be_relocated, remove};
use super::applied::{Applied, Position};

/// Whether the entry is only the trace of a consumed token.
pub(in crate::engine) fn is_trace(entry: &Entry) -> bool {
    !must_be_relocated(entry)
}

/// Removes the trace of a Consume in `segment`, which is about to be freed.
pub fn forget(store: &Pinned<'_>, totals: &mut Totals, digest: &Digest, segment: JournalPart) {
    let belongs = |entry: &Entry| is_trace(entry) && entry.segment() == segment;
    if store.get(digest).is_some_and(belongs) {
        remove(store, totals, digest);
    }
}

/// Consumes the last use of an entry that nothing depends on any more.
pub(super) fn leave_trace<'g>(
    store: &'g Pinned<'_>,
    accounting: &mut Accounting,
    digest: Digest,
    until: Option<UnixMillis>,
    at: Position,
) -> Applied<'g> {
    let before = match until {
        None => store.remove(&digest),
        Some(until) => {
            let trace = trace(until, at);
            accounting.totals.add(&digest, &trace);
            let before = store.insert(digest, trace);
            // If the trace ends with the entry, it keeps the entry's timer.
            if before.is_none_or(|before| until < before.deadline()) {
                accounting.wheel.schedule(digest.prefix(), until);
            }
            before
        }
    };
    let Some(before) = before else {
        return Applied::NotFound { replay: false };
    };
    accounting.totals.subtract(&digest, before);
    accounting.totals.retire(store, before);
    Applied::Consumed { payload: before.payload() }
}

/// The trace of a token that was consumed at `at`.
pub(super) fn trace(until: UnixMillis, at: Position) -> Entry {
    let parts = Parts {
        payload: &[],
        deadline: until,
        issued_at: at.time,
        uses_left: 0,
        uses_total: 1,
        peek: true,
        derived: false,
        keys: &[],
    };
    Entry::new(&parts, at.segment)
}
