//! What goes into the committer of a node and out of it, besides its callers' operations.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use crate::engine::health::NotReady;
use crate::engine::mailbox::{Pending, Reply};
use crate::engine::op::Rejected;
use crate::engine::replicated::{FORMAT, Landed, MessageHead, MessageKind, Sender as NodeLife};
use crate::model::cluster::{BootNonce, Chain, ClusterId, Era, MessageHash, NodeId, Position};
use crate::model::metrics::Latencies;
use crate::model::record::replication::{Decision, Ended, Member, Report};
use crate::model::time::{UnixMillis, millis};

use super::waits::{Until, Waits};

use super::accepts::{self, Accepts};
pub use super::standing::{Standing, Stopped};

/// Messages that wait for the committer.
const ARRIVALS_MAX: usize = 32;

/// Hands this node's messages to the stream. What became of one is learnt by following the stream
/// alone, so nothing is returned.
pub trait Proposer: Send {
    /// Proposes a message. It must not block for long: nothing lands meanwhile.
    fn propose(&mut self, proposal: &Proposal<'_>);

    /// Whether the last proposal seems to have been refused, or was lost with a connection, so that
    /// it should be repeated soon. It may have landed all the same.
    fn is_refused(&mut self) -> bool {
        false
    }

    /// A message of this node has landed, and this node has applied it and all before it. Called
    /// once for each message, with the head of the attempt that landed first.
    fn landed(&mut self, _head: &MessageHead) {}
}

/// A message to be sealed and proposed.
#[derive(Clone, Copy, Debug)]
pub struct Proposal<'a> {
    /// The format on which the nodes have agreed.
    pub format: u16,
    /// The kind.
    pub kind: MessageKind,
    /// The cluster.
    pub cluster: ClusterId,
    /// The stream.
    pub era: Era,
    /// This node's life.
    pub sender: NodeLife,
    /// Number of the batch; 0 for a Hello.
    pub batch: u64,
    /// How often it was proposed before.
    pub attempt: u32,
    /// This node's clock.
    pub proposed_at: UnixMillis,
    /// Records with relative deadlines.
    pub body: &'a [u8],
}

impl Proposal<'static> {
    /// The first message of a cluster, whose nodes agree from its begin on the latest format.
    #[must_use]
    pub fn genesis(cluster: ClusterId, sender: NodeLife, proposed_at: UnixMillis) -> Self {
        let (format, kind, era) = (FORMAT, MessageKind::Genesis, Era(1));
        Self { format, kind, cluster, era, sender, batch: 0, attempt: 0, proposed_at, body: &[] }
    }
}

/// Who this node is, and how long its callers wait.
#[derive(Clone, Debug)]
pub struct Membership {
    /// The node.
    pub node: NodeId,
    /// Random bytes of this start.
    pub nonce: BootNonce,
    /// Time after which a call that has not landed is answered
    /// [`Unknown`](crate::engine::Outcome::Unknown).
    pub answer_within: Duration,
    /// Latest format of messages and logs that this version reads.
    pub format: u32,
    /// Fingerprint of the keys file at the start.
    pub keys: [u8; 16],
}

/// Messages that a node has landed since its start, by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LandedCounts {
    /// All of them.
    pub all: u64,
    /// Those that had counted before.
    pub repeats: u64,
    /// Those that do not open with the secret: somebody else may publish to the stream.
    pub unopened: u64,
}

/// The state of a node, as of the end of a turn.
#[derive(Clone, Debug, Default)]
pub struct NodeState {
    /// Its part in the cluster.
    pub standing: Standing,
    /// The cluster; all zero before its first message.
    pub cluster: ClusterId,
    /// The last message that was landed.
    pub position: Position,
    /// Its hash.
    pub hash: MessageHash,
    /// The chain of messages.
    pub chain: Chain,
    /// The chain of outcomes, if known.
    pub outcomes: Option<Chain>,
    /// Everything up to this sequence number is durable in the local log.
    pub durable: u64,
    /// Messages that were landed.
    pub landed: LandedCounts,
    /// Log time.
    pub log_time: UnixMillis,
    /// Whether this node's messages land.
    pub has_quorum: bool,
    /// Whether this node's clock agrees with the stream's.
    pub is_clock_right: bool,
    /// The least by which this node's clock is ahead of the stream's, in milliseconds, as of its last
    /// message that has landed; negative where it is behind.
    pub clock_difference_ms: Option<i64>,
    /// Why this node cannot write to its log at present, if it cannot. It lands nothing until then.
    pub unwritable: Option<NotReady>,
    /// All nodes, without those that were taken out.
    pub members: Vec<Member>,
    /// Where earlier streams have ended, oldest first.
    pub ended: Vec<Ended>,
    /// The format that the nodes have agreed on; 0 for the first one.
    pub agreed: u16,
    /// The last report of each node.
    pub reports: BTreeMap<NodeId, Report>,
    /// Nodes whose records came to the same as here, as far as they have reported.
    pub alike: BTreeSet<NodeId>,
    /// Nodes whose records came to something else than here, and the position of that report. Such
    /// a node stays here, because with each Hello the chains of outcomes begin anew and are equal.
    pub diverged: BTreeMap<NodeId, u64>,
}

