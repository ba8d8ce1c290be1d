//! Keeps the messages ready that are wanted next: from the tail, else by Direct Get from any
//! replica, else from the leader.

use std::rc::Rc;
use std::time::Duration;

use async_nats::{HeaderMap, StatusCode};
use serde_json::json;
use tokio::time::{sleep, timeout};

use super::api;
use super::session::Session;
use super::shared::{Offered, Want};
use super::tail::Tail;
use super::watch::CHECKS_HOLE;
use crate::cluster::stream::{Loss, Message, StreamError};

/// Silence on the tail after which the stream is asked.
const SILENCE: Duration = Duration::from_millis(250);
/// The same where the stream has stored something that the tail has not shown: its leader has just
/// changed, and nobody will show it.
const SILENCE_IN_DOUBT: Duration = Duration::from_millis(50);
/// Time until the next answer of a replica: after it the leader is asked.
const REPLICA_LIMIT: Duration = Duration::from_millis(250);
/// Pause after the leader could not answer either.
const PAUSE: Duration = Duration::from_millis(100);
/// Messages of one Direct Get.
const BATCH: u64 = 256;
/// Their bytes.
const BATCH_BYTES: usize = 16 << 20;

/// Follows until the session ends.
pub(super) async fn run(session: Rc<Session>, tail: Rc<Tail>) {
    while !session.is_verified.get() {
        session.verified.notified().await;
    }
    let silence = Duration::ZERO;
    let mut follower = Follower { session, tail, turn: None, is_behind: true, silence };
    loop {
        follower.step().await;
    }
}

struct Follower {
    session: Rc<Session>,
    tail: Rc<Tail>,
    /// The turn of the last want.
    turn: Option<u64>,
    /// The next message is not expected on the tail.
    is_behind: bool,
    /// How long the tail has been silent.
    silence: Duration,
}

/// How a Direct Get ended.
enum Batch {
    /// With at least one message, and there may be more.
    More,
    /// There is nothing behind, as far as this replica knows.
    End,
    /// It skipped the next number.
    Skipped,
    /// No replica answered.
    Silent,
}

impl Follower {
    /// One message of the tail, or one fetch.
    async fn step(&mut self) {
        let shared = self.session.shared.clone();
        let Some(want) = shared.want() else {
            shared.wake.notified().await;
            self.is_behind = true;
            return;
        };
        if self.turn.replace(want.turn) != Some(want.turn) {
            self.is_behind = true;
        }
        if self.is_behind {
            self.is_behind = self.fetch(want).await;
            self.silence = Duration::ZERO;
            return;
        }
        tokio::select! {
            message = timeout(SILENCE_IN_DOUBT, self.tail.next()) => match message {
                Ok(message) => {
                    self.silence = Duration::ZERO;
                    self.is_behind = shared.offer(message) == Offered::Gap;
                }
                Err(_) => {
                    self.silence += SILENCE_IN_DOUBT;
                    let is_in_doubt = self.session.newest_stored() >= want.from;
                    self.is_behind = is_in_doubt || self.silence >= SILENCE;
                }
            },
            // Perhaps another turn.
            () = shared.wake.notified() => {}
        }
    }

    /// Fetches what is wanted. Returns whether more is to be fetched.
    async fn fetch(&mut self, want: Want) -> bool {
        let fetched = self.batch(want).await;
        // By now perhaps something else is wanted.
        let Some(now) = self.session.shared.want() else { return true };
        match fetched {
            Ok(Batch::More) => true,
            Ok(Batch::End) if now.from > self.tail.newest() => false,
            Ok(Batch::End | Batch::Silent) => self.ask_leader(now.from).await,
            Ok(Batch::Skipped) => self.skipped(now.from).await,
            Err(_) => {
                sleep(PAUSE).await;
                true
            }
        }
    }

    /// Messages from any replica. Only the next number is taken, one after the other.
    async fn batch(&mut self, want: Want) -> Result<Batch, StreamError> {
        let session = &self.session;
        let bytes = want.room.min(BATCH_BYTES);
        let body = json!({ "seq": want.from, "batch": BATCH, "max_bytes": bytes }).to_string();
        let subject = session.names.api("DIRECT.GET");
        let mut answers = session.request(subject, HeaderMap::new(), body.into()).await?;
        let mut taken = 0;
        loop {
            let answer = match answers.next(REPLICA_LIMIT).await {
                Ok(answer) => answer,
                Err(StreamError::TimedOut) if taken == 0 => return Ok(Batch::Silent),
                Err(StreamError::TimedOut) => return Ok(Batch::More),
                Err(error) => return Err(error),
            };
            match answer.status {
                None => {}
                // The end of the batch; with all its messages there may be more.
                Some(status) if status.as_u16() == 204 && taken > 0 => return Ok(Batch::More),
                Some(StatusCode::NOT_FOUND) => return Ok(Batch::End),
                Some(status) if status.as_u16() == 204 => return Ok(Batch::End),
                Some(_) => return Ok(Batch::Silent),
            }
            let stream = &session.names.stream;
            let message = api::from_headers(stream, answer.headers.as_ref(), answer.payload)?;
            match session.shared.offer(message) {
                Offered::Taken => taken += 1,
                Offered::Old => {}
                Offered::Gap if taken == 0 => return Ok(Batch::Skipped),
                Offered::Gap | Offered::Unwanted => return Ok(Batch::More),
            }
        }
    }

    /// A replica has a later message and not the one at `seq`: only the leader knows why.
    async fn skipped(&mut self, seq: u64) -> bool {
        match self.session.info().await.and_then(|info| info.bounds()) {
            Ok(bounds) if seq < bounds.first => {
                self.session.shared.begins(bounds.first);
                // If older messages are still ready, they are read first.
                sleep(PAUSE).await;
                true
            }
            Ok(_) => {
                self.session.shared.count_gap();
                self.ask_leader(seq).await
            }
            Err(_) => {
                sleep(PAUSE).await;
                true
            }
        }
    }

    /// The message that the leader has. Returns whether more is to be fetched.
    async fn ask_leader(&mut self, seq: u64) -> bool {
        match self.session.stored(seq).await {
            Ok(Some(message)) => {
                self.session.shared.offer(message);
                true
            }
            Ok(None) => self.missing(seq).await,
            Err(_) => {
                sleep(PAUSE).await;
                true
            }
        }
    }

    /// The leader has no message at `seq`: the stream ends before it, or begins behind it, or has
    /// a hole.
    async fn missing(&mut self, seq: u64) -> bool {
        let Ok(bounds) = self.session.info().await.and_then(|info| info.bounds()) else {
            sleep(PAUSE).await;
            return true;
        };
        if bounds.last < seq {
            // The tail had shown more: it was forged, or the stream was cut, which `watch` finds.
            self.tail.ends(bounds.last);
            return false;
        }
        if seq < bounds.first {
            self.session.shared.begins(bounds.first);
            return false;
        }
        // Stored meanwhile, or a hole.
        let stored: Result<Option<Message>, _> = self.session.stored(seq).await;
        match stored {
            Ok(Some(message)) => {
                self.session.shared.offer(message);
            }
            Ok(None) => {
                self.session.shared.doubt(Loss::Hole { seq }, CHECKS_HOLE);
                sleep(PAUSE * 5).await;
            }
            Err(_) => sleep(PAUSE).await,
        }
        true
    }
}
