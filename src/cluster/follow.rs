//! Follows the stream: the next message or nothing, and never another stream's message.

use std::thread::sleep;
use std::time::Duration;

use super::message::{Sealer, UnknownFormat};
use super::stream::{Loss, Next, Stream, StreamError};
use crate::engine::clustered::{Follower, NodeState};
use crate::engine::replicated::hash_of;

/// First contacts in a row that must find the stream shorter than what was landed: a leader that was
/// cut off from the others does not know for 10 s that it is none. With the usual patience of 250 ms
/// these are 15 s.
const CHECKS_SHORT: u32 = 60;

/// Why a node cannot follow the stream any further.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfollowable {
    /// The stream has forgotten messages that this node has not landed: it must join anew.
    #[error("the stream begins at message {first}, and this node has not landed all before it")]
    Trimmed {
        /// The first message of the stream.
        first: u64,
    },
    /// The stream is not the one that this node has followed. A person must decide.
    #[error("the stream is lost: {0}")]
    Lost(#[from] Loss),
    /// A later version of jeton has written a message.
    #[error(transparent)]
    UnknownFormat(#[from] UnknownFormat),
}

/// What became of an attempt to follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The next message was handed to the node.
    Landed,
    /// Nothing came.
    Quiet,
    /// The node has ended.
    Ended,
}

/// A node's place in the stream.
pub struct Following {
    sealer: Sealer,
    /// The next message.
    next: u64,
    /// The last message of the stream at the first contact, when the stream was compared with what
    /// the node has landed.
    end: Option<u64>,
    /// First contacts in a row that found the stream too short.
    short: u32,
    has_caught_up: bool,
}

impl Following {
    /// Follows from the position that a node has recovered.
    #[must_use]
    pub fn after(state: &NodeState, sealer: Sealer) -> Self {
        let next = state.position.seq + 1;
        Self { sealer, next, end: None, short: 0, has_caught_up: false }
    }

    /// Hands the next message to the node, if one comes within `patience`. Before the first one the
    /// stream is compared with what the node has landed; later this is the part of the stream's
    /// adapter.
    ///
    /// # Errors
    /// The node cannot follow any further.
    pub fn step(
        &mut self,
        stream: &mut dyn Stream,
        follower: &Follower,
        patience: Duration,
    ) -> Result<Step, Unfollowable> {
        if self.end.is_none() {
            match self.first_contact(stream, &follower.state(), patience) {
                Ok(end) => self.end = Some(end),
                Err(Next::Quiet) => {
                    // Without a leader or a connection the answer comes at once.
                    sleep(patience);
                    return Ok(Step::Quiet);
                }
                Err(Next::Trimmed { first }) => return Err(Unfollowable::Trimmed { first }),
                Err(Next::Lost(loss)) => return Err(loss.into()),
            }
            self.catch_up(follower);
        }
        let message = match stream.next(self.next, patience) {
            Ok(message) => message,
            Err(Next::Quiet) => return Ok(Step::Quiet),
            Err(Next::Trimmed { first }) => return Err(Unfollowable::Trimmed { first }),
            Err(Next::Lost(loss)) => return Err(loss.into()),
        };
        let landed = self.sealer.open(message.seq, message.stored_at, &message.bytes)?;
        if !follower.land(landed) {
            return Ok(Step::Ended);
        }
        self.next += 1;
        self.catch_up(follower);
        Ok(Step::Landed)
    }

    /// Tells the node once that it has reached the end. That is where the stream ended at the first
    /// contact: others may write on, and what they write meanwhile does not hold the node up.
    fn catch_up(&mut self, follower: &Follower) {
        // A cluster begins with its first message.
        let is_there = self.next > 1 && self.end.is_some_and(|end| self.next > end);
        if is_there && !self.has_caught_up {
            self.has_caught_up = true;
            follower.caught_up();
        }
    }

    /// Compares the stream with what the node has landed: it must reach that far, and its message
    /// there must be the same. Returns where the stream ends.
    fn first_contact(
        &mut self,
        stream: &mut dyn Stream,
        state: &NodeState,
        patience: Duration,
    ) -> Result<u64, Next> {
        let landed = state.position.seq;
        let bounds = stream.bounds().map_err(|error| match error {
            StreamError::Lost(loss) => Next::Lost(loss),
            _ => Next::Quiet,
        })?;
        if bounds.last < landed {
            self.short += 1;
            return Err(match self.short < CHECKS_SHORT {
                true => Next::Quiet,
                false => Next::Lost(Loss::Shorter { followed: landed, last: bounds.last }),
            });
        }
        self.short = 0;
        if landed == 0 {
            return Ok(bounds.last);
        }
        // Also where the very next message is there, but nothing shows that it belongs to this
        // stream.
        if bounds.first > landed {
            return Err(Next::Trimmed { first: bounds.first });
        }
        let message = stream.next(landed, patience)?;
        match hash_of(&message.bytes) == state.hash {
            true => Ok(bounds.last),
            false => Err(Next::Lost(Loss::Other { seq: landed })),
        }
    }
}
