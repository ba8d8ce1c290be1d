//! Events of the server itself in the audit log: start, stop, reloads, and changes of keys.

use std::sync::Arc;

use crate::audit::{self, Audit, EventOutcome, KeyError, LogEnd, Permit, Signing, SigningKey};
use crate::engine::Engine;
use crate::keys::{Access, KeyChange, KeyChanges};

/// Adds events of the server to the audit log, if there is one.
#[derive(Clone, Debug)]
pub(super) struct Audited {
    audit: Option<Audit>,
    engine: Engine,
}

impl Audited {
    /// The audit log of a server with this engine. Its lines are chained and signed from now on.
    ///
    /// # Errors
    /// The signing key cannot be made.
    pub(super) fn new(audit: Option<Audit>, engine: &Engine) -> Result<Self, KeyError> {
        if let Some(audit) = &audit {
            audit.sign(&signing(engine)?);
        }
        Ok(Self { audit, engine: engine.clone() })
    }

    /// Begins to ship checkpoints: the ready line is printed.
    pub(super) fn ship(&self) {
        self.audit.iter().for_each(Audit::ship);
    }

    /// Adds an event.
    pub(super) fn tell(&self, operation: &'static str, outcome: EventOutcome, detail: String) {
        let Some(audit) = &self.audit else { return };
        let event = audit::server_event(self.engine.now(), operation, outcome, Some(detail));
        audit.tell(&mut Permit::default(), event);
    }

    /// Adds the event of a file that was loaded again, or could not be.
    pub(super) fn reloaded(&self, file: &str, is_loaded: bool) {
        let outcome = if is_loaded { EventOutcome::Ok } else { EventOutcome::Error };
        self.tell("reload", outcome, file.to_owned());
    }

    /// Adds an event for each key that has changed.
    pub(super) fn keys(&self, changes: KeyChanges) {
        let Some(audit) = &self.audit else { return };
        for (change, access) in changes {
            let operation = match change {
                KeyChange::Added => "key_added",
                KeyChange::Changed => "key_changed",
                KeyChange::Removed => "key_removed",
            };
            let (now, ok) = (self.engine.now(), EventOutcome::Ok);
            let mut event = audit::server_event(now, operation, ok, Some(detail(&access)));
            event.access = Some(access);
            audit.tell(&mut Permit::default(), event);
        }
    }
}

/// What a key allows, and from where.
fn detail(access: &Access) -> String {
    let mut detail = format!("scopes {}", access.scopes);
    if let Some(name) = &access.certificate {
        detail += &format!(", certificate {name}");
    }
    if !access.from.is_empty() {
        let networks: Vec<_> = access.from.iter().map(ToString::to_string).collect();
        detail += &format!(", from {}", networks.join(" "));
    }
    detail
}

fn signing(engine: &Engine) -> Result<Signing, KeyError> {
    let key = Arc::new(SigningKey::from_seed(&engine.digester().audit_seed())?);
    let engine = engine.clone();
    Ok(Signing { key, log_end: Arc::new(move || log_end(&engine)) })
}

/// The end of the durable log, as checkpoints show it.
fn log_end(engine: &Engine) -> Option<LogEnd> {
    engine.durable_end().map(|(lsn, tag)| LogEnd { lsn, tag })
}
