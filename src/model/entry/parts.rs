//! The fields of an entry.

use crate::model::time::UnixMillis;
use crate::model::token::ConsumeKey;

/// All fields of an entry, as they are written to the log when it is relocated.
#[derive(Clone, Copy)]
pub struct Parts<'a> {
    /// The payload; empty if the token was consumed and no retry can ask for it.
    pub payload: &'a [u8],
    /// The entry's deadline: from this instant on the entry has expired.
    pub deadline: UnixMillis,
    /// Time of issue, from which the maximum lifetime of an extension is counted.
    pub issued_at: UnixMillis,
    /// Uses left: 0 to [`USES_MAX`](super::USES_MAX); 0 if the token was consumed.
    pub uses_left: u32,
    /// Uses as issued: 1 to [`USES_MAX`](super::USES_MAX).
    pub uses_total: u32,
    /// Whether the token can be resolved without being consumed.
    pub peek: bool,
    /// Whether the token is derived from a reference or an idempotency key and can be issued again.
    pub derived: bool,
    /// Idempotency keys of the uses that were consumed with one.
    pub keys: &'a [ConsumeKey],
}
