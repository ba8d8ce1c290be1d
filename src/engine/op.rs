//! Operations of the engine, and their outcomes.

use std::fmt;
use std::time::Duration;

use crate::model::entry::{Entry, USES_MAX};
use crate::model::time::UnixMillis;
use crate::model::token::{ConsumeKey, Digest};
use crate::model::value::value_of;

use super::config::Config;

pub use crate::model::condition::{DeadlineWhen, When};

/// A change. Reading is not an operation: see [`Engine::resolve`](super::Engine::resolve).
#[derive(Clone)]
pub enum Op {
    /// Stores a payload under a digest.
    Issue {
        /// Digest of the token.
        digest: Digest,
        /// 1 to [`Config::payload_len_max`] bytes; returned unchanged.
        payload: Vec<u8>,
        /// 1 ms to [`super::Config::max_ttl`].
        ttl: Duration,
        /// 1 to [`USES_MAX`].
        uses: u32,
        /// Whether the token can be resolved without being consumed.
        peek: bool,
        /// Whether the token is derived from a reference or a key, so that the same token may be
        /// issued again: it is remembered as consumed until its deadline. Any other consumed token
        /// is only a trace, over which an issue of the same digest wins.
        derived: bool,
    },
    /// Consumes a use.
    Consume {
        /// Digest of the token.
        digest: Digest,
        /// A retry with the same key returns the same outcome, until the deadline.
        key: Option<ConsumeKey>,
    },
    /// Moves the deadline to `ttl` from now, but never earlier, nor beyond the maximum lifetime.
    Extend {
        /// Digest of the token.
        digest: Digest,
        /// At least 1 ms.
        ttl: Duration,
    },
    /// Removes a live entry.
    Revoke {
        /// Digest of the token.
        digest: Digest,
    },
    /// Stores a payload under a digest and takes the place of what is there.
    Put(Put),
    /// Sets the deadline, also to an earlier time.
    SetDeadline {
        /// Digest of the token.
        digest: Digest,
        /// The new deadline, at most the maximum lifetime from now. One that has passed revokes.
        deadline: UnixMillis,
        /// The condition.
        when: DeadlineWhen,
    },
    /// Reads a live entry and changes nothing. Only among operations that are performed together:
    /// see [`Engine::submit_together`](super::Engine::submit_together).
    Read {
        /// Digest of the token.
        digest: Digest,
    },
}

/// A payload that is to be stored under a digest, in the place of what is there. What was consumed
/// or revoked under the digest is gone for good. Only a derived token stays, alive or consumed: a
/// reference or an `Idempotency-Key` is issued once until its deadline.
#[derive(Clone)]
pub struct Put {
    /// Digest of the token.
    pub digest: Digest,
    /// 1 to [`Config::payload_len_max`] bytes; returned unchanged.
    pub payload: Vec<u8>,
    /// 1 ms to [`super::Config::max_ttl`]. `None`: the deadline of the live entry is kept; if there
    /// is none, `default_ttl` counts.
    pub ttl: Option<Duration>,
    /// 1 ms to [`super::Config::max_ttl`]. It counts without a `ttl` and without a live entry.
    pub default_ttl: Duration,
    /// 1 to [`USES_MAX`].
    pub uses: u32,
    /// Whether the token can be resolved without being consumed.
    pub peek: bool,
    /// The condition.
    pub when: When,
    /// Whether the outcome has the payload of the live entry before.
    pub wants_previous: bool,
}

impl Op {
    /// The digest of the operation's token.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        match self {
            Self::Issue { digest, .. }
            | Self::Consume { digest, .. }
            | Self::Extend { digest, .. }
            | Self::Revoke { digest }
            | Self::Put(Put { digest, .. })
            | Self::SetDeadline { digest, .. }
            | Self::Read { digest } => digest,
        }
    }

    /// Checks the limits that keep the log readable; callers check their own limits with better
    /// messages.
    pub(super) fn validate(&self, config: &Config) -> Result<(), Rejected> {
        let (payload, ttl, uses) = match self {
            Self::Issue { payload, ttl, uses, .. } => (payload, *ttl, uses),
            Self::Put(Put { payload, ttl, default_ttl, uses, .. }) => {
                check_ttl(*default_ttl, config)?;
                (payload, ttl.unwrap_or(*default_ttl), uses)
            }
            _ => return Ok(()),
        };
        if payload.is_empty() || payload.len() > config.payload_len_max() {
            return Err(Rejected::Invalid(
                "payload: must have 1 byte to 1 MiB, and fit into a segment of the log",
            ));
        }
        if !(1..=USES_MAX).contains(uses) {
            return Err(Rejected::Invalid("uses: must be 1 to 10000"));
        }
        check_ttl(ttl, config)
    }
}

fn check_ttl(ttl: Duration, config: &Config) -> Result<(), Rejected> {
    match (Duration::from_millis(1)..=config.max_ttl).contains(&ttl) {
        true => Ok(()),
        false => Err(Rejected::Invalid("ttl: must be 1 ms to the maximum lifetime")),
    }
}

impl fmt::Debug for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Issue { .. } => "Issue",
            Self::Consume { .. } => "Consume",
            Self::Extend { .. } => "Extend",
            Self::Revoke { .. } => "Revoke",
            Self::Put(_) => "Put",
            Self::SetDeadline { .. } => "SetDeadline",
            Self::Read { .. } => "Read",
        };
        f.debug_tuple(name).field(self.digest()).finish()
    }
}

