//! Extend: a later deadline. The engine keeps it within the issue plus `--max-ttl`,
//! or what the namespace's quota has.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};

use super::resolve::ArrayOfPayloads;
use crate::engine::{Op, Outcome};
use crate::http::answer::problem::Problem;
use crate::http::answer::refusal::{engine_problem, list_problem};
use crate::http::answer::response::{self, Body};
use crate::http::api::request_context::RequestContext;
use crate::http::conn::context::Worker;
use crate::http::request::json;
use crate::http::request::list;
use crate::model::time::UnixMillis;
use crate::model::token::Digest;

/// `PATCH /v1/tokens/{token}`
pub(in crate::http) async fn one(
    worker: &Worker,
    request: RequestContext<'_>,
    headers: HeaderMap,
    digest: Digest,
    body: Bytes,
) -> Result<Response<Body>, Problem> {
    let [ttl] = json::object(&body, &["ttl"])?;
    let max = ttl_max(worker, request);
    let missing = || Problem::malformed("ttl: the field is missing").about("ttl");
    let ttl = json::ttl(ttl.ok_or_else(missing)?, max)?;
    match request.trail.call_one(worker, Op::Extend { digest, ttl }).await? {
        Outcome::Extended { deadline } => {
            Ok(response::json(headers, StatusCode::OK, text(deadline).into()))
        }
        other => Err(engine_problem(&other)),
    }
}

/// `POST /v1/extend`: each token by itself; an array in the order asked, `null` where there is
/// nothing.
pub(in crate::http) async fn batch(
    worker: &Worker,
    request: RequestContext<'_>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response<Body>, Problem> {
    let RequestContext { access, peer, trail, .. } = request;
    let (digests, referred, ttl) =
        list::tokens_and_ttl(worker, request, &body, ttl_max(worker, request))?;
    drop(body);
    list::admit(worker, request, (&digests, &referred), digests.len())?;
    let mut answer = ArrayOfPayloads::new(digests.len(), referred);
    if !digests.is_empty() {
        let ops = digests.into_iter().map(|digest| Op::Extend { digest, ttl }).collect();
        for outcome in trail.call(worker, ops).await? {
            match outcome {
                Outcome::Extended { deadline } => answer.push(Some(text(deadline).as_bytes())),
                Outcome::NotFound => answer.push(None),
                other => return Err(list_problem(&other)),
            }
        }
    }
    worker.miss_limiter.charge(access, peer, worker.engine.now(), answer.misses);
    Ok(response::json(headers, StatusCode::OK, answer.finish()?))
}

fn ttl_max(worker: &Worker, request: RequestContext<'_>) -> Duration {
    worker.config.quotas.ttl_max(&request.access.digester, worker.config.max_ttl)
}

fn text(deadline: UnixMillis) -> String {
    format!(r#"{{"expires_at":"{deadline}"}}"#)
}
