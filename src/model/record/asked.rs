//! What a node of a cluster asks all nodes to decide: a change with a condition, a read, and operations
//! that are performed together.
//!
//! They are only in messages. A node that lands one decides it by the state before it, and writes what
//! it came to into its log: an Issue that replaces, a Deadline, a Revoke, or nothing. Times are
//! relative, except that of a Deadline: all nodes have the same log time.

use crate::model::condition::{DeadlineWhen, When};
use crate::model::entry::PAYLOAD_LEN_MAX;
use crate::model::time::UnixMillis;
use crate::model::token::Digest;

use super::heads::{PEEK, entry_head, short_head};
use super::reader::{Reader, RecordError};

pub(super) const PUT: u8 = 13;
pub(super) const SET_DEADLINE: u8 = 14;
pub(super) const READ: u8 = 15;
pub(super) const TOGETHER: u8 = 16;

/// Flags of a Put, besides PEEK.
const KEEPS: u8 = 8;
const ABSENT: u8 = 16;
const PRESENT: u8 = 32;
const ASKS: u8 = 64;

/// What a node asks for.
#[derive(Clone, Copy, Debug)]
pub enum Asked<'a> {
    /// Stores a payload in the place of what is there.
    Put(AskedPut<'a>),
    /// Sets the deadline, also to an earlier time.
    SetDeadline {
        /// Digest of the entry.
        digest: Digest,
        /// The new deadline. One that has passed removes the entry.
        deadline: UnixMillis,
        /// The condition.
        when: DeadlineWhen,
    },
    /// Reads a live entry, among operations that are performed together.
    Read {
        /// Digest of the entry.
        digest: Digest,
    },
    /// The operations of the next records are performed together: nothing comes between them, and
    /// each sees what the earlier ones did.
    Together {
        /// How many records, at least 1.
        count: u32,
    },
}

/// A payload that is to be stored in the place of what is there.
#[derive(Clone, Copy)]
pub struct AskedPut<'a> {
    /// Digest of the entry.
    pub digest: Digest,
    /// Lifetime in milliseconds.
    pub lifetime: UnixMillis,
    /// Whether the deadline of a live entry is kept, so that the lifetime counts without one only.
    pub keeps: bool,
    /// 1 to [`USES_MAX`](crate::model::entry::USES_MAX).
    pub uses: u32,
    /// Whether the token can be resolved without being consumed.
    pub peek: bool,
    /// The condition.
    pub when: When,
    /// Whether the outcome has the payload before.
    pub asks: bool,
    /// The payload.
    pub payload: &'a [u8],
}

impl std::fmt::Debug for AskedPut<'_> {
    /// Without the payload (promise P9).
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AskedPut({:?})", self.digest)
    }
}

impl Asked<'_> {
    /// The digest of its entry.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        match self {
            Self::Put(AskedPut { digest, .. })
            | Self::SetDeadline { digest, .. }
            | Self::Read { digest } => Some(digest),
            Self::Together { .. } => None,
        }
    }

    /// Whether its outcome depends on the exact state before it, which includes the records that are
    /// before it in the message.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        match self {
            Self::Put(put) => put.keeps || put.when != When::Always,
            Self::SetDeadline { when, .. } => *when != DeadlineWhen::Always,
            Self::Read { .. } | Self::Together { .. } => true,
        }
    }

    /// Appends its bytes.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Put(put) => {
                let flag = |is_set: bool, flag| if is_set { flag } else { 0 };
                let condition = match put.when {
                    When::Always => 0,
                    When::Absent => ABSENT,
                    When::Present => PRESENT,
                };
                let options = flag(put.peek, PEEK) | flag(put.keeps, KEEPS) | flag(put.asks, ASKS);
                let flags = options | condition;
                entry_head(out, PUT, flags, put.uses, put.payload, put.digest, put.lifetime);
                out.extend_from_slice(put.payload);
            }
            Self::SetDeadline { digest, deadline, when } => {
                short_head(out, SET_DEADLINE, when as u8);
                out.extend_from_slice(&digest.to_bytes());
                out.extend_from_slice(&deadline.0.to_le_bytes());
            }
            Self::Read { digest } => {
                short_head(out, READ, 0);
                out.extend_from_slice(&digest.to_bytes());
            }
            Self::Together { count } => {
                out.extend_from_slice(&[TOGETHER, 0, 0, 0]);
                out.extend_from_slice(&count.to_le_bytes());
            }
        }
    }
}

impl<'a> Reader<'a> {
    /// Reads what a node asks for, behind its kind and its flags.
    pub(super) fn asked(&mut self, kind: u8, flags: u8) -> Result<Asked<'a>, RecordError> {
        match kind {
            PUT => self.asked_put(flags).map(Asked::Put),
            SET_DEADLINE => {
                let when = match flags {
                    0 => DeadlineWhen::Always,
                    1 => DeadlineWhen::Later,
                    2 => DeadlineWhen::Earlier,
                    _ => return Err(self.error("unknown condition")),
                };
                self.zero_head(0)?;
                let (digest, deadline) = (self.digest()?, self.instant()?);
                Ok(Asked::SetDeadline { digest, deadline, when })
            }
            READ => {
                self.zero_head(flags)?;
                Ok(Asked::Read { digest: self.digest()? })
            }
            _ => {
                self.known(flags, 0)?;
                self.zero(2)?;
                match u32::from_le_bytes(self.array()?) {
                    0 => Err(self.error("nothing together")),
                    count => Ok(Asked::Together { count }),
                }
            }
        }
    }

    fn asked_put(&mut self, flags: u8) -> Result<AskedPut<'a>, RecordError> {
        self.known(flags, PEEK | KEEPS | ABSENT | PRESENT | ASKS)?;
        let when = match flags & (ABSENT | PRESENT) {
            0 => When::Always,
            ABSENT => When::Absent,
            PRESENT => When::Present,
            _ => return Err(self.error("two conditions")),
        };
        let uses = self.count(1)?;
        let payload_len = u32::from_le_bytes(self.array()?) as usize;
        if payload_len > PAYLOAD_LEN_MAX {
            return Err(self.error("payload over the limit"));
        }
        let (digest, lifetime) = (self.digest()?, self.instant()?);
        let has = |flag| flags & flag != 0;
        let (keeps, peek, asks) = (has(KEEPS), has(PEEK), has(ASKS));
        let payload = self.take(payload_len)?;
        Ok(AskedPut { digest, lifetime, keeps, uses, peek, when, asks, payload })
    }
}