/// The outcome of an operation.
#[derive(Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The entry was stored, until its deadline.
    Issued {
        /// The entry's deadline: from this instant on the entry has expired.
        deadline: UnixMillis,
    },
    /// The same token was issued before; this is its deadline.
    Exists {
        /// The entry's deadline: from this instant on the entry has expired.
        deadline: UnixMillis,
    },
    /// A token with other bytes, uses or peek was issued before under the same reference or key.
    Conflict,
    /// The token of this reference or key was consumed, and cannot be issued again until its
    /// deadline.
    AlreadyConsumed,
    /// A use was consumed.
    Consumed {
        /// The payload.
        payload: Vec<u8>,
    },
    /// The use was consumed before, with the same key.
    Replayed {
        /// The payload.
        payload: Vec<u8>,
    },
    /// The token is unknown, expired, consumed or revoked; these cases look the same.
    NotFound,
    /// The deadline was moved, or is unchanged because it must not move.
    Extended {
        /// The entry's deadline: from this instant on the entry has expired.
        deadline: UnixMillis,
    },
    /// The entry was removed.
    Revoked,
    /// The entry was stored by a [`Put`], until its deadline.
    Put {
        /// The entry's deadline: from this instant on the entry has expired.
        deadline: UnixMillis,
        /// The payload of the live entry whose place it took, if that was asked for.
        previous: Option<Vec<u8>>,
    },
    /// The condition of a [`Put`] is not met; nothing was changed.
    NotPut {
        /// The payload of the live entry, if that was asked for.
        previous: Option<Vec<u8>>,
    },
    /// The deadline was set.
    DeadlineSet {
        /// The entry's deadline: from this instant on the entry has expired.
        deadline: UnixMillis,
    },
    /// The condition of an [`Op::SetDeadline`] is not met; nothing was changed.
    DeadlineKept {
        /// The entry's deadline: from this instant on the entry has expired.
        deadline: UnixMillis,
    },
    /// What an [`Op::Read`] has found.
    Found {
        /// The payload; `None` if the token can only be consumed.
        payload: Option<Vec<u8>>,
        /// Length of the payload in bytes.
        payload_len: usize,
        /// Length of the [value](crate::model::value) that the payload stands for.
        value_len: usize,
        /// The entry's deadline: from this instant on the entry has expired.
        deadline: UnixMillis,
        /// Uses left, at least 1.
        uses_left: u32,
    },
    /// The memory limit is reached; nothing was changed.
    MemoryFull,
    /// The quota of the namespace is reached; nothing was changed.
    QuotaFull,
    /// The log's disk is full; nothing was changed.
    DiskFull,
    /// The wall clock is implausible, so no deadline can be computed; nothing was changed.
    ClockWrong,
    /// The log accepts nothing at the moment, for another reason than a full disk; nothing was
    /// changed.
    LogUnavailable,
    /// Writing to the log had failed before, and writes have stopped permanently; nothing was changed.
    ReadOnly,
    /// Writing this operation to the log failed, and writes have stopped permanently. Only a restart
    /// shows whether it took effect.
    Unsynced,
    /// The cluster has not answered in time: the operation may have happened, or may still happen.
    Unknown,
}

impl Outcome {
    /// What an [`Op::Read`] has found.
    pub(super) fn found(entry: &Entry) -> Self {
        Self::Found {
            payload: entry.peek().then(|| entry.payload().to_vec()),
            payload_len: entry.payload_len(),
            value_len: value_of(entry.payload()).len(),
            deadline: entry.deadline(),
            uses_left: entry.uses_left(),
        }
    }
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Issued { deadline } => write!(f, "Issued({deadline})"),
            Self::Exists { deadline } => write!(f, "Exists({deadline})"),
            Self::Conflict => f.write_str("Conflict"),
            Self::AlreadyConsumed => f.write_str("AlreadyConsumed"),
            Self::Consumed { payload } => write!(f, "Consumed({} bytes)", payload.len()),
            Self::Replayed { payload } => write!(f, "Replayed({} bytes)", payload.len()),
            Self::NotFound => f.write_str("NotFound"),
            Self::Extended { deadline } => write!(f, "Extended({deadline})"),
            Self::Revoked => f.write_str("Revoked"),
            Self::Put { deadline, .. } => write!(f, "Put({deadline})"),
            Self::NotPut { .. } => f.write_str("NotPut"),
            Self::DeadlineSet { deadline } => write!(f, "DeadlineSet({deadline})"),
            Self::DeadlineKept { deadline } => write!(f, "DeadlineKept({deadline})"),
            Self::Found { deadline, .. } => write!(f, "Found({deadline})"),
            Self::MemoryFull => f.write_str("MemoryFull"),
            Self::QuotaFull => f.write_str("QuotaFull"),
            Self::DiskFull => f.write_str("DiskFull"),
            Self::ClockWrong => f.write_str("ClockWrong"),
            Self::LogUnavailable => f.write_str("LogUnavailable"),
            Self::ReadOnly => f.write_str("ReadOnly"),
            Self::Unsynced => f.write_str("Unsynced"),
            Self::Unknown => f.write_str("Unknown"),
        }
    }
}

/// Why operations were rejected; none of them took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// The queue is full; try again in a moment.
    #[error("too many changes are waiting; try again in a moment")]
    QueueFull,
    /// The engine is closing.
    #[error("the engine is closing")]
    Closed,
    /// This node takes no changes at present, or they do not land.
    #[error("the cluster accepts no changes from this node at the moment")]
    NoQuorum,
    /// The stream of the cluster is nearly full.
    #[error("the stream of the cluster is nearly full and accepts no changes")]
    StreamFull,
    /// An operation is out of its limits.
    #[error("{0}")]
    Invalid(&'static str),
}
