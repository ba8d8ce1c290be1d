//! What is known of a node, for the threads that run it and for those who ask.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::clock::Clock;
use crate::cluster::Config;
use crate::cluster::fence::Fence;
use crate::cluster::stream::{Bounds, Hint, Promises};
use crate::engine::NotReady;
use crate::engine::clustered::{Accepts, Follower, NodeState, Standing, Stopped};
use crate::keys::Fingerprint;
use crate::model::cluster::NodeId;

use super::fullness::{Fullness, Refused};
use super::holds::Holds;
use super::keys::has_odd_keys;
use super::word::{Ending, Word};

/// How far the start of a node is, or that it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It connects and checks; the text is what it waits for.
    Starting(String),
    Recovering,
    Joining,
    Serving,
    Draining,
}

/// What is known of a node. Clones show the same node.
#[derive(Clone)]
pub struct NodeView(Arc<Shared>);

struct Shared {
    config: Config,
    clock: Arc<dyn Clock>,
    fence: Fence,
    node: OnceLock<NodeId>,
    follower: OnceLock<Follower>,
    keys: Mutex<Fingerprint>,
    known: Mutex<Known>,
    /// Whether this node must not propose anything.
    is_shut: AtomicBool,
    proposed: AtomicU64,
    proposed_again: AtomicU64,
    ended: watch::Sender<bool>,
}

/// What the threads of the node have found out.
pub(super) struct Known {
    pub(super) phase: Phase,
    /// Why the stream cannot be followed.
    pub(super) lost: Option<String>,
    pub(super) ending: Option<Ending>,
    /// Half of the nodes have other contents, so nobody knows which half is right. It stays so.
    pub(super) is_split: bool,
    pub(super) bounds: Option<Bounds>,
    pub(super) promises: Promises,
    /// Why the servers did not answer the last check.
    pub(super) unchecked: Option<String>,
    /// Monotonic time at which the last check began that had an answer.
    pub(super) checked_at: Option<Duration>,
    pub(super) fullness: Fullness,
    /// How full it is in percent; 100 where the servers have said for long that it is full.
    pub(super) filled: u64,
    /// What nodes that join need of the stream.
    pub(super) holds: Holds,
    /// For how long the servers have said that they store no more.
    pub(super) refused: Refused,
    /// Why the begin of the stream was not forgotten.
    pub(super) untrimmed: Option<String>,
    /// How often a replica skipped a message.
    pub(super) gaps: u64,
    /// What the stream said of the last proposal, unless it took it.
    pub(super) hint: Option<Hint>,
}

impl NodeView {
    /// The view of a node that is about to start.
    #[must_use]
    pub fn new(config: Config, clock: Arc<dyn Clock>) -> Self {
        let known = Known {
            phase: Phase::Starting("it has not connected yet".to_owned()),
            lost: None,
            ending: None,
            is_split: false,
            bounds: None,
            promises: Promises::default(),
            unchecked: None,
            checked_at: None,
            fullness: Fullness::default(),
            filled: 0,
            holds: Holds::default(),
            refused: Refused::default(),
            untrimmed: None,
            gaps: 0,
            hint: None,
        };
        let fence = Fence::new(clock.clone(), config.staleness);
        Self(Arc::new(Shared {
            config,
            clock,
            fence,
            node: OnceLock::new(),
            follower: OnceLock::new(),
            keys: Mutex::new(Fingerprint::NO_KEYS),
            known: Mutex::new(known),
            is_shut: AtomicBool::new(false),
            proposed: AtomicU64::new(0),
            proposed_again: AtomicU64::new(0),
            ended: watch::Sender::new(false),
        }))
    }

    /// The configuration of the node.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// The node; `None` before it is known.
    #[must_use]
    pub fn node(&self) -> Option<NodeId> {
        self.0.node.get().copied()
    }

    /// The state of the node's engine; `None` before its log is read.
    #[must_use]
    pub fn state(&self) -> Option<NodeState> {
        self.0.follower.get().map(Follower::state)
    }

    /// Feeds the node's engine; `None` before its log is read.
    pub(super) fn follower(&self) -> Option<&Follower> {
        self.0.follower.get()
    }

