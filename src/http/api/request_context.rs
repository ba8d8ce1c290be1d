//! A request while its body is gathered: the service's context, and the connection it came over.

use std::rc::Rc;

use http::HeaderMap;

use crate::http::answer::problem::Problem;
use crate::http::conn::context::Worker;
use crate::http::conn::state::ConnState;
use crate::http::request::authorization;
use crate::service::context::Context;
use crate::service::operation::Operation;
use crate::service::principal::demand;

/// The context that the operation will get, and the connection over which the request came.
#[derive(Clone, Copy)]
pub(in crate::http) struct RequestContext<'a> {
    pub(in crate::http) context: Context<'a>,
    pub(in crate::http) conn: &'a Rc<ConnState>,
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
        let now = worker.service.now();
        let cached = &self.conn.credentials;
        let access = authorization::admit(&worker.service.authenticator, cached, headers, now)?;
        if access.key != self.context.access.key {
            return Err(Problem::wrong_key());
        }
        operation.scope().map_or(Ok(()), |scope| demand(&access, scope).map_err(Problem::from))
    }
}
