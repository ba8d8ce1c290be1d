//! `apply`: the only function through which a record changes the store.
//!
//! Live changes, recovery and, later, a replicated log all go through it. It is total and
//! deterministic: the outcome depends only on the record, the log time of its frame and the entries
//! alive at that time, and not on a clock or I/O. Competing operations are decided here, in log
//! order.
//!
//! Three rules ensure that a replay from any oldest segment produces the same live entries: a
//! record about an unknown entry changes no live entry; a Carry is a whole entry and replaces an
//! existing one; the third rule, about traces of consumed tokens, is in `trace`.

use crate::model::entry::{Entry, Parts};
use crate::model::record::Record;
use crate::model::time::UnixMillis;
use crate::model::token::{ConsumeKey, Digest, Prefix};
use crate::store::Pinned;
use crate::timer_wheel::Verdict;

use super::accounting::{Accounting, Totals, log_bytes, put_over, remove};
use super::applied::{Applied, Position};
use super::trace::{is_trace, leave_trace, trace};

/// Applies a record.
pub fn apply<'g>(
    store: &'g Pinned<'_>,
    accounting: &mut Accounting,
    record: &Record<'_>,
    at: Position,
) -> Applied<'g> {
    match *record {
        Record::Issue { digest, deadline, uses, peek, derived, replaces, payload } => {
            let parts = Parts {
                payload,
                deadline,
                issued_at: at.time,
                uses_left: uses,
                uses_total: uses,
                peek,
                derived,
                keys: &[],
            };
            match replaces {
                true => replace(store, accounting, digest, &parts, at),
                false => issue(store, accounting, digest, &parts, at),
            }
        }
        Record::Carry { digest, parts, keys } => {
            let keys: Vec<ConsumeKey> = keys.iter().collect();
            carry(store, accounting, digest, &Parts { keys: &keys, ..parts }, at);
            Applied::Silent
        }
        Record::Consume { digest, key, remembered_until } => {
            let until = remembered_until.filter(|until| *until > at.time);
            consume(store, accounting, digest, key, until, at)
        }
        Record::Extend { digest, deadline, life_ms_max } => {
            extend(store, accounting, &digest, deadline, life_ms_max, at)
        }
        Record::Revoke { digest } => {
            // A consumed entry stays, so that a paid order is not issued again.
            let was_alive = store.get(&digest).is_some_and(|entry| entry.is_alive(at.time));
            if was_alive {
                remove(store, &mut accounting.totals, &digest);
            }
            Applied::Revoked { was_alive }
        }
        Record::Deadline { digest, deadline } => {
            set_deadline(store, accounting, &digest, deadline, at)
        }
        Record::Time
        | Record::Origin(_)
        | Record::Member(_)
        | Record::Report(_)
        | Record::Ended(_)
        | Record::Decision(_)
        | Record::Asked(_) => Applied::Silent,
    }
}

/// The content that two issues of one reference or key must have in common to count as the same.
#[derive(Clone, Copy, Debug)]
pub struct Content<'a> {
    /// The payload.
    pub payload: &'a [u8],
    /// Uses as issued.
    pub uses: u32,
    /// Whether the token can be resolved without being consumed.
    pub peek: bool,
}

/// The outcome of an issue that is refused; `None` if the issue would succeed.
pub fn issue_refused(
    store: &Pinned<'_>,
    digest: &Digest,
    content: &Content<'_>,
    now: UnixMillis,
) -> Option<Applied<'static>> {
    issue_refused_by(store.get(digest)?, content, now)
}

/// The same for the entry that is there.
fn issue_refused_by(
    entry: &Entry,
    content: &Content<'_>,
    now: UnixMillis,
) -> Option<Applied<'static>> {
    if entry.is_expired(now) || is_trace(entry) {
        None
    } else if entry.is_consumed() {
        Some(Applied::AlreadyConsumed)
    } else if entry.payload() == content.payload
        && entry.uses_total() == content.uses
        && entry.peek() == content.peek
    {
        Some(Applied::Exists { deadline: entry.deadline() })
    } else {
        Some(Applied::Conflict)
    }
}

