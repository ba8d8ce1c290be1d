//! What a principal may do.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use super::text::KeyId;
use crate::model::namespace::Namespace;
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
            used: Arc::default(),
        }
    }

    /// Whether the access includes `scope`.
    #[must_use]
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.has(scope)
    }
}
