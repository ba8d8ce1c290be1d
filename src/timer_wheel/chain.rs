//! Lists of timers for the slots of the wheel, and queues of such lists.

use std::collections::VecDeque;

use crate::model::token::Prefix;

/// Timers handled in one call of the owner: enough for their look-ups to overlap.
pub const TURN_LEN: usize = 64;

const CHUNK_LEN: usize = 126;

/// A chunk of a list. It has one kibibyte, so that both long and short lists waste little.
struct Chunk {
    timers: Vec<Prefix>,
    next: Option<Box<Self>>,
}

/// A list of timers in no particular order.
#[derive(Default)]
pub(super) struct Chain {
    head: Option<Box<Chunk>>,
    len: usize,
}

impl Chain {
    pub(super) fn push(&mut self, timer: Prefix) {
        self.len += 1;
        match &mut self.head {
            Some(chunk) if chunk.timers.len() < CHUNK_LEN => chunk.timers.push(timer),
            head => {
                // The first chunk of a slot grows as needed; the other chunks are full.
                let mut timers = Vec::with_capacity(if head.is_some() { CHUNK_LEN } else { 4 });
                timers.push(timer);
                *head = Some(Box::new(Chunk { timers, next: head.take() }));
            }
        }
    }

    /// Takes timers until `turn` has [`TURN_LEN`].
    pub(super) fn pop_into(&mut self, turn: &mut Vec<Prefix>) {
        while turn.len() < TURN_LEN {
            let Some(chunk) = &mut self.head else { return };
            let keep = chunk.timers.len().saturating_sub(TURN_LEN - turn.len());
            self.len -= chunk.timers.len() - keep;
            turn.extend(chunk.timers.drain(keep..));
            if chunk.timers.is_empty() {
                self.head = chunk.next.take();
            }
        }
    }

    /// Takes over all timers of another list, chunk by chunk.
    pub(super) fn append(&mut self, mut other: Self) {
        self.len += std::mem::take(&mut other.len);
        while let Some(mut chunk) = other.head.take() {
            other.head = chunk.next.take();
            chunk.next = self.head.take();
            self.head = Some(chunk);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.head.is_none()
    }
}

impl Drop for Chain {
    /// Frees chunk by chunk: the derived drop would recurse once per chunk.
    fn drop(&mut self) {
        let mut head = self.head.take();
        while let Some(mut chunk) = head {
            head = chunk.next.take();
        }
    }
}

/// A queue of lists to be processed, first in, first out. A list of any length is queued in
/// constant time.
#[derive(Default)]
pub(super) struct Queue {
    chains: VecDeque<Chain>,
    len: usize,
}

impl Queue {
    /// Queues a single timer.
    pub(super) fn push(&mut self, timer: Prefix) {
        if self.chains.is_empty() {
            self.chains.push_back(Chain::default());
        }
        if let Some(last) = self.chains.back_mut() {
            last.push(timer);
            self.len += 1;
        }
    }

    pub(super) fn push_chain(&mut self, chain: Chain) {
        if !chain.is_empty() {
            self.len += chain.len();
            self.chains.push_back(chain);
        }
    }

    /// Appends all lists of `other` to this queue.
    pub(super) fn push_all(&mut self, other: &mut Self) {
        self.len += std::mem::take(&mut other.len);
        self.chains.append(&mut other.chains);
    }

    /// Takes timers until `turn` has [`TURN_LEN`].
    pub(super) fn pop_into(&mut self, turn: &mut Vec<Prefix>) {
        let before = turn.len();
        while let Some(first) = self.chains.front_mut() {
            first.pop_into(turn);
            if !first.is_empty() {
                break;
            }
            self.chains.pop_front();
        }
        self.len -= turn.len() - before;
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }
}
