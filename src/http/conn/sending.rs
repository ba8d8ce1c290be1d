//! An answer that is being sent: its pieces, and what is held until the last of them is gone.

use std::cell::Cell;
use std::rc::Rc;

use bytes::{Buf, Bytes};

use crate::http::conn::context::Worker;
use crate::http::conn::outgoing::Outgoing;
use crate::http::conn::phase::Phase;
use crate::http::conn::state::ConnState;
use crate::http::conn::stream_task::Task;
use crate::service::memory_budget::Charge;

/// Counts an HTTP/2 stream from its request until its answer was sent.
pub(in crate::http) struct StreamGuard {
    worker: Rc<Worker>,
    conn: Rc<ConnState>,
}

impl StreamGuard {
    pub(in crate::http) fn new(worker: &Rc<Worker>, conn: &Rc<ConnState>) -> Self {
        conn.http2.streams.set(conn.http2.streams.get() + 1);
        Self { worker: worker.clone(), conn: conn.clone() }
    }
}

impl Drop for StreamGuard {
    fn drop(&mut self) {
        let left = self.conn.http2.streams.get() - 1;
        self.conn.http2.streams.set(left);
        let phase = if left == 0 { Phase::Idle } else { Phase::Busy };
        self.conn.enter(phase, self.worker.now());
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
    ) -> Rc<Self> {
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
        if conn.http2.sending.replace(conn.http2.sending.get() + 1) == 0 {
            conn.http2.sent_at.set(since);
        }
        let key = worker.watched.answers.0.borrow_mut().insert(outgoing.clone());
        let worker = worker.clone();
        Rc::new(Self { worker, outgoing, key, _charge: charge, _stream: stream })
    }

    /// True once every byte is in the output of the connection.
    pub(in crate::http) fn is_sent(&self) -> bool {
        self.outgoing.sent.get() >= self.outgoing.len
    }

    fn sent(&self, len: usize) {
        let Outgoing { conn, task, sent, .. } = &*self.outgoing;
        sent.set(sent.get() + len);
        let Some(task) = task else { return };
        conn.http2.sent_at.set(self.worker.now());
        conn.http2.is_relieved.set(false);
        conn.http2.window.borrow_mut().sent(len);
        if self.is_sent() {
            task.wake();
        }
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        let conn = &self.outgoing.conn;
        conn.http2.sending.set(conn.http2.sending.get() - 1);
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
    pub(in crate::http) fn new(bytes: Bytes, of: Option<Rc<Sending>>) -> Self {
        Self { bytes, of }
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
