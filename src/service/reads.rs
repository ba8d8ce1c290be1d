//! How fresh an answer is, where several machines have the same tokens.
//!
//! A node answers from its own memory, which may be behind. So:
//!
//! - A hit is answered while the [fence](crate::cluster::fence) is open. It may be as old as
//!   `--cluster-staleness`.
//! - A miss is confirmed before it is answered: another node may have issued the token a moment ago. It
//!   waits for a barrier, which is a message that this node proposes after the request has come;
//!   when it has landed, the node knows everything that was acknowledged anywhere before. All who
//!   wait at the same time wait for the same message, and a list takes one. What is unknown has no
//!   record; only the message itself is stored, at most one after the other.
//! - Log time decides what has expired, as it does for consumes on all nodes. Between messages it goes
//!   on with the forward clock. So a node whose clock is or was ahead calls nothing expired that others
//!   can consume, and answers it without a barrier.
//! - A request may demand more: a position that must have been reached, or a barrier in any case.
//!
//! Changes are not concerned: the stream orders them, and the engine answers what changes nothing
//! after a barrier too.

use std::fmt;
use std::time::Duration;

use crate::cluster::fence::Fence;
use crate::engine::clustered::{Follower, Until};
use crate::engine::{Caller, Rejected};
use crate::model::cluster::{ClusterId, NodeId, Position};
use crate::model::time::UnixMillis;
use crate::service::refusal::{NotFresh, Refusal};

/// Maximum wait for a position.
const POSITION_WAIT: Duration = Duration::from_secs(2);

/// What a node of a cluster may answer. Clones are the same node's.
#[derive(Clone)]
pub struct Reads {
    follower: Follower,
    fence: Fence,
}

/// What a request demands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Demand {
    /// The node must have reached this position.
    pub(crate) at_least: Option<Position>,
    /// The answer must know everything that was acknowledged before the request came.
    pub(crate) is_linear: bool,
}

impl Demand {
    /// Whether a node that has reached `position` has to wait for what is demanded.
    fn waits_at(self, position: Position) -> bool {
        self.is_linear || self.at_least.is_some_and(|at_least| at_least > position)
    }
}

/// What the node knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// Enough to answer a hit.
    Hits,
    /// Everything that was acknowledged before the request came.
    All,
}

impl Reads {
    /// The reads of the node that `follower` feeds. `fence` must
    /// [watch](Fence::watch) the node's proposer.
    #[must_use]
    pub fn new(follower: Follower, fence: Fence) -> Self {
        Self { follower, fence }
    }

    /// The node.
    pub(crate) fn node(&self) -> NodeId {
        self.follower.node()
    }

    /// The cluster of the node.
    pub(crate) fn cluster(&self) -> ClusterId {
        self.follower.cluster()
    }

    /// Whether hits may be answered.
    pub(crate) fn is_open(&self) -> bool {
        self.fence.is_open()
    }

    /// The position that this node has reached. What it has answered landed there or before.
    pub(crate) fn position(&self) -> Position {
        self.follower.position()
    }

    /// Whether the node has to wait before it can answer what is demanded.
    pub(crate) fn must_wait(&self, demand: Demand) -> bool {
        demand.waits_at(self.position())
    }

    /// The time that decides what has expired, once [all](Known::All) is known.
    pub(crate) fn log_time(&self) -> UnixMillis {
        self.follower.log_time()
    }

    /// The time that decides what has expired meanwhile: log time, which goes on between messages with
    /// the engine's forward clock.
    pub(crate) fn time_at(&self, forward: Duration) -> UnixMillis {
        self.follower.log_time_at(forward)
    }

    /// Waits until the node is as fresh as the request demands.
    pub(crate) async fn freshen(&self, caller: &Caller, demand: Demand) -> Result<Known, Refusal> {
        if demand.is_linear {
            self.barrier(caller).await?;
        }
        if let Some(at_least) = demand.at_least {
            self.reach(caller, at_least).await?;
        }
        match demand.is_linear {
            true => Ok(Known::All),
            false if self.is_open() => Ok(Known::Hits),
            false => Err(NotFresh::Stale.into()),
        }
    }

    /// Waits until the node knows everything that was acknowledged before this call.
    pub(crate) async fn barrier(&self, caller: &Caller) -> Result<(), Refusal> {
        let waited = caller.wait(&self.follower, Until::Barrier).await;
        waited.map_err(|rejected| match rejected {
            Rejected::NoQuorum => NotFresh::Unconfirmed.into(),
            other => crowded(other),
        })
    }

    async fn reach(&self, caller: &Caller, at_least: Position) -> Result<(), Refusal> {
        let now = self.position();
        if self.follower.has_lost(at_least) {
            return Err(NotFresh::PositionLost.into());
        }
        if at_least <= now {
            return Ok(());
        }
        // This node never gets to another stream: it starts anew before it follows one.
        if at_least.era > now.era {
            return Err(NotFresh::Behind.into());
        }
        let until = Until::Position(at_least, POSITION_WAIT);
        caller.wait(&self.follower, until).await.map_err(crowded)?;
        match at_least <= self.position() {
            true => Ok(()),
            false => Err(NotFresh::Behind.into()),
        }
    }
}

/// Why nobody waits for the cluster at present.
fn crowded(rejected: Rejected) -> Refusal {
    match rejected {
        Rejected::QueueFull => Refusal::TooManyWait,
        other => other.into(),
    }
}

impl fmt::Debug for Reads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reads").field("fence", &self.fence).finish_non_exhaustive()
    }
}
