//! Consume: the payload, and one use less.

use std::collections::HashMap;

use ahash::RandomState;

use crate::engine::{Op, Outcome};
use crate::keys::Access;
use crate::model::token::{ConsumeKey, Digest};
use crate::service::context::Context;
use crate::service::memory_budget::{Charge, SMALL_LEN};
use crate::service::refusal::{Changed, Refusal};
use crate::service::state::ANSWER_LEN_MAX;
use crate::service::tokens::{MissCount, Tokens};

/// What an answer has beside each payload, in bytes: a comma and brackets, or a null in its place.
const BESIDE: usize = 6;

/// Takes a use of a token; under `key` a retry returns the same payload and takes none.
pub(crate) async fn one(
    context: &Context<'_>,
    digest: Digest,
    key: Option<&[u8]>,
) -> Result<Vec<u8>, Refusal> {
    let key = key.map(|key| consume_key(context.access, 0, key));
    match context.call_one(Op::Consume { digest, key }).await? {
        Outcome::Consumed { payload } | Outcome::Replayed { payload } => Ok(payload),
        Outcome::NotFound => Err(context.missed()),
        other => Err(Refusal::of(&other, Changed::Nothing)),
    }
}

/// Takes a use of each token by itself, and gives its payload to `read`, in the order asked; `None`
/// where there is none.
pub(crate) async fn many(
    context: &Context<'_>,
    tokens: Tokens,
    key: Option<&[u8]>,
    mut read: impl FnMut(Option<&[u8]>),
) -> Result<(), Refusal> {
    context.admit(tokens.digests.len())?;
    context.trail.list(&tokens)?;
    let _room = room_for_answer(context, &tokens.digests)?;
    let Tokens { digests, by_reference } = tokens;
    let mut count = MissCount::new(&by_reference);
    let changed = key.map_or(Changed::UsesPerhaps, |_| Changed::KeyedUsesPerhaps);
    for outcome in context.call(consumes(context.access, key, digests)).await? {
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

/// Room for the answer, before anything is consumed: an answer that could not be given would lose
/// what was.
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

/// One consume for each token. Under a key the n-th place of a token is its n-th use under that key:
/// a retry gets the same array, and no use is given twice.
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
