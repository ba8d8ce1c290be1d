//! Revoke: the token is gone, whether it was there or not.

use http::Response;

use super::respond::{self, Body, Problem};
use super::service::{engine_problem, rejected};
use super::worker::Worker;
use crate::engine::{Op, Outcome};
use crate::token::Digest;

/// `DELETE /v1/tokens/{token}`
pub(super) async fn one(worker: &Worker, digest: Digest) -> Result<Response<Body>, Problem> {
    match worker.caller.call_one(Op::Revoke { digest }).await.map_err(rejected)? {
        Outcome::Revoked | Outcome::NotFound => Ok(respond::no_content()),
        other => Err(engine_problem(&other)),
    }
}
