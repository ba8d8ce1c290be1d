//! Serves the handles during one session.

use std::rc::Rc;

use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use tokio::task::spawn_local;
use tokio::time::timeout;

use super::command::{Ask, Command, End, Told};
use super::session::{Queues, Session};
use super::tail::Tail;
use super::{follow, watch};
use crate::cluster::stream::{CALL_LIMIT, Hint, StreamError};

/// Serves the handles until the connection ends or there is no handle any more.
pub(super) async fn run(
    session: &Rc<Session>,
    queues: Queues,
    commands: &mut mpsc::Receiver<Command>,
    told: &mut Told,
) -> End {
    let Queues { tail, mut answers, mut left } = queues;
    let of_answers = session.clone();
    spawn_local(async move {
        while let Some(answer) = answers.next().await {
            of_answers.route(answer);
        }
    });
    spawn_local(watch::run(session.clone()));
    let read = Rc::new(Tail::default());
    spawn_local(read.clone().read(session.names.stream.clone(), tail));
    spawn_local(follow::run(session.clone(), read));
    let mut refused = String::new();
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                None => return End::Closed,
                Some(Command::Propose(message)) => session.propose(message).await,
                Some(Command::Ask(ask)) => drop(spawn_local(serve(session.clone(), ask))),
            },
            Some(why) = told.refused.recv() => {
                if refused != why {
                    tracing::warn!(%why, "refused by a server of the cluster's stream");
                    refused.clone_from(&why);
                }
                session.shared.answer(Err(Hint::Refused(why)));
            }
            ended = told.ended.recv() => {
                return End::Left(ended.unwrap_or_else(|| "the client has ended".to_owned()));
            }
            Some(why) = left.recv() => return End::Left(why),
        }
    }
}

async fn serve(session: Rc<Session>, ask: Ask) {
    async fn limited<T>(
        work: impl Future<Output = Result<T, StreamError>>,
    ) -> Result<T, StreamError> {
        timeout(CALL_LIMIT, work).await.unwrap_or(Err(StreamError::TimedOut))
    }
    // A handle that no longer waits needs no answer.
    match ask {
        Ask::Bounds(reply) => drop(reply.try_send(limited(session.bounds()).await)),
        Ask::Trim(seq, reply) => drop(reply.try_send(limited(session.trim(seq)).await)),
        Ask::Promises(reply) => drop(reply.try_send(limited(session.promises()).await)),
        Ask::Create(chosen, reply) => {
            drop(reply.try_send(limited(session.create(chosen)).await));
        }
        Ask::Delete(reply) => drop(reply.try_send(limited(session.delete()).await)),
        Ask::First(message, reply) => {
            drop(reply.try_send(limited(session.store_first(message)).await));
        }
    }
}