/// How long this node's messages take.
#[derive(Default)]
pub struct Times {
    /// From the first proposal of a batch until it has landed.
    pub proposals: Latencies,
    /// The waits of callers for a barrier.
    pub barriers: Latencies,
}

/// What arrives at the committer besides jobs.
pub(super) enum Arrival {
    /// The next message of the stream.
    Landed(Landed),
    /// The end of the stream was reached, so this node may begin its life.
    CaughtUp,
    /// Callers wait; [`Told`] has them. So any number of them takes one place in the queue.
    Waits,
    /// A person has decided something, and waits until it has landed.
    Decide(Decision, Reply),
}

/// What callers and the committer tell each other besides arrivals.
#[derive(Default)]
pub(super) struct Told {
    state: Mutex<NodeState>,
    pub(super) waits: Waits,
    log_time_ms: AtomicU64,
    /// Log time minus forward time when it was reached, wrapping.
    lead_ms: AtomicU64,
    era: AtomicU64,
    seq: AtomicU64,
    accepts: accepts::Shared,
    has_stopped: AtomicBool,
    /// Fingerprint of the keys file, as the next report has it.
    keys: Mutex<[u8; 16]>,
    /// No later position is reported as durable.
    held: Mutex<Option<Position>>,
    pub(super) times: Times,
    node: NodeId,
}

impl Told {
    /// Publishes the state of the node, as of this forward time.
    pub(super) fn tell(&self, state: NodeState, forward: Duration) {
        let log_time_ms = state.log_time.0;
        if log_time_ms != self.log_time_ms.load(Ordering::Relaxed) {
            self.lead_ms.store(log_time_ms.wrapping_sub(millis(forward)), Ordering::Relaxed);
        }
        // A reader that sees the number sees its era and its time.
        self.log_time_ms.store(log_time_ms, Ordering::Release);
        self.era.store(state.position.era.0, Ordering::Release);
        self.seq.store(state.position.seq, Ordering::Release);
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// Fingerprint of the keys file at present.
    pub(super) fn keys(&self) -> [u8; 16] {
        *self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is reported as durable in this era, where the log is up to here.
    pub(super) fn reported(&self, era: Era, durable: u64) -> u64 {
        let held = *self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.filter(|held| held.era == era).map_or(durable, |held| held.seq.min(durable))
    }

    /// What the node takes from its callers.
    pub(super) fn accepts(&self) -> Accepts {
        self.accepts.get()
    }

    /// Whether the node has stopped because of other nodes' contents.
    pub(super) fn has_stopped(&self) -> bool {
        self.has_stopped.load(Ordering::Relaxed)
    }
}

/// Feeds the committer of a node with the messages of the stream. Clones feed the same node.
#[derive(Clone)]
pub struct Follower {
    arrivals: Sender<Arrival>,
    told: Arc<Told>,
}

impl Follower {
    /// Hands over the next message, and waits while many are waiting. Returns false if the node has
    /// ended.
    #[must_use]
    pub fn land(&self, message: Landed) -> bool {
        self.arrivals.send(Arrival::Landed(message)).is_ok()
    }

    /// Whether another message can be handed over without a wait, and after it that the end of the
    /// stream was reached.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.arrivals.capacity().is_none_or(|places| self.arrivals.len() + 2 <= places)
    }

    /// Hands something over without a wait.
    pub(super) fn try_send(&self, arrival: Arrival) -> Result<(), Rejected> {
        self.arrivals.try_send(arrival).map_err(|refused| match refused {
            TrySendError::Full(_) => Rejected::QueueFull,
            TrySendError::Disconnected(_) => Rejected::Closed,
        })
    }

    /// The end of the stream was reached.
    pub fn caught_up(&self) {
        // An error means that the node has ended.
        let _ = self.arrivals.send(Arrival::CaughtUp);
    }

    /// Waits until a message that this node proposes from now on has landed: then the node knows
    /// everything that was acknowledged anywhere before this call. The result has no outcomes.
    ///
    /// # Errors
    /// Too many messages are waiting, or the node has ended.
    pub fn barrier(&self) -> Result<Pending, Rejected> {
        let (pending, reply) = Pending::new();
        self.wait(Until::Barrier, reply)?;
        Ok(pending)
    }

    /// Answers `reply`, without outcomes, when the wait is over. Returns the number of the wait.
    pub(in crate::engine) fn wait(&self, until: Until, reply: Reply) -> Result<u64, Rejected> {
        let (number, must_wake) = self.told.waits.add(until, reply)?;
        if must_wake {
            // While the queue is full or this node has left its cluster, the committer takes its
            // turns without being woken.
            let _ = self.arrivals.try_send(Arrival::Waits);
        }
        Ok(number)
    }

    /// The caller of a wait has gone away.
    pub(in crate::engine) fn leave(&self, until: Until, number: u64) {
        self.told.waits.leave(until, number);
    }

    /// Sets what is taken from this node's callers from now on. What was proposed still lands, and
    /// so do this node's reports.
    pub fn accept(&self, accepts: Accepts) {
        self.told.accepts.set(accepts);
    }

    /// Reports from now on that this node has stopped, because nobody knows whose content is right.
    pub fn report_stopped(&self) {
        self.told.has_stopped.store(true, Ordering::Relaxed);
    }

    /// Reports no later position than this one as durable from now on, so that the stream keeps what
    /// comes after it.
    pub fn hold(&self, at: Option<Position>) {
        *self.told.held.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }

    /// The node's keys file has this fingerprint from now on.
    pub fn set_keys(&self, fingerprint: [u8; 16]) {
        *self.told.keys.lock().unwrap_or_else(PoisonError::into_inner) = fingerprint;
    }

    /// How long this node's messages take.
    #[must_use]
    pub fn times(&self) -> &Times {
        &self.told.times
    }

    /// The node.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.told.node
    }

