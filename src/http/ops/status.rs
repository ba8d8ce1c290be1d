//! Status: what is known about tokens, without their payloads and without taking a use.

use http::{HeaderMap, Response, StatusCode};

use super::resolve::ArrayOfPayloads;
use crate::engine::{Outcome, Status};
use crate::http::answer::problem::Problem;
use crate::http::answer::response::{self, Body};
use crate::http::api::request_context::RequestContext;
use crate::http::conn::context::Worker;
use crate::http::request::list;
use crate::model::token::Digest;

/// `GET /v1/tokens/{token}/status`
pub(in crate::http) fn one(
    worker: &Worker,
    headers: HeaderMap,
    digest: &Digest,
) -> Result<Response<Body>, Problem> {
    let engine = &worker.engine;
    let status = engine.status(digest, engine.now()).ok_or_else(Problem::not_found)?;
    Ok(response::json(headers, StatusCode::OK, text(&status).into()))
}

/// `POST /v1/status`: an array in the order asked, `null` where there is nothing.
pub(in crate::http) fn batch(
    worker: &Worker,
    request: RequestContext<'_>,
    headers: HeaderMap,
    body: &[u8],
) -> Result<Response<Body>, Problem> {
    let (engine, now) = (&worker.engine, worker.engine.now());
    let RequestContext { access, peer, trail, .. } = request;
    let (digests, referred) = list::tokens(worker, request, body)?;
    list::admit(worker, request, (&digests, &referred), digests.len())?;
    let mut answer = ArrayOfPayloads::new(digests.len(), referred);
    for (place, digest) in digests.iter().enumerate() {
        let found = engine.status(digest, now).map(|status| text(&status));
        if found.is_none() {
            trail.came_to(place, &Outcome::NotFound);
        }
        answer.push(found.as_deref().map(str::as_bytes));
    }
    worker.miss_limiter.charge(access, peer, now, answer.misses);
    Ok(response::json(headers, StatusCode::OK, answer.finish()?))
}

fn text(status: &Status) -> String {
    format!(
        r#"{{"expires_at":"{}","uses_left":{},"size":{}}}"#,
        status.expires_at, status.uses_left, status.payload_len
    )
}
