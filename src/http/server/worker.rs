//! A worker: a thread with its own listener, runtime and connections.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam::utils::CachePadded;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::listen::{Accepted, Listener, Listeners};
use super::tls;
use crate::engine::{Caller, Engine};
use crate::http::api::response;
use crate::http::callers::authentication::Door;
use crate::http::callers::miss_limiter::Guard;
use crate::http::counters::Counters;
use crate::http::server::buffers::ConnState;
use crate::http::server::connection::Connection;
use crate::http::server::memory_budget::Budget;
use crate::http::server::timeouts::{TICK, Tick, Watched};
use crate::http::{Config, Stop};
use crate::model::time::UnixMillis;

/// What a worker reads from a socket at once.
const SCRATCH_LEN: usize = 16 * 1024;
/// How long accepting rests after a failure, at first and at most.
const ACCEPT_REST_MIN: Duration = Duration::from_millis(50);
const ACCEPT_REST_MAX: Duration = Duration::from_secs(1);
/// How often a drain looks whether all connections are gone.
const DRAIN_LOOK: Duration = Duration::from_millis(10);
/// How long a drain waits for requests that are on their way, on connections that seem idle.
const GRACE: Duration = Duration::from_secs(1);

/// What all workers share.
pub(in crate::http) struct Common {
    pub(in crate::http) engine: Engine,
    pub(in crate::http) config: Config,
    pub(in crate::http) budget: Budget,
    pub(in crate::http) guard: Guard,
    /// Connections open at the moment.
    pub(in crate::http) open: Arc<AtomicUsize>,
}

/// What the connections of one worker share.
pub(in crate::http) struct Worker {
    pub(in crate::http) engine: Engine,
    pub(in crate::http) caller: Caller,
    pub(in crate::http) config: Config,
    pub(in crate::http) budget: Budget,
    pub(in crate::http) counters: Arc<CachePadded<Counters>>,
    pub(in crate::http) watched: Watched,
    pub(in crate::http) door: Door,
    pub(in crate::http) guard: Guard,
    /// Where bytes arrive before they are given to their connection.
    pub(in crate::http) scratch: RefCell<Box<[u8]>>,
    /// The value of `Date`, exact to a [`TICK`].
    pub(in crate::http) date: RefCell<String>,
    open: Arc<AtomicUsize>,
    tick: Cell<Tick>,
    has_lane: Cell<bool>,
    is_draining: Cell<bool>,
    is_grace_over: Cell<bool>,
}

/// A connection's place: counted, and seen by the sweep, until dropped.
pub(in crate::http) struct Slot {
    worker: Rc<Worker>,
    state: Rc<ConnState>,
    key: usize,
}

