//! What the records of a message came to, for the chain of outcomes.

use crate::engine::state::Applied;
use crate::model::entry::Entry;

/// Bytes of an outcome in the chain.
pub(super) const CODE_LEN: usize = 13;

/// An outcome: its kind, a deadline, and a checksum of the payload that was given out. Whether a
/// miss counts as a replay is left out: a node that restarted may have forgotten tokens that need
/// not be carried.
pub(super) fn code_of(applied: &Applied<'_>) -> [u8; CODE_LEN] {
    let (kind, deadline, payload): (u8, u64, &[u8]) = match applied {
        Applied::Issued { deadline } => (1, deadline.0, &[]),
        Applied::Exists { deadline } => (2, deadline.0, &[]),
        Applied::Conflict => (3, 0, &[]),
        Applied::AlreadyConsumed => (4, 0, &[]),
        Applied::Consumed { payload } => (5, 0, payload),
        Applied::Replayed { payload } => (6, 0, payload),
        Applied::NotFound { .. } => (7, 0, &[]),
        Applied::Extended { deadline } => (8, deadline.0, &[]),
        Applied::Revoked { was_alive: true } => (9, 0, &[]),
        Applied::Revoked { was_alive: false } => (10, 0, &[]),
        Applied::Silent => (11, 0, &[]),
        Applied::Put { deadline, previous } => (12, deadline.0, previous.unwrap_or_default()),
        Applied::NotPut { previous } => (13, 0, previous.unwrap_or_default()),
        Applied::DeadlineSet { deadline } => (14, deadline.0, &[]),
        Applied::DeadlineKept { deadline } => (15, deadline.0, &[]),
    };
    code(kind, deadline, payload)
}

/// The code of a read that has found this entry.
pub(super) fn code_of_found(entry: &Entry) -> [u8; CODE_LEN] {
    code(16, entry.deadline().0, entry.payload())
}

fn code(kind: u8, deadline: u64, payload: &[u8]) -> [u8; CODE_LEN] {
    let mut code = [0; CODE_LEN];
    code[0] = kind;
    code[1..9].copy_from_slice(&deadline.to_le_bytes());
    code[9..].copy_from_slice(&crc32c::crc32c(payload).to_le_bytes());
    code
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::time::UnixMillis;

    #[test]
    fn outcomes_that_differ_have_different_codes_and_a_replay_is_no_difference() {
        let deadline = UnixMillis(7);
        let codes = [
            code_of(&Applied::Issued { deadline }),
            code_of(&Applied::Issued { deadline: UnixMillis(8) }),
            code_of(&Applied::Exists { deadline }),
            code_of(&Applied::Consumed { payload: b"1" }),
            code_of(&Applied::Consumed { payload: b"2" }),
            code_of(&Applied::Replayed { payload: b"1" }),
            code_of(&Applied::NotFound { replay: true }),
            code_of(&Applied::Revoked { was_alive: true }),
            code_of(&Applied::Revoked { was_alive: false }),
        ];
        for (at, code) in codes.iter().enumerate() {
            assert!(!codes[..at].contains(code), "{at}");
        }
        let remembered = code_of(&Applied::NotFound { replay: true });
        assert_eq!(remembered, code_of(&Applied::NotFound { replay: false }));
    }
}
