//! The engine's handle for callers.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
#[cfg(feature = "server")]
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use crate::clock::{Clock, SystemClock};
use crate::model::namespace::NamespaceTag;
use crate::model::time::UnixMillis;
use crate::model::token::{Digest, Digester, Token};
use crate::warning::Warning;

use super::clustered::{Clustered, Follower, Membership, Proposer};
use super::committer::Committer;
use super::config::Config;
use super::health::NotReady;
use super::job::{Call, CloseError, Here, Job};
use super::mailbox::{Outcomes, Pending, Reply};
use super::op::{Op, Outcome, Rejected};
use super::quota::Quotas;
use super::recovery::{self, NoProgress, OpenError, Progress, Recovered, Role};
use super::refusal::refuse;
use super::seat::Seat;
use super::shared::Shared;
use super::state::Holding;
use super::stats::Stats;

/// A token engine. Clones are handles to the same engine. It is closed by [`Engine::close`], or
/// when the last handle is dropped.
///
/// ```
/// use std::time::Duration;
/// use jeton::engine::{Config, Engine, Op, Outcome};
/// use jeton::model::token::Token;
///
/// let engine = Engine::open(Config::memory_only())?;
/// let token = Token::random()?;
/// let digest = engine.digest(&token);
/// let issue = Op::Issue {
///     digest,
///     payload: br#"{"order":"A-17"}"#.to_vec(),
///     ttl: Duration::from_secs(900),
///     uses: 1,
///     peek: true,
///     derived: false,
/// };
/// assert!(matches!(engine.submit(vec![issue])?.wait()?[..], [Outcome::Issued { .. }]));
///
/// let found = engine.resolve(&digest, engine.now(), |payload| payload.to_vec());
/// assert_eq!(found.as_deref(), Some(&br#"{"order":"A-17"}"#[..]));
///
/// let consume = || engine.submit(vec![Op::Consume { digest, key: None }]);
/// assert!(matches!(consume()?.wait()?[..], [Outcome::Consumed { .. }]));
/// assert_eq!(consume()?.wait()?, [Outcome::NotFound]);
/// engine.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Engine {
    pub(super) shared: Arc<Shared>,
    pub(super) committer: Arc<Committing>,
}

/// The committer thread and its queue.
pub(super) struct Committing {
    pub(super) jobs: Sender<Job>,
    /// Held for reading while enqueuing, so that no call is queued after `Close`.
    closing: RwLock<bool>,
    thread: Mutex<Option<Thread>>,
    /// Where callers may take a turn themselves. `None` for a cluster's node.
    pub(super) seat: Option<Arc<Seat>>,
}

/// The committer's thread.
pub(super) struct Thread {
    /// Receives the result of closing, once.
    closed: Option<Receiver<Result<(), CloseError>>>,
    handle: JoinHandle<()>,
}

impl Engine {
    /// Opens an engine: reads the log of the data directory, or starts a new log. Blocks until all
    /// entries are in memory.
    ///
    /// # Errors
    /// A mistake in the configuration, a directory in use, a missing or wrong secret, a damaged
    /// log, or an error of the operating system.
    pub fn open(config: Config) -> Result<Self, OpenError> {
        Self::open_with(config, Arc::new(SystemClock::new()), &NoProgress)
    }

    /// Like [`Engine::open`], with a clock and a receiver of progress.
    ///
    /// # Errors
    /// As [`Engine::open`].
    pub fn open_with(
        config: Config,
        clock: Arc<dyn Clock>,
        progress: &dyn Progress,
    ) -> Result<Self, OpenError> {
        Self::start(recovery::open(Role::Single, config, clock, progress)?)
    }

    pub(super) fn start(recovered: Recovered) -> Result<Self, OpenError> {
        let (jobs, queue) = bounded(recovered.shared.config.queue_len);
        let shared = Arc::clone(&recovered.shared);
        let committer = Committer::new(recovered, queue.clone());
        committer.publish();
        let seat = Arc::new(Seat::new(committer));
        let work = {
            let seat = Arc::clone(&seat);
            move |closed: &Sender<_>| run(&seat, &queue, closed)
        };
        Self::spawn(shared, jobs, Some(seat), work)
    }

    /// Opens the engine of a cluster's node: messages of the stream are handed over through the
    /// [`Follower`], this node's own go out through the proposer. Call it as [`Engine::open_with`].
    ///
    /// # Errors
    /// As [`Engine::open`]; and the log of a single server.
    #[doc(hidden)]
    pub fn open_in_cluster(
        config: Config,
        clock: Arc<dyn Clock>,
        progress: &dyn Progress,
        membership: Membership,
        proposer: Box<dyn Proposer>,
    ) -> Result<(Self, Follower), OpenError> {
        let recovered = recovery::open(Role::Node, config, clock, progress)?;
        let (jobs, queue) = bounded(recovered.shared.config.queue_len);
        let shared = Arc::clone(&recovered.shared);
        let (node, follower) = Clustered::new(recovered, queue, membership, proposer);
        Ok((Self::spawn(shared, jobs, None, move |closed| node.run(closed))?, follower))
    }

