//! What a running server reloads: the keys file and the certificate when they change, and both of
//! them and the configuration file at SIGHUP.

use super::audited::Audited;
use super::certificates::Certificates;
use super::file_watch::{Seen, seen};
use super::reload::Reload;
use crate::cluster::node::NodeView;
use crate::engine::Engine;
use crate::keys::Keys;
use crate::model::token::Digester;

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

/// Reloads the keys file when it has changed.
pub(super) struct FreshKeys {
    keys: Keys,
    digester: Digester,
    seen: Seen,
    /// Set in a node of a cluster, which compares its file with those of the others.
    node: Option<NodeView>,
}

impl FreshKeys {
    pub(super) fn new(keys: Keys, engine: &Engine, node: Option<NodeView>) -> Self {
        // `None`, so that the first check reloads the file: it may have changed during recovery.
        Self { keys, digester: engine.digester().clone(), seen: None, node }
    }

    fn look(&mut self, audited: &Audited) {
        let found = seen(self.keys.file());
        if found != self.seen {
            self.seen = found;
            self.read(audited);
        }
    }

    /// Returns whether the file was loaded.
    fn read(&mut self, audited: &Audited) -> bool {
        let before = self.keys.table();
        let loaded = self.keys.reload(&self.digester);
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
