//! Revoke: the token is gone, whether it was there or not.

use http::Response;

use super::refusal::engine_problem;
use super::respond::{self, Body, Problem};
use super::service::Asker;
use super::worker::Worker;
use crate::engine::{Op, Outcome};
use crate::token::Digest;

/// `DELETE /v1/tokens/{token}`
pub(super) async fn one(
    worker: &Worker,
    asker: Asker<'_>,
    digest: Digest,
) -> Result<Response<Body>, Problem> {
    match asker.trail.call_one(worker, Op::Revoke { digest }).await? {
        Outcome::Revoked | Outcome::NotFound => Ok(respond::no_content()),
        other => Err(engine_problem(&other)),
    }
}
