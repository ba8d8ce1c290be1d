//! Records: the commands in the log, and their bytes.
//!
//! A frame's body is a sequence of records. Numbers are little-endian. Every record begins with its
//! kind:
//!
//! ```text
//! Issue    kind 1 | flags 1 | uses 2      | payload length 4 | digest 16 | deadline 8 | payload
//! Carry    kind 1 | flags 1 | uses left 2 | payload length 4 | digest 16 | deadline 8 |
//!          issued at 8 | uses as issued 2 | keys 2 | zero 4  | key 16 × keys | payload
//! Consume  kind 1 | flags 1 | until 6     | digest 16 | key 16, if flag HAS_KEY
//! Extend   kind 1 | zero 7  | digest 16   | deadline 8 | longest life 8
//! Revoke   kind 1 | zero 7  | digest 16
//! Time     kind 1 | zero 7
//! Origin   kind 1 | verdict 1 | agreed 2 | attempt 4 | era 8 | seq 8 | node 8 | epoch 8 | batch 8 |
//!          cluster 16 | hash 16 | chain 16 | outcomes 16
//! Member   kind 1 | retired 1 | zero 6 | node 8 | epoch 8 | last batch 8 | heard 8 | nonce 16
//! Report   kind 1 | flags 1 | zero 2 | format 4 | seq 8 | durable 8 | memory 8 | chain 16 |
//!          outcomes 16 | keys 16
//! Ended    kind 1 | zero 7  | era 8 | seq 8 | chain 16
//! Decision kind 1 | what 1 | agreed 2 | zero 4 | node 8
//! Deadline kind 1 | zero 7  | digest 16   | deadline 8
//! Put      kind 1 | flags 1 | uses 2      | payload length 4 | digest 16 | lifetime 8 | payload
//! Set      kind 1 | when 1  | zero 6      | digest 16 | deadline 8
//! Read     kind 1 | zero 7  | digest 16
//! Together kind 1 | zero 3  | records 4
//! ```
//!
//! Origin to Decision are of a cluster ([`replication`]): Origin, Member and Ended are in the log
//! of a node, Report and Decision only in messages, and so are Put to Together ([`asked`]). The
//! time of issue of an Issue is the frame's log time. The `until` of a Consume is zero without the
//! flag REMEMBERED, which a Consume with a key never has. A record is valid if and only if its kind
//! is known, its bytes are all there, unused bytes and flags are zero, each field is within the
//! limits of [`crate::model::entry`], and an entry has at most as many uses left and keys together
//! as it was issued with; anything else is damage, because the frame's checksum was right.

use crate::model::entry::{PAYLOAD_LEN_MAX, Parts, USES_MAX};
use crate::model::time::UnixMillis;
use crate::model::token::{ConsumeKey, DIGEST_LEN, Digest};

use asked::{Asked, PUT, READ, SET_DEADLINE, TOGETHER};
use heads::{
    CONSUME, DERIVED, HAS_KEY, PEEK, REMEMBERED, REPLACES, UNTIL_LEN, carry_head, consume_head,
    entry_head, flags, short_head,
};
use reader::Reader;
use replication::{
    DECISION, DECISION_LEN, ENDED, ENDED_LEN, MEMBER, MEMBER_LEN, ORIGIN, ORIGIN_LEN, REPORT,
    REPORT_LEN, View,
};

pub mod asked;
mod fields;
mod heads;
mod reader;
pub mod replication;

pub use heads::ISSUE_HEAD_LEN;
pub use reader::RecordError;

const ISSUE: u8 = 1;
const CARRY: u8 = 2;
const EXTEND: u8 = 4;
const REVOKE: u8 = 5;
const TIME: u8 = 6;
// 7 to 11 and 13 to 16 are those of a cluster.
const DEADLINE: u8 = 12;

/// Bytes of a Carry before the keys and the payload.
pub const CARRY_HEAD_LEN: usize = 48;

/// Maximum length of a record: a relocated entry with the maximum number of keys.
pub const RECORD_LEN_MAX: usize = CARRY_HEAD_LEN + USES_MAX as usize * DIGEST_LEN + PAYLOAD_LEN_MAX;

