//! The position of a record, and its effect.

use crate::model::entry::JournalPart;
use crate::model::time::UnixMillis;

/// Position of a record in the log.
#[derive(Clone, Copy, Debug)]
pub struct Position {
    /// Log time of its frame.
    pub time: UnixMillis,
    /// Segment of its frame.
    pub segment: JournalPart,
}

/// The effect of a record.
#[derive(Debug, PartialEq, Eq)]
pub enum Applied<'g> {
    /// The entry was stored.
    Issued { deadline: UnixMillis },
    /// The entry was stored, and took the place of a live one with this payload, if
    /// that could be resolved.
    Put { deadline: UnixMillis, previous: Option<&'g [u8]> },
    /// The condition of a put is not met; the payload that is there, if it can be resolved.
    NotPut { previous: Option<&'g [u8]> },
    /// The deadline was set.
    DeadlineSet { deadline: UnixMillis },
    /// The condition of a new deadline is not met.
    DeadlineKept { deadline: UnixMillis },
    /// The same entry existed before.
    Exists { deadline: UnixMillis },
    /// A different entry existed before.
    Conflict,
    /// The token was consumed, and cannot be issued again before its deadline.
    AlreadyConsumed,
    /// A use was consumed.
    Consumed { payload: &'g [u8] },
    /// The use was consumed before, with the same key.
    Replayed { payload: &'g [u8] },
    /// There is no entry to consume, extend or answer with. `replay`: it was consumed before.
    NotFound { replay: bool },
    /// The new deadline.
    Extended { deadline: UnixMillis },
    /// The entry was removed, or was unknown.
    Revoked { was_alive: bool },
    /// The record has no waiter.
    Silent,
}
