//! What a connection, the sweep and the commands of the connection share; and what the connections of
//! one worker share.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Poll, Waker};

use crossbeam::utils::CachePadded;
use slab::Slab;

use crate::engine::Here;
use crate::net::alone::Alone;
use crate::net::places::{Place, Places};
use crate::net::tick::Tick;
use crate::resp::config::{Config, ReadLevel};
use crate::service::authentication::CachedCredentials;
use crate::service::counters::Counters;
use crate::service::gathered::{Gathered, GroupLen};
use crate::service::memory_budget::{HeldBytes, Holder};
use crate::service::principal::Principal;
use crate::service::state::Service;
use crate::trace::Draw;

/// How long a connection that was closed by us may take to read the last answer.
const LINGER: std::time::Duration = std::time::Duration::from_secs(2);
/// How much longer a MiB of output may wait while memory is short.
const PER_MEBIBYTE: std::time::Duration = std::time::Duration::from_secs(1);
/// What a worker reads from a socket at once.
const SCRATCH_LEN: usize = 16 * 1024;

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::resp) enum Phase {
    /// TLS is being agreed on.
    Tls,
    /// It has sent no command yet.
    New,
    /// A command is arriving.
    Partial,
    /// Commands are being performed, whose own waits are bounded.
    Busy,
    /// It has sent commands, and none is arriving.
    Idle,
    /// The last answer was given; the peer may read it.
    Linger,
}

/// What is to become of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::resp) enum Verdict {
    /// Close after what has been answered.
    Close,
    /// Drop at once.
    Drop,
    /// The server is shutting down: answer what has arrived, then close.
    Drain,
}

/// One connection.
pub(in crate::resp) struct Conn {
    pub(in crate::resp) peer: SocketAddr,
    pub(in crate::resp) local: Option<SocketAddr>,
    pub(in crate::resp) credentials: CachedCredentials,
    /// Whether the next command has a span, as far as the short way has decided.
    pub(in crate::resp) draw: Cell<Draw>,
    /// How many of its commands are looked up together.
    pub(in crate::resp) together: Cell<GroupLen>,
    totals: HeldBytes,
    phase: Cell<Phase>,
    since: Cell<Tick>,
    /// Since when the peer has not taken output.
    stalled: Cell<Option<Tick>>,
    /// Since when output waits, and the most memory that it has taken.
    waiting: Cell<Option<(Tick, usize)>>,
    verdict: Cell<Option<Verdict>>,
    waker: RefCell<Option<Waker>>,
}

impl Conn {
    pub(in crate::resp) fn new(peer: SocketAddr, local: Option<SocketAddr>, now: Tick) -> Self {
        Self {
            peer,
            local,
            credentials: CachedCredentials::of(peer.ip()),
            draw: Cell::default(),
            together: Cell::default(),
            totals: HeldBytes::default(),
            phase: Cell::new(Phase::New),
            since: Cell::new(now),
            stalled: Cell::new(None),
            waiting: Cell::new(None),
            verdict: Cell::new(None),
            waker: RefCell::new(None),
        }
    }

    /// The holder of its memory.
    pub(in crate::resp) fn holder(&self, access: Option<Principal>) -> Holder {
        Holder { totals: self.totals.clone(), access }
    }

    pub(in crate::resp) fn enter(&self, phase: Phase, now: Tick) {
        self.phase.set(phase);
        self.since.set(now);
    }

    pub(in crate::resp) fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// The peer takes nothing at the moment, and output of this many bytes waits.
    pub(in crate::resp) fn stalls(&self, now: Tick, len: usize) {
        if self.stalled.get().is_none() {
            self.stalled.set(Some(now));
        }
        let (since, most) = self.waiting.get().unwrap_or((now, 0));
        self.waiting.set(Some((since, most.max(len))));
    }

    /// The peer has taken everything.
    pub(in crate::resp) fn has_all(&self) {
        self.stalled.set(None);
        self.waiting.set(None);
    }

    /// The peer has taken something.
    pub(in crate::resp) fn takes(&self) {
        self.stalled.set(None);
    }

