//! A new stream for a cluster that has lost its own.
//!
//! The new stream continues the log of one node. Its first message is a Genesis of the next era,
//! which says where the stream before has ended: the position and the chain of that log. Nodes with
//! the same chain there go on; others have landed less or more, and must join anew. The same message
//! at the end of the old stream, if that is still there, ends every node that follows it.

use std::time::Duration;

use super::follow::{Stop, Unfollowable, compare, first_opened};
use super::message::{SealError, Sealer};
use super::stream::{Stream, StreamError};
use crate::engine::clustered::Proposal;
use crate::engine::replicated::{FORMAT_FIRST, MessageKind, Replicated, Sender};
use crate::model::cluster::{ClusterId, Era, MessageHash, Position};
use crate::model::record::replication::Ended;
use crate::model::time::UnixMillis;

/// Patience for a message.
const PATIENCE: Duration = Duration::from_secs(2);

/// The end of one stream and the begin of the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reseeding {
    /// The cluster.
    pub cluster: ClusterId,
    /// Where the stream before ends.
    pub ended: Ended,
    /// Hash of the message there.
    pub hash: MessageHash,
    /// The era of the new stream.
    pub era: Era,
}

/// What a stream is that is already there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It never had a message.
    Empty,
    /// It already continues the log, in this era.
    Done(Era),
    /// It is of a later era than the log, and continues another position.
    Later {
        /// Its era.
        era: Era,
        /// The position, if its first message is still there.
        from: Option<Position>,
    },
    /// It is that of the log or an earlier one.
    Old {
        /// Its last message.
        last: u64,
        /// Whether the node can follow it.
        is_followable: bool,
    },
    /// None of its first messages is of this cluster.
    Foreign,
}

impl Reseeding {
    /// Continues a log; `None` if it is empty.
    #[must_use]
    pub fn after(log: &Replicated) -> Option<Self> {
        let Replicated { cluster, position, chain, hash, .. } = *log;
        let ended = Ended { position, chain };
        (position.seq > 0).then(|| Self::at(cluster, ended, hash))
    }

    /// Continues a log that ends here.
    #[must_use]
    pub fn at(cluster: ClusterId, ended: Ended, hash: MessageHash) -> Self {
        Self { cluster, ended, hash, era: Era(ended.position.era.0 + 1) }
    }

    /// The same, in an era that is later than that of a stream that is given up. The log may be
    /// older than that stream: that of a backup.
    #[must_use]
    pub fn beyond(self, era: Era) -> Self {
        Self { era: self.era.max(Era(era.0 + 1)), ..self }
    }

    /// The first message of the new stream.
    ///
    /// # Errors
    /// It cannot be sealed.
    pub fn message(
        &self,
        sealer: &mut Sealer,
        sender: Sender,
        proposed_at: UnixMillis,
    ) -> Result<Vec<u8>, SealError> {
        sealer.seal(&Proposal {
            // What the nodes have agreed on is in their logs, and stays.
            format: FORMAT_FIRST,
            kind: MessageKind::Genesis,
            cluster: self.cluster,
            era: self.era,
            sender,
            batch: 0,
            attempt: 0,
            proposed_at,
            body: &self.ended.encode(),
        })
    }

    /// What the stream is, if there is one.
    ///
    /// # Errors
    /// It did not answer.
    pub fn look_at(
        &self,
        stream: &mut dyn Stream,
        sealer: &mut Sealer,
    ) -> Result<Found, StreamError> {
        let bounds = stream.bounds()?;
        let position = self.ended.position;
        if bounds.last == 0 {
            return Ok(Found::Empty);
        }
        let old = |is_followable| Found::Old { last: bounds.last, is_followable };
        // It has forgotten all its messages.
        if bounds.first > bounds.last {
            return Ok(old(false));
        }
        let first = match first_opened(stream, sealer, bounds, PATIENCE) {
            Ok(first) => first,
            Err(Stop::Unfollowable(Unfollowable::Lost(_))) => return Ok(old(false)),
            Err(Stop::Unfollowable(why)) => return Err(StreamError::Malformed(why.to_string())),
            Err(Stop::Quiet) => return Err(StreamError::TimedOut),
        };
        let Some((first, head)) = first.and_then(|first| {
            let (head, _) = first.content.as_ref()?;
            let head = *head;
            (head.cluster == self.cluster).then_some((first, head))
        }) else {
            return Ok(Found::Foreign);
        };
        let from = first.continues();
        if from == Some(self.ended) {
            return Ok(Found::Done(head.era));
        }
        if head.era > position.era {
            let from = from.map(|ended| ended.position);
            return Ok(Found::Later { era: head.era, from });
        }
        if head.era < position.era {
            return Ok(old(false));
        }
        match compare(stream, position.seq, self.hash, bounds, PATIENCE) {
            Ok(_) => Ok(old(true)),
            Err(Stop::Unfollowable(_)) => Ok(old(false)),
            Err(Stop::Quiet) => Err(StreamError::TimedOut),
        }
    }
}