/// The outcome of a consume that consumes no use; `None` if it would consume one.
pub fn consume_refused<'g>(
    store: &'g Pinned<'_>,
    digest: &Digest,
    key: Option<&ConsumeKey>,
    now: UnixMillis,
) -> Option<Applied<'g>> {
    consume_refused_by(store.get(digest), key, now)
}

/// The same for the entry that is there.
fn consume_refused_by<'g>(
    entry: Option<&'g Entry>,
    key: Option<&ConsumeKey>,
    now: UnixMillis,
) -> Option<Applied<'g>> {
    match entry {
        None => Some(Applied::NotFound { replay: false }),
        Some(entry) if entry.is_expired(now) => Some(Applied::NotFound { replay: false }),
        Some(entry) if key.is_some_and(|key| entry.has_key(key)) => {
            Some(Applied::Replayed { payload: entry.payload() })
        }
        Some(entry) if entry.is_consumed() => Some(Applied::NotFound { replay: true }),
        Some(_) => None,
    }
}

/// Handles a due timer: frees its entries that are due. This needs no record, because an expired
/// entry and no entry look the same from outside.
pub fn expire(store: &Pinned<'_>, totals: &mut Totals, timer: Prefix, now: UnixMillis) -> Verdict {
    // Two digests may have the same prefix and share their timers: all due entries are freed
    // together, and the timer stays for the others.
    while let Some((digest, entry)) = store.find(timer) {
        if !entry.is_expired(now) {
            return Verdict::Again(entry.deadline());
        }
        let digest = *digest;
        remove(store, totals, &digest);
    }
    Verdict::Done
}

fn issue(
    store: &Pinned<'_>,
    accounting: &mut Accounting,
    digest: Digest,
    parts: &Parts<'_>,
    at: Position,
) -> Applied<'static> {
    let content = Content { payload: parts.payload, uses: parts.uses_total, peek: parts.peek };
    let before = store.get(&digest);
    if let Some(refused) = before.and_then(|entry| issue_refused_by(entry, &content, at.time)) {
        return refused;
    }
    put_over(store, accounting, digest, Entry::new(parts, at.segment), before);
    Applied::Issued { deadline: parts.deadline }
}

/// Whether nothing may take the place of the entry: it is derived, so that it is issued once until
/// its deadline.
pub fn is_irreplaceable(entry: &Entry, now: UnixMillis) -> bool {
    entry.is_derived() && !entry.is_expired(now)
}

/// Stores an entry in the place of what is there. The idempotency keys of consumes are those of the
/// entry before, and go with it.
fn replace<'g>(
    store: &'g Pinned<'_>,
    accounting: &mut Accounting,
    digest: Digest,
    parts: &Parts<'_>,
    at: Position,
) -> Applied<'g> {
    let before = store.get(&digest);
    if before.is_some_and(|entry| is_irreplaceable(entry, at.time)) {
        return Applied::Conflict;
    }
    let previous = before.filter(|entry| entry.is_resolvable(at.time)).map(Entry::payload);
    put_over(store, accounting, digest, Entry::new(parts, at.segment), before);
    Applied::Put { deadline: parts.deadline, previous }
}

/// Sets the deadline. A deadline that has passed at the log time of its frame removes the entry: it
/// may still have been ahead when the change was asked for. The latest deadline of the segment stays,
/// because another entry may have it: at worst the segment is scanned, not released by time alone.
fn set_deadline(
    store: &Pinned<'_>,
    accounting: &mut Accounting,
    digest: &Digest,
    deadline: UnixMillis,
    at: Position,
) -> Applied<'static> {
    let Some(entry) = store.get(digest).filter(|entry| entry.is_alive(at.time)) else {
        return Applied::NotFound { replay: false };
    };
    if deadline <= at.time {
        remove(store, &mut accounting.totals, digest);
        return Applied::Revoked { was_alive: true };
    }
    let before = entry.deadline();
    entry.set_deadline(deadline);
    // The timer of a later deadline would come too late.
    if deadline < before {
        accounting.wheel.schedule(digest.prefix(), deadline);
    }
    let usage = accounting.totals.usage.entry(entry.segment()).or_default();
    usage.latest_deadline = usage.latest_deadline.max(deadline);
    Applied::DeadlineSet { deadline }
}