    /// What the sweep has decided; from now on `waker` is woken when it decides something.
    pub(in crate::resp) fn verdict(&self, waker: &Waker) -> Option<Verdict> {
        let mut known = self.waker.borrow_mut();
        if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *known = Some(waker.clone());
        }
        self.verdict.take()
    }

    /// `work`, unless the sweep has a verdict before it is done: whatever that is, it is the end.
    pub(in crate::resp) async fn until_verdict<T>(
        &self,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        let mut work = pin!(work);
        poll_fn(|cx| match self.verdict(cx.waker()) {
            Some(_) => Poll::Ready(None),
            None => work.as_mut().poll(cx).map(Some),
        })
        .await
    }

    /// The same, where only the verdict that it is dropped counts.
    pub(in crate::resp) async fn until_drop<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        poll_fn(|cx| match self.verdict(cx.waker()) {
            Some(Verdict::Drop) => Poll::Ready(None),
            _ => work.as_mut().poll(cx).map(Some),
        })
        .await
    }

    fn decide(&self, verdict: Verdict) {
        self.verdict.set(Some(verdict));
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// `is_short`: memory is, so what waits for a slow peer is ended.
    fn judge(&self, config: &Config, now: Tick, is_short: bool) -> Option<Verdict> {
        let limits = &config.limits;
        let stalled = self.stalled.get();
        if stalled.is_some_and(|since| since.is_over(limits.write_timeout, now)) {
            return Some(Verdict::Drop);
        }
        if let (true, Some((since, len))) = (is_short, self.waiting.get())
            && since.is_over(limits.write_timeout + PER_MEBIBYTE * (len >> 20) as u32, now)
        {
            return Some(Verdict::Drop);
        }
        let (limit, verdict) = match self.phase.get() {
            Phase::Tls => (limits.tls_handshake_timeout, Verdict::Drop),
            Phase::New => (limits.idle_timeout, Verdict::Close),
            Phase::Partial => (limits.body_timeout, Verdict::Close),
            Phase::Idle => (config.idle_timeout, Verdict::Close),
            Phase::Linger => (LINGER, Verdict::Drop),
            Phase::Busy => return None,
        };
        // Answers wait for the peer, and it need not send more before it has taken them.
        let may_wait = stalled.is_some() && matches!(self.phase.get(), Phase::New | Phase::Idle);
        (!may_wait && self.since.get().is_over(limit, now)).then_some(verdict)
    }
}

/// What the connections of one worker share.
pub(in crate::resp) struct Worker {
    pub(in crate::resp) service: Rc<Service>,
    pub(in crate::resp) config: Config,
    pub(in crate::resp) counters: Arc<CachePadded<Counters>>,
    /// Where bytes arrive before they are given to their connection.
    pub(in crate::resp) scratch: RefCell<Box<[u8]>>,
    /// Commands of the short way that are answered together.
    pub(in crate::resp) gathered: RefCell<Gathered>,
    pub(in crate::resp) places: Places,
    pub(in crate::resp) is_draining: Cell<bool>,
    /// Numbers of connections, unique in the process.
    ids: Arc<AtomicU64>,
    tick: Cell<Tick>,
    alone: Alone,
    conns: RefCell<Slab<Rc<Conn>>>,
}

/// A connection's place: counted, and seen by the sweep, until dropped.
pub(in crate::resp) struct Slot {
    worker: Rc<Worker>,
    key: usize,
    _place: Place,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.worker.conns.borrow_mut().remove(self.key);
    }
}

impl Worker {
    pub(in crate::resp) fn new(
        service: Service,
        config: Config,
        counters: Arc<CachePadded<Counters>>,
        places: Places,
        ids: Arc<AtomicU64>,
    ) -> Self {
        Self {
            service: Rc::new(service),
            config,
            counters,
            scratch: RefCell::new(vec![0; SCRATCH_LEN].into_boxed_slice()),
            gathered: RefCell::default(),
            places,
            is_draining: Cell::new(false),
            ids,
            tick: Cell::new(Tick(0)),
            alone: Alone::default(),
            conns: RefCell::default(),
        }
    }

    /// Whether each read must know everything that was acknowledged before it.
    pub(in crate::resp) fn is_linear(&self) -> bool {
        self.config.read == ReadLevel::Linear
    }

    /// The time, exact to a [`TICK`](crate::net::tick::TICK).
    pub(in crate::resp) fn now(&self) -> Tick {
        self.tick.get()
    }

    /// The connection with this number is served.
    pub(in crate::resp) fn serves(&self, id: u64) {
        self.alone.serves(id as usize, self.now());
    }

    /// Whether a change may be committed on this thread: where it need not wait for a disk, or hardly
    /// anybody else would wait meanwhile.
    pub(in crate::resp) fn commits(&self) -> Here {
        if self.alone.serves_one(self.now()) { Here::WithWait } else { Here::WithoutWait }
    }

