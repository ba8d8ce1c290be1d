//! The two buffers between a socket and hyper.
//!
//! hyper reads from `input` and appends to `output`; the [`connection`](super::connection) around
//! it moves bytes between them and the socket. That makes pipelining cheap (one system call carries
//! all answers of a burst) without hyper's own `pipeline_flush`, which holds an answer back while
//! half of the next request is in its buffer; and it bounds memory, because the
//! connection does not poll hyper at all while output is waiting for the peer (promise P8).
//!
//! hyper answers what it cannot parse by itself, with an empty body and without `Cache-Control`.
//! Such an answer is recognised by being a `4xx` that our service did not give, and is replaced by a
//! problem document.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use hyper::rt::{Read, ReadBufCursor, Write};

use super::outgoing::Task;
use crate::http::api::response;
use crate::http::callers::authentication::Remembered;
use crate::http::h1::framing::Gate;
use crate::http::h2::window::Window;
use crate::http::server::memory_budget::{Budget, Charge, Holder, Totals};
use crate::http::server::timeouts::{Phase, Tick, Verdict};

/// From this many bytes of unsent output on, hyper is told to wait.
pub(in crate::http) const OUTPUT_LEN_MAX: usize = 256 * 1024;
/// A buffer that grew beyond this is given back once it is empty.
const KEPT_CAPACITY: usize = 16 * 1024;
/// A head up to this length is bounded by the number of connections alone.
const FREE_HEAD_LEN: usize = 4 * 1024;

/// Bytes in one direction, consumed from the front.
#[derive(Default)]
pub(in crate::http) struct Buffer {
    bytes: Vec<u8>,
    at: usize,
}

