//! What an operation knows of its request beside what it asks for.

use std::net::IpAddr;
use std::rc::Rc;

use http::HeaderMap;

use crate::http::answer::problem::Problem;
use crate::http::api::audit_trail::Trail;
use crate::http::conn::context::Worker;
use crate::http::conn::memory_budget::Holder;
use crate::http::conn::state::ConnState;
use crate::http::request::authorization;
use crate::keys::Access;
use crate::service::operation::Operation;
use crate::service::principal::demand;

/// Who asks, from where, over which connection, and what is audited of it.
#[derive(Clone, Copy)]
pub(in crate::http) struct RequestContext<'a> {
    pub(in crate::http) access: &'a Access,
    pub(in crate::http) peer: IpAddr,
    pub(in crate::http) trail: &'a Trail,
    pub(in crate::http) conn: &'a Rc<ConnState>,
    /// Who holds the memory that the request takes.
    pub(in crate::http) holder: &'a Holder,
}

impl RequestContext<'_> {
    /// Admits the request again once its body is there: it may have taken as long as the time limit
    /// of a body, and a key that was revoked or has expired meanwhile opens nothing any more.
    pub(super) fn admit_again(
        self,
        worker: &Worker,
        headers: &HeaderMap,
        operation: Operation,
    ) -> Result<(), Problem> {
        let now = worker.engine.now();
        let cached = &self.conn.credentials;
        let access = authorization::admit(&worker.authenticator, cached, headers, now)?;
        if access.key != self.access.key {
            return Err(Problem::wrong_key());
        }
        operation.scope().map_or(Ok(()), |scope| demand(&access, scope).map_err(Problem::from))
    }
}