    /// A number for a connection.
    pub(in crate::resp) fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Watches a connection that has this place.
    pub(in crate::resp) fn watch(self: &Rc<Self>, conn: &Rc<Conn>, place: Place) -> Slot {
        let key = self.conns.borrow_mut().insert(conn.clone());
        Slot { worker: self.clone(), key, _place: place }
    }

    /// Another tick has passed: wakes every connection whose time is over.
    pub(in crate::resp) fn sweep(&self) {
        let now = Tick(self.tick.get().0.wrapping_add(1));
        self.tick.set(now);
        self.service.caller.free_retired();
        let is_short = self.service.budget.is_short();
        for (_, conn) in self.conns.borrow().iter() {
            if let Some(verdict) = conn.judge(&self.config, now, is_short) {
                conn.decide(verdict);
            }
        }
    }

    /// The server is stopping: connections end once what they have sent is answered.
    pub(in crate::resp) fn drain(&self) {
        self.is_draining.set(true);
        for (_, conn) in self.conns.borrow().iter() {
            conn.decide(Verdict::Drain);
        }
    }

    /// Connections that are open.
    pub(in crate::resp) fn open(&self) -> usize {
        self.conns.borrow().len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::net::limits::Limits;
    use crate::net::tick::TICK;
    use crate::resp::config::IDLE_TIMEOUT;

    fn config(limits: Limits) -> Config {
        let (drain_timeout, read) = (Duration::ZERO, ReadLevel::Local);
        let (idle_timeout, proxies) = (IDLE_TIMEOUT, Default::default());
        Config { limits, idle_timeout, drain_timeout, tls: None, proxies, read }
    }

    fn verdict_after(conn: &Conn, after: Duration) -> Option<Verdict> {
        let limits = Limits::default();
        let config = config(limits);
        let ticks = u32::try_from(after.as_millis() / TICK.as_millis()).unwrap();
        conn.judge(&config, Tick(ticks), false)
    }

    #[test]
    fn p8_each_phase_has_its_limit() {
        let conn = Conn::new(([127, 0, 0, 1], 1).into(), None, Tick(0));
        let limits = Limits::default();
        for (phase, limit, verdict) in [
            (Phase::Tls, limits.tls_handshake_timeout, Verdict::Drop),
            (Phase::New, limits.idle_timeout, Verdict::Close),
            (Phase::Partial, limits.body_timeout, Verdict::Close),
            (Phase::Idle, IDLE_TIMEOUT, Verdict::Close),
            (Phase::Linger, LINGER, Verdict::Drop),
        ] {
            conn.enter(phase, Tick(0));
            assert_eq!(verdict_after(&conn, limit), None, "{phase:?} early");
            assert_eq!(verdict_after(&conn, limit + TICK), Some(verdict), "{phase:?}");
        }
        conn.enter(Phase::Busy, Tick(0));
        assert_eq!(verdict_after(&conn, 2 * IDLE_TIMEOUT), None);
    }

    #[test]
    fn p8_a_peer_that_takes_nothing_ends_whatever_the_phase() {
        let conn = Conn::new(([127, 0, 0, 1], 1).into(), None, Tick(0));
        let limit = Limits::default().write_timeout;
        conn.enter(Phase::Busy, Tick(0));
        conn.stalls(Tick(0), 1);
        assert_eq!(verdict_after(&conn, limit), None);
        assert_eq!(verdict_after(&conn, limit + TICK), Some(Verdict::Drop));
        conn.takes();
        assert_eq!(verdict_after(&conn, limit + TICK), None);
    }

    #[test]
    fn p8_what_waits_for_a_slow_peer_is_ended_while_memory_is_short() {
        let conn = Conn::new(([127, 0, 0, 1], 1).into(), None, Tick(0));
        let limits = Limits::default();
        let config = config(limits);
        conn.enter(Phase::Busy, Tick(0));
        conn.stalls(Tick(0), 8 << 20);
        conn.takes();
        let ticks = |time: Duration| Tick((time.as_millis() / TICK.as_millis()) as u32);
        let limit = limits.write_timeout + Duration::from_secs(8);
        assert_eq!(conn.judge(&config, ticks(limit), true), None);
        let after = ticks(limit + TICK);
        assert_eq!(conn.judge(&config, after, false), None, "there is enough");
        assert_eq!(conn.judge(&config, after, true), Some(Verdict::Drop));
        conn.has_all();
        assert_eq!(conn.judge(&config, after, true), None);
    }
}
