//! Events of the audit log: those of a trail, and those of what has no trail.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::audit::{self, Event, EventOutcome, Permit};
use crate::keys::Access;
use crate::model::time::UnixMillis;
use crate::service::operation::Operation;
use crate::service::principal::Principal;
use crate::service::reads::Reads;
use crate::service::refusal::Refusal;
use crate::service::state::Service;

pub(super) fn event(
    service: &Service,
    address: SocketAddr,
    access: Option<&Arc<Access>>,
    now: UnixMillis,
    operation: &'static str,
    outcome: EventOutcome,
) -> Event {
    let mut event = audit::event(now, address, access.cloned(), operation, outcome);
    let has_keys = service.authenticator.has_keys();
    event.position = service.reads.as_ref().map(Reads::position).unwrap_or_default();
    event.is_anonymous = has_keys && access.is_some_and(|access| access.key.is_none());
    event
}

/// Logs a request that was refused before its tokens were looked at.
pub(crate) fn refused(
    service: &Service,
    address: SocketAddr,
    operation: Operation,
    principal: Option<&Principal>,
    refusal: &Refusal,
) {
    let (access, operation) = (principal.map(|principal| &**principal), operation.audited());
    tell(service, address, access, operation, refusal.meaning());
}

/// Logs a connection without a request: it spoke another protocol, or presented a certificate that
/// was rejected.
pub(crate) fn turned_away(service: &Service, address: SocketAddr, outcome: EventOutcome) {
    tell(service, address, None, "connect", outcome);
}

/// Logs what has no trail.
fn tell(
    service: &Service,
    address: SocketAddr,
    access: Option<&Arc<Access>>,
    operation: &'static str,
    outcome: EventOutcome,
) {
    let Some(audit) = &service.audit else { return };
    let event = event(service, address, access, service.now(), operation, outcome);
    audit.tell(&mut Permit::default(), event);
}