impl Slot {
    pub(in crate::http) fn state(&self) -> Rc<ConnState> {
        self.state.clone()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.worker.watched.conns.borrow_mut().remove(self.key);
        self.worker.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Worker {
    pub(in crate::http) fn new(common: &Common, counters: Arc<CachePadded<Counters>>) -> Worker {
        Worker {
            engine: common.engine.clone(),
            caller: common.engine.caller(),
            config: common.config.clone(),
            budget: common.budget.clone(),
            guard: common.guard.clone(),
            counters,
            watched: Watched::default(),
            door: Door::new(
                &common.engine,
                common.config.keys.as_ref(),
                common.config.anonymous.as_ref(),
            ),
            scratch: RefCell::new(vec![0; SCRATCH_LEN].into_boxed_slice()),
            date: RefCell::new(date(common.engine.now())),
            open: common.open.clone(),
            tick: Cell::new(Tick(0)),
            has_lane: Cell::new(true),
            is_draining: Cell::new(false),
            is_grace_over: Cell::new(false),
        }
    }

    /// The time, exact to a [`TICK`].
    pub(in crate::http) fn now(&self) -> Tick {
        self.tick.get()
    }

    /// From now on the fast lane answers nothing.
    pub(in crate::http) fn close_lane(&self) {
        self.has_lane.set(false);
    }

    pub(in crate::http) fn has_lane(&self) -> bool {
        self.has_lane.get()
    }

    /// The server is stopping: each connection gets a last answer.
    pub(in crate::http) fn is_draining(&self) -> bool {
        self.is_draining.get()
    }

    /// Connections that have ended no longer wait for their peer.
    pub(in crate::http) fn is_grace_over(&self) -> bool {
        self.is_grace_over.get()
    }

    /// Whether a `Host` is accepted on a connection; remembers it for the fast lane.
    pub(in crate::http) fn accepts_host(&self, conn: &ConnState, host: &[u8]) -> bool {
        let is_accepted = self.config.keys.is_some()
            || conn.is_beyond_pages.get()
            || self.config.web.accepts_host(host);
        if is_accepted {
            conn.host.borrow_mut().keep(host);
        }
        is_accepted
    }

    /// A place for one more connection; `None` where there are too many.
    pub(in crate::http) fn slot(self: &Rc<Worker>) -> Option<Slot> {
        if self.open.fetch_add(1, Ordering::Relaxed) >= self.config.max_connections {
            self.open.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let state = Rc::new(ConnState::new(self.now()));
        let key = self.watched.conns.borrow_mut().insert(state.clone());
        Some(Slot { worker: self.clone(), state, key })
    }

    async fn sweep(self: Rc<Worker>) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let now = Tick(self.tick.get().0.wrapping_add(1));
            self.tick.set(now);
            self.date.replace(date(self.engine.now()));
            self.watched.sweep(&self.config.limits, now, self.budget.is_short());
        }
    }

    async fn accept(self: Rc<Worker>, listener: Listener) {
        let mut rest = ACCEPT_REST_MIN;
        loop {
            match listener.accept().await {
                Ok(accepted) => {
                    rest = ACCEPT_REST_MIN;
                    self.take_on(accepted);
                }
                // The connection was gone before we came to it.
                Err(error) if is_of_the_peer(&error) => (),
                Err(error) => {
                    self.counters.accept_error();
                    tracing::warn!(%error, rest_ms = rest.as_millis(), "cannot accept connections");
                    sleep(rest).await;
                    rest = (2 * rest).min(ACCEPT_REST_MAX);
                }
            }
        }
    }

    fn take_on(self: &Rc<Worker>, accepted: Accepted) {
        let Some(slot) = self.slot() else {
            self.counters.refused();
            return self.turn_away(&accepted);
        };
        self.counters.accepted();
        match (accepted, &self.config.tls) {
            (Accepted::Tcp(socket, peer), tls) => {
                // Answers are written whole; waiting to fill a packet would only delay them.
                let _ = socket.set_nodelay(true);
                slot.state.peer.set(peer.ip());
                slot.state.peer_port.set(peer.port());
                match tls {
                    None => spawn_local(Connection::new(socket, self.clone(), slot)),
                    Some(tls) => spawn_local(tls::serve(socket, tls.data(), self.clone(), slot)),
                };
            }
            // All peers of a Unix socket are one address, 0.0.0.0. They do not speak TLS.
            (Accepted::Unix(socket), _) => {
                slot.state.is_beyond_pages.set(true);
                spawn_local(Connection::new(socket, self.clone(), slot));
            }
        }
    }

    /// Says why, as far as that goes without waiting.
    fn turn_away(&self, accepted: &Accepted) {
        let _ = accepted.try_read(&mut self.scratch.borrow_mut());
        let _ = match (accepted, &self.config.tls) {
            (Accepted::Tcp(..), Some(_)) => accepted.try_write(tls::NO_PLACE),
            _ => accepted.try_write(&response::TOO_MANY_CONNECTIONS),
        };
    }

    async fn all_gone(&self) {
        loop {
            // Connections that wait to be accepted are, before it is looked.
            sleep(DRAIN_LOOK).await;
            if self.watched.conns.borrow().is_empty() {
                return;
            }
        }
    }

    /// Answers what was sent. A client cannot know that the server is stopping, so for a short time
    /// requests are still taken, also on new connections; each connection ends after an answer that
    /// says so. Then idle connections are closed, and only requests in flight are waited for.
    async fn drain(&self, accepting: &[JoinHandle<()>]) {
        self.close_lane();
        self.is_draining.set(true);
        self.watched.wind_down();
        let grace = GRACE.min(self.config.drain_timeout / 2);
        let is_quiet = timeout(grace, self.all_gone()).await.is_ok();
        accepting.iter().for_each(JoinHandle::abort);
        self.is_grace_over.set(true);
        self.watched.drain();
        let left = self.config.drain_timeout - grace;
        if !is_quiet && timeout(left, self.all_gone()).await.is_err() {
            let left = self.watched.conns.borrow().len();
            tracing::warn!(connections = left, "not all requests were finished in time");
        }
    }
}

/// A time as RFC 9110 has it in `Date`.
fn date(now: UnixMillis) -> String {
    let since_epoch = Duration::from_millis(now.0);
    httpdate::fmt_http_date(std::time::UNIX_EPOCH + since_epoch)
}

fn is_of_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// Serves `listeners` until `stop` says so, and then until what is in flight is finished.
///
/// # Errors
/// The runtime or a listener cannot be set up.
pub(in crate::http) fn run(
    listeners: Listeners,
    common: &Common,
    counters: Arc<CachePadded<Counters>>,
    mut stop: watch::Receiver<Stop>,
) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    runtime.block_on(async {
        // The file of a Unix socket is removed when this worker, as the last one, ends.
        let (listeners, _file) = listeners.into_tokio()?;
        let worker = Rc::new(Worker::new(common, counters));
        let caller = worker.caller.clone();
        spawn_local(async move { caller.pump().await });
        spawn_local(worker.clone().sweep());
        let accept = |listener| spawn_local(worker.clone().accept(listener));
        let accepting: Vec<_> = listeners.into_iter().map(accept).collect();
        // An error means that nobody can stop us any more: then stop as well.
        let _ = stop.wait_for(|stop| *stop != Stop::No).await;
        tokio::select! {
            () = worker.drain(&accepting) => (),
            _ = stop.wait_for(|stop| *stop == Stop::AtOnce) => {
                let left = worker.watched.conns.borrow().len();
                tracing::warn!(connections = left, "the drain was ended");
            }
        }
        Ok(())
    })
}
