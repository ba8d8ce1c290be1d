//! Operations and their outcomes: what is asked of the engine and what it answers.

use std::fmt;
use std::time::Duration;

use crate::model::entry::USES_MAX;
use crate::model::time::UnixMillis;
use crate::model::token::{ConsumeKey, Digest};

use super::config::Config;

/// A change that is asked for. Reading is not an operation: see [`Engine::resolve`](super::Engine::resolve).
#[derive(Clone)]
pub enum Op {
    /// Puts a payload under a digest.
    Issue {
        /// Of the token.
        digest: Digest,
        /// 1 to [`Config::payload_len_max`] bytes; returned as they are.
        payload: Vec<u8>,
        /// 1 ms to [`super::Config::max_ttl`].
        ttl: Duration,
        /// 1 to [`USES_MAX`].
        uses: u32,
        /// May be resolved without being consumed.
        peek: bool,
        /// The token is derived from a reference or a key, so the same may be issued again: it is
        /// remembered as consumed until its deadline. Any other is a trace then, and an issue of
        /// the same digest wins.
        derived: bool,
    },
    /// Takes a use.
    Consume {
        /// Of the token.
        digest: Digest,
        /// A retry with the same key gets the same answer, until the deadline.
        key: Option<ConsumeKey>,
    },
    /// Moves the deadline to `ttl` from now, but neither back nor beyond the longest life.
    Extend {
        /// Of the token.
        digest: Digest,
        /// 1 ms and up.
        ttl: Duration,
    },
    /// Removes a living entry.
    Revoke {
        /// Of the token.
        digest: Digest,
    },
}

impl Op {
    /// What the operation is about.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        match self {
            Op::Issue { digest, .. }
            | Op::Consume { digest, .. }
            | Op::Extend { digest, .. }
            | Op::Revoke { digest } => digest,
        }
    }

    /// Checks the limits that keep the log readable; callers give their own users better errors.
    pub(super) fn validate(&self, config: &Config) -> Result<(), Rejected> {
        let Op::Issue { payload, ttl, uses, .. } = self else {
            return Ok(());
        };
        if payload.is_empty() || payload.len() > config.payload_len_max() {
            return Err(Rejected::Invalid(
                "payload: must have 1 byte to 1 MiB, and fit in a segment of the log",
            ));
        }
        if !(1..=USES_MAX).contains(uses) {
            return Err(Rejected::Invalid("uses: must be 1 to 10000"));
        }
        if *ttl < Duration::from_millis(1) || *ttl > config.max_ttl {
            return Err(Rejected::Invalid("ttl: must be 1 ms to the longest life"));
        }
        Ok(())
    }
}

impl fmt::Debug for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Op::Issue { .. } => "Issue",
            Op::Consume { .. } => "Consume",
            Op::Extend { .. } => "Extend",
            Op::Revoke { .. } => "Revoke",
        };
        f.debug_tuple(name).field(self.digest()).finish()
    }
}

/// What became of an operation.
#[derive(Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The entry is there, until its deadline.
    Issued {
        /// From this instant on it is gone.
        deadline: UnixMillis,
    },
    /// The same was issued before; this is the first deadline.
    Exists {
        /// From this instant on it is gone.
        deadline: UnixMillis,
    },
    /// Other bytes, uses or another peek were issued before under the same reference or key.
    Conflict,
    /// The token of this reference or key was consumed: it is not issued again until its deadline.
    AlreadyConsumed,
    /// A use was taken.
    Consumed {
        /// What the token stands for.
        payload: Vec<u8>,
    },
    /// The use was taken before, with the same key.
    Replayed {
        /// What the token stands for.
        payload: Vec<u8>,
    },
    /// Unknown, expired, consumed or revoked: nobody can tell which.
    NotFound,
    /// The deadline was moved, or is where it was because it may not move.
    Extended {
        /// From this instant on it is gone.
        deadline: UnixMillis,
    },
    /// It is gone, or was not there.
    Revoked,
    /// The memory limit is reached; nothing was issued, or no use taken.
    MemoryFull,
    /// The quota of the namespace is used up; nothing was issued, or no use taken.
    QuotaFull,
    /// The log's disk is full; nothing happened.
    DiskFull,
    /// The wall clock cannot be right, so no deadline could be; nothing happened.
    ClockWrong,
    /// The log takes nothing at the moment, for another reason than a full disk; nothing happened.
    LogUnavailable,
    /// Writing to the log failed and writes have stopped for good. Whether this one happened is
    /// known after a restart.
    ReadOnly,
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Issued { deadline } => write!(f, "Issued({deadline})"),
            Outcome::Exists { deadline } => write!(f, "Exists({deadline})"),
            Outcome::Conflict => f.write_str("Conflict"),
            Outcome::AlreadyConsumed => f.write_str("AlreadyConsumed"),
            Outcome::Consumed { payload } => write!(f, "Consumed({} bytes)", payload.len()),
            Outcome::Replayed { payload } => write!(f, "Replayed({} bytes)", payload.len()),
            Outcome::NotFound => f.write_str("NotFound"),
            Outcome::Extended { deadline } => write!(f, "Extended({deadline})"),
            Outcome::Revoked => f.write_str("Revoked"),
            Outcome::MemoryFull => f.write_str("MemoryFull"),
            Outcome::QuotaFull => f.write_str("QuotaFull"),
            Outcome::DiskFull => f.write_str("DiskFull"),
            Outcome::ClockWrong => f.write_str("ClockWrong"),
            Outcome::LogUnavailable => f.write_str("LogUnavailable"),
            Outcome::ReadOnly => f.write_str("ReadOnly"),
        }
    }
}

/// Why operations were not taken on at all: none of them happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// Too many wait already; try again in a moment.
    #[error("too many changes are waiting; try again in a moment")]
    QueueFull,
    /// The engine is closing.
    #[error("the engine is closing")]
    Closed,
    /// An operation is out of its limits.
    #[error("{0}")]
    Invalid(&'static str),
}
