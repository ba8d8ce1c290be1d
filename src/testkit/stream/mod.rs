//! A replicated stream in memory: it drops, repeats and delays proposals, elects, loses its last
//! messages, runs full, and is made anew on demand.
//!
//! [`Simulated`] is the stream, and each [`Client`] follows it like a node. Simulated time passes
//! when a test lets it pass, and while a client waits for a message that is not there: the wait ends
//! at once, and the whole patience has passed. The same calls on a stream with the same seed have
//! the same results.

mod client;
mod inner;

use std::collections::VecDeque;
use std::sync::MutexGuard;

use crate::cluster::stream::Message;
use crate::model::time::UnixMillis;

pub use client::Client;
pub use inner::Faults;

use inner::{Inner, Shared, id};

/// A stream in memory. Clones are the same stream.
#[derive(Clone)]
pub struct Simulated(Shared);

impl Simulated {
    /// An empty stream that was made at `now`. The seed decides what happens by chance.
    #[must_use]
    pub fn new(seed: u64, now: UnixMillis) -> Self {
        Self(Shared::new(Inner::new(seed, now)))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock()
    }

    /// A node's connection.
    #[must_use]
    pub fn client(&self) -> Client {
        let mut inner = self.lock();
        inner.answers.push(VecDeque::new());
        inner.cut_off.push(false);
        let number = inner.answers.len() - 1;
        Client::new(self.0.clone(), number)
    }

    /// What happens by chance from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.lock().faults = faults;
    }

    /// Lets time pass.
    pub fn advance(&self, millis: u64) {
        self.lock().pass(millis);
    }

    /// The stream's time.
    #[must_use]
    pub fn now(&self) -> UnixMillis {
        UnixMillis(self.lock().now_ms)
    }

    /// Sets the stream's clock, as when a server with another clock becomes the leader.
    pub fn jump_to(&self, now: UnixMillis) {
        self.lock().now_ms = now.0;
    }

    /// No leader for so long: proposals fail, followers still get what is stored.
    pub fn elect(&self, millis: u64) {
        let mut inner = self.lock();
        inner.elects_until_ms = inner.now_ms + millis;
    }

    /// Loses the last messages, as servers that do not sync may in a power cut.
    pub fn lose_last(&self, count: usize) {
        let mut inner = self.lock();
        for _ in 0..count {
            let lost = inner.messages.pop_back().flatten();
            inner.bytes -= lost.map_or(0, |message| message.bytes.len());
        }
    }

    /// The leader does not know the last messages, as one that was cut off from the others; they
    /// come back with [`Self::show`].
    #[must_use]
    pub fn hide_last(&self, count: usize) -> Vec<Message> {
        let mut inner = self.lock();
        let at = inner.messages.len().saturating_sub(count);
        let hidden: Vec<Message> = inner.messages.drain(at..).flatten().collect();
        inner.bytes -= hidden.iter().map(|message| message.bytes.len()).sum::<usize>();
        hidden
    }

    /// Another leader knows them.
    pub fn show(&self, hidden: Vec<Message>) {
        let mut inner = self.lock();
        inner.bytes += hidden.iter().map(|message| message.bytes.len()).sum::<usize>();
        inner.messages.extend(hidden.into_iter().map(Some));
    }

    /// Loses one message in the middle, as a damaged file does: the stream skips its number.
    pub fn damage(&self, seq: u64) {
        let mut inner = self.lock();
        let at = seq - inner.first;
        if let Some(message) = inner.messages.get_mut(at as usize) {
            *message = None;
        }
    }

    /// Deletes the stream.
    pub fn delete(&self) {
        let mut inner = self.lock();
        inner.exists = false;
        inner.messages.clear();
        inner.bytes = 0;
        inner.first = 1;
    }

    /// Deletes the stream and makes it anew, under the same name.
    pub fn remake(&self) {
        self.delete();
        let mut inner = self.lock();
        inner.exists = true;
        inner.now_ms += 1;
        inner.id = id(inner.now_ms);
    }

    /// Limits the bytes of all messages together.
    pub fn limit(&self, bytes_max: Option<usize>) {
        self.lock().bytes_max = bytes_max;
    }

    /// All messages that the stream holds.
    #[must_use]
    pub fn messages(&self) -> Vec<Message> {
        self.lock().messages.iter().flatten().cloned().collect()
    }

    /// Cuts a client off, or connects it again.
    pub fn cut_off(&self, client: &Client, is_cut_off: bool) {
        self.lock().cut_off[client.number()] = is_cut_off;
    }
}
