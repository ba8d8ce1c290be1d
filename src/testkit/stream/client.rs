//! A node's connection to a simulated stream.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use super::inner::{Inner, Shared};
use crate::cluster::stream::{
    Bounds, Hint, Loss, Message, Next, Promises, Stream, StreamError, StreamId,
};

/// Messages that a client remembers, to notice that they changed.
const REMEMBERED: usize = 64;

/// A node's connection to a simulated stream.
pub struct Client {
    stream: Shared,
    number: usize,
    /// Which stream is followed, since the first contact.
    followed: Option<StreamId>,
    /// The messages that were followed last.
    remembered: VecDeque<Message>,
    loss: Option<Loss>,
}

impl Client {
    pub(super) fn new(stream: Shared, number: usize) -> Self {
        Self { stream, number, followed: None, remembered: VecDeque::new(), loss: None }
    }

    /// Its number among the clients of the stream.
    pub(super) fn number(&self) -> usize {
        self.number
    }

    /// Whether the stream is still the one that was followed.
    fn compare(&mut self, inner: &Inner) -> Result<(), Loss> {
        if !inner.exists {
            return Err(Loss::Gone);
        }
        let was = *self.followed.get_or_insert(inner.id);
        if was != inner.id {
            return Err(Loss::Remade { was, is: inner.id });
        }
        let Some(newest) = self.remembered.back() else { return Ok(()) };
        if inner.last() < newest.seq {
            return Err(Loss::Shorter { followed: newest.seq, last: inner.last() });
        }
        let other = self.remembered.iter().find(|message| {
            let now = inner.at(message.seq).and_then(Option::as_ref);
            now.is_some_and(|now| now != *message)
        });
        other.map_or(Ok(()), |message| Err(Loss::Other { seq: message.seq }))
    }

    /// The message at `seq` now.
    fn look(&mut self, inner: &Inner, seq: u64) -> Result<Message, Next> {
        if inner.cut_off[self.number] {
            return Err(Next::Quiet);
        }
        self.compare(inner).map_err(Next::Lost)?;
        if seq < inner.first {
            return Err(Next::Trimmed { first: inner.first });
        }
        match inner.at(seq) {
            Some(Some(message)) => Ok(message.clone()),
            Some(None) => Err(Next::Lost(Loss::Hole { seq })),
            None => Err(Next::Quiet),
        }
    }

    /// The same, now or after the patience.
    fn wait(&mut self, inner: &mut Inner, seq: u64, patience: Duration) -> Result<Message, Next> {
        let found = self.look(inner, seq);
        if found != Err(Next::Quiet) {
            return found;
        }
        inner.pass(u64::try_from(patience.as_millis()).unwrap_or(u64::MAX).max(1));
        self.look(inner, seq)
    }

    /// An answer of the leader.
    fn ask<T>(&mut self, answer: impl FnOnce(&mut Inner) -> T) -> Result<T, StreamError> {
        if let Some(loss) = &self.loss {
            return Err(loss.clone().into());
        }
        let stream = self.stream.clone();
        let mut inner = stream.lock();
        if inner.cut_off[self.number] {
            return Err(StreamError::NotConnected("cut off by the test".to_owned()));
        }
        if !inner.exists {
            return Err(StreamError::Missing("simulated".to_owned()));
        }
        if !inner.has_leader() {
            return Err(StreamError::NoLeader);
        }
        Ok(answer(&mut inner))
    }
}

impl Stream for Client {
    fn propose(&mut self, message: &[u8]) -> Result<(), Hint> {
        let mut inner = self.stream.lock();
        if inner.cut_off[self.number] {
            return Err(Hint::NotConnected);
        }
        let (len, most) = (message.len(), inner.message_len_max);
        if len > most {
            return Err(Hint::TooLong { len, most });
        }
        inner.propose(self.number, &Bytes::copy_from_slice(message));
        Ok(())
    }

    fn answer(&mut self) -> Option<Result<u64, Hint>> {
        self.stream.lock().answers[self.number].pop_front()
    }

    fn next(&mut self, seq: u64, patience: Duration) -> Result<Message, Next> {
        if let Some(loss) = &self.loss {
            return Err(Next::Lost(loss.clone()));
        }
        let stream = self.stream.clone();
        let found = self.wait(&mut stream.lock(), seq, patience);
        match &found {
            Err(Next::Lost(loss)) => self.loss = Some(loss.clone()),
            Err(_) => {}
            Ok(message) => {
                self.remembered.retain(|older| older.seq < seq);
                if self.remembered.len() == REMEMBERED {
                    self.remembered.pop_front();
                }
                self.remembered.push_back(message.clone());
            }
        }
        found
    }

    fn bounds(&mut self) -> Result<Bounds, StreamError> {
        self.ask(|inner| Bounds { first: inner.first, last: inner.last(), id: inner.id })
    }

    fn trim(&mut self, seq: u64) -> Result<(), StreamError> {
        self.ask(|inner| inner.forget(seq))
    }

    fn promises(&mut self) -> Result<Promises, StreamError> {
        self.ask(|inner| Promises {
            copies: 3,
            bytes: inner.bytes as u64,
            bytes_max: inner.bytes_max.map(|most| most as u64),
            ..Promises::default()
        })
    }
}
