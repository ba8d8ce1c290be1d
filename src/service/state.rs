//! What the operations work on.

use std::net::IpAddr;
use std::time::Duration;

use crate::audit::Audit;
use crate::engine::{Caller, Engine};
use crate::model::time::UnixMillis;
use crate::model::token::Digester;
use crate::service::authentication::{Authenticator, Denied};
use crate::service::memory_budget::Budget;
use crate::service::miss_limiter::MissLimiter;
use crate::service::quotas::Quotas;
use crate::service::refusal::Refusal;

/// The longest answer to a list, in bytes.
pub(crate) const ANSWER_LEN_MAX: usize = 16 << 20;

/// What a token may be, and how many of them a list may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TokenLimits {
    /// The life of a token that is issued without one.
    pub(crate) default_ttl: Duration,
    /// The longest life that a token can be issued for.
    pub(crate) max_ttl: Duration,
    /// The longest payload, in bytes.
    pub(crate) max_payload: usize,
    /// The most tokens in a list.
    pub(crate) max_batch: usize,
}

/// What the operations work on. Each worker thread has one; they share what is inside.
pub(crate) struct Service {
    pub(crate) engine: Engine,
    pub(crate) caller: Caller,
    pub(crate) limits: TokenLimits,
    pub(crate) quotas: Quotas,
    pub(crate) budget: Budget,
    pub(crate) miss_limiter: MissLimiter,
    pub(crate) authenticator: Authenticator,
    pub(crate) audit: Option<Audit>,
}

impl Service {
    /// The time of the engine.
    pub(crate) fn now(&self) -> UnixMillis {
        self.engine.now()
    }

    /// The longest life of a token of the namespace that `digester` is of.
    pub(crate) fn ttl_max(&self, digester: &Digester) -> Duration {
        self.quotas.ttl_max(digester, self.limits.max_ttl)
    }

    /// Why a caller at `peer` is not let in: as `denied` says, or because it tries wrong keys too
    /// often.
    pub(crate) fn denied(&self, denied: Denied, peer: IpAddr) -> Refusal {
        let guessed = match denied {
            Denied::Missing | Denied::Unnamed => Ok(()),
            Denied::Wrong => self.miss_limiter.wrong_key(peer, self.now()),
        };
        guessed.err().unwrap_or_else(|| Refusal::from(denied))
    }
}
