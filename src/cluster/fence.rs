//! How fresh this node provably is.
//!
//! When a message of this node has landed, the node has applied everything that the stream had
//! stored before it, so everything that was acknowledged anywhere before the message was proposed.
//! The proof is as old as that proposal. It compares no clocks of two machines: the time of the
//! proposal and the present are both read here, from a clock that goes on while the machine sleeps
//! (`CLOCK_BOOTTIME`).
//!
//! The fence is open while the proof is at most `--cluster-staleness` old. A machine that was
//! paused as a whole does not know it by that clock, but its wall clock is set right afterwards. So
//! the fence also closes when the two clocks have parted since the proposal; the next message that
//! is proposed and lands opens it again.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Clock;
use crate::engine::clustered::{Proposal, Proposer};
use crate::engine::replicated::{MessageHead, MessageKind};
use crate::model::time::{UnixMillis, millis};

/// Default of `--cluster-staleness`: above every election that was seen.
pub const STALENESS: Duration = Duration::from_secs(30);
/// The wall clock and the forward clock may part by this.
const PARTED_MAX_MS: u64 = 1_000;
/// Attempts to propose one message whose times are remembered. A later one counts as the last of
/// them, which is earlier.
const ATTEMPTS_MAX: usize = 256;

/// Both clocks of this machine at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Moment {
    forward_ms: u64,
    /// The wall clock minus the forward clock.
    ahead_ms: i64,
}

impl Moment {
    fn of(forward: Duration, wall: UnixMillis) -> Self {
        let forward_ms = millis(forward);
        Self { forward_ms, ahead_ms: wall.0.wrapping_sub(forward_ms).cast_signed() }
    }
}

/// Whether this node may answer from its own memory. Clones are the same fence.
#[derive(Clone)]
pub struct Fence(Arc<Inner>);

struct Inner {
    clock: Arc<dyn Clock>,
    staleness_ms: u64,
    /// Forward time of the newest proof, plus 1; 0 before the first.
    proven_ms: AtomicU64,
    /// The wall clock minus the forward clock at that time.
    ahead_ms: AtomicI64,
    is_closed: AtomicBool,
}

impl Fence {
    /// A fence that is closed until a message of this node has landed.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, staleness: Duration) -> Self {
        Self(Arc::new(Inner {
            clock,
            staleness_ms: millis(staleness),
            proven_ms: AtomicU64::new(0),
            ahead_ms: AtomicI64::new(0),
            is_closed: AtomicBool::new(false),
        }))
    }

    /// The proposer of a node whose messages open this fence.
    #[must_use]
    pub fn watch(&self, proposer: Box<dyn Proposer>) -> Box<dyn Proposer> {
        Box::new(Watched { fence: self.clone(), proposer, sent: None })
    }

    /// Whether the node is fresh enough now.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.is_open_at(self.0.now())
    }

    /// The age of the newest proof; `None` before the first.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        let (proven, _) = self.proven()?;
        Some(Duration::from_millis(self.0.now().forward_ms.saturating_sub(proven)))
    }

    /// Closes the fence for good: this node has left its cluster.
    pub fn close(&self) {
        self.0.is_closed.store(true, Ordering::Release);
    }

    fn is_open_at(&self, now: Moment) -> bool {
        let Some((proven_ms, ahead_ms)) = self.proven() else { return false };
        let is_fresh = now.forward_ms.saturating_sub(proven_ms) <= self.0.staleness_ms;
        let have_parted = now.ahead_ms.abs_diff(ahead_ms) > PARTED_MAX_MS;
        is_fresh && !have_parted && !self.0.is_closed.load(Ordering::Acquire)
    }

    fn proven(&self) -> Option<(u64, i64)> {
        let proven_ms = self.0.proven_ms.load(Ordering::Acquire).checked_sub(1)?;
        Some((proven_ms, self.0.ahead_ms.load(Ordering::Relaxed)))
    }

    /// A message that was proposed at `moment` has landed.
    fn prove(&self, moment: Moment) {
        // A reader that sees the time sees its difference of clocks. One that sees an older time
        // with it takes the proof for older than it is.
        self.0.ahead_ms.store(moment.ahead_ms, Ordering::Relaxed);
        self.0.proven_ms.store(moment.forward_ms.saturating_add(1), Ordering::Release);
    }
}

impl Inner {
    fn now(&self) -> Moment {
        Moment::of(self.clock.forward(), self.clock.wall())
    }
}

impl fmt::Debug for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fence").field("staleness_ms", &self.0.staleness_ms).finish_non_exhaustive()
    }
}

/// Notes when each message is proposed and when it has landed.
struct Watched {
    fence: Fence,
    proposer: Box<dyn Proposer>,
    sent: Option<Sent>,
}

/// The message that was proposed last.
struct Sent {
    kind: MessageKind,
    batch: u64,
    /// When it was proposed, by attempt.
    attempts: Vec<Moment>,
}

impl Proposer for Watched {
    fn propose(&mut self, proposal: &Proposal<'_>) {
        self.note(proposal.kind, proposal.batch, self.fence.0.now());
        self.proposer.propose(proposal);
    }

    fn landed(&mut self, head: &MessageHead) {
        if let Some(moment) = self.moment_of(head.kind, head.batch, head.attempt) {
            self.fence.prove(moment);
        }
        self.proposer.landed(head);
    }

    fn is_refused(&mut self) -> bool {
        self.proposer.is_refused()
    }
}

impl Watched {
    fn note(&mut self, kind: MessageKind, batch: u64, now: Moment) {
        let is_same = |sent: &&mut Sent| (sent.kind, sent.batch) == (kind, batch);
        match self.sent.as_mut().filter(is_same) {
            Some(sent) if sent.attempts.len() < ATTEMPTS_MAX => sent.attempts.push(now),
            Some(_) => {}
            None => self.sent = Some(Sent { kind, batch, attempts: vec![now] }),
        }
    }

    /// When this attempt was proposed, or a bit earlier. An attempt that was not made here, but by
    /// a copy of this process, proves nothing.
    fn moment_of(&self, kind: MessageKind, batch: u64, attempt: u32) -> Option<Moment> {
        let sent = self.sent.as_ref().filter(|sent| (sent.kind, sent.batch) == (kind, batch))?;
        let attempt = (attempt as usize).min(ATTEMPTS_MAX - 1);
        sent.attempts.get(attempt).copied()
    }
}

#[cfg(test)]
mod tests;