impl Buffer {
    pub(in crate::http) fn push(&mut self, bytes: &[u8]) {
        // A peer that pipelines without end may never leave this empty: what was read must go.
        if self.at > 0 {
            self.bytes.drain(..self.at);
            self.at = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The end of the buffer, with room for `len` more bytes.
    pub(in crate::http) fn tail(&mut self, len: usize) -> &mut Vec<u8> {
        self.bytes.reserve(len);
        &mut self.bytes
    }

    pub(in crate::http) fn unread(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    pub(in crate::http) fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    pub(in crate::http) fn len(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Bytes of memory it takes.
    pub(in crate::http) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Forgets the first `len` unread bytes.
    pub(in crate::http) fn advance(&mut self, len: usize) {
        self.at += len;
        if self.is_empty() {
            self.clear();
        }
    }

    pub(in crate::http) fn clear(&mut self) {
        self.at = 0;
        if self.bytes.capacity() > KEPT_CAPACITY {
            self.bytes = Vec::new();
        } else {
            self.bytes.clear();
        }
    }
}

/// The `Host` of a connection's requests, so that it is looked at once. A longer one is looked at
/// each time.
pub(in crate::http) struct LastHost {
    bytes: [u8; 47],
    len: u8,
}

impl Default for LastHost {
    fn default() -> LastHost {
        LastHost { bytes: [0; 47], len: 0 }
    }
}

impl LastHost {
    /// Empty where there is none.
    pub(in crate::http) fn text(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Keeps `host`, if it is short enough.
    pub(in crate::http) fn keep(&mut self, host: &[u8]) {
        if let (Some(room), Ok(len)) = (self.bytes.get_mut(..host.len()), host.len().try_into()) {
            room.copy_from_slice(host);
            self.len = len;
        }
    }
}

/// Where hyper is in writing an answer that it takes in several pieces: only the first begins with
/// a status line, and a payload must never be mistaken for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum Pieces {
    /// It writes no such answer.
    None,
    /// More pieces will follow.
    More,
    /// It has taken the last piece and not yet written it.
    Last,
}

/// What a connection, hyper's view of it, its service and the sweep share.
pub(in crate::http) struct ConnState {
    /// Read from the socket, not yet taken by hyper.
    pub(in crate::http) input: RefCell<Buffer>,
    /// Written by hyper, not yet taken by the socket.
    pub(in crate::http) output: RefCell<Buffer>,
    /// The peer has finished sending.
    pub(in crate::http) eof: Cell<bool>,
    /// HTTP/2: nothing is left to be answered to a peer that has finished sending. Before that hyper
    /// is not told, because it would drop the streams.
    pub(in crate::http) is_answered: Cell<bool>,
    /// Bytes the peer has sent.
    pub(in crate::http) received: Cell<usize>,
    /// hyper found the input empty: it wants to be polled after the next read.
    pub(in crate::http) wants_input: Cell<bool>,
    /// hyper found the output full: it wants to be polled after the next flush.
    pub(in crate::http) wants_output: Cell<bool>,
    /// What the connection is doing, and since when.
    pub(in crate::http) phase: Cell<Phase>,
    pub(in crate::http) since: Cell<Tick>,
    /// Since when the peer has not taken output; `None` where none waits.
    pub(in crate::http) stalled: Cell<Option<Tick>>,
    /// What waits for a peer that does not read.
    pub(in crate::http) stalled_charge: RefCell<Option<Charge>>,
    /// What the sweep decided about this connection.
    pub(in crate::http) verdict: Cell<Option<Verdict>>,
    /// The task that serves this connection.
    pub(in crate::http) waker: RefCell<Option<Waker>>,
    /// HTTP/2: streams whose answer has not been sent.
    pub(in crate::http) streams: Cell<usize>,
    pub(in crate::http) is_http2: Cell<bool>,
    /// HTTP/2: what the peer lets the connection send.
    pub(in crate::http) window: RefCell<Window>,
    /// HTTP/2: what will serve the stream whose request the service was given last.
    pub(in crate::http) begun: Cell<Option<Rc<Task>>>,
    /// Answers on their way that are watched.
    pub(in crate::http) sending: Cell<usize>,
    /// HTTP/2: when an answer was sent a byte of, or the first of those on their way began.
    pub(in crate::http) sent_at: Cell<Tick>,
    /// HTTP/2: a stream was reset since, so that others can send.
    pub(in crate::http) is_relieved: Cell<bool>,
    /// HTTP/2: memory of heads without a key that wait for their bodies.
    pub(in crate::http) keyless_heads: Cell<usize>,
    /// Memory held for this connection.
    pub(in crate::http) totals: Totals,
    /// HTTP/1: what a long head takes, until the next request.
    head_charge: RefCell<Option<Charge>>,
    /// Where hyper is in writing an answer that it takes in several pieces.
    pub(in crate::http) pieces: Cell<Pieces>,
    answers_given: Cell<u64>,
    answers_seen: Cell<u64>,
    /// HTTP/1: where in a request the input is.
    gate: RefCell<Gate>,
    /// The key that was shown last.
    pub(in crate::http) shown: Remembered,
    /// The `Host` that was accepted last.
    pub(in crate::http) host: RefCell<LastHost>,
    /// A page in a browser cannot have opened this connection: any `Host` is accepted.
    pub(in crate::http) is_beyond_pages: Cell<bool>,
    /// Where the client is.
    pub(in crate::http) peer: Cell<IpAddr>,
    pub(in crate::http) peer_port: Cell<u16>,
}

impl ConnState {
    pub(in crate::http) fn new(now: Tick) -> ConnState {
        ConnState {
            input: RefCell::default(),
            output: RefCell::default(),
            eof: Cell::new(false),
            is_answered: Cell::new(false),
            received: Cell::new(0),
            wants_input: Cell::new(true),
            wants_output: Cell::new(false),
            phase: Cell::new(Phase::Idle),
            since: Cell::new(now),
            stalled: Cell::new(None),
            stalled_charge: RefCell::new(None),
            verdict: Cell::new(None),
            waker: RefCell::new(None),
            streams: Cell::new(0),
            is_http2: Cell::new(false),
            window: RefCell::default(),
            begun: Cell::new(None),
            sending: Cell::new(0),
            sent_at: Cell::new(now),
            is_relieved: Cell::new(false),
            keyless_heads: Cell::new(0),
            totals: Totals::default(),
            head_charge: RefCell::new(None),
            pieces: Cell::new(Pieces::None),
            answers_given: Cell::new(0),
            answers_seen: Cell::new(0),
            gate: RefCell::default(),
            shown: Remembered::default(),
            host: RefCell::default(),
            is_beyond_pages: Cell::new(false),
            peer: Cell::new(Ipv4Addr::UNSPECIFIED.into()),
            peer_port: Cell::new(0),
        }
    }

    /// Goes to `phase`, whose time limit counts from `now`.
    pub(in crate::http) fn enter(&self, phase: Phase, now: Tick) {
        self.phase.set(phase);
        self.since.set(now);
    }

    /// The service gave an answer: what hyper writes next is ours.
    pub(in crate::http) fn answered(&self, now: Tick) {
        self.answers_given.set(self.answers_given.get() + 1);
        if !self.is_http2.get() {
            self.enter(Phase::Answered, now);
        }
    }

    /// After hyper was polled: an answered connection is idle, or waits for the rest of a head.
    pub(in crate::http) fn settle(&self, now: Tick) {
        if self.phase.get() == Phase::Answered {
            let is_partial = !self.gate.borrow().is_between() || !self.input.borrow().is_empty();
            self.enter(if is_partial { Phase::Head } else { Phase::Idle }, now);
            self.head_charge.take();
        }
    }

    /// HTTP/1: counts the head that is arriving, if it is long. False where there is no room for it.
    pub(in crate::http) fn charge_head(&self, budget: &Budget) -> bool {
        let (input, gate) = (self.input.borrow(), self.gate.borrow());
        // Lines that are whole are hyper's, the others wait here.
        let len = gate.head_len() + input.capacity();
        if self.is_http2.get() || gate.head_len() + input.len() <= FREE_HEAD_LEN {
            return true;
        }
        let holder = self.holder();
        let mut charge = self.head_charge.borrow_mut();
        charge.get_or_insert_with(|| budget.charge(&holder)).grow_head_to(len)
    }

    /// Who holds memory for this connection, where it has shown nothing yet.
    pub(in crate::http) fn holder(&self) -> Holder {
        Holder { totals: self.totals.clone(), access: None }
    }

    /// True where hyper certainly holds no byte of a further request and has taken every answer
    /// from the service: only then may somebody else answer what is in `input`, in hyper's place.
    pub(in crate::http) fn is_between_requests(&self) -> bool {
        !self.is_http2.get()
            && matches!(self.phase.get(), Phase::Idle | Phase::Head)
            && self.pieces.get() == Pieces::None
            && self.gate.borrow().is_between()
    }

    /// Somebody else answered whole requests from the front of `input`: what hyper's way had seen of
    /// their begin says nothing about what comes next.
    pub(in crate::http) fn overtaken(&self) {
        self.gate.borrow_mut().begin();
    }

    pub(in crate::http) fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    /// True where what hyper writes was not given by the service.
    fn is_hypers_own(&self, bytes: &[u8]) -> bool {
        let given = self.answers_given.get();
        let is_answer = given != self.answers_seen.replace(given);
        let is_piece = self.pieces.get() != Pieces::None;
        if self.pieces.get() == Pieces::Last {
            self.pieces.set(Pieces::None);
        }
        let is_ours = self.is_http2.get() || is_answer || is_piece;
        !is_ours && bytes.starts_with(b"HTTP/1.") && bytes.get(9) == Some(&b'4')
    }
}

/// hyper's view of the connection.
pub(in crate::http) struct Pipe(pub(in crate::http) Rc<ConnState>);

impl Read for Pipe {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let state = &*self.0;
        let (mut input, mut gate) = (state.input.borrow_mut(), state.gate.borrow_mut());
        let is_eof = state.eof.get() && (!state.is_http2.get() || state.is_answered.get());
        let ready = if state.is_http2.get() {
            input.unread()
        } else {
            let skipped = gate.skipped(input.unread());
            input.advance(skipped);
            gate.open(input.unread(), is_eof)
        };
        if ready.is_empty() && !is_eof {
            // The connection polls hyper again after it has read: no waker is needed.
            // Behind what was refused nothing is read.
            state.wants_input.set(!gate.is_refused());
            return Poll::Pending;
        }
        let len = ready.len().min(into.remaining());
        into.put_slice(&ready[..len]);
        if state.is_http2.get() {
            state.window.borrow_mut().follow(&ready[..len]);
        }
        let taken = if state.is_http2.get() { len } else { gate.taken(len) };
        input.advance(taken);
        Poll::Ready(Ok(()))
    }
}

impl Write for Pipe {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let state = &*self.0;
        let mut output = state.output.borrow_mut();
        if output.len() >= OUTPUT_LEN_MAX {
            // The connection polls hyper again after it has flushed: no waker is needed.
            state.wants_output.set(true);
            return Poll::Pending;
        }
        if state.is_hypers_own(bytes) {
            output.push(&response::replace_hypers_own(bytes));
        } else {
            output.push(bytes);
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The connection closes the socket after the last flush.
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipe() -> (Rc<ConnState>, Pipe, Context<'static>) {
        let state = Rc::new(ConnState::new(Tick(0)));
        (state.clone(), Pipe(state), Context::from_waker(Waker::noop()))
    }

    fn write(pipe: &mut Pipe, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<usize> {
        Pin::new(pipe).poll_write(cx, bytes).map(Result::unwrap)
    }

    #[test]
    fn hypers_own_refusal_becomes_a_problem_document() {
        let (state, mut pipe, mut cx) = pipe();
        let own = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\n\
            content-length: 0\r\ndate: Sun, 22 Nov 2026 19:00:00 GMT\r\n\r\n";
        assert_eq!(write(&mut pipe, &mut cx, own), Poll::Ready(own.len()));
        let output = state.output.borrow();
        let text = std::str::from_utf8(output.unread()).unwrap();
        assert!(text.starts_with("HTTP/1.1 431 "), "{text}");
        assert!(text.contains("cache-control: no-store\r\n"), "{text}");
        assert!(text.contains("date: Sun, 22 Nov 2026 19:00:00 GMT\r\n"), "{text}");
        assert!(text.contains("application/problem+json"), "{text}");
    }

    #[test]
    fn the_services_own_refusals_pass_unchanged() {
        let (state, mut pipe, mut cx) = pipe();
        let ours = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
        for _ in 0..2 {
            state.answered(Tick(0));
            assert!(write(&mut pipe, &mut cx, ours).is_ready());
        }
        assert_eq!(state.output.borrow().unread(), [&ours[..], ours].concat());
        assert!(write(&mut pipe, &mut cx, ours).is_ready());
        assert_ne!(state.output.borrow().unread(), [&ours[..], ours, ours].concat());
    }

    #[test]
    fn a_piece_of_a_payload_is_never_taken_for_a_refusal() {
        let (state, mut pipe, mut cx) = pipe();
        let piece = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
        state.answered(Tick(0));
        state.pieces.set(Pieces::More);
        assert!(write(&mut pipe, &mut cx, b"HTTP/1.1 200 OK\r\n\r\n").is_ready());
        assert!(write(&mut pipe, &mut cx, piece).is_ready());
        state.pieces.set(Pieces::Last);
        assert!(write(&mut pipe, &mut cx, piece).is_ready());
        assert!(state.output.borrow().unread().ends_with(&[&piece[..], piece].concat()));
        assert!(write(&mut pipe, &mut cx, piece).is_ready());
        assert!(!state.output.borrow().unread().ends_with(piece));
    }

    #[test]
    fn p8_a_peer_that_does_not_read_stops_the_output() {
        let (state, mut pipe, mut cx) = pipe();
        let answer = [b'x'; 10_000];
        let mut accepted = 0;
        while write(&mut pipe, &mut cx, &answer).is_ready() {
            accepted += answer.len();
            assert!(accepted < OUTPUT_LEN_MAX + 2 * answer.len(), "no end");
        }
        assert!(accepted >= OUTPUT_LEN_MAX);
        assert!(state.wants_output.get());
        state.output.borrow_mut().advance(accepted);
        assert!(write(&mut pipe, &mut cx, &answer).is_ready());
        assert!(state.output.borrow().bytes.capacity() <= KEPT_CAPACITY);
    }

    #[test]
    fn p8_input_that_is_never_empty_does_not_grow() {
        let mut buffer = Buffer::default();
        buffer.push(b"rest");
        for _ in 0..10_000 {
            buffer.push(b"more");
            buffer.advance(4);
        }
        assert_eq!(buffer.unread(), b"more");
        assert!(buffer.bytes.capacity() <= 64, "{} bytes", buffer.bytes.capacity());
    }

    #[test]
    fn input_is_handed_over_in_order_and_ends_once() {
        let (state, mut pipe, mut cx) = pipe();
        let mut taken = Vec::new();
        let mut read = |pipe: &mut Pipe| {
            let mut room = [0; 4];
            let mut buf = hyper::rt::ReadBuf::new(&mut room);
            let polled = Pin::new(pipe).poll_read(&mut cx, buf.unfilled());
            taken.extend_from_slice(buf.filled());
            polled.is_ready().then_some(buf.filled().len())
        };
        state.wants_input.set(false);
        assert_eq!(read(&mut pipe), None);
        assert!(state.wants_input.get());
        state.input.borrow_mut().push(b"GET /");
        assert_eq!(read(&mut pipe), None, "half a line is held back");
        state.input.borrow_mut().push(b" HTTP/1.0\r\nX: y");
        while read(&mut pipe).is_some() {}
        assert!(!state.is_between_requests(), "hyper holds half a head");
        state.input.borrow_mut().push(b"\r\n\r\n");
        while read(&mut pipe).is_some() {}
        assert!(state.is_between_requests());
        state.eof.set(true);
        assert_eq!(read(&mut pipe), Some(0));
        assert_eq!(taken, b"GET / HTTP/1.0\r\nX: y\r\n\r\n");
    }
}
