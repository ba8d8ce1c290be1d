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
