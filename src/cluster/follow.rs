//! Follows the stream: the next message or nothing, and never another stream's message.

use std::thread::sleep;
use std::time::Duration;

use super::message::{Sealer, UnknownFormat};
use super::stream::{Bounds, Loss, Next, Stream, StreamError};
use crate::engine::clustered::{Follower, NodeState};
use crate::engine::replicated::{Landed, hash_of};
use crate::model::cluster::{Era, MessageHash, Position};
use crate::model::record::replication::Ended;

/// Messages that are read to find one that opens with the secret.
const SAMPLES: u64 = 16;

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
    /// The stream continues an earlier one, of which this node has landed nothing: it must join
    /// anew.
    #[error("the stream continues an earlier one, of which this node has landed nothing")]
    Continued,
    /// The stream is not the one that this node has followed. A person must decide.
    #[error("the stream is lost: {0}")]
    Lost(#[from] Loss),
    /// The cluster goes on in another stream, which does not continue from the position of this
    /// node's log.
    #[error(
        "the cluster goes on in era {}, {}, and this node's log is at position {own}", .era.0,
        .from.map_or_else(
            || "whose begin the stream has forgotten".to_owned(),
            |from| format!("which continues position {from}")
        )
    )]
    NewerEra {
        /// The era of the stream.
        era: Era,
        /// The position that it continues, if its first message is still there.
        from: Option<Position>,
        /// The position of the log.
        own: Position,
    },
    /// The stream is one that the cluster has given up.
    #[error(
        "the stream is of era {} and has been given up: this node's log is at position {own}", .era.0
    )]
    OlderEra {
        /// The era of the stream.
        era: Era,
        /// The position of the log.
        own: Position,
    },
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
    /// the node has landed. Afterwards the stream itself tells each loss: see [`super::stream`].
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
        if self.end.is_none() {
            match self.first_contact(stream, &follower.state(), patience) {
                Ok((next, end)) => (self.next, self.end) = (next, Some(end)),
                Err(stop) => {
                    // Without a leader or a connection the answer comes at once.
                    sleep(patience);
                    return stop.into_step();
                }
            }
            self.catch_up(follower);
        }
        let message = match stream.next(self.next, patience) {
            Ok(message) => message,
            Err(next) => return Stop::from(next).into_step(),
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

    /// The next message, and where the stream ends, if it is the one that the node has followed.
    fn first_contact(
        &mut self,
        stream: &mut dyn Stream,
        state: &NodeState,
        patience: Duration,
    ) -> Result<(u64, u64), Stop> {
        let bounds = stream.bounds().map_err(|error| match error {
            StreamError::Lost(loss) => Next::Lost(loss),
            _ => Next::Quiet,
        })?;
        let checked = self.check(stream, state, bounds, patience);
        let is_short =
            matches!(&checked, Err(Stop::Unfollowable(Unfollowable::Lost(Loss::Shorter { .. }))));
        self.short = if is_short { self.short + 1 } else { 0 };
        if is_short && self.short < CHECKS_SHORT {
            return Err(Stop::Quiet);
        }
        Ok((checked?, bounds.last))
    }

    /// Compares the stream with what the node has landed: it must reach that far, and its message
    /// there must be the same; or it must continue from there. Returns the next message.
    fn check(
        &mut self,
        stream: &mut dyn Stream,
        state: &NodeState,
        bounds: Bounds,
        patience: Duration,
    ) -> Result<u64, Stop> {
        let Position { era, seq: landed } = state.position;
        let first = first_opened(stream, &mut self.sealer, bounds, patience)?;
        if landed == 0 {
            return match first.is_some_and(|first| first.continues().is_some()) {
                true => Err(Unfollowable::Continued.into()),
                false => Ok(1),
            };
        }
        let head = first.as_ref().and_then(|first| Some(first.content.as_ref()?.0));
        if let (Some(first), Some(head)) =
            (&first, head.filter(|head| head.cluster == state.cluster))
        {
            let (here, own) =
                (Ended { position: state.position, chain: state.chain }, state.position);
            let from = first.continues();
            return match head.era {
                same if same == era => compare(stream, landed, state.hash, bounds, patience),
                _ if from == Some(here) => Ok(first.seq),
                later if later > era => {
                    let from = from.map(|ended| ended.position);
                    Err(Unfollowable::NewerEra { era: later, from, own }.into())
                }
                older => Err(Unfollowable::OlderEra { era: older, own }.into()),
            };
        }
        compare(stream, landed, state.hash, bounds, patience)
    }
}

/// Why there is no message.
pub(super) enum Stop {
    /// Nothing came.
    Quiet,
    /// There never will be one.
    Unfollowable(Unfollowable),
}

impl Stop {
    fn into_step(self) -> Result<Step, Unfollowable> {
        match self {
            Self::Quiet => Ok(Step::Quiet),
            Self::Unfollowable(why) => Err(why),
        }
    }
}

impl From<Unfollowable> for Stop {
    fn from(why: Unfollowable) -> Self {
        Self::Unfollowable(why)
    }
}

impl From<Next> for Stop {
    fn from(next: Next) -> Self {
        match next {
            Next::Quiet => Self::Quiet,
            Next::Trimmed { first } => Unfollowable::Trimmed { first }.into(),
            Next::Lost(loss) => Unfollowable::Lost(loss).into(),
        }
    }
}

impl From<UnknownFormat> for Stop {
    fn from(format: UnknownFormat) -> Self {
        Unfollowable::from(format).into()
    }
}

/// Compares the message at a node's position with the one that it has landed there. Returns the
/// next message.
pub(super) fn compare(
    stream: &mut dyn Stream,
    landed: u64,
    hash: MessageHash,
    bounds: Bounds,
    patience: Duration,
) -> Result<u64, Stop> {
    if bounds.last < landed {
        return Err(Next::Lost(Loss::Shorter { followed: landed, last: bounds.last }).into());
    }
    // Also where the very next message is there, but nothing shows that it belongs to this stream.
    if bounds.first > landed {
        return Err(Next::Trimmed { first: bounds.first }.into());
    }
    let message = stream.next(landed, patience)?;
    match hash_of(&message.bytes) == hash {
        true => Ok(landed + 1),
        false => Err(Next::Lost(Loss::Other { seq: landed }).into()),
    }
}

/// The first of the stream's messages that opens; `None` if it is none of the first few.
pub(super) fn first_opened(
    stream: &mut dyn Stream,
    sealer: &mut Sealer,
    bounds: Bounds,
    patience: Duration,
) -> Result<Option<Landed>, Stop> {
    let last = bounds.last.min(bounds.first + SAMPLES - 1);
    for seq in bounds.first..=last {
        let message = match stream.next(seq, patience) {
            // It was trimmed a moment ago, so the bounds are others now.
            Err(Next::Trimmed { .. }) => return Err(Stop::Quiet),
            other => other?,
        };
        let landed = sealer.open(seq, message.stored_at, &message.bytes)?;
        if landed.content.is_some() {
            return Ok(Some(landed));
        }
    }
    Ok(None)
}
