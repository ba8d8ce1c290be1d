//! Time limits of connections, without a timer for each.
//!
//! hyper limits neither bodies, writes, idle connections nor the HTTP/2 handshake, and its header
//! limit costs an allocation a request. Here each worker looks at all its connections every
//! [`TICK`](super::phase::TICK) and wakes those whose time has come. On the hot path time is a
//! counter that the sweep sets, so a limit is exact to a quarter of a second.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use slab::Slab;

use crate::http::conn::outgoing::Answers;
use crate::http::conn::phase::{Phase, Tick, Verdict};
use crate::http::conn::state::ConnState;
use crate::net::limits::Limits;

/// How long a connection that was closed by us may take to read the last answer.
const LINGER: Duration = Duration::from_secs(2);

/// A body that is being gathered.
pub(in crate::http) struct Gathering {
    pub(in crate::http) since: Tick,
    /// False where the request was answered without it.
    pub(in crate::http) is_wanted: bool,
    pub(in crate::http) is_over: Cell<bool>,
    pub(in crate::http) waker: RefCell<Option<Waker>>,
}

impl Gathering {
    fn end(&self) {
        self.is_over.set(true);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

/// All that a worker watches.
#[derive(Default)]
pub(in crate::http) struct Watchlist {
    pub(in crate::http) conns: RefCell<Slab<Rc<ConnState>>>,
    pub(in crate::http) bodies: RefCell<Slab<Rc<Gathering>>>,
    pub(in crate::http) answers: Answers,
}

impl Watchlist {
    /// Wakes every connection and body whose time is over at `now`, and ends answers that are taken
    /// too slowly; `is_short` says whether memory is.
    pub(in crate::http) fn sweep(&self, limits: &Limits, now: Tick, is_short: bool) {
        for (_, conn) in self.conns.borrow().iter() {
            if let Some(verdict) = judge(conn, limits, now) {
                conn.watch.verdict.set(Some(verdict));
                conn.wake();
            }
        }
        for (_, body) in self.bodies.borrow().iter() {
            if body.since.is_over(limits.body_timeout, now) {
                body.end();
            }
        }
        self.answers.sweep(limits, now, is_short);
    }

    /// The server is stopping: HTTP/2 clients are asked to send nothing more, and nothing waits for
    /// a body that nobody wants.
    pub(in crate::http) fn wind_down(&self) {
        for (_, body) in self.bodies.borrow().iter().filter(|(_, body)| !body.is_wanted) {
            body.end();
        }
        self.decide(Verdict::WindDown);
    }

    /// The server is stopping: connections end once what is in flight is answered.
    pub(in crate::http) fn drain(&self) {
        self.decide(Verdict::Drain);
    }

    fn decide(&self, verdict: Verdict) {
        for (_, conn) in self.conns.borrow().iter() {
            conn.watch.verdict.set(Some(verdict));
            conn.wake();
        }
    }
}

fn judge(conn: &ConnState, limits: &Limits, now: Tick) -> Option<Verdict> {
    let is_over = |limit| conn.watch.since.get().is_over(limit, now);
    let stalled = conn.watch.stalled.get();
    if stalled.is_some_and(|since| since.is_over(limits.write_timeout, now)) {
        return Some(Verdict::Drop);
    }
    match conn.watch.phase.get() {
        // Answers wait for the peer, and nothing is read before it has taken them.
        Phase::Head | Phase::Idle if stalled.is_some() => None,
        Phase::Head => is_over(limits.header_timeout).then_some(Verdict::SlowHead),
        Phase::Handshake => is_over(limits.header_timeout).then_some(Verdict::Close),
        Phase::Tls => is_over(limits.tls_handshake_timeout).then_some(Verdict::Drop),
        Phase::Idle => is_over(limits.idle_timeout).then_some(Verdict::Close),
        // HTTP/2 streams that neither begin nor end: a peer that gives no window.
        Phase::Busy if conn.is_http2.get() => {
            is_over(limits.body_timeout + limits.write_timeout).then_some(Verdict::Drop)
        }
        Phase::Busy | Phase::Answered => None,
        Phase::Linger => is_over(LINGER).then_some(Verdict::Drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::conn::phase::TICK;

    const LIMITS: Limits = Limits {
        header_timeout: Duration::from_secs(10),
        body_timeout: Duration::from_secs(30),
        idle_timeout: Duration::from_secs(60),
        write_timeout: Duration::from_secs(5),
        tls_handshake_timeout: Duration::from_secs(3),
    };

    fn verdict_after(conn: &ConnState, after: Duration) -> Option<Verdict> {
        let ticks = u32::try_from(after.as_millis() / TICK.as_millis()).unwrap();
        judge(conn, &LIMITS, Tick(ticks))
    }

    #[test]
    fn each_phase_has_its_limit() {
        let conn = ConnState::new(Tick(0));
        for (phase, limit, verdict) in [
            (Phase::Head, LIMITS.header_timeout, Verdict::SlowHead),
            (Phase::Handshake, LIMITS.header_timeout, Verdict::Close),
            (Phase::Tls, LIMITS.tls_handshake_timeout, Verdict::Drop),
            (Phase::Idle, LIMITS.idle_timeout, Verdict::Close),
            (Phase::Linger, LINGER, Verdict::Drop),
        ] {
            conn.enter(phase, Tick(0));
            assert_eq!(verdict_after(&conn, limit), None, "{phase:?} early");
            assert_eq!(verdict_after(&conn, limit + TICK), Some(verdict), "{phase:?}");
        }
    }

    #[test]
    fn a_request_with_the_service_has_no_limit_here() {
        let conn = ConnState::new(Tick(0));
        conn.enter(Phase::Busy, Tick(0));
        assert_eq!(verdict_after(&conn, Duration::from_secs(3600)), None);
        conn.is_http2.set(true);
        assert_eq!(verdict_after(&conn, Duration::from_secs(36)), Some(Verdict::Drop));
    }

    #[test]
    fn p8_a_stalled_write_ends_whatever_the_phase() {
        let conn = ConnState::new(Tick(0));
        conn.enter(Phase::Busy, Tick(0));
        conn.watch.stalled.set(Some(Tick(0)));
        assert_eq!(verdict_after(&conn, LIMITS.write_timeout), None);
        let after = LIMITS.write_timeout + TICK;
        assert_eq!(verdict_after(&conn, after), Some(Verdict::Drop));
    }

    #[test]
    fn p2_an_answer_that_is_taken_slowly_is_not_cut_short() {
        let conn = ConnState::new(Tick(0));
        let taken_at = Duration::from_secs(3600);
        conn.watch.stalled.set(Some(Tick(4 * 3600)));
        for phase in [Phase::Head, Phase::Idle] {
            conn.enter(phase, Tick(0));
            assert_eq!(verdict_after(&conn, taken_at + LIMITS.write_timeout), None, "{phase:?}");
        }
        conn.watch.stalled.set(None);
        conn.restart_limit(Tick(4 * 3600));
        assert_eq!(verdict_after(&conn, taken_at + LIMITS.idle_timeout), None);
        let after = taken_at + LIMITS.idle_timeout + TICK;
        assert_eq!(verdict_after(&conn, after), Some(Verdict::Close));
    }

    #[test]
    fn a_slow_body_is_told() {
        let watched = Watchlist::default();
        let body = Rc::new(Gathering {
            since: Tick(0),
            is_wanted: true,
            is_over: Cell::new(false),
            waker: RefCell::new(None),
        });
        watched.bodies.borrow_mut().insert(body.clone());
        watched.sweep(&LIMITS, Tick(30 * 4), false);
        watched.wind_down();
        watched.drain();
        assert!(!body.is_over.get());
        watched.sweep(&LIMITS, Tick(30 * 4 + 1), false);
        assert!(body.is_over.get());
    }
}
