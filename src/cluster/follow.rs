//! Follows the stream: the next message or nothing, and never another stream's message.

use std::time::Duration;

use super::message::{Sealer, UnknownFormat};
use super::stream::{Loss, Next, Stream, StreamError};
use crate::engine::clustered::{Follower, NodeState};
use crate::engine::replicated::hash_of;

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
    /// Whether the stream was compared with what the node has landed, since the last contact.
    is_checked: bool,
    has_caught_up: bool,
}

impl Following {
    /// Follows from the position that a node has recovered.
    #[must_use]
    pub fn after(state: &NodeState, sealer: Sealer) -> Self {
        let next = state.position.seq + 1;
        Self { sealer, next, is_checked: false, has_caught_up: false }
    }

    /// The connection was made anew: whether the stream is still the same is checked first.
    pub fn reconnected(&mut self) {
        self.is_checked = false;
    }

    /// Hands the next message to the node, if one comes within `patience`.
    ///
    /// # Errors
    /// The node cannot follow any further.
    pub fn step(
        &mut self,
        stream: &mut dyn Stream,
        follower: &Follower,
        patience: Duration,
    ) -> Result<Step, Unfollowable> {
        if !self.is_checked {
            match check(stream, &follower.state(), patience) {
                Ok(()) => self.is_checked = true,
                Err(Next::Quiet) => return Ok(Step::Quiet),
                Err(Next::Trimmed { first }) => return Err(Unfollowable::Trimmed { first }),
                Err(Next::Lost(loss)) => return Err(loss.into()),
            }
        }
        let message = match stream.next(self.next, patience) {
            Ok(message) => message,
            Err(Next::Quiet) => {
                self.catch_up(stream, follower);
                return Ok(Step::Quiet);
            }
            Err(Next::Trimmed { first }) => return Err(Unfollowable::Trimmed { first }),
            Err(Next::Lost(loss)) => return Err(loss.into()),
        };
        let landed = self.sealer.open(message.seq, message.stored_at, &message.bytes)?;
        if !follower.land(landed) {
            return Ok(Step::Ended);
        }
        self.next += 1;
        Ok(Step::Landed)
    }

    /// Tells the node once that it has reached the end: no message came, and the stream says that
    /// there is none.
    fn catch_up(&mut self, stream: &mut dyn Stream, follower: &Follower) {
        // A cluster begins with its first message.
        if self.has_caught_up || self.next == 1 {
            return;
        }
        if stream.bounds().is_ok_and(|bounds| bounds.last < self.next) {
            self.has_caught_up = true;
            follower.caught_up();
        }
    }
}

/// Compares the stream with what the node has landed: it must reach that far, and its message there
/// must be the same.
fn check(stream: &mut dyn Stream, state: &NodeState, patience: Duration) -> Result<(), Next> {
    let landed = state.position.seq;
    if landed == 0 {
        return Ok(());
    }
    let bounds = stream.bounds().map_err(|error| match error {
        StreamError::Lost(loss) => Next::Lost(loss),
        _ => Next::Quiet,
    })?;
    if bounds.last < landed {
        return Err(Next::Lost(Loss::Shorter { followed: landed, last: bounds.last }));
    }
    // Also where the very next message is there, but nothing shows that it belongs to this stream.
    if bounds.first > landed {
        return Err(Next::Trimmed { first: bounds.first });
    }
    let message = stream.next(landed, patience)?;
    match hash_of(&message.bytes) == state.hash {
        true => Ok(()),
        false => Err(Next::Lost(Loss::Other { seq: landed })),
    }
}