    /// Log time at the end of the node's last turn.
    #[must_use]
    pub fn log_time(&self) -> UnixMillis {
        UnixMillis(self.told.log_time_ms.load(Ordering::Acquire))
    }

    /// Log time at this forward time, as far as this node knows: that of its last message, and what
    /// has passed since by a clock that cannot be set. So a wrong clock of this machine expires
    /// nothing here.
    #[must_use]
    pub fn log_time_at(&self, forward: Duration) -> UnixMillis {
        let lead_ms = self.told.lead_ms.load(Ordering::Relaxed);
        self.log_time().max(UnixMillis(lead_ms.wrapping_add(millis(forward))))
    }

    /// The position that this node has reached at the end of its last turn.
    #[must_use]
    pub fn position(&self) -> Position {
        let seq = self.told.seq.load(Ordering::Acquire);
        Position { era: Era(self.told.era.load(Ordering::Acquire)), seq }
    }

    /// The cluster; all zero before its first message.
    #[must_use]
    pub fn cluster(&self) -> ClusterId {
        self.told.state.lock().unwrap_or_else(PoisonError::into_inner).cluster
    }

    /// Whether the message at this position is lost: it is of an earlier stream, and not known to
    /// be before the end of that one.
    #[must_use]
    pub fn has_lost(&self, position: Position) -> bool {
        let state = self.told.state.lock().unwrap_or_else(PoisonError::into_inner);
        let of_era = |ended: &&Ended| ended.position.era == position.era;
        let end = state.ended.iter().find(of_era).map(|ended| ended.position);
        position.era < state.position.era && end.is_none_or(|end| position > end)
    }

    /// The state of the node at the end of its last turn.
    #[must_use]
    pub fn state(&self) -> NodeState {
        self.told.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

pub(super) fn connect(member: &Membership) -> (Follower, Receiver<Arrival>, Arc<Told>) {
    let (sender, arrivals) = bounded(ARRIVALS_MAX);
    let keys = Mutex::new(member.keys);
    let told = Arc::new(Told { keys, node: member.node, ..Told::default() });
    (Follower { arrivals: sender, told: Arc::clone(&told) }, arrivals, told)
}

#[cfg(test)]
mod tests;
