//! A command that was understood: what it asks of the service, and how the outcomes are answered.
//!
//! A command is read in one step and performed in another. So it means the same by itself, where it
//! is performed by the operations of the service, and within a transaction, where the changes and
//! reads of all commands are performed together.

use std::time::Duration;

use bytes::Bytes;

use super::mistake::Mistake;
use crate::engine::{DeadlineWhen, Put, Status};
use crate::model::time::UnixMillis;
use crate::model::token::{Digest, Token};
use crate::service::ops::issue::Wanted;
use crate::service::ops::together::Step;
use crate::service::ops::{deadline, put};
use crate::service::tokens::Tokens;

/// A command that was understood.
pub(in crate::resp) struct Plan {
    pub(super) ask: Ask,
    pub(super) answer: Answer,
}

/// What a command asks of the service.
pub(super) enum Ask {
    /// The payloads of tokens.
    Resolve(Tokens),
    /// The status of tokens.
    Status(Tokens),
    /// Whether a token is active, with its payload and times.
    Introspect(Digest),
    /// A use of a token.
    Consume(Digest, Option<Bytes>),
    /// A use of each token.
    ConsumeEach(Tokens, Option<Bytes>),
    /// The end of tokens.
    Revoke(Tokens),
    /// The end of tokens, and which of them there were.
    Delete(Vec<Digest>),
    /// A value under a name.
    Put(Put),
    /// Another deadline.
    SetDeadline(Digest, UnixMillis, DeadlineWhen),
    /// A later deadline for each token.
    Extend(Tokens, Duration),
    /// A new token.
    Issue(Wanted, Option<Bytes>),
    /// A new token for each that was understood.
    IssueEach(Vec<Result<Wanted, Mistake>>),
    /// Several changes and reads, all or nothing.
    Together(Vec<Step>),
}

/// What came of one step.
pub(super) enum Got {
    /// A payload.
    Payload(Vec<u8>),
    /// A token that can only be consumed.
    Hidden,
    /// A status.
    Status(Status),
    /// No such token.
    Missing,
    /// A token that was revoked.
    Revoked,
    /// What became of a value.
    Put(put::Answer),
    /// What became of a deadline.
    Deadline(deadline::Answer),
    /// A new token and its deadline.
    Issued(Token, UnixMillis),
    /// Why it was not done.
    Refused(Mistake),
}

/// How the outcomes are answered.
pub(super) enum Answer {
    /// The payload of the first, or nil.
    Payload,
    /// An array of payloads and nils.
    Payloads,
    /// What a `SET` answers.
    Put(PutAnswer),
    /// What a `SET` answers whose deadline has passed, so that nothing is kept.
    PutPassed { wants_previous: bool, when_found: Shown, when_missing: Shown },
    /// `OK`, once all are done.
    Done,
    /// The number of tokens that were revoked.
    Revoked,
    /// The number of tokens that were found.
    Found,
    /// The lifetime left, or the deadline.
    Ttl(TtlForm),
    /// `string` or `none`.
    Kind,
    /// The length of the value; 0 where there is none.
    Len,
    /// 1 if the deadline was set, else 0.
    DeadlineSet,
    /// 0, in any case.
    Zero,
    /// An error if the token was found, else what stands for a missing one.
    Unless(Mistake, Shown),
    /// The token, and its deadline in milliseconds.
    Token,
    /// An array of these, or of errors.
    Tokens,
    /// A map with the status of one token, or nil.
    Status,
    /// An array of these.
    Statuses,
    /// The new deadline in milliseconds, or nil.
    Deadline,
    /// An array of these.
    Deadlines,
}

/// What a `SET` answers.
#[derive(Clone, Copy, Debug)]
pub(super) struct PutAnswer {
    /// The previous value, or nil, whether or not a value was set.
    pub(super) wants_previous: bool,
    pub(super) when_set: Shown,
    pub(super) when_kept: Shown,
}

/// A short answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    Ok,
    Nil,
    One,
    Zero,
}

/// What a lifetime is answered as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TtlForm {
    Seconds,
    Millis,
    AtSeconds,
    AtMillis,
}

impl TtlForm {
    /// The number for a token that ends at `deadline`. Seconds are rounded, as in Redis.
    pub(super) fn of(self, deadline: UnixMillis, now: UnixMillis) -> i64 {
        let millis = match self {
            Self::Seconds | Self::Millis => deadline.since(now),
            Self::AtSeconds | Self::AtMillis => deadline.0,
        };
        let count = match self {
            Self::Seconds | Self::AtSeconds => millis.saturating_add(500) / 1_000,
            Self::Millis | Self::AtMillis => millis,
        };
        i64::try_from(count).unwrap_or(i64::MAX)
    }
}

impl Plan {
    pub(super) fn new(ask: Ask, answer: Answer) -> Self {
        Self { ask, answer }
    }
}

/// The tokens of a list that has no references.
pub(super) fn tokens(digests: Vec<Digest>) -> Tokens {
    Tokens { digests, by_reference: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_rounded_as_redis_rounds_them() {
        let (now, at) = (UnixMillis(1_000_000), |ms: u64| UnixMillis(1_000_000 + ms));
        for (ms, seconds) in [(1, 0), (499, 0), (500, 1), (1_499, 1), (1_500, 2)] {
            assert_eq!(TtlForm::Seconds.of(at(ms), now), seconds, "{ms}");
        }
        assert_eq!(TtlForm::Millis.of(at(7), now), 7);
        assert_eq!(TtlForm::AtSeconds.of(at(499), now), 1_000);
        assert_eq!(TtlForm::AtMillis.of(at(499), now), 1_000_499);
    }
}
