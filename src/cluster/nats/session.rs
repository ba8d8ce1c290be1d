//! One connection: proposals, requests, and their answers.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, HeaderMap, StatusCode, Subscriber};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

use super::api::{self, ApiError, Got, Info};
use super::config::{Config, Names};
use super::servers;
use super::settings::{self, Creation};
use super::shared::Shared;
use crate::cluster::stream::{Bounds, Hint, Loss, Message, Promises, StreamError};

/// Time for one answer of the API.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
/// Time to hand something to the client. It is longer only if the socket takes nothing.
const SEND_LIMIT: Duration = Duration::from_secs(1);
/// Proposals without an answer that are remembered. The oldest is forgotten.
const PROPOSALS_MAX: usize = 256;
/// Answers of one request that wait.
const ANSWERS_MAX: usize = 512;

/// See the module.
pub(super) struct Session {
    pub config: Config,
    pub names: Names,
    pub shared: Arc<Shared>,
    client: Client,
    inbox: String,
    /// Number of the next request or proposal.
    number: Cell<u64>,
    requests: RefCell<BTreeMap<u64, mpsc::Sender<async_nats::Message>>>,
    /// Proposals without an answer, each with the newest number that was followed before.
    proposals: RefCell<BTreeMap<u64, u64>>,
    /// The highest number that the stream has given to a proposal of this session.
    stored: Cell<u64>,
    /// The stream is the one that was followed: messages may be offered.
    pub is_verified: Cell<bool>,
    pub verified: Notify,
    /// A reason to leave the server, from a task of the session.
    pub leave: mpsc::Sender<String>,
}

/// What comes in during a session.
pub(super) struct Queues {
    pub tail: Subscriber,
    pub answers: Subscriber,
    /// Reasons to leave the server.
    pub left: mpsc::Receiver<String>,
}

impl Session {
    /// Subscribes to the tail and to the answers.
    pub(super) async fn begin(
        client: Client,
        config: &Config,
        shared: Arc<Shared>,
    ) -> Result<(Rc<Self>, Queues), StreamError> {
        let (names, inbox) = (config.names(), client.new_inbox());
        let tail = subscribe(&client, names.tail.clone()).await?;
        let answers = subscribe(&client, format!("{inbox}.*")).await?;
        let (leave, left) = mpsc::channel(1);
        let session = Rc::new(Self {
            config: config.clone(),
            names,
            shared,
            client,
            inbox,
            number: Cell::new(0),
            requests: RefCell::default(),
            proposals: RefCell::default(),
            stored: Cell::new(0),
            is_verified: Cell::new(false),
            verified: Notify::new(),
            leave,
        });
        // What was subscribed to must be known to the server before anything is fetched.
        within(session.client.flush(), ANSWER_LIMIT).await?;
        session.shared.set_connected(session.client.max_payload());
        Ok((session, Queues { tail, answers, left }))
    }

    fn new_number(&self) -> u64 {
        let number = self.number.get();
        self.number.set(number + 1);
        number
    }

