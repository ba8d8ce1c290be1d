//! The committer of a cluster's node.
//!
//! A single node orders its changes itself: it writes a frame, applies it and answers. Here a stream
//! orders them. The operations of this node's callers are gathered into one batch, which is
//! proposed; whatever the stream then delivers, from any node, is landed: written to the local log
//! as one frame, applied, and answered if it is this node's own. Nothing is answered before it has
//! landed, because only the stream decides what came first.
//!
//! | module | what |
//! |---|---|
//! | `boundary` | what goes in and out: messages, proposals, the node's state for other threads |
//! | `standing` | the part of the node in its cluster |
//! | `accepts` | what the node takes from its callers |
//! | `log_time` | the time of the log, which is that of the messages |
//! | `clock_check` | how far this node's clock is from the stream's |
//! | `calls` | the calls that wait, and their outcomes |
//! | `waits` | callers that wait for a barrier or a position |
//! | `backlog` | operations that wait for room in a batch, by namespace |
//! | `gather` | operations of callers become records of a batch |
//! | `own` | this node's batches: one in flight, the next one gathering |
//! | `pace` | when a message is proposed again |
//! | `decided` | what people decide about the cluster |
//! | `landing` | a message becomes a frame |
//! | `records` | which records of a message are written, and what each comes to |
//! | `compared` | what other nodes report, compared with what this node knows |
//! | `stepped` | the same committer without a thread, for simulations |
//! | `outcomes` | what records came to, for the chain of outcomes |
//! | `run` | the loop of the thread |
//!
//! The log, the cleaner, `apply` and the work between frames are those of a single node. There is no
//! choice between the two on the way of a change: it is made once, when the engine is opened.

mod accepts;
mod backlog;
mod boundary;
mod calls;
mod clock_check;
mod compared;
mod decided;
mod gather;
mod landing;
mod log_time;
mod outcomes;
mod own;
mod pace;
mod records;
mod run;
mod standing;
#[cfg(feature = "testkit")]
pub mod stepped;
#[cfg(test)]
mod tests;
mod waits;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::{Receiver, never};

use crate::clock::Observer;
use crate::model::cluster::{Chain, MessageHash, NodeId};
use crate::model::record::replication::Report;
use crate::wal::{Lsn, Wal};

use super::backup::request::BackupRequest;
use super::cleaning::Cleaning;
use super::job::Job;
use super::journal::LocalLog;
use super::maintenance::Maintenance;
use super::recovery::Recovered;
use super::replicated::{FORMAT_ASKED, Landed, Replicated};
use super::sequencer::Sequencer;

pub use accepts::Accepts;
pub use boundary::{
    Follower, LandedCounts, Membership, NodeState, Proposal, Proposer, Standing, Stopped, Times,
};
pub use waits::Until;

use boundary::{Arrival, Told};
use calls::Calls;
use log_time::LogTime;
use own::Own;
use waits::Positions;

/// Positions whose hash and chains are remembered, to compare them with what other nodes report.
const RECENT_MAX: usize = 4_096;

/// The committer of a node.
pub(super) struct Clustered {
    jobs: Receiver<Job>,
    arrivals: Receiver<Arrival>,
    sequencer: Sequencer<LogTime>,
    maintenance: Maintenance,
    cleaning: Cleaning,
    backup: Option<BackupRequest>,
    calls: Calls,
    own: Own,
    replicated: Replicated,
    /// The last positions, oldest first.
    recent: VecDeque<Recent>,
    /// A message that could not be written, and the monotonic time of the next attempt.
    held: Option<(Landed, Duration)>,
    /// Ends of frames that are not known to be durable, with their positions.
    unsynced: VecDeque<(Lsn, u64)>,
    durable: u64,
    landed: LandedCounts,
    reports: BTreeMap<NodeId, Report>,
    /// Nodes whose outcomes were equal to those of this node in each of their reports.
    alike: BTreeSet<NodeId>,
    /// Nodes whose outcomes differ. None is ever removed while it is a member.
    diverged: BTreeMap<NodeId, u64>,
    /// The state of the node's own clocks.
    observer: Observer,
    standing: Standing,
    /// Callers that wait for a position.
    waiting: Positions,
    told: Arc<Told>,
}

/// One of the last positions.
#[derive(Clone, Copy, Debug)]
struct Recent {
    seq: u64,
    hash: MessageHash,
    chain: Chain,
    outcomes: Option<Chain>,
}

impl Clustered {
    pub(super) fn new(
        recovered: Recovered,
        jobs: Receiver<Job>,
        membership: Membership,
        proposer: Box<dyn Proposer>,
    ) -> (Self, Follower) {
        let Recovered { shared, accounting, wal, expired_until, replicated } = recovered;
        let (follower, arrivals, told) = boundary::connect(&membership);
        let replicated = replicated.unwrap_or_default();
        let log_time = LogTime::at(wal.as_ref().map_or(0, Wal::last_time_ms));
        let durable = replicated.position.seq;
        let node = Self {
            jobs,
            arrivals,
            sequencer: Sequencer::new(shared, accounting, wal.map(LocalLog::new), log_time),
            maintenance: Maintenance::after(expired_until),
            cleaning: Cleaning::default(),
            backup: None,
            calls: Calls::default(),
            own: Own::new(membership, proposer),
            recent: VecDeque::new(),
            held: None,
            unsynced: VecDeque::new(),
            durable,
            landed: LandedCounts::default(),
            reports: BTreeMap::new(),
            alike: BTreeSet::new(),
            diverged: BTreeMap::new(),
            observer: Observer::default(),
            standing: Standing::Following,
            waiting: Positions::default(),
            told,
            replicated,
        };
        node.tell();
        (node, follower)
    }

    /// Publishes the state of the node, and the gauges of the engine.
    fn tell(&self) {
        self.sequencer.publish();
        let Replicated { position, hash, chain, outcomes, members, ended, cluster, agreed } =
            &self.replicated;
        let forward = self.sequencer.shared.time.forward();
        self.sequencer.shared.has_agreed.store(*agreed >= FORMAT_ASKED, Ordering::Relaxed);
        let state = NodeState {
            standing: self.standing.clone(),
            cluster: *cluster,
            position: *position,
            hash: *hash,
            chain: *chain,
            outcomes: *outcomes,
            durable: self.durable,
            landed: self.landed,
            log_time: self.sequencer.now(),
            has_quorum: self.own.has_quorum,
            is_clock_right: self.own.clock.is_right,
            clock_difference_ms: self.own.clock.difference_ms,
            unwritable: self.sequencer.shared.health.unwritable(),
            members: members.values().filter(|row| !row.retired).copied().collect(),
            ended: ended.clone(),
            agreed: *agreed,
            reports: self.reports.clone(),
            alike: self.alike.clone(),
            diverged: self.diverged.clone(),
        };
        self.told.tell(state, forward);
    }

    /// Ends the part of this node in its cluster, for good: nothing more is proposed or landed.
    fn stop(&mut self, why: Stopped) {
        if matches!(self.standing, Standing::Stopped(_)) {
            return;
        }
        tracing::error!(reason = %why, "this node proposes and lands nothing more");
        self.standing = Standing::Stopped(why);
        self.own.abandon(&mut self.calls);
        self.held = None;
        self.arrivals = never();
    }

    fn is_stopped(&self) -> bool {
        matches!(self.standing, Standing::Stopped(_))
    }
}
