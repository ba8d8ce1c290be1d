//! What the handles and the thread share: the messages that are ready, the answers, and whether the
//! stream is lost.
//!
//! A handle says which number it wants next. The thread offers messages in the order of their
//! numbers; those that were followed leave a mark, so that another message at the same number is
//! noticed.

use std::collections::{BTreeMap, VecDeque};
use std::mem::discriminant;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::cluster::stream::{Hint, Loss, Message, Next, StreamId};
use crate::model::time::UnixMillis;

/// Messages that are ready, at most.
const READY_MAX: usize = 1024;
/// Their bytes, at most; the last one may go beyond.
const READY_BYTES_MAX: usize = 32 << 20;
/// Answers that no handle has taken, at most. The oldest is dropped.
const ANSWERS_MAX: usize = 64;
/// Followed messages that are remembered.
const MARKS_MAX: usize = 4096;

/// What is remembered of a message that was followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    stored_at: UnixMillis,
    len: usize,
    crc: u32,
}

impl Mark {
    pub(super) fn of(message: &Message) -> Self {
        let Message { stored_at, bytes, .. } = message;
        Self { stored_at: *stored_at, len: bytes.len(), crc: crc32c::crc32c(bytes) }
    }
}

/// What the thread is to fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Want {
    /// Changes whenever a handle wants another number than the next one.
    pub turn: u64,
    /// The first number that is not ready.
    pub from: u64,
    /// How many bytes there is room for.
    pub room: usize,
}

/// What became of an offered message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offered {
    /// It is ready.
    Taken,
    /// It is older than what is wanted.
    Old,
    /// The message before it is missing.
    Gap,
    /// Nothing is wanted now.
    Unwanted,
}

#[derive(Default)]
struct State {
    turn: u64,
    /// The next number that a handle will ask for.
    wanted: Option<u64>,
    ready: VecDeque<Message>,
    ready_bytes: usize,
    trimmed: Option<u64>,
    lost: Option<Loss>,
    /// A possible loss, and how many checks have found it in a row.
    doubt: Option<(Loss, u32)>,
    id: Option<StreamId>,
    marks: BTreeMap<u64, Mark>,
    answers: VecDeque<Result<u64, Hint>>,
    /// The longest message that the connected server takes; `None` without a connection.
    message_len_max: Option<usize>,
    not_connected: String,
    gaps: u64,
}

impl State {
    fn from(&self) -> Option<u64> {
        Some(self.wanted? + self.ready.len() as u64)
    }

    fn lose(&mut self, loss: Loss) {
        if self.lost.is_none() {
            tracing::error!(%loss, "the stream of the cluster is lost");
            self.lost = Some(loss);
        }
        self.ready.clear();
        self.ready_bytes = 0;
    }

    /// Compares a message with what was followed at its number.
    fn compare(&mut self, message: &Message) -> bool {
        let mark = Mark::of(message);
        let is_same = self.marks.get(&message.seq).is_none_or(|known| *known == mark);
        if !is_same {
            self.lose(Loss::Other { seq: message.seq });
        }
        is_same
    }

    /// Whether this is another turn.
    fn want(&mut self, seq: u64) -> bool {
        let is_other = self.wanted != Some(seq);
        if is_other {
            self.turn += 1;
            self.wanted = Some(seq);
            self.ready.clear();
            self.ready_bytes = 0;
            self.trimmed = None;
        }
        is_other
    }

    fn is_full(&self) -> bool {
        self.ready.len() >= READY_MAX || self.ready_bytes >= READY_BYTES_MAX
    }

    fn offer(&mut self, message: Message) -> Offered {
        let Some(from) = self.from().filter(|_| self.lost.is_none()) else {
            return Offered::Unwanted;
        };
        if message.seq > from {
            return Offered::Gap;
        }
        if !self.compare(&message) {
            return Offered::Unwanted;
        }
        if message.seq < from {
            return Offered::Old;
        }
        if self.is_full() {
            return Offered::Unwanted;
        }
        if matches!(self.doubt, Some((Loss::Hole { seq }, _)) if seq == message.seq) {
            self.doubt = None;
        }
        self.marks.insert(message.seq, Mark::of(&message));
        if self.marks.len() > MARKS_MAX {
            self.marks.pop_first();
        }
        self.ready_bytes += message.bytes.len();
        self.ready.push_back(message);
        self.trimmed = None;
        Offered::Taken
    }
}

/// See the module.
pub(super) struct Shared {
    state: Mutex<State>,
    /// Something that a handle may wait for has changed.
    changed: Condvar,
    /// Something else is wanted, or there is room again.
    pub wake: Notify,
}

