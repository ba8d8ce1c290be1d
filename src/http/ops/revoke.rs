//! Revoke: the token is gone, whether it was there or not.

use bytes::Bytes;
use http::Response;

use crate::engine::{Op, Outcome};
use crate::http::answer::problem::Problem;
use crate::http::answer::refusal::{engine_problem, list_problem};
use crate::http::answer::response::{self, Body};
use crate::http::api::request_context::RequestContext;
use crate::http::conn::context::Worker;
use crate::http::request::list;
use crate::model::token::Digest;
use crate::service::networks::Misses;

/// `DELETE /v1/tokens/{token}`
pub(in crate::http) async fn one(
    worker: &Worker,
    request: RequestContext<'_>,
    digest: Digest,
) -> Result<Response<Body>, Problem> {
    match request.trail.call_one(worker, Op::Revoke { digest }).await? {
        Outcome::Revoked | Outcome::NotFound => Ok(response::no_content()),
        other => Err(engine_problem(&other)),
    }
}

/// `POST /v1/revoke`: one answer for all tokens, so that nobody learns which of them lived. For the
/// same reason each look-up by a reference counts as a miss, whether it found something or not.
pub(in crate::http) async fn batch(
    worker: &Worker,
    request: RequestContext<'_>,
    body: Bytes,
) -> Result<Response<Body>, Problem> {
    let RequestContext { access, peer, trail, .. } = request;
    let (digests, referred) = list::tokens(worker, request, &body)?;
    drop(body);
    if referred.is_empty() {
        // Tokens alone are revoked as by `DELETE`, whatever is owed.
        trail.list(&digests, &referred)?;
    } else {
        list::admit(worker, request, (&digests, &referred), referred.len())?;
        let misses = Misses { all: referred.len(), by_reference: referred.len() };
        worker.miss_limiter.charge(access, peer, worker.engine.now(), misses);
    }
    if !digests.is_empty() {
        let ops = digests.into_iter().map(|digest| Op::Revoke { digest }).collect();
        for outcome in trail.call(worker, ops).await? {
            if !matches!(outcome, Outcome::Revoked | Outcome::NotFound) {
                return Err(list_problem(&outcome));
            }
        }
    }
    Ok(response::no_content())
}
