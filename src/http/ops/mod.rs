//! The operations over HTTP, one file each: each parses the body into the arguments of
//! [`service::ops`](crate::service::ops) and makes an answer from the outcome.

use bytes::Bytes;
use http::{HeaderMap, Response};

use crate::http::answer::problem::Problem;
use crate::http::answer::response::Body;
use crate::model::token::Digest;
use crate::service::context::Context;

pub(in crate::http) mod consume;
pub(in crate::http) mod extend;
pub(in crate::http) mod introspect;
pub(in crate::http) mod issue;
pub(in crate::http) mod put;
pub(in crate::http) mod resolve;
pub(in crate::http) mod revoke;
pub(in crate::http) mod status;

/// An answer, or the problem.
pub(in crate::http) type Answered = Result<Response<Body>, Problem>;

/// A request with its complete body.
pub(in crate::http) struct Request<'a> {
    pub(in crate::http) context: Context<'a>,
    /// Reused for the answer, so that nothing is allocated for its headers.
    pub(in crate::http) headers: HeaderMap,
    /// The token in the path or in the form.
    pub(in crate::http) token: Option<Digest>,
    pub(in crate::http) body: Bytes,
}

impl Request<'_> {
    /// The token in the path.
    ///
    /// # Errors
    /// 404 if the path of the endpoint has no `{token}`.
    fn token(&self) -> Result<Digest, Problem> {
        self.token.ok_or_else(Problem::not_found)
    }
}
