//! What the connections of a worker share, and a connection's place among them.
//!
//! The loops of a worker, which accept and end connections, are in
//! [`worker`](crate::http::server::worker).

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crossbeam::utils::CachePadded;

use crate::engine::Engine;
use crate::http::config::Config;
use crate::http::conn::phase::Tick;
use crate::http::conn::sampler::Sampler;
use crate::http::conn::state::ConnState;
use crate::http::conn::timeouts::Watchlist;
use crate::model::time::UnixMillis;
use crate::net::alone::Alone;
use crate::net::places::{Place, Places};
use crate::service::counters::Counters;
use crate::service::gathered::Gathered;
use crate::service::miss_limiter::MissLimiter;
use crate::service::reads::Reads;
use crate::service::state::{Service, Shared};

/// What a worker reads from a socket at once.
const SCRATCH_LEN: usize = 16 * 1024;

/// What all workers share.
#[derive(Clone)]
pub(in crate::http) struct Common {
    pub(in crate::http) shared: Shared,
    pub(in crate::http) config: Config,
    pub(in crate::http) places: Places,
}

impl Common {
    pub(in crate::http) fn new(engine: &Engine, config: &Config) -> Self {
        let shared = Shared {
            engine: engine.clone(),
            limits: config.token_limits(),
            quotas: config.quotas.clone(),
            budget: config.budget(),
            miss_limiter: MissLimiter::new(config.miss_limits),
            keys: config.keys.clone(),
            anonymous: config.anonymous.clone(),
            audit: config.audit.clone(),
            tracer: config.tracer.clone(),
            reads: config.reads.clone(),
        };
        Self { shared, config: config.clone(), places: Places::new(config.max_connections) }
    }
}

/// What the connections of one worker share.
pub(in crate::http) struct Worker {
    pub(in crate::http) service: Rc<Service>,
    pub(in crate::http) config: Config,
    pub(in crate::http) counters: Arc<CachePadded<Counters>>,
    pub(in crate::http) watched: Watchlist,
    /// Where bytes arrive before they are given to their connection.
    pub(in crate::http) scratch: RefCell<Box<[u8]>>,
    /// Requests of the hot path that are answered together.
    pub(in crate::http) gathered: RefCell<Gathered>,
    /// The value of `Date`, exact to a [`TICK`](super::phase::TICK).
    pub(in crate::http) date: RefCell<String>,
    places: Places,
    alone: Alone,
    pub(in crate::http) tick: Cell<Tick>,
    has_hot_path: Cell<bool>,
    /// Whether the hot path answers the hits of a cluster's node.
    has_fenced_path: Cell<bool>,
    /// Whether the hot path answers what is not traced, where requests are.
    has_traced_path: Cell<bool>,
    sampler: Sampler,
    pub(in crate::http) is_draining: Cell<bool>,
    pub(in crate::http) is_grace_over: Cell<bool>,
}

/// A connection's place: counted, and seen by the sweep, until dropped.
pub(in crate::http) struct Slot {
    worker: Rc<Worker>,
    pub(in crate::http) state: Rc<ConnState>,
    key: usize,
    _place: Place,
}

impl Slot {
    pub(in crate::http) fn state(&self) -> Rc<ConnState> {
        self.state.clone()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.worker.watched.conns.borrow_mut().remove(self.key);
    }
}

impl Worker {
    pub(in crate::http) fn new(common: &Common, counters: Arc<CachePadded<Counters>>) -> Self {
        let is_traced = common.config.tracer.is_some();
        Self {
            service: Rc::new(common.shared.service()),
            config: common.config.clone(),
            counters,
            watched: Watchlist::default(),
            scratch: RefCell::new(vec![0; SCRATCH_LEN].into_boxed_slice()),
            gathered: RefCell::default(),
            date: RefCell::new(date(common.shared.engine.now())),
            places: common.places.clone(),
            alone: Alone::default(),
            tick: Cell::new(Tick(0)),
            has_hot_path: Cell::new(!is_traced && common.config.reads.is_none()),
            has_fenced_path: Cell::new(!is_traced && common.config.reads.is_some()),
            has_traced_path: Cell::new(is_traced),
            sampler: Sampler::default(),
            is_draining: Cell::new(false),
            is_grace_over: Cell::new(false),
        }
    }

