//! Answers on their way: who takes nothing of them, and who is too slow while memory is short.
//!
//! Each answer over HTTP/2, and each large one over HTTP/1, is watched from the moment it is handed
//! to hyper until its last byte is in the connection's output. Its
//! [`Charge`](crate::service::memory_budget::Charge) is held as long. The sweep judges:
//!
//! - A stream that sends nothing for `--write-timeout`, although the connection's window is open,
//!   has no window of its own: it is reset, alone.
//! - Where the connection's window is closed, one stream may wait because of another, which was sent
//!   and is not read. After `--write-timeout` without a byte the stream that was sent most of is
//!   reset; if that opens no window for as long again, the connection ends.
//! - While the budget is short, an answer may take `--write-timeout` and a second for each
//!   [`RATE_MIN`] bytes. A slower one loses its stream, over HTTP/1 its connection.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use slab::Slab;

use crate::http::conn::phase::{TICK, Tick, Verdict};
use crate::http::conn::state::ConnState;
use crate::http::conn::stream_task::Task;
use crate::net::limits::Limits;

/// Bytes a second that an answer makes at least while memory is short.
const RATE_MIN: usize = 1 << 20;

/// What the sweep knows of an answer.
pub(in crate::http) struct Outgoing {
    pub(super) conn: Rc<ConnState>,
    /// `None` over HTTP/1.
    pub(super) task: Option<Rc<Task>>,
    pub(super) len: usize,
    pub(super) since: Tick,
    pub(super) sent: Cell<usize>,
    /// What was sent at the last sweep.
    pub(super) seen: Cell<usize>,
    /// Sweeps since then at which it could have sent, had its stream a window.
    pub(super) waited: Cell<u32>,
}

/// What is to become of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judged {
    Fine,
    /// It ends.
    Over,
    /// Its connection has sent nothing for too long, because of it or of another.
    Blocked,
}

impl Outgoing {
    fn judge(&self, limits: &Limits, now: Tick, is_short: bool) -> Judged {
        let is_slow = || {
            let seconds = u64::try_from(self.len / RATE_MIN).unwrap_or(u64::MAX);
            self.since.is_over(limits.write_timeout + Duration::from_secs(seconds), now)
        };
        if is_short && is_slow() {
            return Judged::Over;
        }
        // What does not go out at all is the connection's matter.
        if self.task.is_none() || self.conn.watch.stalled.get().is_some() {
            return Judged::Fine;
        }
        let sent = self.sent.get();
        if sent != self.seen.replace(sent) {
            self.waited.set(0);
        } else if self.conn.http2.window.borrow().is_open() {
            self.waited.set(self.waited.get() + 1);
            let is_over = TICK.saturating_mul(self.waited.get()) > limits.write_timeout;
            return if is_over { Judged::Over } else { Judged::Fine };
        } else if self.conn.http2.sent_at.get().is_over(limits.write_timeout, now) {
            return Judged::Blocked;
        }
        Judged::Fine
    }

    fn end(&self) {
        match &self.task {
            Some(task) => task.end(),
            None => self.end_connection(),
        }
    }

    fn end_connection(&self) {
        self.conn.watch.verdict.set(Some(Verdict::Drop));
        self.conn.wake();
    }

    /// Ends what was sent most of on a connection whose window is closed; at the second time in a
    /// row, the connection.
    fn relieve(&self, now: Tick) {
        if self.conn.http2.is_relieved.replace(true) {
            return self.end_connection();
        }
        self.conn.http2.sent_at.set(now);
        self.end();
    }
}

/// All answers of a worker that are on their way.
#[derive(Default)]
pub(in crate::http) struct Answers(pub(super) RefCell<Slab<Rc<Outgoing>>>);

impl Answers {
    /// Ends what has taken too long at `now`. `is_short` says whether memory is.
    pub(in crate::http) fn sweep(&self, limits: &Limits, now: Tick, is_short: bool) {
        let mut blocked: Vec<Rc<Outgoing>> = Vec::new();
        for (_, answer) in self.0.borrow().iter() {
            match answer.judge(limits, now, is_short) {
                Judged::Fine => (),
                Judged::Over => answer.end(),
                Judged::Blocked => {
                    let of_same = |other: &&mut Rc<Outgoing>| Rc::ptr_eq(&other.conn, &answer.conn);
                    match blocked.iter_mut().find(of_same) {
                        None => blocked.push(answer.clone()),
                        Some(most) if answer.sent > most.sent => *most = answer.clone(),
                        Some(_) => (),
                    }
                }
            }
        }
        blocked.iter().for_each(|most| most.relieve(now));
    }
}
