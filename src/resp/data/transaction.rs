//! `EXEC`: the commands of a transaction are performed together, all or nothing.
//!
//! Each command is read when the transaction is executed, as in Redis: one with a mistake has an
//! error for its answer, and the others are performed. All changes and reads of the others are one
//! call of the engine. Their changes stand in one frame of the log; if that is refused, for memory,
//! a quota or the disk, nothing was changed and the whole `EXEC` has the error.

use std::collections::VecDeque;

use bytes::Bytes;

use super::answer;
use super::asked::Asked;
use super::mistake::Mistake;
use super::perform::of_outcome;
use super::plan::{Answer, Ask, Got, Plan};
use super::table::Command;
use crate::engine::{Op, Outcome, Status};
use crate::model::time::UnixMillis;
use crate::model::token::Token;
use crate::resp::reply::Reply;
use crate::service::context::Context;
use crate::service::operation::Operation;
use crate::service::ops::issue::Wanted;
use crate::service::ops::together::{self, Step};
use crate::service::refusal::Refusal;

/// A command that waits for `EXEC`.
pub(in crate::resp) struct Queued {
    command: &'static Command,
    words: Vec<Bytes>,
}

impl Queued {
    pub(in crate::resp) fn new(command: &'static Command, words: Vec<Bytes>) -> Self {
        Self { command, words }
    }

    fn plan(&self, context: &Context<'_>) -> Result<Plan, Mistake> {
        let (name, words) = (self.command.name, &self.words[..]);
        (self.command.read)(&Asked { context, name, words, is_queued: true })
    }
}

/// How the outcomes of a command's part are understood.
enum Part {
    /// Outcomes as they are.
    Plain,
    /// Reads, of which only the status counts.
    Status,
    /// An issue of this token.
    Issue(Token),
}

/// A command whose part of the call is the `count` outcomes that come next.
struct Placed {
    part: Part,
    count: usize,
    answer: Answer,
}

/// Performs the commands together. Returns one answer for each, to be written in their order.
pub(in crate::resp) async fn execute(
    context: &Context<'_>,
    queued: &[Queued],
) -> Result<Executed, Refusal> {
    let mut steps = Vec::with_capacity(queued.len());
    let place = |queued: &Queued| {
        let Plan { ask, answer } = queued.plan(context)?;
        let from = steps.len();
        let part = add(context, queued.command.operation, ask, &mut steps)?;
        Ok(Placed { part, count: steps.len() - from, answer })
    };
    let placed: VecDeque<Result<Placed, Mistake>> = queued.iter().map(place).collect();
    let outcomes = match steps.is_empty() {
        true => Vec::new(),
        false => together::all(context, steps).await?,
    };
    let now = context.service.token_time();
    Ok(Executed { placed, outcomes: outcomes.into(), now })
}

/// The outcomes of a transaction.
pub(in crate::resp) struct Executed {
    placed: VecDeque<Result<Placed, Mistake>>,
    outcomes: VecDeque<Outcome>,
    now: UnixMillis,
}

impl Executed {
    /// Writes the answer of the next command.
    pub(in crate::resp) fn write_next(&mut self, reply: &mut Reply<'_>) {
        match self.placed.pop_front() {
            Some(Ok(Placed { part, count, answer })) => {
                let outcomes = self.outcomes.drain(..count.min(self.outcomes.len()));
                let got: Vec<Got> = outcomes.map(|outcome| part.got(outcome)).collect();
                answer::write(&answer, &got, self.now, reply);
            }
            Some(Err(mistake)) => answer::error(&mistake, reply),
            None => reply.null(),
        }
    }
}

impl Part {
    fn got(&self, outcome: Outcome) -> Got {
        match (self, outcome) {
            (Self::Status, Outcome::Found { payload_len, value_len, deadline, uses_left, .. }) => {
                Got::Status(Status { expires_at: deadline, uses_left, payload_len, value_len })
            }
            (Self::Issue(token), Outcome::Issued { deadline }) => {
                Got::Issued(token.clone(), deadline)
            }
            (_, outcome) => of_outcome(outcome),
        }
    }
}

/// Adds the operations of a command to the call.
fn add(
    context: &Context<'_>,
    operation: Operation,
    ask: Ask,
    steps: &mut Vec<Step>,
) -> Result<Part, Mistake> {
    let step = |op| Step::new(operation, op);
    match ask {
        Ask::Resolve(tokens) | Ask::Status(tokens) => {
            let read = |digest| step(Op::Read { digest });
            steps.extend(tokens.digests.into_iter().map(read));
            let is_status = matches!(operation, Operation::Status | Operation::StatusBatch);
            return Ok(if is_status { Part::Status } else { Part::Plain });
        }
        Ask::Consume(digest, None) => steps.push(step(Op::Consume { digest, key: None })),
        Ask::Revoke(tokens) => {
            let revoke = |digest| step(Op::Revoke { digest });
            steps.extend(tokens.digests.into_iter().map(revoke));
        }
        Ask::Delete(digests) => steps.extend(digests.into_iter().map(Step::delete)),
        Ask::Put(put) => steps.push(step(Op::Put(put))),
        Ask::SetDeadline(digest, deadline, when) => {
            steps.push(step(Op::SetDeadline { digest, deadline, when }));
        }
        Ask::Extend(tokens, ttl) => {
            let extend = |digest| step(Op::Extend { digest, ttl });
            steps.extend(tokens.digests.into_iter().map(extend));
        }
        Ask::Issue(wanted, None) => {
            let (op, token) = issue(context, wanted)?;
            steps.push(step(op));
            return Ok(Part::Issue(token));
        }
        Ask::Together(several) => steps.extend(several),
        // The readers of these commands refuse them within a transaction.
        Ask::Introspect(_)
        | Ask::Consume(_, Some(_))
        | Ask::ConsumeEach(..)
        | Ask::Issue(_, Some(_))
        | Ask::IssueEach(_) => return Err(Refusal::Unexpected.into()),
    }
    Ok(Part::Plain)
}

fn issue(context: &Context<'_>, wanted: Wanted) -> Result<(Op, Token), Mistake> {
    let token = context.service.token_source.token(context.now()).map_err(Refusal::NoRandom)?;
    let digest = context.access.digester.digest(&token);
    let Wanted { payload, ttl, uses, peek, .. } = wanted;
    let payload = payload.to_vec();
    Ok((Op::Issue { digest, payload, ttl, uses, peek, derived: false }, token))
}
