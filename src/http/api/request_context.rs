//! The context of a request while its body is received: the service's context and the connection.

use std::rc::Rc;

use http::HeaderMap;

use crate::http::answer::problem::Problem;
use crate::http::conn::context::Worker;
use crate::http::conn::state::ConnState;
use crate::http::request::authorization;
use crate::http::request::body::Sender;
use crate::service::context::Context;
use crate::service::operation::Operation;
use crate::service::principal::demand;

/// The context for the operation, and the connection of the request.
#[derive(Clone, Copy)]
pub(in crate::http) struct RequestContext<'a> {
    pub(in crate::http) context: Context<'a>,
    pub(in crate::http) conn: &'a Rc<ConnState>,
}

impl<'a> RequestContext<'a> {
    /// The sender of the body.
    pub(super) fn sender(self) -> Sender<'a> {
        let (conn, holder) = (self.conn, self.context.holder);
        Sender { conn, holder, is_keyless: self.context.access.key.is_none() }
    }

    /// Admits the request again after its body was received. That may have taken as long as
    /// `--body-timeout`, and a key that was revoked or has expired meanwhile is no longer valid.
    pub(super) fn admit_again(
        self,
        worker: &Worker,
        headers: &HeaderMap,
        operation: Operation,
    ) -> Result<(), Problem> {
        let now = worker.service.now();
        let cached = &self.conn.client.credentials;
        let access = authorization::admit(&worker.service.authenticator, cached, headers, now)?;
        if access.key != self.context.access.key {
            return Err(Problem::wrong_key());
        }
        operation.scope().map_or(Ok(()), |scope| demand(&access, scope).map_err(Problem::from))
    }
}
