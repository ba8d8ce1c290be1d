//! The tail: what the stream's leader publishes after it was stored. It is read all the time, so
//! that it waits nowhere without a bound; what is too much is forgotten, and fetched.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use async_nats::Subscriber;
use futures_util::StreamExt as _;
use tokio::sync::Notify;

use super::api;
use crate::cluster::stream::Message;

/// Messages that wait, at most.
const QUEUED_MAX: usize = 256;
/// Their bytes, at most; the last one may go beyond.
const QUEUED_BYTES_MAX: usize = 8 << 20;

/// The messages that have come and were not taken yet.
#[derive(Default)]
pub(super) struct Tail {
    queued: RefCell<VecDeque<Message>>,
    bytes: Cell<usize>,
    newest: Cell<u64>,
    has_come: Notify,
}

impl Tail {
    /// Reads until the session ends.
    pub(super) async fn read(self: Rc<Self>, stream: String, mut subscriber: Subscriber) {
        while let Some(message) = subscriber.next().await {
            match api::from_headers(&stream, message.headers.as_ref(), message.payload) {
                Ok(message) => self.push(message),
                // Nobody but the leader may publish here.
                Err(error) => tracing::debug!(%error, "ignored a message on the cluster's tail"),
            }
        }
    }

    fn push(&self, message: Message) {
        let mut queued = self.queued.borrow_mut();
        if queued.len() >= QUEUED_MAX || self.bytes.get() >= QUEUED_BYTES_MAX {
            // The gap before the next ones is fetched.
            queued.clear();
            self.bytes.set(0);
        }
        self.newest.set(self.newest.get().max(message.seq));
        self.bytes.set(self.bytes.get() + message.bytes.len());
        queued.push_back(message);
        self.has_come.notify_one();
    }

    /// The next message.
    pub(super) async fn next(&self) -> Message {
        loop {
            let message = self.queued.borrow_mut().pop_front();
            if let Some(message) = message {
                self.bytes.set(self.bytes.get() - message.bytes.len());
                return message;
            }
            self.has_come.notified().await;
        }
    }

    /// The highest number that it has shown.
    pub(super) fn newest(&self) -> u64 {
        self.newest.get()
    }

    /// The stream ends at `last`, whatever the tail has shown.
    pub(super) fn ends(&self, last: u64) {
        self.newest.set(last);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::model::time::UnixMillis;

    fn message(seq: u64, len: usize) -> Message {
        Message { seq, stored_at: UnixMillis(0), bytes: Bytes::from(vec![0; len]) }
    }

    fn queued(tail: &Tail) -> Vec<u64> {
        tail.queued.borrow().iter().map(|message| message.seq).collect()
    }

    #[test]
    fn p8_tail_that_nobody_takes_is_bounded_in_number_and_in_bytes() {
        let tail = Tail::default();
        for seq in 1..=QUEUED_MAX as u64 + 3 {
            tail.push(message(seq, 1));
        }
        let first = QUEUED_MAX as u64 + 1;
        assert_eq!(queued(&tail), [first, first + 1, first + 2]);
        assert_eq!(tail.newest(), first + 2);

        let tail = Tail::default();
        for seq in 1..=10 {
            tail.push(message(seq, 1 << 20));
        }
        assert_eq!(queued(&tail), [9, 10]);
        assert_eq!(tail.bytes.get(), 2 << 20);
    }

    #[test]
    fn messages_come_out_in_their_order() {
        let tail = Tail::default();
        (1..=3).for_each(|seq| tail.push(message(seq, 5)));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let taken: Vec<_> = (1..=3).map(|_| runtime.block_on(tail.next()).seq).collect();
        assert_eq!((taken, tail.bytes.get()), (vec![1, 2, 3], 0));
    }
}