    /// What the node can do at present, with a sentence.
    #[must_use]
    pub fn standing(&self) -> (Word, String) {
        let known = self.known();
        if let Some(ending) = &known.ending {
            return (ending.word(), ending.to_string());
        }
        if let Some(lost) = &known.lost {
            return (Word::Lost, lost.clone());
        }
        match &known.phase {
            Phase::Starting(why) => (Word::Starting, why.clone()),
            Phase::Recovering => (Word::Recovering, "the log is being read".to_owned()),
            Phase::Joining => (Word::Joining, joining(&self.state().unwrap_or_default(), &known)),
            Phase::Draining => (Word::Draining, "the server is shutting down".to_owned()),
            Phase::Serving => self.serving(&known),
        }
    }

    fn serving(&self, known: &Known) -> (Word, String) {
        let state = self.state().unwrap_or_default();
        let said = |word, text: &str| (word, text.to_owned());
        if let Standing::Stopped(why) = &state.standing {
            let word =
                if matches!(why, Stopped::Lost { .. }) { Word::Lost } else { Word::Draining };
            return (word, why.to_string());
        }
        if !state.is_clock_right {
            let text = "this node's clock differs from the stream's by more than 10 s";
            return said(Word::Clock, text);
        }
        if known.is_split {
            let text =
                "half of the nodes have other contents, and nobody knows which half is right";
            return said(Word::Diverged, text);
        }
        let age = self.age();
        if !self.0.fence.is_open() {
            return (Word::Stale, why_nothing_lands(age, state.unwritable.as_ref(), known));
        }
        if let Some(why) = &state.unwritable {
            return (Word::Unwritable, why_nothing_lands(age, Some(why), known));
        }
        if let Some(mistake) = known.promises.mistakes.first() {
            return (Word::WrongSettings, mistake.to_string());
        }
        if known.fullness >= Fullness::Full {
            let text = "the stream is nearly full: changes are refused until the nodes have made \
                        room; if they do not, raise its max_bytes";
            return said(Word::StreamFull, text);
        }
        if state.has_quorum {
            let differs = self.config().requires_same_keys && has_odd_keys(&state, self.keys());
            return match differs {
                true => said(Word::KeysDiffer, "most nodes have another keys file (--keys)"),
                false => said(Word::Ready, "everything works"),
            };
        }
        (Word::NoQuorum, why_nothing_lands(age, None, known))
    }

