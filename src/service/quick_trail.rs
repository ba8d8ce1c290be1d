//! The audit trail of a request on a short way.

use std::net::SocketAddr;

use crate::audit::{self, Audit, By, Permit};
use crate::model::token::Digest;
use crate::service::audit_events::event;
use crate::service::audit_words::AuditedToken;
use crate::service::operation::Operation;
use crate::service::principal::Principal;
use crate::service::state::Service;

/// The trail of a resolve or an introspection on the hot path: its place is reserved before the look-up.
pub(crate) struct QuickTrail<'a> {
    audit: &'a Audit,
    permit: Permit,
}

impl QuickTrail<'_> {
    /// Reserves the place; `None` without an audit log.
    ///
    /// # Errors
    /// The audit log is required and has no free place.
    pub(crate) fn begin(service: &Service) -> Result<Option<QuickTrail<'_>>, audit::Refused> {
        let Some(audit) = &service.audit else { return Ok(None) };
        Ok(Some(QuickTrail { audit, permit: audit.reserve(1)? }))
    }

    /// Queues the event of the answer.
    #[cold]
    pub(crate) fn end(
        mut self,
        service: &Service,
        address: SocketAddr,
        admitted: &Principal,
        digest: Digest,
        (is_found, status): (bool, Option<u16>),
        operation: Operation,
    ) {
        let digest = Some(digest);
        let mut item = AuditedToken { digest, ..AuditedToken::default() };
        let outcome = item.looked_up(&service.engine, is_found);
        let (operation, now) = (operation.audited(), service.now());
        let mut event = event(service, address, Some(admitted), now, operation, outcome);
        event.status = status;
        (event.digest, event.by) = (digest, Some(By::Token));
        event.is_replay = item.is_replay;
        self.audit.tell(&mut self.permit, event);
    }
}