    /// Starts the committer's thread.
    fn spawn(
        shared: Arc<Shared>,
        jobs: Sender<Job>,
        seat: Option<Arc<Seat>>,
        work: impl FnOnce(&Sender<Result<(), CloseError>>) + Send + 'static,
    ) -> Result<Self, OpenError> {
        let (close, closed) = bounded(1);
        let handle = std::thread::Builder::new()
            .name("jeton-committer".to_owned())
            .spawn(move || work(&close))
            .map_err(OpenError::Thread)?;
        let thread = Thread { closed: Some(closed), handle };
        let mut committing = Committing::new(jobs, Some(thread));
        committing.seat = seat;
        Ok(Self { shared, committer: Arc::new(committing) })
    }

    /// Engine time: the wall clock, which here never runs backwards.
    #[must_use]
    pub fn now(&self) -> UnixMillis {
        self.shared.time.now()
    }

    /// The forward clock, which nobody can set.
    #[cfg(feature = "server")]
    pub(crate) fn forward(&self) -> Duration {
        self.shared.time.forward()
    }

    /// The digester, which turns tokens into digests, and references and keys into tokens.
    #[must_use]
    pub fn digester(&self) -> &Digester {
        &self.shared.digester
    }

    /// The digest of a token.
    #[must_use]
    pub fn digest(&self, token: &Token) -> Digest {
        self.shared.digester.digest(token)
    }

    /// Queues operations for the committer, which returns one outcome for each, in their order. The
    /// operations are independent: some may succeed and others fail.
    ///
    /// # Errors
    /// No operation was accepted.
    pub fn submit(&self, ops: Vec<Op>) -> Result<Pending, Rejected> {
        let (pending, reply) = Pending::new();
        match self.answer_at_once(&ops)? {
            Some(outcomes) => drop(reply.deliver(outcomes)),
            None => self.enqueue(Call { ops, reply, is_together: false })?,
        }
        Ok(pending)
    }

    /// Performs operations together: their records are in one frame of the log, in order and with
    /// nothing between them. Each sees what the earlier ones did. Either all are performed, or
    /// none: then they all have the same outcome, which says why. No reader sees half of it. A
    /// restart finds all of it or nothing.
    ///
    /// # Errors
    /// No operation was accepted.
    pub fn submit_together(&self, ops: Vec<Op>) -> Result<Pending, Rejected> {
        let (pending, reply) = Pending::new();
        self.enqueue_together(ops, reply)?;
        Ok(pending)
    }

    pub(super) fn enqueue_together(&self, ops: Vec<Op>, reply: Reply) -> Result<(), Rejected> {
        if let Err(rejected) = self.check_together(&ops) {
            reply.forget();
            return Err(rejected);
        }
        self.enqueue(Call { ops, reply, is_together: true })
    }

    /// Whether the engine accepts changes; the error is the reason why not.
    ///
    /// # Errors
    /// The reason.
    pub fn readiness(&self) -> Result<(), NotReady> {
        if self.committer.is_closing() {
            return Err(NotReady::Closed);
        }
        self.shared.health.readiness(&self.shared.time)
    }

    /// Conditions that an operator should know about while the engine accepts changes, each with a
    /// sentence.
    #[must_use]
    pub fn warnings(&self) -> BTreeMap<Warning, String> {
        self.shared.warnings.standing()
    }

    /// Raises a warning on behalf of another part of the server.
    #[cfg(feature = "server")]
    pub(crate) fn raise(&self, warning: Warning, text: String) {
        self.shared.warnings.raise(warning, text);
    }

    /// Replaces the quotas of namespaces. Namespaces that are not listed have no quota.
    pub fn set_quotas(&self, quotas: Quotas) {
        self.shared.set_quotas(quotas);
    }

    /// The holdings of a namespace, at most one tick (64 ms) old. With more than 1,024 namespaces,
    /// only those with a quota are known.
    #[must_use]
    pub fn holding(&self, namespace: NamespaceTag) -> Holding {
        self.shared.holding(namespace)
    }