fn carry(
    store: &Pinned<'_>,
    accounting: &mut Accounting,
    digest: Digest,
    parts: &Parts<'_>,
    at: Position,
) {
    let before = store.get(&digest);
    match before {
        // In a live change, the entry is as it was when the Carry was written: only its position in
        // the log has changed.
        Some(entry) if is_same(entry, parts) => {
            let bytes = log_bytes(entry);
            accounting.totals.usage.entry(entry.segment()).or_default().live_bytes -= bytes;
            entry.set_segment(at.segment);
            let usage = accounting.totals.usage.entry(at.segment).or_default();
            usage.live_bytes += bytes;
            usage.latest_deadline = usage.latest_deadline.max(entry.deadline());
        }
        _ => put_over(store, accounting, digest, Entry::new(parts, at.segment), before),
    }
}

fn is_same(entry: &Entry, parts: &Parts<'_>) -> bool {
    let own = entry.parts();
    own.deadline == parts.deadline
        && own.issued_at == parts.issued_at
        && own.uses_left == parts.uses_left
        && own.keys == parts.keys
        && own.derived == parts.derived
        && own.peek == parts.peek
        && own.payload == parts.payload
}

fn consume<'g>(
    store: &'g Pinned<'_>,
    accounting: &mut Accounting,
    digest: Digest,
    key: Option<ConsumeKey>,
    remembered_until: Option<UnixMillis>,
    at: Position,
) -> Applied<'g> {
    let entry = store.get(&digest);
    if let Some(refused) = consume_refused_by(entry, key.as_ref(), at.time) {
        // Possible in a replay that begins after its Issue.
        if let (None, Some(until)) = (entry, remembered_until) {
            put_over(store, accounting, digest, trace(until, at), None);
        }
        return refused;
    }
    let Some(entry) = entry else {
        return Applied::NotFound { replay: false };
    };
    let left = entry.uses_left() - 1;
    if left > 0 && entry.take_use(key.as_ref()) {
        accounting.totals.note_key(entry, key.is_some());
        return Applied::Consumed { payload: entry.payload() };
    }
    if left == 0 && key.is_none() && entry.keys().is_empty() && !entry.is_derived() {
        return leave_trace(store, accounting, digest, remembered_until, at);
    }
    let mut keys = entry.keys().to_vec();
    keys.extend(key);
    // The payload of a consumed token is kept only if a retry can ask for it.
    let payload = if left == 0 && keys.is_empty() { &[] } else { entry.payload() };
    let parts = Parts { payload, uses_left: left, keys: &keys, ..entry.parts() };
    let successor = Entry::new(&parts, entry.segment());
    accounting.totals.replace(&digest, entry, &successor);
    match store.insert(digest, successor) {
        Some(before) => {
            accounting.totals.retire(store, before);
            Applied::Consumed { payload: before.payload() }
        }
        None => Applied::NotFound { replay: false },
    }
}

fn extend(
    store: &Pinned<'_>,
    accounting: &mut Accounting,
    digest: &Digest,
    deadline: UnixMillis,
    life_ms_max: u64,
    at: Position,
) -> Applied<'static> {
    let Some(entry) = store.get(digest).filter(|entry| entry.is_alive(at.time)) else {
        return Applied::NotFound { replay: false };
    };
    let latest = UnixMillis(entry.issued_at().0.saturating_add(life_ms_max)).min(UnixMillis::MAX);
    let deadline = deadline.min(latest).max(entry.deadline());
    entry.set_deadline(deadline);
    let usage = accounting.totals.usage.entry(entry.segment()).or_default();
    usage.latest_deadline = usage.latest_deadline.max(deadline);
    Applied::Extended { deadline }
}
