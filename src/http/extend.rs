//! Extend: a later deadline. The engine keeps it within the issue plus `--max-ttl`,
//! or what the namespace's quota has.

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};

use super::json;
use super::refusal::engine_problem;
use super::respond::{self, Body, Problem};
use super::service::Asker;
use super::worker::Worker;
use crate::engine::{Op, Outcome};
use crate::token::Digest;

/// `PATCH /v1/tokens/{token}`
pub(super) async fn one(
    worker: &Worker,
    asker: Asker<'_>,
    headers: HeaderMap,
    digest: Digest,
    body: Bytes,
) -> Result<Response<Body>, Problem> {
    let [ttl] = json::object(&body, &["ttl"])?;
    let max = worker.config.quotas.ttl_max(&asker.access.digester, worker.config.max_ttl);
    let missing = || Problem::malformed("ttl: the field is missing").about("ttl");
    let ttl = json::ttl(ttl.ok_or_else(missing)?, max)?;
    match asker.trail.call_one(worker, Op::Extend { digest, ttl }).await? {
        Outcome::Extended { deadline } => {
            let answer = format!(r#"{{"expires_at":"{deadline}"}}"#);
            Ok(respond::json(headers, StatusCode::OK, answer.into()))
        }
        other => Err(engine_problem(&other)),
    }
}