impl Shared {
    pub(super) fn new() -> Self {
        let not_connected = "not yet connected".to_owned();
        let state = State { not_connected, ..State::default() };
        Self { state: Mutex::new(state), changed: Condvar::new(), wake: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // For handles.

    pub(super) fn next(&self, seq: u64, patience: Duration) -> Result<Message, Next> {
        let mut state = self.lock();
        // Not at each call: the thread measures silence.
        if state.want(seq) {
            self.wake.notify_one();
        }
        let waits = |state: &mut State| {
            let is_ours = state.wanted == Some(seq);
            is_ours && state.ready.is_empty() && state.trimmed.is_none() && state.lost.is_none()
        };
        let (mut state, _) = self
            .changed
            .wait_timeout_while(state, patience, waits)
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(loss) = &state.lost {
            return Err(Next::Lost(loss.clone()));
        }
        if state.wanted != Some(seq) {
            return Err(Next::Quiet);
        }
        let was_full = state.is_full();
        if let Some(message) = state.ready.pop_front() {
            state.ready_bytes -= message.bytes.len();
            state.wanted = Some(seq + 1);
            if was_full {
                self.wake.notify_one();
            }
            return Ok(message);
        }
        state.trimmed.map_or(Err(Next::Quiet), |first| Err(Next::Trimmed { first }))
    }

    pub(super) fn may_propose(&self, len: usize) -> Result<(), Hint> {
        let most = self.lock().message_len_max.ok_or(Hint::NotConnected)?;
        if len > most { Err(Hint::TooLong { len, most }) } else { Ok(()) }
    }

    pub(super) fn take_answer(&self) -> Option<Result<u64, Hint>> {
        self.lock().answers.pop_front()
    }

    pub(super) fn connected(&self) -> Result<(), String> {
        let state = self.lock();
        state.message_len_max.map(drop).ok_or_else(|| state.not_connected.clone())
    }

    pub(super) fn gaps(&self) -> u64 {
        self.lock().gaps
    }

    // For the thread.

    pub(super) fn set_connected(&self, message_len_max: usize) {
        self.lock().message_len_max = Some(message_len_max);
    }

    pub(super) fn set_disconnected(&self, why: &str) {
        let mut state = self.lock();
        state.message_len_max = None;
        why.clone_into(&mut state.not_connected);
    }

    /// What is to be fetched; `None` if nothing is wanted, or there is no room.
    pub(super) fn want(&self) -> Option<Want> {
        let state = self.lock();
        if state.lost.is_some() || state.trimmed.is_some() || state.is_full() {
            return None;
        }
        let room = READY_BYTES_MAX - state.ready_bytes;
        Some(Want { turn: state.turn, from: state.from()?, room })
    }

    pub(super) fn offer(&self, message: Message) -> Offered {
        let mut state = self.lock();
        let offered = state.offer(message);
        if offered == Offered::Taken || state.lost.is_some() {
            self.changed.notify_all();
        }
        offered
    }

    pub(super) fn answer(&self, answer: Result<u64, Hint>) {
        let mut state = self.lock();
        if state.answers.len() >= ANSWERS_MAX {
            state.answers.pop_front();
        }
        state.answers.push_back(answer);
    }

    /// The stream says that it begins at `first`.
    pub(super) fn begins(&self, first: u64) {
        let mut state = self.lock();
        // Before what is ready, and not in the middle of it.
        let is_behind = state.ready.is_empty() && state.wanted.is_some_and(|seq| seq < first);
        if is_behind && state.trimmed.is_none() {
            state.trimmed = Some(first);
            self.changed.notify_all();
        }
    }

    pub(super) fn count_gap(&self) {
        self.lock().gaps += 1;
    }

    pub(super) fn lose(&self, loss: Loss) {
        self.lock().lose(loss);
        self.changed.notify_all();
    }

    pub(super) fn is_lost(&self) -> Option<Loss> {
        self.lock().lost.clone()
    }

    /// One more check has found this loss. After `checks` in a row it is believed.
    pub(super) fn doubt(&self, loss: Loss, checks: u32) {
        let mut state = self.lock();
        let before = match &state.doubt {
            Some((doubted, before)) if is_same(doubted, &loss) => *before,
            _ => 0,
        };
        state.doubt = Some((loss.clone(), before + 1));
        drop(state);
        if before + 1 >= checks {
            self.lose(loss);
        }
    }

    /// A check has found the stream as it was followed. It says nothing about a hole.
    pub(super) fn no_doubt(&self) {
        let mut state = self.lock();
        state.doubt = state.doubt.take().filter(|(loss, _)| matches!(loss, Loss::Hole { .. }));
    }

    pub(super) fn is_in_doubt(&self) -> bool {
        self.lock().doubt.is_some()
    }

    /// The stream that is followed; `found`, if it is the first one.
    pub(super) fn id_or(&self, found: StreamId) -> StreamId {
        *self.lock().id.get_or_insert(found)
    }

    pub(super) fn id(&self) -> Option<StreamId> {
        self.lock().id
    }

    /// The newest message that was followed.
    pub(super) fn newest(&self) -> Option<(u64, Mark)> {
        self.lock().marks.last_key_value().map(|(seq, mark)| (*seq, *mark))
    }
}

/// Whether two checks have found the same: a stream that is too short, for example, may grow.
fn is_same(one: &Loss, other: &Loss) -> bool {
    match (one, other) {
        (Loss::Hole { seq: one }, Loss::Hole { seq: other }) => one == other,
        _ => discriminant(one) == discriminant(other),
    }
}

#[cfg(test)]
mod tests;