    /// Sends a request whose answers come one by one. It ends when the answers are dropped.
    pub(super) async fn request(
        self: &Rc<Self>,
        subject: String,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Answers, StreamError> {
        let number = self.new_number();
        let (sender, receiver) = mpsc::channel(ANSWERS_MAX);
        self.requests.borrow_mut().insert(number, sender);
        let answers = Answers { session: self.clone(), number, receiver };
        let reply = format!("{}.{number}", self.inbox);
        let sent = self.client.publish_with_reply_and_headers(subject, reply, headers, body);
        within(sent, SEND_LIMIT).await?;
        Ok(answers)
    }

    /// A request about the stream with one JSON answer.
    pub(super) async fn call<T: DeserializeOwned>(
        self: &Rc<Self>,
        request: &str,
        body: Bytes,
    ) -> Result<Result<T, ApiError>, StreamError> {
        self.call_within(ANSWER_LIMIT, request, body).await
    }

    async fn call_within<T: DeserializeOwned>(
        self: &Rc<Self>,
        limit: Duration,
        request: &str,
        body: Bytes,
    ) -> Result<Result<T, ApiError>, StreamError> {
        let mut answers = self.request(self.names.api(request), HeaderMap::new(), body).await?;
        let answer = answers.next(limit).await?;
        api::read(&answer.payload)
    }

    pub(super) async fn info(self: &Rc<Self>) -> Result<Info, StreamError> {
        self.info_within(ANSWER_LIMIT).await
    }

    /// The same within another time.
    pub(super) async fn info_within(self: &Rc<Self>, limit: Duration) -> Result<Info, StreamError> {
        let info = self.call_within::<Info>(limit, "STREAM.INFO", Bytes::new()).await?;
        let info = info.map_err(|error| error.into_error(&self.names.stream))?;
        if info.is_of_leader() { Ok(info) } else { Err(StreamError::NoLeader) }
    }

    /// The message that the leader has at `seq`.
    pub(super) async fn stored(self: &Rc<Self>, seq: u64) -> Result<Option<Message>, StreamError> {
        let body = json!({ "seq": seq }).to_string();
        match self.call::<Got>("STREAM.MSG.GET", body.into()).await? {
            Ok(got) => got.into_message().map(Some),
            Err(error) if error.is_no_message() => Ok(None),
            Err(error) => Err(error.into_error(&self.names.stream)),
        }
    }

    pub(super) async fn propose(&self, message: Bytes) {
        let number = self.new_number();
        let followed = self.shared.newest().map_or(0, |(seq, _)| seq);
        self.remember(number, followed);
        let subject = self.names.subject(&self.config.node);
        let reply = format!("{}.{number}", self.inbox);
        let sent = self.client.publish_with_reply(subject, reply, message);
        if within(sent, SEND_LIMIT).await.is_err() {
            self.shared.answer(Err(Hint::NotConnected));
        }
    }

    fn remember(&self, number: u64, followed: u64) {
        let mut proposals = self.proposals.borrow_mut();
        proposals.insert(number, followed);
        if proposals.len() > PROPOSALS_MAX {
            proposals.pop_first();
        }
    }

    /// Passes an answer on to who waits for it.
    pub(super) fn route(&self, answer: async_nats::Message) {
        let number = answer.subject.rsplit_once('.').and_then(|(_, number)| number.parse().ok());
        let Some(number) = number else { return };
        if let Some(followed) = self.proposals.borrow_mut().remove(&number) {
            self.settle(&answer, followed);
        } else if let Some(sender) = self.requests.borrow().get(&number) {
            // Who does not read fast enough misses answers, as if they had been lost on the way.
            let _ = sender.try_send(answer);
        }
    }

    fn settle(&self, answer: &async_nats::Message, followed: u64) {
        if answer.status == Some(StatusCode::NO_RESPONDERS) {
            return self.shared.answer(Err(Hint::NoLeader));
        }
        let stored = api::read_answer(&answer.payload);
        // Every new message is behind all that were followed, or the stream was cut.
        if let Ok(seq) = stored
            && seq <= followed
        {
            self.shared.lose(Loss::Other { seq });
        }
        if let Ok(seq) = stored {
            self.stored.set(self.stored.get().max(seq));
        }
        self.shared.answer(stored);
    }

    /// The highest number that the stream has given to a proposal of this session; 0 before.
    pub(super) fn newest_stored(&self) -> u64 {
        self.stored.get()
    }

    /// The session ends: what has no answer will have none.
    pub(super) fn forsake(&self) {
        if !self.proposals.borrow().is_empty() {
            self.shared.answer(Err(Hint::NotConnected));
        }
    }

    pub(super) async fn bounds(self: &Rc<Self>) -> Result<Bounds, StreamError> {
        if let Some(loss) = self.shared.is_lost() {
            return Err(loss.into());
        }
        self.info().await?.bounds()
    }

    pub(super) async fn trim(self: &Rc<Self>, seq: u64) -> Result<(), StreamError> {
        let bounds = self.bounds().await?;
        let was = self.shared.id_or(bounds.id);
        if was != bounds.id {
            return Err(Loss::Remade { was, is: bounds.id }.into());
        }
        // For the server 0 is everything, and a number behind the end moves the end there.
        let seq = seq.min(bounds.last + 1);
        if seq <= bounds.first {
            return Ok(());
        }
        let body = json!({ "seq": seq }).to_string();
        let purged = self.call::<serde::de::IgnoredAny>("STREAM.PURGE", body.into()).await?;
        purged.map(drop).map_err(|error| error.into_error(&self.names.stream))
    }

    pub(super) async fn create(self: &Rc<Self>, chosen: Creation) -> Result<(), StreamError> {
        let message_len_max = self.config.message_len_max as u64;
        let body = settings::creation(&self.names, message_len_max, chosen).to_string();
        let made = self.call::<serde::de::IgnoredAny>("STREAM.CREATE", body.into()).await?;
        made.map(drop).map_err(|error| error.into_error(&self.names.stream))
    }

    pub(super) async fn delete(self: &Rc<Self>) -> Result<(), StreamError> {
        let deleted = self.call::<serde::de::IgnoredAny>("STREAM.DELETE", Bytes::new()).await?;
        deleted.map(drop).map_err(|error| error.into_error(&self.names.stream))
    }

    pub(super) async fn store_first(self: &Rc<Self>, message: Bytes) -> Result<u64, StreamError> {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Expected-Last-Sequence", "0");
        let subject = self.names.subject(&self.config.node);
        let answer = self.request(subject, headers, message).await?.next(ANSWER_LIMIT).await?;
        api::read_answer(&answer.payload).map_err(|hint| match hint {
            Hint::NoLeader => StreamError::NoLeader,
            hint => StreamError::Refused(hint.to_string()),
        })
    }

    pub(super) async fn promises(self: &Rc<Self>) -> Result<Promises, StreamError> {
        let (info, servers) = tokio::join!(self.info(), servers::ask(&self.config));
        let info = info?;
        let message_len_max = self.config.message_len_max;
        let (mistakes, unverified) =
            settings::check(&self.names, message_len_max as u64, &info.config);
        let copies = info.copies();
        let bytes_max = info.config.get("max_bytes").and_then(serde_json::Value::as_u64);
        let promises = Promises {
            copies: copies.len(),
            bytes: info.bytes(),
            bytes_max,
            servers: Vec::new(),
            mistakes,
            unverified,
        };
        Ok(servers::check(servers, &copies, message_len_max, promises))
    }
}

/// The answers to one request.
pub(super) struct Answers {
    session: Rc<Session>,
    number: u64,
    receiver: mpsc::Receiver<async_nats::Message>,
}

impl Answers {
    pub(super) async fn next(
        &mut self,
        limit: Duration,
    ) -> Result<async_nats::Message, StreamError> {
        let answer = timeout(limit, self.receiver.recv()).await;
        let answer = answer.ok().flatten().ok_or(StreamError::TimedOut)?;
        if answer.status == Some(StatusCode::NO_RESPONDERS) {
            return Err(StreamError::NoLeader);
        }
        Ok(answer)
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        self.session.requests.borrow_mut().remove(&self.number);
    }
}

async fn subscribe(client: &Client, subject: String) -> Result<Subscriber, StreamError> {
    within(client.subscribe(subject), SEND_LIMIT).await
}

/// The value, if the client has it in time.
async fn within<T, E: std::fmt::Display>(
    work: impl Future<Output = Result<T, E>>,
    limit: Duration,
) -> Result<T, StreamError> {
    let done = timeout(limit, work).await.map_err(|_| StreamError::TimedOut)?;
    done.map_err(|error| StreamError::NotConnected(error.to_string()))
}
