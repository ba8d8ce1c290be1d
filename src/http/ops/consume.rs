//! Consume: the payload, and one use less.

use std::collections::HashMap;

use ahash::RandomState;
use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};

use super::resolve::{ArrayOfPayloads, too_much};
use crate::engine::{Op, Outcome};
use crate::http::answer::problem::Problem;
use crate::http::answer::refusal::{engine_problem, list_problem};
use crate::http::answer::response::{self, Body};
use crate::http::api::request_context::RequestContext;
use crate::http::config::ANSWER_LEN_MAX;
use crate::http::conn::context::Worker;
use crate::http::conn::memory_budget::{Charge, SMALL_LEN};
use crate::http::request::body::NO_ROOM;
use crate::http::request::head::idempotency_key;
use crate::http::request::list;
use crate::keys::Access;
use crate::model::token::{ConsumeKey, Digest};

/// `POST /v1/tokens/{token}/consume`
pub(in crate::http) async fn one(
    worker: &Worker,
    request: RequestContext<'_>,
    headers: HeaderMap,
    digest: Digest,
) -> Result<Response<Body>, Problem> {
    let key = idempotency_key(&headers)?.map(|key| consume_key(request.access, 0, key));
    let op = Op::Consume { digest, key };
    match request.trail.call_one(worker, op).await? {
        Outcome::Consumed { payload } | Outcome::Replayed { payload } => {
            Ok(response::json(headers, StatusCode::OK, payload.into()))
        }
        other => Err(engine_problem(&other)),
    }
}

/// `POST /v1/consume`: each token by itself.
pub(in crate::http) async fn batch(
    worker: &Worker,
    request: RequestContext<'_>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response<Body>, Problem> {
    let RequestContext { access, peer, trail, .. } = request;
    let key = idempotency_key(&headers)?;
    let (digests, referred) = list::tokens(worker, request, &body)?;
    drop(body);
    list::admit(worker, request, (&digests, &referred), digests.len())?;
    let _room = room_for_answer(worker, request, &digests)?;
    let mut answer = ArrayOfPayloads::new(digests.len(), referred);
    if !digests.is_empty() {
        let outcomes = trail.call(worker, consumes(access, key, digests)).await?;
        for outcome in outcomes {
            match outcome {
                Outcome::Consumed { payload } | Outcome::Replayed { payload } => {
                    answer.push(Some(&payload));
                }
                Outcome::NotFound => answer.push(None),
                Outcome::MemoryFull | Outcome::QuotaFull => return Err(not_all(&outcome)),
                other => return Err(list_problem(&other)),
            }
        }
    }
    worker.miss_limiter.charge(access, peer, worker.engine.now(), answer.misses);
    Ok(response::json(headers, StatusCode::OK, answer.finish()?))
}

/// A token was refused for its memory, and others may have been consumed: a call for each by itself,
/// with the same key, returns their payloads.
fn not_all(outcome: &Outcome) -> Problem {
    let what = match outcome {
        Outcome::QuotaFull => "the namespace holds as much as it may (--quota)",
        _ => "memory is full (--max-memory)",
    };
    Problem::new(
        StatusCode::INSUFFICIENT_STORAGE,
        format!(
            "{what}: at least one token was not consumed; consume each by itself, with the same \
             Idempotency-Key"
        ),
    )
}

/// Room for the answer, before anything is consumed: an answer that could not be given would lose
/// what was.
fn room_for_answer(
    worker: &Worker,
    request: RequestContext<'_>,
    digests: &[Digest],
) -> Result<Option<Charge>, Problem> {
    // A comma and brackets beside each payload, or a null in its place.
    const BESIDE: usize = 6;
    let count = digests.len();
    let len_max = count.saturating_mul(worker.config.max_payload.saturating_add(BESIDE));
    if len_max <= SMALL_LEN {
        return Ok(None);
    }
    let len = worker.engine.payload_bytes(digests) + count * BESIDE;
    if len > ANSWER_LEN_MAX {
        return Err(too_much());
    }
    let room = worker.budget.take(request.holder, len);
    room.map(Some).ok_or_else(|| Problem::unavailable(NO_ROOM))
}

/// One consume for each token. Under an `Idempotency-Key` the n-th place of a token is its n-th use
/// under that key: a retry gets the same array, and no use is given twice.
fn consumes(access: &Access, key: Option<&[u8]>, digests: Vec<Digest>) -> Vec<Op> {
    let Some(key) = key else {
        return digests.into_iter().map(|digest| Op::Consume { digest, key: None }).collect();
    };
    let mut repeats: HashMap<Digest, u32, RandomState> = HashMap::default();
    let first = consume_key(access, 0, key);
    let consume = |digest| {
        let places = repeats.entry(digest).or_insert(0);
        let repeat = std::mem::replace(places, *places + 1);
        let key = if repeat == 0 { first } else { consume_key(access, repeat, key) };
        Op::Consume { digest, key: Some(key) }
    };
    digests.into_iter().map(consume).collect()
}

fn consume_key(access: &Access, repeat: u32, key: &[u8]) -> ConsumeKey {
    access.digester.consume_key(&access.holder, repeat, key)
}
