//! Limits of a namespace: its tokens, its bytes, its rate of issues, and the lifetime of its
//! tokens.
//!
//! The engine counts and limits tokens and bytes, because it processes one change at a time. The
//! rate and the lifetime are checked here, before the engine is called.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ahash::RandomState;

use super::refusal::Refusal;
use crate::engine;
use crate::keys::Keys;
use crate::model::metrics::Counter;
use crate::model::namespace::NamespaceTag;
use crate::model::namespace::{Namespace, TagOwners};
use crate::model::rate_limit::{Pace, Paid};
use crate::model::time::UnixMillis;
use crate::model::token::Digester;
use crate::warning::Warning;

/// The limits of one namespace; `None`: no limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceLimits {
    /// The namespace.
    pub namespace: Namespace,
    /// Maximum tokens with a use left.
    pub tokens_max: Option<u64>,
    /// Maximum memory of entries in bytes, including consumed entries as long as they are
    /// remembered.
    pub bytes_max: Option<u64>,
    /// Maximum issues per second, with a burst of the same number; 1 to
    /// [`RATE_MAX`](crate::model::rate_limit::RATE_MAX).
    pub issues_per_second: Option<u32>,
    /// Maximum lifetime of a token, extensions included.
    pub ttl_max: Option<Duration>,
}

/// The limits of all namespaces that have limits, with their current state. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Quotas(Arc<HashMap<NamespaceTag, Quota, RandomState>>);

/// The limits of namespaces with a tag of their own, and the collisions of the others.
fn claimed<'a>(
    limits: &'a [NamespaceLimits],
    engine: &engine::Engine,
    keys: Option<&Keys>,
) -> (Vec<&'a NamespaceLimits>, Vec<String>) {
    let (digester, mut owners) = (engine.digester(), TagOwners::default());
    let default = Namespace::default();
    // The default namespace exists without a key, and claims its tag first.
    let _ = owners.claim(&default, digester.of(&default).tag());
    let (mut taken, mut refused) = (Vec::new(), Vec::new());
    for limits in limits {
        let namespace = &limits.namespace;
        let claim = match keys {
            Some(keys) => keys.claim(namespace, digester),
            None => owners.claim(namespace, digester.of(namespace).tag()),
        };
        match claim {
            Ok(()) => taken.push(limits),
            Err(collision) => {
                tracing::error!("{collision}; its quota is not in force, all other quotas are");
                refused.push(collision.to_string());
            }
        }
    }
    (taken, refused)
}

#[derive(Debug)]
struct Quota {
    limits: NamespaceLimits,
    issued: Paid,
    refused: Counter,
}

impl Quotas {
    /// Sets up these limits, and passes those of tokens and bytes to the engine. A limit for a
    /// namespace whose tag belongs to another namespace of `keys`, or of an earlier limit, is left
    /// out with an error message and a warning.
    #[must_use]
    pub fn new(limits: &[NamespaceLimits], engine: &engine::Engine, keys: Option<&Keys>) -> Self {
        let tag_of = |namespace: &Namespace| engine.digester().of(namespace).tag();
        let (limits, refused) = claimed(limits, engine, keys);
        if !refused.is_empty() {
            engine.raise(Warning::QuotaTags, refused.join("; "));
        }
        let quotas = limits.into_iter().map(|limits| {
            let limits = limits.clone();
            let tag = tag_of(&limits.namespace);
            (tag, Quota { limits, issued: Paid::default(), refused: Counter::default() })
        });
        let quotas: HashMap<_, _, RandomState> = quotas.collect();
        let held = quotas.iter().map(|(tag, quota)| {
            let limits = &quota.limits;
            let (tokens_max, bytes_max) = (limits.tokens_max, limits.bytes_max);
            (*tag, engine::Quota { tokens_max, bytes_max, ttl_max: limits.ttl_max })
        });
        engine.set_quotas(held.collect());
        Self(Arc::new(quotas))
    }

    /// Maximum lifetime of a token in the namespace of `digester`.
    pub(crate) fn ttl_max(&self, digester: &Digester, max: Duration) -> Duration {
        self.of(digester).and_then(|quota| quota.limits.ttl_max).unwrap_or(max).min(max)
    }

    /// Admits the issue of `count` tokens; the error is the time to wait.
    pub(crate) fn admit_issues(
        &self,
        digester: &Digester,
        now: UnixMillis,
        count: usize,
    ) -> Result<(), Refusal> {
        let Some(quota) = self.of(digester) else { return Ok(()) };
        let Some(rate) = quota.limits.issues_per_second else { return Ok(()) };
        Pace::per_second(rate).take(&quota.issued, now, count as u64).map_err(|wait| {
            quota.refused.increment();
            Refusal::TooManyIssues { rate, wait }
        })
    }

    /// Each namespace with limits, and its number of issues refused because of the rate.
    pub(crate) fn refused(&self) -> impl Iterator<Item = (&Namespace, u64)> {
        self.0.values().map(|quota| (&quota.limits.namespace, quota.refused.get()))
    }

    fn of(&self, digester: &Digester) -> Option<&Quota> {
        if self.0.is_empty() { None } else { self.0.get(&digester.tag()) }
    }
}
