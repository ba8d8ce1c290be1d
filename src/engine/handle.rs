//! The engine, as its callers hold it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use crate::clock::{Clock, SystemClock};
use crate::model::namespace::NamespaceTag;
use crate::model::time::UnixMillis;
use crate::model::token::{Digest, Digester, Token};
use crate::warning::Warning;

use super::committer::Committer;
use super::config::Config;
use super::health::NotReady;
use super::job::{Call, CloseError, Job};
use super::mailbox::{Pending, Reply};
use super::op::{Op, Outcome, Rejected};
use super::quota::Quotas;
use super::recovery::{self, NoProgress, OpenError, Progress, Recovered};
use super::shared::{Shared, refuse};
use super::state::Holding;
use super::stats::Stats;

/// A token engine. Clones are handles to the same one; it is closed by [`Engine::close`], or when
/// the last handle is dropped.
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
}

/// The committer's thread, from outside.
pub(super) struct Thread {
    /// Receives the result of closing, once.
    closed: Option<Receiver<Result<(), CloseError>>>,
    handle: JoinHandle<()>,
}

impl Engine {
    /// Opens an engine: reads the log of the data directory, or begins one. Blocks until
    /// everything is in memory again.
    ///
    /// # Errors
    /// A mistake in the configuration, a directory in use, a missing or wrong secret, a damaged
    /// log, or what the system said.
    pub fn open(config: Config) -> Result<Engine, OpenError> {
        Engine::open_with(config, Arc::new(SystemClock::new()), &NoProgress)
    }

    /// As [`Engine::open`], with a clock and somebody to tell how far the log has been read.
    ///
    /// # Errors
    /// As [`Engine::open`].
    pub fn open_with(
        config: Config,
        clock: Arc<dyn Clock>,
        progress: &dyn Progress,
    ) -> Result<Engine, OpenError> {
        Engine::start(recovery::open(config, clock, progress)?)
    }

    pub(super) fn start(recovered: Recovered) -> Result<Engine, OpenError> {
        let (jobs, queue) = bounded(recovered.shared.config.queue_len);
        let shared = Arc::clone(&recovered.shared);
        let committer = Committer::new(recovered, queue);
        committer.publish();
        let (close, closed) = bounded(1);
        let handle = std::thread::Builder::new()
            .name("jeton-committer".to_owned())
            .spawn(move || committer.run(&close))
            .map_err(OpenError::Thread)?;
        let thread = Thread { closed: Some(closed), handle };
        Ok(Engine { shared, committer: Arc::new(Committing::new(jobs, Some(thread))) })
    }

    /// Engine time: the wall clock, but it never runs backwards.
    #[must_use]
    pub fn now(&self) -> UnixMillis {
        self.shared.time.now()
    }

    /// What turns tokens into digests, and references and keys into tokens.
    #[must_use]
    pub fn digester(&self) -> &Digester {
        &self.shared.digester
    }

    /// The digest of a token.
    #[must_use]
    pub fn digest(&self, token: &Token) -> Digest {
        self.shared.digester.digest(token)
    }

    /// Hands operations to the committer; one outcome for each, in their order. Each is by
    /// itself: some may succeed where others do not.
    ///
    /// # Errors
    /// None of them was taken on.
    pub fn submit(&self, ops: Vec<Op>) -> Result<Pending, Rejected> {
        let (pending, reply) = Pending::new();
        match self.answer_at_once(&ops)? {
            Some(outcomes) => drop(reply.deliver(outcomes)),
            None => self.enqueue(ops, reply)?,
        }
        Ok(pending)
    }

    /// Whether changes are taken; if not, why.
    ///
    /// # Errors
    /// The reason.
    pub fn readiness(&self) -> Result<(), NotReady> {
        if self.committer.is_closing() {
            return Err(NotReady::Closed);
        }
        self.shared.health.readiness(&self.shared.time)
    }

    /// Conditions that an operator must know of while changes are taken, each with a sentence.
    #[must_use]
    pub fn warnings(&self) -> BTreeMap<Warning, String> {
        self.shared.warnings.standing()
    }

    /// Raises a warning about what was found beside the engine.
    #[cfg(feature = "server")]
    pub(crate) fn raise(&self, warning: Warning, text: String) {
        self.shared.warnings.raise(warning, text);
    }

    /// Limits what namespaces may hold, in place of the limits before. Those that are not named
    /// have none.
    pub fn set_quotas(&self, quotas: Quotas) {
        self.shared.set_quotas(quotas);
    }

    /// What a namespace holds, a tick of 64 ms ago at most. Of more than 1,024 namespaces only those
    /// with a quota are known.
    #[must_use]
    pub fn holding(&self, namespace: NamespaceTag) -> Holding {
        self.shared.holding(namespace)
    }

    /// All that can be known about it.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.stats(self.committer.jobs.len() as u64)
    }

    /// Finishes what is queued, syncs, and ends the log. Later calls are rejected; resolves go on
    /// for those who still have a handle. Calling it again does nothing. Memory is freed when the
    /// last handle is dropped, which takes some 0.5 µs an entry.
    ///
    /// # Errors
    /// The log could not be synced.
    pub fn close(&self) -> Result<(), CloseError> {
        self.committer.close()
    }

    /// What needs no commit: all operations are refused as things are. So nobody can fill the
    /// disk by guessing.
    pub(super) fn answer_at_once(&self, ops: &[Op]) -> Result<Option<Vec<Outcome>>, Rejected> {
        for op in ops {
            op.validate(&self.shared.config)?;
        }
        let now = self.now();
        let pinned = self.shared.store.pin();
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

    pub(super) fn enqueue(&self, ops: Vec<Op>, reply: Reply) -> Result<(), Rejected> {
        let closing = self.committer.closing.read().unwrap_or_else(PoisonError::into_inner);
        if *closing {
            reply.forget();
            return Err(Rejected::Closed);
        }
        let (job, rejected) = match self.committer.jobs.try_send(Job::Call(Call { ops, reply })) {
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

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("tokens", &self.shared.gauges().tokens).finish()
    }
}

impl Committing {
    pub(super) fn new(jobs: Sender<Job>, thread: Option<Thread>) -> Committing {
        Committing { jobs, closing: RwLock::new(false), thread: Mutex::new(thread) }
    }

    fn is_closing(&self) -> bool {
        *self.closing.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) -> Result<(), CloseError> {
        *self.closing.write().unwrap_or_else(PoisonError::into_inner) = true;
        // Held until the log has ended: those who close at the same time wait as well.
        let mut guard = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(closed) = guard.as_mut().and_then(|thread| thread.closed.take()) else {
            return Ok(());
        };
        // Behind all that was queued before; the committer takes from the queue all the time.
        if self.jobs.send(Job::Close).is_err() {
            tracing::error!("the committer thread ended before the engine was closed");
        }
        closed.recv().unwrap_or_else(|_| Err(CloseError("the committer panicked".to_owned())))
    }
}

impl Drop for Committing {
    /// Ends the thread, which frees the timers before.
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(%error, "closing the engine");
        }
        // The thread waits for more to be queued until nobody can queue anything.
        self.jobs = bounded(0).0;
        let thread = self.thread.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Thread { handle, .. }) = thread {
            // A panic has been told by `close`.
            let _ = handle.join();
        }
    }
}
