//! The stream on NATS JetStream.
//!
//! One thread, `jeton-stream`, owns the connection (`connection`): one session after the other, each
//! on a runtime of its own, so that nothing of an old connection outlives it. A session (`session`,
//! `serve`) reads the tail (`tail`), verifies that the stream is still the one that was followed
//! (`watch`), and keeps a buffer filled from the number that is wanted next (`follow`). The buffer is
//! all that handles and the thread share (`shared`).
//!
//! What is stored at a number comes from three places, in this order: the **tail**, a subject to
//! which the stream's leader publishes each message after it was stored; **Direct Get**, which any
//! replica answers, in batches; and **`STREAM.MSG.GET`**, which the leader alone answers, where a
//! replica does not answer or skips a number. There is no consumer: its state would live on one
//! server and move with an election.
//!
//! # Rights of a node
//!
//! Publish to its own subject `jeton.NAME.from.NODE` and to `$JS.API.` with each of `STREAM.INFO`,
//! `STREAM.MSG.GET`, `STREAM.PURGE` and `DIRECT.GET`, followed by `.jeton-NAME`; subscribe to
//! `jeton.NAME.tail` and `_INBOX.jeton.NAME.NODE.>`. [`Nats::create`] needs `STREAM.CREATE` as well, and
//! [`Nats::delete`] `STREAM.DELETE`.
//! Nobody may publish to the tail.
//!
//! # Files
//!
//! Requests and answers are JSON of the JetStream API (`api`). The settings of the stream stand in
//! one table (`settings`), by which it is made and checked; `servers` asks each server for its own.

mod api;
mod command;
mod config;
mod connection;
mod follow;
mod serve;
mod servers;
mod session;
mod settings;
mod shared;
mod tail;
mod watch;

use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use self::command::{Ask, Command, Reply};
use self::shared::Shared;
use crate::cluster::stream::{
    Bounds, CALL_LIMIT, Hint, Message, Next, Promises, Stream, StreamError,
};

pub use config::{Config, Names};
pub use servers::{VERSION_MIN, is_new_enough};
pub use settings::Creation;

/// Commands that wait for the thread.
const COMMANDS: usize = 64;

/// A stream on NATS JetStream. Clones share the connection and the position: one of them may
/// follow while others propose. The thread ends when the last one is dropped.
#[derive(Clone)]
pub struct Nats {
    commands: mpsc::Sender<Command>,
    shared: Arc<Shared>,
}

impl Nats {
    /// Starts the thread, which connects and stays connected. Does not wait for the connection.
    ///
    /// # Errors
    /// The thread cannot be started, or the configuration has mistakes.
    pub fn open(config: Config) -> Result<Self, StreamError> {
        let mistakes = config.mistakes();
        if !mistakes.is_empty() {
            return Err(StreamError::Refused(mistakes.join("; ")));
        }
        let (commands, receiver) = mpsc::channel(COMMANDS);
        let shared = Arc::new(Shared::new());
        let of_thread = shared.clone();
        std::thread::Builder::new()
            .name("jeton-stream".to_owned())
            .spawn(move || connection::run(&config, &of_thread, receiver))
            .map_err(|error| StreamError::NotConnected(error.to_string()))?;
        Ok(Self { commands, shared })
    }

    /// Makes the stream. Does nothing if it is there with the same settings.
    ///
    /// # Errors
    /// It is there with other settings, or the servers refuse it.
    pub fn create(&self, creation: Creation) -> Result<(), StreamError> {
        self.ask(|reply| Ask::Create(creation, reply))
    }

    /// Deletes the stream with all its messages.
    ///
    /// # Errors
    /// The servers refuse it, or did not answer. They may have deleted it.
    pub fn delete(&self) -> Result<(), StreamError> {
        self.ask(Ask::Delete)
    }

    /// Stores the first message, and returns its number. Of several that try one succeeds.
    ///
    /// # Errors
    /// The stream already has a message, or did not answer. It may have stored it.
    pub fn store_first(&self, message: &[u8]) -> Result<u64, StreamError> {
        let message = Bytes::copy_from_slice(message);
        self.ask(|reply| Ask::First(message, reply))
    }

    /// How often a replica skipped a message that the leader had.
    #[must_use]
    pub fn gaps(&self) -> u64 {
        self.shared.gaps()
    }

    /// Whether there is a connection; if not, why.
    ///
    /// # Errors
    /// There is none.
    pub fn connected(&self) -> Result<(), String> {
        self.shared.connected()
    }

    fn ask<T>(&self, ask: impl FnOnce(Reply<T>) -> Ask) -> Result<T, StreamError> {
        let (reply, answer) = sync_channel(1);
        let sent = self.commands.try_send(Command::Ask(ask(reply)));
        sent.map_err(|error| {
            StreamError::NotConnected(match error {
                TrySendError::Full(_) => "too many requests wait".to_owned(),
                TrySendError::Closed(_) => "the thread of the connection has ended".to_owned(),
            })
        })?;
        // The thread answers in time; the rest is for a busy machine.
        answer.recv_timeout(CALL_LIMIT + Duration::from_secs(1)).unwrap_or_else(|_| {
            Err(self
                .shared
                .connected()
                .err()
                .map_or(StreamError::TimedOut, StreamError::NotConnected))
        })
    }
}

impl Stream for Nats {
    fn propose(&mut self, message: &[u8]) -> Result<(), Hint> {
        self.shared.may_propose(message.len())?;
        let command = Command::Propose(Bytes::copy_from_slice(message));
        self.commands.try_send(command).map_err(|_| Hint::Busy)
    }

    fn answer(&mut self) -> Option<Result<u64, Hint>> {
        self.shared.take_answer()
    }

    fn next(&mut self, seq: u64, patience: Duration) -> Result<Message, Next> {
        self.shared.next(seq, patience)
    }

    fn bounds(&mut self) -> Result<Bounds, StreamError> {
        self.ask(Ask::Bounds)
    }

    fn trim(&mut self, seq: u64) -> Result<(), StreamError> {
        self.ask(|reply| Ask::Trim(seq, reply))
    }

    fn promises(&mut self) -> Result<Promises, StreamError> {
        self.ask(Ask::Promises)
    }
}
