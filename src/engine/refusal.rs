//! What changes nothing, in the state of the store: such an operation has no record in the log.

use crate::model::condition::{DeadlineWhen, When};
use crate::model::entry::Entry;
use crate::model::record::Record;
use crate::model::record::asked::Asked;
use crate::model::time::UnixMillis;
use crate::model::token::Digest;
use crate::store::Pinned;

use super::op::Op;
use super::state::{Applied, Content, consume_refused, is_irreplaceable, issue_refused};

/// Whether an operation changes nothing because its token is unknown, expired, consumed or revoked.
pub(super) fn is_unknown(applied: &Applied<'_>) -> bool {
    matches!(applied, Applied::NotFound { .. } | Applied::Revoked { was_alive: false })
}

/// The outcome of an operation that changes nothing; `None` if it must go through the log.
pub(super) fn refuse<'g>(pinned: &'g Pinned<'_>, op: &Op, now: UnixMillis) -> Option<Applied<'g>> {
    let is_alive = |digest: &Digest| pinned.get(digest).is_some_and(|entry| entry.is_alive(now));
    match op {
        Op::Issue { digest, payload, uses, peek, .. } => {
            issue_refused(pinned, digest, &Content { payload, uses: *uses, peek: *peek }, now)
        }
        Op::Consume { digest, key } => consume_refused(pinned, digest, key.as_ref(), now),
        Op::Extend { digest, .. } => {
            (!is_alive(digest)).then_some(Applied::NotFound { replay: false })
        }
        Op::Revoke { digest } => {
            (!is_alive(digest)).then_some(Applied::Revoked { was_alive: false })
        }
        Op::Put(put) => put_refused(pinned, &put.digest, put.when, put.wants_previous, now),
        Op::SetDeadline { digest, deadline, when } => {
            deadline_refused(pinned, digest, *deadline, *when, now)
        }
        Op::Read { digest } => (!is_alive(digest)).then_some(Applied::NotFound { replay: false }),
    }
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

/// The outcome of a record of a message that changes nothing in this state; `None` if it may win.
pub(super) fn refuse_record<'g>(
    pinned: &'g Pinned<'_>,
    record: &Record<'_>,
    now: UnixMillis,
) -> Option<Applied<'g>> {
    let is_alive = |digest: &Digest| pinned.get(digest).is_some_and(|entry| entry.is_alive(now));
    match record {
        Record::Issue { digest, payload, uses, peek, .. } => {
            issue_refused(pinned, digest, &Content { payload, uses: *uses, peek: *peek }, now)
        }
        Record::Consume { digest, key, .. } => consume_refused(pinned, digest, key.as_ref(), now),
        Record::Extend { digest, .. } => {
            (!is_alive(digest)).then_some(Applied::NotFound { replay: false })
        }
        Record::Revoke { digest } => {
            (!is_alive(digest)).then_some(Applied::Revoked { was_alive: false })
        }
        Record::Asked(Asked::Put(put)) => put_refused(pinned, &put.digest, put.when, put.asks, now),
        Record::Asked(Asked::SetDeadline { digest, deadline, when }) => {
            deadline_refused(pinned, digest, *deadline, *when, now)
        }
        Record::Asked(Asked::Read { digest }) => {
            (!is_alive(digest)).then_some(Applied::NotFound { replay: false })
        }
        Record::Asked(Asked::Together { .. })
        | Record::Deadline { .. }
        | Record::Carry { .. }
        | Record::Time
        | Record::Origin(_)
        | Record::Member(_)
        | Record::Report(_)
        | Record::Ended(_)
        | Record::Decision(_) => None,
    }
}
