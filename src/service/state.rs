//! State that the operations use.

use std::net::IpAddr;
use std::time::Duration;

use crate::audit::Audit;
use crate::engine::{Caller, Engine};
use crate::keys::Keys;
use crate::model::time::UnixMillis;
use crate::model::token::Digester;
use crate::service::authentication::{Anonymous, Authenticator, Denied};
use crate::service::memory_budget::Budget;
use crate::service::miss_limiter::MissLimiter;
use crate::service::quotas::Quotas;
use crate::service::reads::Reads;
use crate::service::refusal::Refusal;
use crate::service::token_source::TokenSource;
use crate::service::traced::Traced;
use crate::trace::Tracer;

/// Maximum length of the answer to a list, in bytes.
pub(crate) const ANSWER_LEN_MAX: usize = 16 << 20;

/// Limits of tokens and of lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TokenLimits {
    /// Lifetime of a token that is issued without a ttl.
    pub(crate) default_ttl: Duration,
    /// Maximum lifetime of a token.
    pub(crate) max_ttl: Duration,
    /// Maximum payload, in bytes.
    pub(crate) max_payload: usize,
    /// Maximum tokens in a list.
    pub(crate) max_batch: usize,
}

/// What the services of all workers are made of, whatever protocol they speak.
#[derive(Clone)]
pub struct Shared {
    pub(crate) engine: Engine,
    pub(crate) limits: TokenLimits,
    pub(crate) quotas: Quotas,
    pub(crate) budget: Budget,
    pub(crate) miss_limiter: MissLimiter,
    /// `None`: anyone may do everything.
    pub(crate) keys: Option<Keys>,
    pub(crate) anonymous: Option<Anonymous>,
    pub(crate) audit: Option<Audit>,
    pub(crate) tracer: Option<Tracer>,
    pub(crate) reads: Option<Reads>,
}

impl Shared {
    /// The service of one worker.
    pub(crate) fn service(&self) -> Service {
        let Self { engine, keys, anonymous, .. } = self;
        Service {
            engine: engine.clone(),
            caller: engine.caller(),
            limits: self.limits,
            token_source: TokenSource::new(),
            quotas: self.quotas.clone(),
            budget: self.budget.clone(),
            miss_limiter: self.miss_limiter.clone(),
            authenticator: Authenticator::new(engine, keys.as_ref(), anonymous.as_ref()),
            audit: self.audit.clone(),
            traced: self.tracer.as_ref().map(Traced::new),
            reads: self.reads.clone(),
        }
    }
}

/// State that the operations use. Each worker thread has one; they share what is inside.
pub(crate) struct Service {
    pub(crate) engine: Engine,
    pub(crate) caller: Caller,
    pub(crate) limits: TokenLimits,
    pub(crate) token_source: TokenSource,
    pub(crate) quotas: Quotas,
    pub(crate) budget: Budget,
    pub(crate) miss_limiter: MissLimiter,
    pub(crate) authenticator: Authenticator,
    pub(crate) audit: Option<Audit>,
    /// Set where requests are traced.
    pub(crate) traced: Option<Traced>,
    /// Set in a cluster.
    pub(crate) reads: Option<Reads>,
}

impl Service {
    /// Current engine time.
    pub(crate) fn now(&self) -> UnixMillis {
        self.engine.now()
    }

    /// The time that decides whether a token has expired.
    pub(crate) fn token_time(&self) -> UnixMillis {
        match &self.reads {
            None => self.now(),
            Some(reads) => reads.time_at(self.engine.forward()),
        }
    }

    /// Maximum lifetime of a token in the namespace of `digester`.
    pub(crate) fn ttl_max(&self, digester: &Digester) -> Duration {
        self.quotas.ttl_max(digester, self.limits.max_ttl)
    }

    /// The refusal of a caller at `peer`: that of `denied`, or too many wrong keys.
    pub(crate) fn denied(&self, denied: Denied, peer: IpAddr) -> Refusal {
        let guessed = match denied {
            Denied::Missing | Denied::Unnamed => Ok(()),
            Denied::Wrong => self.miss_limiter.wrong_key(peer, self.now()),
        };
        guessed.err().unwrap_or_else(|| Refusal::from(denied))
    }
}