    /// How old the knowledge of this node is at most; `None` before its first message has landed.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        self.0.fence.age()
    }

    /// How fresh this node provably is.
    #[must_use]
    pub fn fence(&self) -> &Fence {
        &self.0.fence
    }

    /// Messages that were proposed, and how many of them not for the first time.
    #[must_use]
    pub fn proposed(&self) -> (u64, u64) {
        (self.0.proposed.load(Ordering::Relaxed), self.0.proposed_again.load(Ordering::Relaxed))
    }

    /// The time since the last check of the stream began that had an answer.
    pub(super) fn check_age(&self, known: &Known) -> Option<Duration> {
        known.checked_at.map(|at| self.now().saturating_sub(at))
    }

    /// Why the process of the node must end, as soon as it must.
    pub async fn ending(&self) -> Ending {
        let mut ended = self.0.ended.subscribe();
        // The sender is as old as this view.
        let _ = ended.wait_for(|ended| *ended).await;
        let ending = self.known().ending.clone();
        ending.unwrap_or_else(|| Ending::Other("the node has ended".to_owned()))
    }

    /// Why the process of the node must end, if it must.
    #[must_use]
    pub fn ended(&self) -> Option<Ending> {
        self.known().ending.clone()
    }

    /// The server is shutting down.
    pub fn draining(&self) {
        self.known().phase = Phase::Draining;
    }

    pub(super) fn known(&self) -> MutexGuard<'_, Known> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> Duration {
        self.0.clock.monotonic()
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.known().phase = phase;
    }

    pub(super) fn identified(&self, node: NodeId) {
        // Set once; a second call has no effect.
        let _ = self.0.node.set(node);
    }

    /// The node's keys file has this fingerprint from now on.
    pub fn have_keys(&self, fingerprint: Fingerprint) {
        *self.0.keys.lock().unwrap_or_else(PoisonError::into_inner) = fingerprint;
        if let Some(follower) = self.0.follower.get() {
            follower.set_keys(fingerprint.0);
        }
    }

    /// The fingerprint of the node's keys file.
    pub(super) fn keys(&self) -> Fingerprint {
        *self.0.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn opened(&self, follower: Follower) {
        // Set once; a second call has no effect.
        let _ = self.0.follower.set(follower);
    }

    pub(super) fn may_propose(&self) -> bool {
        !self.0.is_shut.load(Ordering::Relaxed)
    }

    /// Nothing more is proposed, for good.
    fn shut(&self) {
        self.0.is_shut.store(true, Ordering::Relaxed);
        self.0.fence.close();
    }

    /// What the node takes from its callers.
    pub(super) fn accepts(&self) -> Accepts {
        let known = self.known();
        if known.is_split || known.lost.is_some() || known.ending.is_some() {
            return Accepts::Nothing;
        }
        match known.fullness {
            Fullness::Brimful => Accepts::NothingWhileFull,
            _ if !known.promises.mistakes.is_empty() => Accepts::Waits,
            Fullness::Full => Accepts::WaitsWhileFull,
            Fullness::Filling | Fullness::Roomy => Accepts::Everything,
        }
    }

    pub(super) fn count_proposal(&self, is_again: bool) {
        self.0.proposed.fetch_add(1, Ordering::Relaxed);
        self.0.proposed_again.fetch_add(u64::from(is_again), Ordering::Relaxed);
    }

    /// What the stream said of the last proposal.
    pub(super) fn hinted(&self, hint: Option<Hint>) {
        self.known().hint = hint;
    }

    /// The stream cannot be followed any further: changes stop for good, and the log stays as it is.
    pub(super) fn lose(&self, why: String) {
        let mut known = self.known();
        self.shut();
        if known.lost.is_none() {
            tracing::error!(
                reason = %why,
                "the stream of the cluster is lost: this node takes no more changes, and its log \
                 stays as it is"
            );
            known.lost = Some(why);
        }
    }

    /// The process must end.
    pub(super) fn end(&self, ending: Ending) {
        let mut known = self.known();
        self.shut();
        if known.ending.is_none() {
            tracing::error!(reason = %ending, "this node of the cluster ends");
            known.ending = Some(ending);
            drop(known);
            self.0.ended.send_replace(true);
        }
    }
}

fn joining(state: &NodeState, known: &Known) -> String {
    if state.unwritable.is_some() {
        return why_nothing_lands(None, state.unwritable.as_ref(), known);
    }
    match &state.standing {
        Standing::Introducing => format!("its first message has not landed {}", because(known)),
        _ => format!("it follows the stream and has landed message {}", state.position.seq),
    }
}

/// The log first: while it cannot be written, the stream is not to blame.
fn why_nothing_lands(age: Option<Duration>, log: Option<&NotReady>, known: &Known) -> String {
    let (age, because) = (no_landing(age), because(known));
    match log {
        Some(NotReady::DiskFull) => {
            format!("the log's disk is full: this node follows again when there is space; {age}")
        }
        Some(why) => format!("{why}; {age}"),
        None => format!("{age} {because}"),
    }
}

fn no_landing(age: Option<Duration>) -> String {
    match age {
        Some(age) => {
            let seconds = age.as_secs_f64();
            format!("no message of this node has landed for {seconds:.1} s")
        }
        None => "no message of this node has landed yet".to_owned(),
    }
}

/// What the stream and its servers said last, in brackets.
fn because(known: &Known) -> String {
    let hint = known.hint.as_ref().map(ToString::to_string);
    let said = hint.or_else(|| known.unchecked.clone());
    said.map_or_else(|| "(the stream said nothing)".to_owned(), |said| format!("({said})"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::clock::ManualClock;

    #[test]
    fn a_node_that_cannot_begin_says_what_the_stream_has_said() {
        let view = NodeView::new(Config::default(), Arc::new(ManualClock::default()));
        let state = NodeState { standing: Standing::Introducing, ..NodeState::default() };
        for hint in [Hint::Full, Hint::NoLeader, Hint::Refused("no right to publish".to_owned())] {
            let said = hint.to_string();
            view.hinted(Some(hint));
            let sentence = joining(&state, &view.known());
            assert_eq!(sentence, format!("its first message has not landed ({said})"));
        }
    }
}
