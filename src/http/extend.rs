//! Extend: a later deadline. The engine keeps it within the issue plus `--max-ttl`,
//! or what the namespace's quota has.

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};

use super::json;
use super::respond::{self, Body, Problem};
use super::service::{engine_problem, rejected};
use super::worker::Worker;
use crate::engine::{Op, Outcome};
use crate::keys::Access;
use crate::token::Digest;

/// `PATCH /v1/tokens/{token}`
pub(super) async fn one(
    worker: &Worker,
    access: &Access,
    headers: HeaderMap,
    digest: Digest,
    body: Bytes,
) -> Result<Response<Body>, Problem> {
    let [ttl] = json::object(&body, &["ttl"])?;
    let max = worker.config.quotas.ttl_max(&access.digester, worker.config.max_ttl);
    let missing = || Problem::malformed("ttl: the field is missing").about("ttl");
    let ttl = json::ttl(ttl.ok_or_else(missing)?, max)?;
    match worker.caller.call_one(Op::Extend { digest, ttl }).await.map_err(rejected)? {
        Outcome::Extended { deadline } => {
            let answer = format!(r#"{{"expires_at":"{deadline}"}}"#);
            Ok(respond::json(headers, StatusCode::OK, answer.into()))
        }
        other => Err(engine_problem(&other)),
    }
}
