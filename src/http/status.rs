//! Status: what is known about a token, without its payload and without taking a use.

use http::{HeaderMap, Response, StatusCode};

use super::respond::{self, Body, Problem};
use super::worker::Worker;
use crate::token::Digest;

/// `GET /v1/tokens/{token}/status`
pub(super) fn one(
    worker: &Worker,
    headers: HeaderMap,
    digest: &Digest,
) -> Result<Response<Body>, Problem> {
    let engine = &worker.engine;
    let status = engine.status(digest, engine.now()).ok_or_else(Problem::not_found)?;
    let answer = format!(
        r#"{{"expires_at":"{}","uses_left":{},"size":{}}}"#,
        status.expires_at, status.uses_left, status.payload_len
    );
    Ok(respond::json(headers, StatusCode::OK, answer.into()))
}
