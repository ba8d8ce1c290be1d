//! Consume: returns the payload and uses up one use.

use std::collections::HashMap;

use ahash::RandomState;

use crate::engine::{Op, Outcome};
use crate::keys::Access;
use crate::model::token::{ConsumeKey, Digest};
use crate::service::audit_trail::Asked;
use crate::service::context::Context;
use crate::service::memory_budget::{Charge, SMALL_LEN};
use crate::service::refusal::{Changed, Refusal};
use crate::service::state::ANSWER_LEN_MAX;
use crate::service::tokens::{MissCount, Tokens};

/// Bytes of an answer besides each payload: a comma and brackets, or a null instead.
const BESIDE: usize = 6;

/// Consumes a use of a token. With `key`, a retry returns the same payload and consumes no use.
pub(crate) async fn one(
    context: &Context<'_>,
    digest: Digest,
    key: Option<&[u8]>,
) -> Result<Vec<u8>, Refusal> {
    let changed = key.map_or(Changed::Use, |_| Changed::KeyedUse);
    let key = key.map(|key| consume_key(context.access, 0, key));
    let op = Op::Consume { digest, key };
    context.may_ask(&op)?;
    match context.call_one(op).await? {
        Outcome::Consumed { payload } | Outcome::Replayed { payload } => Ok(payload),
        Outcome::NotFound => Err(context.missed()),
        other => Err(Refusal::of(&other, changed)),
    }
}

/// Consumes a use of each token separately, and passes its payload to `read`, in the order of the
/// request; `None` for a token that was not found.
pub(crate) async fn many(
    context: &Context<'_>,
    tokens: Tokens,
    key: Option<&[u8]>,
    mut read: impl FnMut(Option<&[u8]>),
) -> Result<(), Refusal> {
    context.admit(tokens.digests.len())?;
    context.trail.list(&tokens)?;
    let asked = learn_payloads(context, &tokens.digests).await?;
    let _room = room_for_answer(context, &tokens.digests)?;
    let Tokens { digests, by_reference } = tokens;
    let mut count = MissCount::new(&by_reference);
    let changed = key.map_or(Changed::UsesPerhaps, |_| Changed::KeyedUsesPerhaps);
    for outcome in context.call_as(consumes(context.access, key, digests), asked).await? {
        let payload = match &outcome {
            Outcome::Consumed { payload } | Outcome::Replayed { payload } => Some(&payload[..]),
            Outcome::NotFound => None,
            other => return Err(Refusal::of(other, changed)),
        };
        count.next(payload.is_some());
        read(payload);
    }
    context.charge(count.misses);
    Ok(())
}

/// In a cluster, learns of the tokens that other nodes have issued a moment ago: their payloads need
/// room too. The engine then needs no barrier of its own for what is unknown.
async fn learn_payloads(context: &Context<'_>, digests: &[Digest]) -> Result<Asked, Refusal> {
    match &context.service.reads {
        Some(reads) if !context.service.engine.knows(digests) => {
            context.learn_all(reads).await?;
            Ok(Asked::AfterBarrier)
        }
        _ => Ok(Asked::Now),
    }
}

/// Reserves memory for the answer before the consumes: without an answer, the consumed payloads
/// would be lost.
fn room_for_answer(context: &Context<'_>, digests: &[Digest]) -> Result<Option<Charge>, Refusal> {
    let (service, count) = (context.service, digests.len());
    let len_max = count.saturating_mul(service.limits.max_payload.saturating_add(BESIDE));
    if len_max <= SMALL_LEN {
        return Ok(None);
    }
    let len = service.engine.payload_bytes(digests) + count * BESIDE;
    if len > ANSWER_LEN_MAX {
        return Err(Refusal::AnswerTooLong);
    }
    let room = service.budget.take(context.holder, len);
    room.map(Some).ok_or(Refusal::NoRoom)
}

/// Makes one consume for each token. With a key, the n-th occurrence of a token is its n-th use
/// under that key: a retry returns the same array, and each use is consumed only once.
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
