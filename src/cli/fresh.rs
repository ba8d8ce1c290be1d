//! What a running server reads again: the keys file and the certificate when they change, and all
//! of it, with the configuration file, at SIGHUP.

use super::certificates::Certificates;
use super::file_watch::{Seen, seen};
use super::reload::Reload;
use crate::engine::Engine;
use crate::keys::Keys;
use crate::model::token::Digester;

/// Everything that is kept fresh.
#[derive(Default)]
pub(super) struct Fresh {
    pub(super) configuration: Option<Reload>,
    pub(super) keys: Option<FreshKeys>,
    pub(super) certificates: Option<Certificates>,
}

impl Fresh {
    /// SIGHUP: reads all of it again.
    pub(super) fn read(&mut self) {
        if let (None, None, None) = (&self.configuration, &self.keys, &self.certificates) {
            tracing::info!("SIGHUP: there is nothing to read again");
        }
        if let Some(configuration) = &mut self.configuration {
            configuration.read();
        }
        if let Some(keys) = &mut self.keys {
            keys.read();
        }
        if let Some(certificates) = &mut self.certificates {
            certificates.read(true);
        }
    }

    /// Reads again what has changed, the configuration not: it may be half written by hand.
    pub(super) fn look(&mut self) {
        if let Some(keys) = &mut self.keys {
            keys.look();
        }
        if let Some(certificates) = &mut self.certificates {
            certificates.look();
        }
    }
}

/// Reads the keys file again when it has changed.
pub(super) struct FreshKeys {
    keys: Keys,
    digester: Digester,
    seen: Seen,
}

impl FreshKeys {
    pub(super) fn new(keys: Keys, engine: &Engine) -> FreshKeys {
        // Not looked at before: what changed while the log was read is read again.
        FreshKeys { keys, digester: engine.digester().clone(), seen: None }
    }

    fn look(&mut self) {
        let found = seen(self.keys.file());
        if found != self.seen {
            self.seen = found;
            self.read();
        }
    }

    fn read(&mut self) {
        match self.keys.reload(&self.digester) {
            Ok(keys) => tracing::info!(keys, "the keys were read"),
            Err(error) => {
                tracing::error!(%error, "the keys stay as they were");
                // A mistake in the file is told once, until the file changes. What could not be
                // read is tried again: a key that was revoked must not count for ever.
                if error.is_reading() {
                    self.seen = None;
                }
            }
        }
    }
}