    /// The time, exact to a [`TICK`](super::phase::TICK).
    pub(in crate::http) fn now(&self) -> Tick {
        self.tick.get()
    }

    /// As [`Alone::serves`].
    pub(in crate::http) fn serves(&self, id: usize) {
        self.alone.serves(id, self.now());
    }

    /// As [`Alone::serves_one`].
    pub(in crate::http) fn serves_one(&self) -> bool {
        self.alone.serves_one(self.now())
    }

    /// From now on the hot path answers nothing.
    pub(in crate::http) fn close_hot_path(&self) {
        self.has_hot_path.set(false);
        self.has_fenced_path.set(false);
        self.has_traced_path.set(false);
        self.sampler.end();
    }

    /// For each [`SAMPLED`](crate::http::conn::sampler::SAMPLED) resolves since the last call, one of
    /// the next is measured. Until then the hot path looks closed, so that a resolve that is not
    /// measured takes no instruction more.
    pub(in crate::http) fn plan_samples(&self) {
        let paths = [&self.has_hot_path, &self.has_fenced_path, &self.has_traced_path];
        if !paths.iter().any(|path| path.get()) && !self.sampler.is_due() {
            return;
        }
        self.sampler.plan(self.counters.resolved());
        self.open_hot_path();
    }

    fn open_hot_path(&self) {
        let (is_open, is_traced) = (!self.sampler.is_due(), self.config.tracer.is_some());
        let in_cluster = self.config.reads.is_some();
        self.has_hot_path.set(is_open && !is_traced && !in_cluster);
        self.has_fenced_path.set(is_open && !is_traced && in_cluster);
        self.has_traced_path.set(is_open && is_traced);
    }

    /// The time at which a turn of the hot path begins that is to be measured; `None` for another.
    pub(in crate::http) fn begin_sample(&self) -> Option<Duration> {
        (self.sampler.is_due() && self.is_fresh()).then(|| self.service.engine.monotonic())
    }

    /// The turn that has begun then is over. It counts if it has answered something.
    pub(in crate::http) fn end_sample(&self, begun: Duration, has_answered: bool) {
        if has_answered {
            let time = self.service.engine.monotonic().saturating_sub(begun);
            self.counters.sampled(time);
            self.sampler.taken();
            self.open_hot_path();
        }
    }

    pub(in crate::http) fn has_hot_path(&self) -> bool {
        self.has_hot_path.get()
    }

    /// Whether the hot path may answer hits now, from the memory of a cluster's node.
    pub(in crate::http) fn has_fenced_path(&self) -> bool {
        self.has_fenced_path.get() && self.is_fresh()
    }

    /// Whether the hot path may answer now what is not sampled, where requests are traced.
    pub(in crate::http) fn has_traced_path(&self) -> bool {
        self.has_traced_path.get() && self.is_fresh()
    }

    /// Whether a node of a cluster may answer from its memory.
    fn is_fresh(&self) -> bool {
        self.service.reads.as_ref().is_none_or(Reads::is_open)
    }

    /// The server is stopping: each connection gets a last answer.
    pub(in crate::http) fn is_draining(&self) -> bool {
        self.is_draining.get()
    }

    /// Connections that have ended no longer wait for their peer.
    pub(in crate::http) fn is_grace_over(&self) -> bool {
        self.is_grace_over.get()
    }

    /// Whether a `Host` is accepted on a connection; remembers it for the hot path.
    pub(in crate::http) fn accepts_host(&self, conn: &ConnState, host: &[u8]) -> bool {
        let is_accepted = self.config.keys.is_some()
            || conn.client.is_beyond_pages.get()
            || self.config.web.accepts_host(host);
        if is_accepted {
            conn.client.host.borrow_mut().keep(host);
        }
        is_accepted
    }

    /// A place for one more connection; `None` where there are too many.
    pub(in crate::http) fn slot(self: &Rc<Self>) -> Option<Slot> {
        let place = self.places.take()?;
        let state = Rc::new(ConnState::new(self.now()));
        let key = self.watched.conns.borrow_mut().insert(state.clone());
        Some(Slot { worker: self.clone(), state, key, _place: place })
    }
}

/// A time as RFC 9110 has it in `Date`.
pub(in crate::http) fn date(now: UnixMillis) -> String {
    let since_epoch = Duration::from_millis(now.0);
    httpdate::fmt_http_date(std::time::UNIX_EPOCH + since_epoch)
}
