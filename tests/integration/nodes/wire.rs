//! What is between a node and the simulated stream: the seal, and the clock of the stream's leader.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jeton::cluster::message::Sealer;
use jeton::cluster::stream::{Bounds, Hint, Message, Next, Promises, Stream, StreamError};
use jeton::engine::clustered::{Proposal, Proposer};
use jeton::model::time::UnixMillis;
use jeton::model::token::Secret;
use jeton::testkit::stream::Client;

/// Opens and seals messages as the nodes do.
pub fn sealer() -> Sealer {
    Sealer::new(&secret())
}

pub fn secret() -> Secret {
    Secret::from_bytes([7; 32])
}

/// The leader's clock by the time of the simulation: what it is ahead by, from when on.
pub type Offsets = Arc<Mutex<Vec<(u64, i64)>>>;

/// Seals what a node proposes.
pub struct Out {
    pub client: Arc<Mutex<Client>>,
    pub sealer: Sealer,
}

impl Proposer for Out {
    fn propose(&mut self, proposal: &Proposal<'_>) {
        let message = self.sealer.seal(proposal).expect("it can be sealed");
        let _ = self.client.lock().expect("one thread").propose(&message);
    }
}

/// The stream as a node sees it, with the times of the leader's clock.
pub struct Seen<'a> {
    pub client: &'a mut Client,
    pub offsets: &'a Offsets,
}

pub fn leader_time(offsets: &Offsets, stored_at: UnixMillis) -> UnixMillis {
    let offsets = offsets.lock().expect("one thread");
    let offset = offsets.iter().rev().find(|(from, _)| *from <= stored_at.0);
    UnixMillis(stored_at.0.saturating_add_signed(offset.map_or(0, |(_, ahead)| *ahead)))
}

impl Stream for Seen<'_> {
    fn propose(&mut self, message: &[u8]) -> Result<(), Hint> {
        self.client.propose(message)
    }

    fn answer(&mut self) -> Option<Result<u64, Hint>> {
        self.client.answer()
    }

    fn next(&mut self, seq: u64, patience: Duration) -> Result<Message, Next> {
        let message = self.client.next(seq, patience)?;
        let stored_at = leader_time(self.offsets, message.stored_at);
        Ok(Message { stored_at, ..message })
    }

    fn bounds(&mut self) -> Result<Bounds, StreamError> {
        self.client.bounds()
    }

    fn trim(&mut self, seq: u64) -> Result<(), StreamError> {
        self.client.trim(seq)
    }

    fn promises(&mut self) -> Result<Promises, StreamError> {
        self.client.promises()
    }
}