// `uses` has two bytes, `until` six.
const _: () = assert!(USES_MAX <= u16::MAX as u32);
const _: () = assert!(UnixMillis::MAX.0 < 1 << 48);

/// A command in the log.
#[derive(Clone, Copy)]
pub enum Record<'a> {
    /// A whole entry. It wins if no entry is alive under its digest; if it replaces, over any entry
    /// that is not derived.
    Issue {
        /// Digest of the entry.
        digest: Digest,
        /// The deadline: from this instant on the entry has expired.
        deadline: UnixMillis,
        /// 1 to [`USES_MAX`].
        uses: u32,
        /// Whether the token can be resolved without being consumed.
        peek: bool,
        /// Whether the token is derived and may be issued again.
        derived: bool,
        /// Whether it takes the place of what is there; never set if it is derived.
        replaces: bool,
        /// The payload.
        payload: &'a [u8],
    },
    /// A whole entry with its state at the start of the frame.
    Carry {
        /// Digest of the entry.
        digest: Digest,
        /// All fields but the keys.
        parts: Parts<'a>,
        /// The keys, as their bytes.
        keys: Keys<'a>,
    },
    /// Consumes a use.
    Consume {
        /// Digest of the entry.
        digest: Digest,
        /// A retry with the same key returns the same answer.
        key: Option<ConsumeKey>,
        /// Set if this is the last use of a token that nothing depends on any more: until this time
        /// the token is remembered as consumed, so that a replay is detected. Only without a key.
        remembered_until: Option<UnixMillis>,
    },
    /// Moves the deadline, but never earlier, nor beyond `life_ms_max` after the issue.
    Extend {
        /// Digest of the entry.
        digest: Digest,
        /// The new deadline.
        deadline: UnixMillis,
        /// Maximum lifetime of an entry, in milliseconds.
        life_ms_max: u64,
    },
    /// Removes a live entry.
    Revoke {
        /// Digest of the entry.
        digest: Digest,
    },
    /// Sets the deadline of a live entry, also to an earlier time.
    Deadline {
        /// Digest of the entry.
        digest: Digest,
        /// The new deadline.
        deadline: UnixMillis,
    },
    /// Records only the frame's log time.
    Time,
    /// The message of the cluster that the frame was made from.
    Origin(View<'a, ORIGIN_LEN>),
    /// A node of the cluster.
    Member(View<'a, MEMBER_LEN>),
    /// What a node says of itself.
    Report(View<'a, REPORT_LEN>),
    /// Where an earlier stream of the cluster has ended.
    Ended(View<'a, ENDED_LEN>),
    /// What a person has decided about the cluster.
    Decision(View<'a, DECISION_LEN>),
    /// What a node asks all nodes to decide.
    Asked(Asked<'a>),
}

/// Idempotency keys in the form of a record.
#[derive(Clone, Copy)]
pub struct Keys<'a>(&'a [u8]);

impl Keys<'_> {
    /// The keys, one by one.
    pub fn iter(&self) -> impl Iterator<Item = ConsumeKey> {
        self.0.chunks_exact(DIGEST_LEN).map(|chunk| {
            let mut key = [0; DIGEST_LEN];
            key.copy_from_slice(chunk);
            ConsumeKey(key)
        })
    }
}

/// Bytes of an Issue with this payload, which are also an entry's live bytes in the log.
#[must_use]
pub fn issue_len(payload_len: usize) -> usize {
    ISSUE_HEAD_LEN.saturating_add(payload_len)
}

/// Bytes of a Carry of an entry.
#[must_use]
pub fn carry_len(payload_len: usize, key_count: usize) -> usize {
    CARRY_HEAD_LEN + key_count * DIGEST_LEN + payload_len
}

impl<'a> Record<'a> {
    /// The digest of its entry; `None` for a record that concerns no entry in the log.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        match self {
            Record::Issue { digest, .. }
            | Record::Carry { digest, .. }
            | Record::Consume { digest, .. }
            | Record::Extend { digest, .. }
            | Record::Revoke { digest }
            | Record::Deadline { digest, .. } => Some(digest),
            Record::Time
            | Record::Origin(_)
            | Record::Member(_)
            | Record::Report(_)
            | Record::Ended(_)
            | Record::Decision(_)
            | Record::Asked(_) => None,
        }
    }

    /// Appends the record's bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Record::Issue { digest, deadline, uses, peek, derived, replaces, payload } => {
                debug_assert!(!(derived && replaces), "a derived token replaces nothing");
                let flags = flags(peek, derived) | if replaces { REPLACES } else { 0 };
                entry_head(out, ISSUE, flags, uses, payload, digest, deadline);
                out.extend_from_slice(payload);
            }
            Record::Carry { digest, parts, keys } => {
                let flags = flags(parts.peek, parts.derived);
                let payload = parts.payload;
                entry_head(out, CARRY, flags, parts.uses_left, payload, digest, parts.deadline);
                carry_head(out, &parts, keys.0.len() / DIGEST_LEN);
                out.extend_from_slice(keys.0);
                out.extend_from_slice(payload);
            }
            Record::Consume { digest, key, remembered_until } => {
                consume_head(out, key.is_some(), remembered_until);
                out.extend_from_slice(&digest.to_bytes());
                out.extend_from_slice(key.as_ref().map_or(&[][..], |key| &key.0));
            }
            Record::Extend { digest, deadline, life_ms_max } => {
                short_head(out, EXTEND, 0);
                out.extend_from_slice(&digest.to_bytes());
                out.extend_from_slice(&deadline.0.to_le_bytes());
                out.extend_from_slice(&life_ms_max.to_le_bytes());
            }
            Record::Revoke { digest } => {
                short_head(out, REVOKE, 0);
                out.extend_from_slice(&digest.to_bytes());
            }
            Record::Deadline { digest, deadline } => {
                short_head(out, DEADLINE, 0);
                out.extend_from_slice(&digest.to_bytes());
                out.extend_from_slice(&deadline.0.to_le_bytes());
            }
            Record::Time => short_head(out, TIME, 0),
            Record::Origin(view) => out.extend_from_slice(view.0),
            Record::Member(view) => out.extend_from_slice(view.0),
            Record::Report(view) => out.extend_from_slice(view.0),
            Record::Ended(view) => out.extend_from_slice(view.0),
            Record::Decision(view) => out.extend_from_slice(view.0),
            Record::Asked(asked) => asked.encode(out),
        }
    }

    /// Appends the Carry of an entry in its current state.
    pub fn encode_carry(digest: Digest, parts: &Parts<'_>, out: &mut Vec<u8>) {
        let flags = flags(parts.peek, parts.derived);
        entry_head(out, CARRY, flags, parts.uses_left, parts.payload, digest, parts.deadline);
        carry_head(out, parts, parts.keys.len());
        for key in parts.keys {
            out.extend_from_slice(&key.0);
        }
        out.extend_from_slice(parts.payload);
    }

    /// Reads the record at offset `at` of a frame's body; returns it with the offset after it.
    pub fn decode(body: &'a [u8], at: usize) -> Result<(Self, usize), RecordError> {
        let mut reader = Reader::new(body, at);
        let record = reader.record()?;
        Ok((record, reader.at))
    }
}

