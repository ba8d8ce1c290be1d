//! Answers on their way: who takes nothing of them, and who is too slow while memory is short.
//!
//! Each answer over HTTP/2, and each large one over HTTP/1, is watched from the moment it is handed
//! to hyper until its last byte is in the connection's output. Its [`Charge`] is held as long. The
//! sweep judges:
//!
//! - A stream that sends nothing for `--write-timeout`, although the connection's window is open,
//!   has no window of its own: it is reset, alone.
//! - Where the connection's window is closed, one stream may wait because of another, which was sent
//!   and is not read. After `--write-timeout` without a byte the stream that was sent most of is
//!   reset; if that opens no window for as long again, the connection ends.
//! - While the budget is short, an answer may take `--write-timeout` and a second for each
//!   [`RATE_MIN`] bytes. A slower one loses its stream, over HTTP/1 its connection.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf, Bytes};
use slab::Slab;

use super::worker::Worker;
use crate::http::Limits;
use crate::http::api::exchange::StreamGuard;
use crate::http::server::buffers::ConnState;
use crate::http::server::memory_budget::Charge;
use crate::http::server::timeouts::{TICK, Tick, Verdict};

/// Bytes a second that an answer makes at least while memory is short.
const RATE_MIN: usize = 1 << 20;

/// Serves one stream of HTTP/2, until the sweep ends it: a stream that is dropped is reset.
#[derive(Default)]
pub(in crate::http) struct Task {
    is_over: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Task {
    /// Runs `stream` to its end, or until it is ended from outside.
    pub(in crate::http) async fn run(self: Rc<Task>, stream: impl Future) {
        let mut stream = std::pin::pin!(stream);
        std::future::poll_fn(|cx| {
            if self.is_over.get() {
                return Poll::Ready(());
            }
            self.wait(cx);
            stream.as_mut().poll(cx).map(|_| ())
        })
        .await;
    }

    fn wait(&self, cx: &Context<'_>) {
        let mut known = self.waker.borrow_mut();
        if !known.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            *known = Some(cx.waker().clone());
        }
    }

    fn end(&self) {
        self.is_over.set(true);
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}

/// What the sweep knows of an answer.
pub(in crate::http) struct Outgoing {
    conn: Rc<ConnState>,
    /// `None` over HTTP/1.
    task: Option<Rc<Task>>,
    len: usize,
    since: Tick,
    sent: Cell<usize>,
    /// What was sent at the last sweep.
    seen: Cell<usize>,
    /// Sweeps since then at which it could have sent, had its stream a window.
    waited: Cell<u32>,
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
        if self.task.is_none() || self.conn.stalled.get().is_some() {
            return Judged::Fine;
        }
        let sent = self.sent.get();
        if sent != self.seen.replace(sent) {
            self.waited.set(0);
        } else if self.conn.window.borrow().is_open() {
            self.waited.set(self.waited.get() + 1);
            let is_over = TICK.saturating_mul(self.waited.get()) > limits.write_timeout;
            return if is_over { Judged::Over } else { Judged::Fine };
        } else if self.conn.sent_at.get().is_over(limits.write_timeout, now) {
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
        self.conn.verdict.set(Some(Verdict::Drop));
        self.conn.wake();
    }

    /// Ends what was sent most of on a connection whose window is closed; at the second time in a
    /// row, the connection.
    fn relieve(&self, now: Tick) {
        if self.conn.is_relieved.replace(true) {
            return self.end_connection();
        }
        self.conn.sent_at.set(now);
        self.end();
    }
}

/// All answers of a worker that are on their way.
#[derive(Default)]
pub(in crate::http) struct Answers(RefCell<Slab<Rc<Outgoing>>>);

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

/// An answer on its way, shared by its pieces: over once the last of them is gone.
pub(in crate::http) struct Sending {
    worker: Rc<Worker>,
    outgoing: Rc<Outgoing>,
    key: usize,
    /// Memory held as long.
    _charge: Option<Charge>,
    /// HTTP/2: the stream counts as long.
    _stream: Option<StreamGuard>,
}

impl Sending {
    /// An answer of `len` bytes begins; `task` is what serves its stream, if it has one.
    pub(in crate::http) fn begin(
        worker: &Rc<Worker>,
        conn: &Rc<ConnState>,
        len: usize,
        charge: Option<Charge>,
        stream: Option<(StreamGuard, Rc<Task>)>,
    ) -> Rc<Sending> {
        let (stream, task) = stream.unzip();
        let since = worker.now();
        let outgoing = Rc::new(Outgoing {
            conn: conn.clone(),
            task,
            len,
            since,
            sent: Cell::new(0),
            seen: Cell::new(0),
            waited: Cell::new(0),
        });
        if conn.sending.replace(conn.sending.get() + 1) == 0 {
            conn.sent_at.set(since);
        }
        let key = worker.watched.answers.0.borrow_mut().insert(outgoing.clone());
        let worker = worker.clone();
        Rc::new(Sending { worker, outgoing, key, _charge: charge, _stream: stream })
    }

    /// True once every byte is in the output of the connection.
    pub(in crate::http) fn is_sent(&self) -> bool {
        self.outgoing.sent.get() >= self.outgoing.len
    }

    fn sent(&self, len: usize) {
        let Outgoing { conn, task, sent, .. } = &*self.outgoing;
        sent.set(sent.get() + len);
        let Some(task) = task else { return };
        conn.sent_at.set(self.worker.now());
        conn.is_relieved.set(false);
        conn.window.borrow_mut().sent(len);
        if self.is_sent() {
            task.wake();
        }
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        let conn = &self.outgoing.conn;
        conn.sending.set(conn.sending.get() - 1);
        self.worker.watched.answers.0.borrow_mut().remove(self.key);
    }
}

/// Bytes of an answer.
#[derive(Default)]
pub(in crate::http) struct Piece {
    bytes: Bytes,
    /// Whose bytes they are; `None` where nobody watches.
    of: Option<Rc<Sending>>,
}

impl Piece {
    pub(in crate::http) fn new(bytes: Bytes, of: Option<Rc<Sending>>) -> Piece {
        Piece { bytes, of }
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, len: usize) {
        self.bytes.advance(len);
        if let Some(of) = &self.of {
            of.sent(len);
        }
    }
}

/// Runs HTTP/2 streams as tasks of this worker, each so that the sweep can end it.
#[derive(Clone)]
pub(in crate::http) struct StreamTasks(pub(in crate::http) Rc<ConnState>);

impl<F> hyper::rt::Executor<F> for StreamTasks
where
    F: Future + 'static,
{
    fn execute(&self, stream: F) {
        // The service has just begun it.
        let task = self.0.begun.take().unwrap_or_default();
        tokio::task::spawn_local(task.run(stream));
    }
}