    /// The statistics of the engine.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.stats(self.committer.jobs.len() as u64)
    }

    /// Performs the queued operations, syncs, and closes the log. Later calls are rejected;
    /// resolves still work for all handles. Calling it again has no effect. Memory is freed when
    /// the last handle is dropped, which takes some 0.5 µs per entry.
    ///
    /// # Errors
    /// The log could not be synced.
    pub fn close(&self) -> Result<(), CloseError> {
        self.committer.close()
    }

    /// The outcomes without a commit, if all operations are refused in the current state. So
    /// guessing clients cannot fill the disk.
    pub(super) fn answer_at_once(&self, ops: &[Op]) -> Result<Option<Vec<Outcome>>, Rejected> {
        self.check(ops)?;
        if ops.iter().any(|op| matches!(op, Op::Read { .. })) {
            return Err(Rejected::Invalid(
                "read: only among operations that are performed together",
            ));
        }
        if self.shared.in_cluster {
            return Ok(None);
        }
        let now = self.now();
        let pinned = self.shared.store.pin_settled();
        let mut refused = Vec::with_capacity(ops.len());
        for op in ops {
            match refuse(&pinned, op, now) {
                Some(applied) => refused.push(applied),
                None => return Ok(None),
            }
        }
        self.shared.time.hold(now);
        Ok(Some(refused.iter().map(|applied| self.shared.refusal(applied)).collect()))
    }

    /// Performs operations on this thread.
    ///
    /// # Errors
    /// The committer is busy or closing, or this thread would wait for a disk for longer than `here` says:
    /// the operations are given back.
    pub(super) fn commit_here(&self, ops: Vec<Op>, here: Here) -> Result<Outcomes, Vec<Op>> {
        let Some(seat) = &self.committer.seat else { return Err(ops) };
        // Held for the whole turn: the engine does not close before the change has its outcome.
        let closing = self.committer.closing.read().unwrap_or_else(PoisonError::into_inner);
        if *closing || !self.committer.jobs.is_empty() {
            return Err(ops);
        }
        seat.try_turn(ops, here)
    }

    /// Frees what this thread has retired, and has kept to free it together with more.
    #[cfg(feature = "server")]
    pub(super) fn free_retired(&self) {
        self.shared.store.pin().flush();
    }

    pub(super) fn enqueue(&self, call: Call) -> Result<(), Rejected> {
        let closing = self.committer.closing.read().unwrap_or_else(PoisonError::into_inner);
        if *closing {
            call.reply.forget();
            return Err(Rejected::Closed);
        }
        let (job, rejected) = match self.committer.jobs.try_send(Job::Call(call)) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Full(job)) => (job, Rejected::QueueFull),
            Err(TrySendError::Disconnected(job)) => (job, Rejected::Closed),
        };
        if let Job::Call(Call { reply, .. }) = job {
            reply.forget();
        }
        Err(rejected)
    }
}

/// Works until `Close` is queued, and sends the result of closing. Memory is freed only when the engine
/// is dropped: that takes long for a large store, and closing does not wait for it.
fn run(seat: &Seat, jobs: &Receiver<Job>, closed: &Sender<Result<(), CloseError>>) {
    let mut patience = seat.take(Committer::begin);
    while let Some(wait) = patience {
        let job = jobs.recv_timeout(wait);
        patience = seat.take(|committer| committer.step(job)).flatten();
    }
    // An error means that the receiver is gone; the result is then not needed.
    let _ = closed.send(seat.take(Committer::finish).unwrap_or_else(|| Err(panicked())));
    while jobs.recv().is_ok() {}
}

fn panicked() -> CloseError {
    CloseError("the committer panicked".to_owned())
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("tokens", &self.shared.gauges().tokens).finish()
    }
}

impl Committing {
    pub(super) fn new(jobs: Sender<Job>, thread: Option<Thread>) -> Self {
        Self { jobs, closing: RwLock::new(false), thread: Mutex::new(thread), seat: None }
    }

    fn is_closing(&self) -> bool {
        *self.closing.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) -> Result<(), CloseError> {
        *self.closing.write().unwrap_or_else(PoisonError::into_inner) = true;
        // Held until the log is closed, so that concurrent callers of `close` wait too.
        let mut guard = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(closed) = guard.as_mut().and_then(|thread| thread.closed.take()) else {
            return Ok(());
        };
        // Queued after all earlier calls; the committer takes jobs continuously.
        if self.jobs.send(Job::Close).is_err() {
            tracing::error!("the committer thread ended before the engine was closed");
        }
        closed.recv().unwrap_or_else(|_| Err(panicked()))
    }
}

impl Drop for Committing {
    /// Ends the thread. The timers are freed with the seat.
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(%error, "can't close the engine cleanly");
        }
        // The thread waits for jobs until the last sender is dropped.
        self.jobs = bounded(0).0;
        let thread = self.thread.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Thread { handle, .. }) = thread {
            // `close` has already reported a panic.
            let _ = handle.join();
        }
    }
}
