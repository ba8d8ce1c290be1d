//! What a principal may do.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crossbeam::utils::CachePadded;

use super::holder::CertificateName;
use super::text::KeyId;
use crate::model::namespace::Namespace;
use crate::model::network::{Network, any_contains};
use crate::model::rate_limit::Paid;
use crate::model::scope::{Scope, Scopes};
use crate::model::time::UnixMillis;
use crate::model::token::Digester;

/// What a principal may do, and in which namespace.
#[derive(Debug)]
pub struct Access {
    /// The id of the key; `None` for access without a key.
    pub key: Option<KeyId>,
    /// The namespace.
    pub namespace: Namespace,
    /// The scopes.
    pub scopes: Scopes,
    /// When the access ends; `None`: never.
    pub expires_at: UnixMillis,
    /// The digester of the namespace.
    pub digester: Digester,
    /// The holder ([`Holder::to_bytes`](super::Holder::to_bytes)), which owns the `Idempotency-Key`s.
    pub holder: Vec<u8>,
    /// The networks from which it is accepted; empty: from anywhere.
    pub from: Vec<Network>,
    /// The name of the client certificate that the key accepts, too.
    pub certificate: Option<CertificateName>,
    /// Current use of the resources that are limited per key.
    pub used: Arc<Used>,
}

/// Current resource use of a key. It survives a reload of the keys.
#[derive(Debug, Default)]
pub struct Used {
    /// Charged memory of its requests, in bytes.
    pub held_bytes: AtomicUsize,
    /// State of its miss limit.
    pub misses: Paid,
    /// When the key was accepted last, in Unix milliseconds and exact to [`LAST_USE_STEP_MS`]; 0:
    /// not since the start of the server.
    last_use: CachePadded<AtomicU64>,
}

/// Interval at which a last use is written down, so that the workers do not compete for it.
pub const LAST_USE_STEP_MS: u64 = 1_000;

impl Used {
    /// Notes that the key was accepted at `now`.
    pub fn mark(&self, now: UnixMillis) {
        let last = self.last_use.load(Ordering::Relaxed);
        if now.0 >= last.saturating_add(LAST_USE_STEP_MS) {
            self.last_use.fetch_max(now.0, Ordering::Relaxed);
        }
    }

    /// When the key was accepted last; `None`: not since the start of the server.
    #[must_use]
    pub fn last_use(&self) -> Option<UnixMillis> {
        let last = self.last_use.load(Ordering::Relaxed);
        (last > 0).then_some(UnixMillis(last))
    }
}

impl Access {
    /// All scopes in the namespace of `digester`, without expiry, for a server without keys.
    #[must_use]
    pub fn everything(namespace: Namespace, digester: Digester) -> Self {
        Self {
            key: None,
            namespace,
            scopes: Scopes::ALL,
            expires_at: UnixMillis::MAX,
            digester,
            holder: Vec::new(),
            from: Vec::new(),
            certificate: None,
            used: Arc::default(),
        }
    }

    /// Whether the access may be used by a client at `address`.
    #[must_use]
    pub fn is_accepted_from(&self, address: IpAddr) -> bool {
        self.from.is_empty() || any_contains(&self.from, address)
    }

    /// Whether the access includes `scope`.
    #[must_use]
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.has(scope)
    }
}
