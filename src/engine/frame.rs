//! The frame that is being built, and the records of operations.

use std::collections::HashSet;
use std::time::Duration;

use ahash::RandomState;

use crate::model::record::asked::{Asked, AskedPut};
use crate::model::record::{Record, issue_len};
use crate::model::time::UnixMillis;
use crate::model::token::Digest;
use crate::wal::FrameBuffer;

use super::op::Op;

/// The frame that is being built.
#[derive(Default)]
pub(super) struct Frame {
    /// Log time: the last read engine time.
    pub(super) log_time: UnixMillis,
    pub(super) buffer: FrameBuffer,
    /// Bytes of relocated entries at the start of the body.
    pub(super) relocated_len: usize,
    /// Entries that were relocated. A digest that was put repeatedly has many records in a segment,
    /// and its entry is relocated once.
    pub(super) relocated: HashSet<Digest, RandomState>,
    /// Whether it has records that replace or set deadlines.
    pub(super) has_puts: bool,
}

impl Frame {
    /// Bytes of records that clients wait for.
    pub(super) fn client_len(&self) -> usize {
        self.buffer.body_len() - self.relocated_len
    }

    pub(super) fn clear(&mut self) {
        self.buffer.clear();
        self.relocated_len = 0;
        self.relocated.clear();
        self.has_puts = false;
    }
}

/// Why operations are not performed together by a single server.
pub(super) const TOO_LONG: &str =
    "changes together: longer than a frame of the log, a quarter of a segment";

/// Bytes of an operation in a message besides those of [`record_len`], at most: a read has a record
/// there.
pub(super) const BESIDE_IN_MESSAGE: usize = 32;

/// Bytes of the record of `op`, at most.
pub(super) fn record_len(op: &Op) -> usize {
    match op {
        Op::Issue { payload, .. } => issue_len(payload.len()),
        // The longest of the other records, an Extend.
        Op::Consume { .. } | Op::Extend { .. } | Op::Revoke { .. } | Op::SetDeadline { .. } => 64,
        Op::Put(put) => issue_len(put.payload.len()),
        Op::Read { .. } => 0,
    }
}

/// What all nodes of a cluster are asked to decide; `None` for an operation whose record is the same in
/// a message and in the log. Its times are relative.
pub(super) fn asked(op: &Op) -> Option<Asked<'_>> {
    match op {
        Op::Put(put) => Some(Asked::Put(AskedPut {
            digest: put.digest,
            lifetime: UnixMillis(0).plus(put.ttl.unwrap_or(put.default_ttl)),
            keeps: put.ttl.is_none(),
            uses: put.uses,
            peek: put.peek,
            when: put.when,
            asks: put.wants_previous,
            payload: &put.payload,
        })),
        Op::SetDeadline { digest, deadline, when } => {
            Some(Asked::SetDeadline { digest: *digest, deadline: *deadline, when: *when })
        }
        Op::Read { digest } => Some(Asked::Read { digest: *digest }),
        Op::Issue { .. } | Op::Consume { .. } | Op::Extend { .. } | Op::Revoke { .. } => None,
    }
}

/// Whether the outcome of `op` depends on the exact state before it, which includes the records that
/// are already in its frame.
pub(super) fn is_exact(op: &Op) -> bool {
    asked(op).is_some_and(|asked| asked.is_exact())
}

/// Encodes `op` for a message, where all nodes decide it.
pub(super) fn encode_asked(op: &Op, life_max: Duration, out: &mut Vec<u8>) {
    match asked(op) {
        Some(asked) => Record::Asked(asked).encode(out),
        None => encode(op, UnixMillis(0), life_max, None, out),
    }
}

/// Encodes the record of `op`. `known` is what its admission has returned. With a `now` of zero its
/// deadline is relative, as in a message.
pub(super) fn encode(
    op: &Op,
    now: UnixMillis,
    life_max: Duration,
    known: Option<UnixMillis>,
    out: &mut Vec<u8>,
) {
    let record = match op {
        Op::Issue { digest, payload, ttl, uses, peek, derived } => Record::Issue {
            digest: *digest,
            deadline: now.plus(*ttl),
            uses: *uses,
            peek: *peek,
            derived: *derived,
            replaces: false,
            payload,
        },
        Op::Consume { digest, key } => {
            Record::Consume { digest: *digest, key: *key, remembered_until: known }
        }
        Op::Extend { digest, ttl } => Record::Extend {
            digest: *digest,
            deadline: now.plus(*ttl),
            life_ms_max: life_max.as_millis() as u64,
        },
        Op::Revoke { digest } => Record::Revoke { digest: *digest },
        Op::Put(put) => Record::Issue {
            digest: put.digest,
            deadline: match (put.ttl, known) {
                (Some(ttl), _) => now.plus(ttl),
                (None, Some(kept)) => kept,
                (None, None) => now.plus(put.default_ttl),
            },
            uses: put.uses,
            peek: put.peek,
            derived: false,
            replaces: true,
            payload: &put.payload,
        },
        Op::SetDeadline { digest, deadline, .. } if *deadline <= now => {
            Record::Revoke { digest: *digest }
        }
        Op::SetDeadline { digest, deadline, .. } => {
            Record::Deadline { digest: *digest, deadline: *deadline }
        }
        Op::Read { .. } => unreachable!("a read has no record"),
    };
    record.encode(out);
}
