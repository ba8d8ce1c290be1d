//! What a simulated stream holds, and what happens to proposals on their way to it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::cluster::stream::{Hint, Message, StreamId};
use crate::model::time::UnixMillis;
use crate::testkit::disk::Random;

/// Answers that a client keeps.
const ANSWERS: usize = 64;

/// What happens to proposals by chance.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Percentage of proposals that never land.
    pub dropped: u64,
    /// Percentage of proposals that land twice.
    pub repeated: u64,
    /// Percentage of proposals whose answer is lost.
    pub unanswered: u64,
    /// Maximum time until a proposal lands, in milliseconds. With it proposals overtake each other.
    pub delay_ms: u64,
}

/// A proposal on its way.
pub(super) struct Pending {
    due_ms: u64,
    client: usize,
    bytes: Bytes,
}

/// The stream, its proposals on their way, and what its clients have not read.
pub(super) struct Inner {
    pub(super) random: Random,
    pub(super) now_ms: u64,
    pub(super) id: StreamId,
    pub(super) exists: bool,
    /// Until then there is no leader.
    pub(super) elects_until_ms: u64,
    pub(super) first: u64,
    /// From `first` on, without a gap; `None` is damaged.
    pub(super) messages: VecDeque<Option<Message>>,
    pub(super) bytes: usize,
    pub(super) bytes_max: Option<usize>,
    pub(super) message_len_max: usize,
    pub(super) faults: Faults,
    pub(super) pending: Vec<Pending>,
    pub(super) answers: Vec<VecDeque<Result<u64, Hint>>>,
    /// Clients without a connection.
    pub(super) cut_off: Vec<bool>,
}

impl Inner {
    pub(super) fn new(seed: u64, now: UnixMillis) -> Self {
        Self {
            random: Random::new(seed),
            now_ms: now.0,
            id: id(now.0),
            exists: true,
            elects_until_ms: 0,
            first: 1,
            messages: VecDeque::new(),
            bytes: 0,
            bytes_max: None,
            message_len_max: 2 << 20,
            faults: Faults::default(),
            pending: Vec::new(),
            answers: Vec::new(),
            cut_off: Vec::new(),
        }
    }

    pub(super) fn last(&self) -> u64 {
        self.first + self.messages.len() as u64 - 1
    }

    pub(super) fn has_leader(&self) -> bool {
        self.elects_until_ms <= self.now_ms
    }

    fn answer(&mut self, client: usize, answer: Result<u64, Hint>) {
        let answers = &mut self.answers[client];
        if answers.len() == ANSWERS {
            answers.pop_front();
        }
        answers.push_back(answer);
    }

    pub(super) fn propose(&mut self, client: usize, bytes: &Bytes) {
        if self.random.chance(self.faults.dropped) {
            return;
        }
        let copies = if self.random.chance(self.faults.repeated) { 2 } else { 1 };
        for _ in 0..copies {
            let due_ms = self.now_ms + self.random.between(0, self.faults.delay_ms);
            self.pending.push(Pending { due_ms, client, bytes: bytes.clone() });
        }
        self.land();
    }

    /// Stores what is due, in the order of time.
    fn land(&mut self) {
        let (now_ms, mut due) = (self.now_ms, Vec::new());
        self.pending.retain_mut(|one| {
            let is_due = one.due_ms <= now_ms;
            if is_due {
                due.push((one.due_ms, one.client, std::mem::take(&mut one.bytes)));
            }
            !is_due
        });
        due.sort_by_key(|(due_ms, ..)| *due_ms);
        for (_, client, bytes) in due {
            let answer = self.store(bytes);
            if !self.random.chance(self.faults.unanswered) {
                self.answer(client, answer);
            }
        }
    }

    fn store(&mut self, bytes: Bytes) -> Result<u64, Hint> {
        if !self.exists || !self.has_leader() {
            return Err(Hint::NoLeader);
        }
        if self.bytes_max.is_some_and(|most| self.bytes + bytes.len() > most) {
            return Err(Hint::Full);
        }
        let seq = self.last() + 1;
        self.bytes += bytes.len();
        self.messages.push_back(Some(Message { seq, stored_at: UnixMillis(self.now_ms), bytes }));
        Ok(seq)
    }

    pub(super) fn forget(&mut self, seq: u64) {
        while self.first < seq {
            let Some(message) = self.messages.pop_front() else { break };
            self.bytes -= message.map_or(0, |message| message.bytes.len());
            self.first += 1;
        }
    }

    pub(super) fn at(&self, seq: u64) -> Option<&Option<Message>> {
        self.messages.get(usize::try_from(seq.checked_sub(self.first)?).ok()?)
    }

    pub(super) fn pass(&mut self, millis: u64) {
        self.now_ms += millis;
        self.land();
    }
}

/// The identity of a stream that is made now.
pub(super) fn id(now_ms: u64) -> StreamId {
    StreamId(i64::try_from(now_ms).unwrap_or(i64::MAX).saturating_mul(1_000_000))
}

/// A stream that its clients and the test share.
#[derive(Clone)]
pub(super) struct Shared(Arc<Mutex<Inner>>);

impl Shared {
    pub(super) fn new(inner: Inner) -> Self {
        Self(Arc::new(Mutex::new(inner)))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
