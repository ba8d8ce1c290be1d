//! Consume: the payload, and one use less.

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};

use super::list;
use super::resolve::{ANSWER_LEN_MAX, ArrayOfPayloads, too_much};
use super::respond::{self, Body, Problem};
use super::service::{Asker, engine_problem, idempotency_key};
use super::worker::Worker;
use crate::engine::{Op, Outcome};
use crate::entry::PAYLOAD_LEN_MAX;
use crate::keys::Access;
use crate::token::{ConsumeKey, Digest};

/// `POST /v1/tokens/{token}/consume`
pub(super) async fn one(
    worker: &Worker,
    asker: Asker<'_>,
    headers: HeaderMap,
    digest: Digest,
) -> Result<Response<Body>, Problem> {
    let key = consume_key(asker.access, &headers)?;
    let op = Op::Consume { digest, key };
    match asker.trail.call_one(worker, op).await? {
        Outcome::Consumed { payload } | Outcome::Replayed { payload } => {
            Ok(respond::json(headers, StatusCode::OK, payload.into()))
        }
        other => Err(engine_problem(&other)),
    }
}

/// `POST /v1/consume`: each token by itself.
pub(super) async fn batch(
    worker: &Worker,
    asker: Asker<'_>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response<Body>, Problem> {
    let Asker { access, peer, trail } = asker;
    let key = consume_key(access, &headers)?;
    let by_reference = || worker.guard.look(access, peer, worker.engine.now());
    let (digests, referred) =
        list::token_list(&body, access, worker.config.max_batch, &by_reference)?;
    drop(body);
    trail.list(&digests, &referred)?;
    // What was consumed is answered, so who misses too much is refused before.
    worker.guard.miss(access, peer, worker.engine.now(), 0)?;
    check_answer_len(worker, &digests)?;
    let mut answer = ArrayOfPayloads::new(digests.len());
    if !digests.is_empty() {
        let ops = digests.into_iter().map(|digest| Op::Consume { digest, key });
        let outcomes = trail.call(worker, ops.collect()).await?;
        for outcome in outcomes {
            match outcome {
                Outcome::Consumed { payload } | Outcome::Replayed { payload } => {
                    answer.push(Some(&payload));
                }
                Outcome::NotFound => answer.push(None),
                other => return Err(engine_problem(&other)),
            }
        }
    }
    if answer.misses > 0 {
        // Counted against the next request.
        let _ = worker.guard.miss(access, peer, worker.engine.now(), answer.misses);
    }
    Ok(respond::json(headers, StatusCode::OK, answer.finish()?))
}

/// Before anything is consumed: an answer that could not be given would lose what was.
fn check_answer_len(worker: &Worker, digests: &[Digest]) -> Result<(), Problem> {
    // A comma and brackets beside each payload, or a null in its place.
    const BESIDE: usize = 6;
    let count = digests.len();
    if count * (PAYLOAD_LEN_MAX + BESIDE) <= ANSWER_LEN_MAX {
        return Ok(());
    }
    let len = worker.engine.payload_bytes(digests) + count * BESIDE;
    if len > ANSWER_LEN_MAX {
        return Err(too_much());
    }
    Ok(())
}

fn consume_key(access: &Access, headers: &HeaderMap) -> Result<Option<ConsumeKey>, Problem> {
    let key = idempotency_key(headers)?;
    Ok(key.map(|key| access.digester.consume_key(key)))
}