/// The records of a frame's body, ending with the first error.
pub fn records(body: &[u8]) -> impl Iterator<Item = Result<Record<'_>, RecordError>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        if at >= body.len() {
            return None;
        }
        let decoded = Record::decode(body, at);
        at = decoded.as_ref().map_or(body.len(), |(_, next)| *next);
        Some(decoded.map(|(record, _)| record))
    })
}

impl<'a> Reader<'a> {
    fn record(&mut self) -> Result<Record<'a>, RecordError> {
        let [kind, flags] = self.array()?;
        match kind {
            ISSUE | CARRY => self.entry(kind, flags),
            CONSUME => self.consume(flags),
            EXTEND => {
                self.zero_head(flags)?;
                let (digest, deadline) = (self.digest()?, self.instant()?);
                let life_ms_max = u64::from_le_bytes(self.array()?);
                Ok(Record::Extend { digest, deadline, life_ms_max })
            }
            REVOKE => {
                self.zero_head(flags)?;
                Ok(Record::Revoke { digest: self.digest()? })
            }
            DEADLINE => {
                self.zero_head(flags)?;
                Ok(Record::Deadline { digest: self.digest()?, deadline: self.instant()? })
            }
            TIME => {
                self.zero_head(flags)?;
                Ok(Record::Time)
            }
            ORIGIN => {
                let view: View<'_, ORIGIN_LEN> = self.view()?;
                view.check().map(|_| Record::Origin(view)).map_err(|what| self.error(what))
            }
            MEMBER => {
                let view: View<'_, MEMBER_LEN> = self.view()?;
                view.check().map(|_| Record::Member(view)).map_err(|what| self.error(what))
            }
            REPORT => {
                let view: View<'_, REPORT_LEN> = self.view()?;
                view.check().map(|_| Record::Report(view)).map_err(|what| self.error(what))
            }
            ENDED => {
                let view: View<'_, ENDED_LEN> = self.view()?;
                view.check().map(|_| Record::Ended(view)).map_err(|what| self.error(what))
            }
            DECISION => {
                let view: View<'_, DECISION_LEN> = self.view()?;
                view.check().map(|_| Record::Decision(view)).map_err(|what| self.error(what))
            }
            PUT | SET_DEADLINE | READ | TOGETHER => self.asked(kind, flags).map(Record::Asked),
            _ => Err(self.error("unknown kind")),
        }
    }

    fn consume(&mut self, flags: u8) -> Result<Record<'a>, RecordError> {
        self.known(flags, HAS_KEY | REMEMBERED)?;
        if flags == HAS_KEY | REMEMBERED {
            return Err(self.error("a key and an end of its memory"));
        }
        let remembered_until = if flags & REMEMBERED == 0 {
            self.zero(UNTIL_LEN)?;
            None
        } else {
            let mut until = [0; 8];
            until[..UNTIL_LEN].copy_from_slice(self.take(UNTIL_LEN)?);
            Some(self.instant_of(until)?)
        };
        let digest = self.digest()?;
        let key = if flags & HAS_KEY != 0 { Some(ConsumeKey(self.array()?)) } else { None };
        Ok(Record::Consume { digest, key, remembered_until })
    }

    fn entry(&mut self, kind: u8, flags: u8) -> Result<Record<'a>, RecordError> {
        self.known(flags, PEEK | DERIVED | if kind == ISSUE { REPLACES } else { 0 })?;
        let replaces = flags & REPLACES != 0;
        if replaces && flags & DERIVED != 0 {
            return Err(self.error("a derived token that replaces another"));
        }
        let (peek, derived) = (flags & PEEK != 0, flags & DERIVED != 0);
        let uses = self.count(0)?;
        let payload_len = u32::from_le_bytes(self.array()?) as usize;
        if payload_len > PAYLOAD_LEN_MAX {
            return Err(self.error("payload over the limit"));
        }
        let (digest, deadline) = (self.digest()?, self.instant()?);
        if kind == ISSUE {
            if uses == 0 {
                return Err(self.error("issued without a use"));
            }
            let payload = self.take(payload_len)?;
            return Ok(Record::Issue { digest, deadline, uses, peek, derived, replaces, payload });
        }
        let issued_at = self.instant()?;
        let (uses_total, key_count) = (self.count(1)?, self.count(0)?);
        self.zero(4)?;
        // Otherwise a use would be lost, or an entry would have more keys than it can have.
        if uses + key_count > uses_total {
            return Err(self.error("more uses than were issued"));
        }
        let keys = Keys(self.take(key_count as usize * DIGEST_LEN)?);
        let payload = self.take(payload_len)?;
        let parts = Parts {
            payload,
            deadline,
            issued_at,
            uses_left: uses,
            uses_total,
            peek,
            derived,
            keys: &[],
        };
        Ok(Record::Carry { digest, parts, keys })
    }
}

#[cfg(test)]
mod tests;
