//! Issue, consume, extend and revoke as the engine carries them out: checked, queued, encoded,
//! applied and answered, without a disk.

use jeton::engine::{Op, Outcome};
use jeton::model::token::Digest;
use jeton::testkit::stepped::Stepped;

use crate::support::{self, calls};
use crate::{Fixture, LIVING, TTL, engine};

/// Operations of a function.
const TIMES: usize = 300;
/// What gathers behind a sync with 64 callers.
const BATCH_LEN: usize = 30;

/// What every operation must come to.
type IsRight = fn(&Outcome) -> bool;

/// Operations to carry out.
pub struct Changes {
    stepped: Stepped,
    ops: Vec<Op>,
    outcomes: Vec<Outcome>,
    is_right: IsRight,
}

impl Changes {
    /// Of new tokens.
    pub fn issues() -> Self {
        let digester = support::digester();
        let issue = |n| calls::issue(support::digest(&digester, n), n, TTL);
        let ops = (LIVING..LIVING + TIMES).map(issue).collect();
        Self::of(ops, |outcome| matches!(outcome, Outcome::Issued { .. }))
    }

    /// Of tokens with one use.
    pub fn consumes() -> Self {
        let consume = |digest| Op::Consume { digest, key: None };
        Self::of(each(0, consume), |outcome| matches!(outcome, Outcome::Consumed { .. }))
    }

    /// To twice the life.
    pub fn extends() -> Self {
        let extend = |digest| Op::Extend { digest, ttl: TTL * 2 };
        Self::of(each(0, extend), |outcome| matches!(outcome, Outcome::Extended { .. }))
    }

    /// Of live tokens.
    pub fn revokes() -> Self {
        let revoke = |digest| Op::Revoke { digest };
        Self::of(each(0, revoke), |outcome| matches!(outcome, Outcome::Revoked))
    }

    /// Guesses: answered without the committer.
    pub fn unknown() -> Self {
        let consume = |digest| Op::Consume { digest, key: None };
        Self::of(each(LIVING, consume), |outcome| matches!(outcome, Outcome::NotFound))
    }

    fn of(ops: Vec<Op>, is_right: IsRight) -> Self {
        Self { stepped: engine(), outcomes: Vec::with_capacity(TIMES), ops, is_right }
    }

    /// Each in a call and a commit of its own.
    pub fn one_by_one(&mut self) {
        self.in_calls(1);
    }

    /// Many in a commit.
    pub fn batches_of_30(&mut self) {
        self.in_calls(BATCH_LEN);
    }

    fn in_calls(&mut self, len: usize) {
        let mut ops = std::mem::take(&mut self.ops).into_iter();
        while ops.len() > 0 {
            let call = ops.by_ref().take(len).collect();
            self.outcomes.extend(self.stepped.carry_out(call).expect("the engine is open"));
        }
    }
}

impl Fixture for Changes {
    fn check(&mut self) {
        assert_eq!(self.outcomes.len(), TIMES);
        assert!(self.outcomes.iter().all(self.is_right), "{:?}", self.outcomes);
    }
}

/// An operation on each of the tokens from number `first` on.
fn each(first: usize, op: impl Fn(Digest) -> Op) -> Vec<Op> {
    support::digests(first..first + TIMES).into_iter().map(op).collect()
}
