//! What a running server reloads: the keys file and the certificate when they change, and both of
//! them and the configuration file at SIGHUP.

use std::collections::BTreeSet;

use super::audited::Audited;
use super::certificates::Certificates;
use super::file_watch::{Seen, seen};
use super::reload::Reload;
use super::service_manager;
use crate::cluster::node::NodeView;
use crate::engine::Engine;
use crate::keys::{KeyId, Keys};

/// Everything that a running server reloads.
pub(super) struct Fresh {
    pub(super) audited: Audited,
    pub(super) configuration: Option<Reload>,
    pub(super) keys: Option<FreshKeys>,
    pub(super) certificates: Option<Certificates>,
}

impl Fresh {
    /// SIGHUP: reloads everything.
    pub(super) fn read(&mut self) {
        service_manager::reloading();
        self.read_quietly();
        service_manager::ready();
    }

    /// The same for a server that is stopping: the service manager would take it for started again.
    pub(super) fn read_quietly(&mut self) {
        if let (None, None, None) = (&self.configuration, &self.keys, &self.certificates) {
            tracing::info!("SIGHUP: no file to reload");
        }
        if let Some(configuration) = &mut self.configuration {
            self.audited.reloaded("configuration", configuration.read());
        }
        if let Some(keys) = &mut self.keys {
            self.audited.reloaded("keys", keys.read(&self.audited));
        }
        if let Some(certificates) = &mut self.certificates {
            self.audited.reloaded("certificate", certificates.read(true));
        }
    }

    /// Reloads the files that have changed, but not the configuration file: an editor may have
    /// saved it half finished.
    pub(super) fn look(&mut self) {
        if let Some(keys) = &mut self.keys {
            keys.look(&self.audited);
        }
        if let Some(certificates) = &mut self.certificates
            && let Some(is_loaded) = certificates.look()
        {
            self.audited.reloaded("certificate", is_loaded);
        }
    }
}

/// Maximum keys that one check names as expiring soon.
const EXPIRING_NAMED_MAX: usize = 20;

/// Reloads the keys file when it has changed, and reports keys that expire soon.
pub(super) struct FreshKeys {
    keys: Keys,
    engine: Engine,
    seen: Seen,
    /// Keys whose coming expiry was logged.
    reported: BTreeSet<KeyId>,
    /// Set in a node of a cluster, which compares its file with those of the others.
    node: Option<NodeView>,
}

impl FreshKeys {
    pub(super) fn new(keys: Keys, engine: &Engine, node: Option<NodeView>) -> Self {
        // `None`, so that the first check reloads the file: it may have changed during recovery.
        Self { keys, engine: engine.clone(), seen: None, reported: BTreeSet::new(), node }
    }

    fn look(&mut self, audited: &Audited) {
        let found = seen(self.keys.file());
        if found != self.seen {
            self.seen = found;
            self.read(audited);
        }
        self.report_expiring();
    }

    /// Logs each key that expires soon, once.
    fn report_expiring(&mut self) {
        let (table, now) = (self.keys.table(), self.engine.now());
        let news = table.expiring(now).filter_map(|access| Some((access.key?, access)));
        let news: Vec<_> = news.filter(|(id, _)| self.reported.insert(*id)).collect();
        for (id, access) in news.iter().take(EXPIRING_NAMED_MAX) {
            tracing::warn!(
                key = %id, namespace = %access.namespace, expires_at = %access.expires_at,
                "this key expires soon: make a new one with jeton keys add --replaces {id}"
            );
        }
        if news.len() > EXPIRING_NAMED_MAX {
            let more = news.len() - EXPIRING_NAMED_MAX;
            tracing::warn!(more, "further keys expire soon: see jeton keys list");
        }
    }

    /// Returns whether the file was loaded.
    fn read(&mut self, audited: &Audited) -> bool {
        let before = self.keys.table();
        let loaded = self.keys.reload(self.engine.digester());
        match &loaded {
            Ok(keys) => {
                audited.keys(before.changes(&self.keys.table()));
                tracing::info!(keys, "keys loaded");
                if let Some(node) = &self.node {
                    node.have_keys(self.keys.table().fingerprint());
                }
            }
            Err(error) => {
                tracing::error!(%error, "can't load the keys: the previous ones stay in use");
                // A mistake in the file is logged once, until the file changes. A file that could
                // not be read is retried: a revoked key must not stay valid.
                if error.is_reading() {
                    self.seen = None;
                }
            }
        }
        loaded.is_ok()
    }
}
