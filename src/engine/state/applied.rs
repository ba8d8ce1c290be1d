//! Where a record stands, and what it did.

use crate::model::entry::JournalPart;
use crate::model::time::UnixMillis;

/// Where in the log a record stands.
#[derive(Clone, Copy, Debug)]
pub struct Position {
    /// Log time of its frame.
    pub time: UnixMillis,
    /// Segment of its frame.
    pub segment: JournalPart,
}

/// What a record did.
#[derive(Debug, PartialEq, Eq)]
pub enum Applied<'g> {
    /// The entry is there.
    Issued { deadline: UnixMillis },
    /// The same was there before.
    Exists { deadline: UnixMillis },
    /// Something else was there before.
    Conflict,
    /// It was consumed and cannot be issued again before its deadline.
    AlreadyConsumed,
    /// A use was taken.
    Consumed { payload: &'g [u8] },
    /// The use was taken before, with the same key.
    Replayed { payload: &'g [u8] },
    /// Nothing to take, extend or answer with. `replay`: because it was consumed before.
    NotFound { replay: bool },
    /// The deadline is this now.
    Extended { deadline: UnixMillis },
    /// It is gone, or was not there.
    Revoked { was_alive: bool },
    /// Nobody waits for what this record did.
    Silent,
}
