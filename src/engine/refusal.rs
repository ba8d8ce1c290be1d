//! What changes nothing, in the state of the store: such an operation has no record in the log.

use crate::model::condition::{DeadlineWhen, When};
use crate::model::entry::Entry;
use crate::model::record::Record;
use crate::model::record::asked::Asked;
use crate::model::time::UnixMillis;
use crate::model::token::Digest;
use crate::store::Pinned;

use super::frame::asked;
use super::op::Op;
use super::state::{Applied, Content, consume_refused, is_irreplaceable, issue_refused};

/// Whether an operation changes nothing because its token is unknown, expired, consumed or revoked.
pub(super) fn is_unknown(applied: &Applied<'_>) -> bool {
    matches!(applied, Applied::NotFound { .. } | Applied::Revoked { was_alive: false })
}

/// The outcome of an operation that changes nothing; `None` if it must go through the log.
pub(super) fn refuse<'g>(pinned: &'g Pinned<'_>, op: &Op, now: UnixMillis) -> Option<Applied<'g>> {
    match op {
        Op::Issue { digest, payload, uses, peek, .. } => {
            issue_refused(pinned, digest, &Content { payload, uses: *uses, peek: *peek }, now)
        }
        Op::Consume { digest, key } => consume_refused(pinned, digest, key.as_ref(), now),
        Op::Extend { digest, .. } => extend_refused(pinned, digest, now),
        Op::Revoke { digest } => revoke_refused(pinned, digest, now),
        Op::Put(_) | Op::SetDeadline { .. } | Op::Read { .. } => {
            asked(op).and_then(|asked| refuse_asked(pinned, &asked, now))
        }
    }
}

/// The outcome of a record of a message that changes nothing in this state; `None` if it may win.
pub(super) fn refuse_record<'g>(
    pinned: &'g Pinned<'_>,
    record: &Record<'_>,
    now: UnixMillis,
) -> Option<Applied<'g>> {
    match record {
        Record::Issue { digest, payload, uses, peek, .. } => {
            issue_refused(pinned, digest, &Content { payload, uses: *uses, peek: *peek }, now)
        }
        Record::Consume { digest, key, .. } => consume_refused(pinned, digest, key.as_ref(), now),
        Record::Extend { digest, .. } => extend_refused(pinned, digest, now),
        Record::Revoke { digest } => revoke_refused(pinned, digest, now),
        Record::Asked(asked) => refuse_asked(pinned, asked, now),
        Record::Deadline { .. }
        | Record::Carry { .. }
        | Record::Time
        | Record::Origin(_)
        | Record::Member(_)
        | Record::Report(_)
        | Record::Ended(_)
        | Record::Decision(_) => None,
    }
}

/// The same for what all nodes are asked to decide.
fn refuse_asked<'g>(
    pinned: &'g Pinned<'_>,
    asked: &Asked<'_>,
    now: UnixMillis,
) -> Option<Applied<'g>> {
    match asked {
        Asked::Put(put) => put_refused(pinned, &put.digest, put.when, put.asks, now),
        Asked::SetDeadline { digest, deadline, when } => {
            deadline_refused(pinned, digest, *deadline, *when, now)
        }
        Asked::Read { digest } => extend_refused(pinned, digest, now),
        Asked::Together { .. } => None,
    }
}

fn is_alive(pinned: &Pinned<'_>, digest: &Digest, now: UnixMillis) -> bool {
    pinned.get(digest).is_some_and(|entry| entry.is_alive(now))
}

/// The outcome of an extension, or a read, of what is not alive.
fn extend_refused(
    pinned: &Pinned<'_>,
    digest: &Digest,
    now: UnixMillis,
) -> Option<Applied<'static>> {
    (!is_alive(pinned, digest, now)).then_some(Applied::NotFound { replay: false })
}

fn revoke_refused(
    pinned: &Pinned<'_>,
    digest: &Digest,
    now: UnixMillis,
) -> Option<Applied<'static>> {
    (!is_alive(pinned, digest, now)).then_some(Applied::Revoked { was_alive: false })
}

/// The outcome of a put that changes nothing.
fn put_refused<'g>(
    pinned: &'g Pinned<'_>,
    digest: &Digest,
    when: When,
    wants_previous: bool,
    now: UnixMillis,
) -> Option<Applied<'g>> {
    let entry = pinned.get(digest);
    let alive = entry.filter(|entry| entry.is_alive(now));
    let is_met = match when {
        When::Always => true,
        When::Absent => alive.is_none(),
        When::Present => alive.is_some(),
    };
    let asked = alive.filter(|entry| wants_previous && entry.peek());
    if !is_met {
        return Some(Applied::NotPut { previous: asked.map(Entry::payload) });
    }
    let is_conflict = entry.is_some_and(|entry| is_irreplaceable(entry, now));
    is_conflict.then_some(Applied::Conflict)
}

/// The outcome of a new deadline that changes nothing.
fn deadline_refused(
    pinned: &Pinned<'_>,
    digest: &Digest,
    deadline: UnixMillis,
    when: DeadlineWhen,
    now: UnixMillis,
) -> Option<Applied<'static>> {
    let Some(entry) = pinned.get(digest).filter(|entry| entry.is_alive(now)) else {
        return Some(Applied::NotFound { replay: false });
    };
    let before = entry.deadline();
    let is_met = match when {
        DeadlineWhen::Always => true,
        DeadlineWhen::Later => deadline > before,
        DeadlineWhen::Earlier => deadline < before,
    };
    (!is_met).then_some(Applied::DeadlineKept { deadline: before })
}
