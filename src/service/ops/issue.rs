//! Issue: creates one token, or a batch.

use std::time::Duration;

use bytes::Bytes;

use super::offer::{Offer, taken};
use crate::audit::{By, EventOutcome};
use crate::engine::{Op, Outcome};
use crate::model::reference::Reference;
use crate::model::time::UnixMillis;
use crate::model::token::Token;
use crate::service::context::Context;
use crate::service::networks::Misses;
use crate::service::refusal::{Changed, Refusal};

/// A token that a client wants to be issued.
pub(crate) struct Wanted {
    /// The part of the request that is kept until the token is made.
    pub(crate) payload: Bytes,
    pub(crate) ttl: Duration,
    pub(crate) uses: u32,
    pub(crate) peek: bool,
    pub(crate) reference: Option<Reference>,
}

/// An issued token.
#[derive(Clone)]
pub(crate) struct Issued {
    pub(crate) token: Token,
    pub(crate) deadline: UnixMillis,
    /// False if its reference or key was issued before.
    pub(crate) is_new: bool,
}

/// The `Idempotency-Key` of an issue.
#[derive(Clone, Copy)]
enum IssueKey<'k> {
    /// Of one token.
    Alone(&'k [u8]),
    /// Of the token at this place of a batch.
    InBatch(&'k [u8], u32),
}

/// A requested token, and the comparison to make if its reference or key is taken.
struct Asked {
    token: Token,
    /// Set if a reference or a key names the token.
    offer: Option<Offer>,
}

impl Wanted {
    /// The token to issue, and the engine's command for it.
    fn into_op(
        self,
        key: Option<IssueKey<'_>>,
        context: &Context<'_>,
    ) -> Result<(Asked, Op), Refusal> {
        let access = context.access;
        let digester = &access.digester;
        let (token, by) = match (&self.reference, key) {
            (Some(reference), _) => {
                (digester.token_for_reference(reference.canonical()), Some(By::Reference))
            }
            (None, Some(key)) => {
                let token = match key {
                    IssueKey::Alone(key) => digester.token_for_issue_key(&access.holder, key),
                    IssueKey::InBatch(key, place) => {
                        digester.token_for_batch_key(&access.holder, place, key)
                    }
                };
                (token, Some(By::IdempotencyKey))
            }
            (None, None) => {
                let token = context.service.token_source.token(context.now());
                (token.map_err(Refusal::NoRandom)?, None)
            }
        };
        let (digest, uses, peek) = (digester.digest(&token), self.uses, self.peek);
        let (payload, ttl) = (self.payload.to_vec(), self.ttl);
        let derived = by.is_some();
        let offer = by.map(|by| Offer { digest, payload: self.payload, uses, peek, by });
        Ok((Asked { token, offer }, Op::Issue { digest, payload, ttl, uses, peek, derived }))
    }
}

impl Asked {
    fn by(&self) -> Option<By> {
        self.offer.as_ref().map(|offer| offer.by)
    }

    /// The issued token after the engine's answer, or why it is not issued. `place` is its position
    /// in the request.
    fn settle(
        &self,
        context: &Context<'_>,
        place: usize,
        outcome: Outcome,
    ) -> Result<Issued, Refusal> {
        let outcome = match &self.offer {
            Some(offer) => offer.settle(context, place, outcome)?,
            None => outcome,
        };
        let (deadline, is_new) = match outcome {
            Outcome::Issued { deadline } => (deadline, true),
            Outcome::Exists { deadline } => (deadline, false),
            other => {
                let taken = taken(&other, self.by(), context.access).map(Refusal::Taken);
                let changed = self.by().map_or(Changed::Issued, |_| Changed::KeyedIssued);
                return Err(taken.unwrap_or_else(|| Refusal::of(&other, changed)));
            }
        };
        Ok(Issued { token: self.token.clone(), deadline, is_new })
    }

    fn is_taken_reference(&self, settled: &Result<Issued, Refusal>) -> bool {
        self.by() == Some(By::Reference) && matches!(settled, Err(Refusal::Taken(_)))
    }
}

/// Whether the namespace may issue `count` more tokens now.
pub(crate) fn admit(context: &Context<'_>, count: usize) -> Result<(), Refusal> {
    context.service.quotas.admit_issues(&context.access.digester, context.now(), count)
}

/// Issuing by reference reveals whether the reference is taken, so it is admitted like a look-up.
fn admit_references(context: &Context<'_>, count: usize) -> Result<(), Refusal> {
    if count == 0 {
        return Ok(());
    }
    context.admit(count)?;
    context.look_by_reference()
}

/// Taken references count as misses.
fn charge_references(context: &Context<'_>, taken: usize) {
    context.charge(Misses { all: taken, by_reference: taken });
}

/// Issues a token. With `key`, which excludes a reference, a repetition returns the same token.
pub(crate) async fn one(
    context: &Context<'_>,
    wanted: Wanted,
    key: Option<&[u8]>,
) -> Result<Issued, Refusal> {
    admit(context, 1)?;
    let (asked, op) = wanted.into_op(key.map(IssueKey::Alone), context)?;
    context.trail.issue(*op.digest(), asked.by());
    admit_references(context, usize::from(asked.by() == Some(By::Reference)))?;
    let outcome = context.call_one(op).await?;
    let settled = asked.settle(context, 0, outcome);
    if asked.is_taken_reference(&settled) {
        charge_references(context, 1);
    }
    settled
}

/// Issues each of `wanted`, which were [admitted](admit), separately. An item that could not be
/// parsed is passed through in its position; `meaning` is its outcome for the audit log. With `key`,
/// which excludes references, a repetition returns the same token at each place.
///
/// # Errors
/// No token was issued.
pub(crate) async fn many<E: From<Refusal>>(
    context: &Context<'_>,
    wanted: Vec<Result<Wanted, E>>,
    key: Option<&[u8]>,
    meaning: impl Fn(&E) -> EventOutcome,
) -> Result<Vec<Result<Issued, E>>, Refusal> {
    let mut ops = Vec::with_capacity(wanted.len());
    let mut places = Vec::with_capacity(wanted.len());
    for (place, wanted) in (0_u32..).zip(wanted) {
        let key = key.map(|key| IssueKey::InBatch(key, place));
        let asked = wanted.and_then(|wanted| Ok(wanted.into_op(key, context)?));
        places.push(match asked {
            Ok((asked, op)) => {
                context.trail.issue(*op.digest(), asked.by());
                ops.push(op);
                Ok(asked)
            }
            Err(error) => {
                context.trail.not_issued(meaning(&error));
                Err(error)
            }
        });
    }
    let by_reference = |asked: &&Asked| asked.by() == Some(By::Reference);
    admit_references(context, places.iter().flatten().filter(by_reference).count())?;
    let mut outcomes = context.call(ops).await?.into_iter();
    let mut taken = 0;
    let settle = |(place, asked): (usize, Result<Asked, E>)| {
        let asked = asked?;
        // One outcome for each command, in order: the engine's promise.
        let outcome = outcomes.next().unwrap_or(Outcome::Unsynced);
        let settled = asked.settle(context, place, outcome);
        taken += usize::from(asked.is_taken_reference(&settled));
        Ok(settled?)
    };
    let results = places.into_iter().enumerate().map(settle).collect();
    charge_references(context, taken);
    Ok(results)
}
