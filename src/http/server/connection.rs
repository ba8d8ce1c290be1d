//! One connection: its socket, its protocol, and the order in which they are served.
//!
//! Each poll goes round: write what waits; only when all of it is gone, read; only when something
//! was read or written, let hyper work on it. So a peer that sends and never reads stops itself: no
//! answer is made that could not be sent (promise P8).

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use hyper::server::conn::{http1, http2};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::http::answer::canned;
use crate::http::api::exchange::ConnService;
use crate::http::conn::buffer::OUTPUT_LEN_MAX;
use crate::http::conn::context::{Slot, Worker};
use crate::http::conn::phase::{Phase, Verdict};
use crate::http::conn::pipe::{Pipe, StreamTasks};
use crate::http::conn::state::ConnState;
use crate::http::h1::head::HEAD_LEN_MAX;
use crate::http::h1::hot_path::{self, Progress};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The client's preface and the head of its first frame, which must be SETTINGS.
const HANDSHAKE_LEN: usize = PREFACE.len() + 9;
/// The longest head of an HTTP/2 request.
const HEADER_LIST_LEN_MAX: u32 = 16 * 1024;
const STREAMS_MAX: u32 = 128;
/// What a peer may still send after we have said our last: more than what is in flight before it
/// has seen that, of a client that sends as fast as it can.
const DISCARDED_MAX: usize = 4 << 20;
/// What may wait below the output, in what reads and writes for us: TLS keeps records that the
/// socket has not taken.
pub(in crate::http) const BELOW_LEN_MAX: usize = 32 * 1024;
/// Rounds of one poll before other connections have their turn.
const ROUNDS_MAX: usize = 16;

type Http1 = http1::Connection<Pipe, ConnService>;
type Http2 = http2::Connection<Pipe, ConnService, StreamTasks>;

enum Protocol {
    /// Not enough bytes yet to tell.
    Undecided,
    Http1(Pin<Box<Http1>>),
    Http2(Pin<Box<Http2>>),
    /// Nothing more will be answered: send what waits, then wait for the peer to read it.
    Closing {
        /// Our side of the socket is shut.
        is_shut: bool,
        /// Bytes of the peer that were thrown away since.
        discarded: usize,
    },
}

/// A connection being served, over a socket or whatever else reads and writes.
pub(in crate::http) struct Connection<S = TcpStream> {
    socket: S,
    state: Rc<ConnState>,
    worker: Rc<Worker>,
    protocol: Protocol,
    /// Counts this connection and lets the sweep see it.
    _slot: Slot,
}

/// Why a connection is over.
enum Over {
    /// The peer is gone, or our verdict is that it should be.
    Gone,
}

impl From<io::Error> for Over {
    fn from(_: io::Error) -> Over {
        Over::Gone
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(in crate::http) fn new(socket: S, worker: Rc<Worker>, slot: Slot) -> Connection<S> {
        Connection {
            socket,
            state: slot.state(),
            worker,
            protocol: Protocol::Undecided,
            _slot: slot,
        }
    }

    /// A connection to which only `last` is said.
    pub(in crate::http) fn farewell(
        socket: S,
        worker: Rc<Worker>,
        slot: Slot,
        last: &[u8],
    ) -> Connection<S> {
        let mut connection = Connection::new(socket, worker, slot);
        connection.state.output.borrow_mut().push(last);
        connection.close();
        connection
    }

    fn poll_rounds(&mut self, cx: &mut Context<'_>) -> Poll<Over> {
        // Something has woken this task, perhaps an answer: hyper must look at least once.
        let mut has_news = true;
        for _ in 0..ROUNDS_MAX {
            match self.obey_verdict() {
                Ok(is_news) => has_news |= is_news,
                Err(over) => return Poll::Ready(over),
            }
            match self.poll_flush(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(error.into()),
                Poll::Ready(Ok(())) => {}
            }
            // hyper holds an answer, or a part of one, for which there was no room.
            let is_hyper_first = self.state.wants_output.replace(false);
            has_news |= is_hyper_first;
            if let Protocol::Closing { .. } = self.protocol {
                return self.poll_close(cx);
            }
            match self.poll_fill(cx) {
                Poll::Ready(Err(error)) => return Poll::Ready(error.into()),
                Poll::Ready(Ok(())) if !self.state.charge_head(&self.worker.service.budget) => {
                    self.state.output.borrow_mut().push(&canned::NO_MEMORY);
                    self.close();
                    continue;
                }
                Poll::Ready(Ok(())) => has_news = true,
                Poll::Pending => (),
            }
            if !std::mem::take(&mut has_news) {
                return Poll::Pending;
            }
            let progress = if is_hyper_first { None } else { self.drive_hot_path() };
            match progress {
                Some(Progress::Full) => {
                    has_news = true;
                    continue;
                }
                Some(Progress::Drained | Progress::Partial) => continue,
                Some(Progress::Other) | None => {}
            }
            self.poll_protocol(cx);
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Does what the sweep decided; true where hyper has to look at it.
    fn obey_verdict(&mut self) -> Result<bool, Over> {
        let Some(verdict) = self.state.verdict.take() else {
            return Ok(false);
        };
        match (verdict, &mut self.protocol) {
            (Verdict::Drop, _) => return Err(Over::Gone),
            (_, Protocol::Closing { .. }) => (),
            // Of a request that has begun to arrive hyper knows nothing yet: its answer is the last.
            (Verdict::Drain, Protocol::Http1(_)) if self.state.awaits_rest_of_head() => {
                self.state.verdict.set(Some(Verdict::Drain));
                return Ok(false);
            }
            (Verdict::Drain, Protocol::Http1(http1)) => http1.as_mut().graceful_shutdown(),
            (Verdict::WindDown | Verdict::Drain | Verdict::Close, Protocol::Http2(http2))
                if self.state.phase.get() != Phase::Handshake =>
            {
                // Should the client ignore it, the next limit closes for good.
                let is_first = self.state.phase.get() != Phase::Linger;
                http2.as_mut().graceful_shutdown();
                if is_first && verdict == Verdict::Close {
                    self.state.enter(Phase::Linger, self.worker.now());
                }
            }
            (Verdict::SlowHead, _) => {
                self.state.output.borrow_mut().push(&canned::SLOW_HEAD);
                self.close();
            }
            // The service says that the next answer is the last.
            (Verdict::WindDown, _) => (),
            (Verdict::Drain | Verdict::Close, _) => self.close(),
        }
        Ok(true)
    }

    fn close(&mut self) {
        self.protocol = Protocol::Closing { is_shut: false, discarded: 0 };
        self.state.enter(Phase::Linger, self.worker.now());
    }

    /// Writes all that waits. While it is pending, nothing is read and hyper is not polled.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let state = &*self.state;
        let mut output = state.output.borrow_mut();
        while !output.is_empty() {
            match Pin::new(&mut self.socket).poll_write(cx, output.unread()) {
                Poll::Ready(Ok(len)) => {
                    self.worker.counters.add_bytes_out(len);
                    output.advance(len);
                    state.stalled.set(None);
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return self.stall(output.len()),
            }
        }
        // A socket holds nothing back; TLS does.
        match Pin::new(&mut self.socket).poll_flush(cx) {
            Poll::Ready(Ok(())) => (),
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => return self.stall(BELOW_LEN_MAX),
        }
        state.stalled_charge.take();
        Poll::Ready(Ok(()))
    }

    fn stall(&self, waiting: usize) -> Poll<io::Result<()>> {
        if self.state.stalled.get().is_none() {
            self.state.stalled.set(Some(self.worker.now()));
        }
        let mut charge = self.state.stalled_charge.borrow_mut();
        let charge =
            charge.get_or_insert_with(|| self.worker.service.budget.charge(&self.state.holder()));
        if charge.grow_to(waiting) {
            Poll::Pending
        } else {
            Poll::Ready(Err(io::ErrorKind::OutOfMemory.into()))
        }
    }

    /// Reads once, if hyper has taken all there was. Pending also where there is nothing to do.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let state = &*self.state;
        let mut input = state.input.borrow_mut();
        let is_wanted = state.wants_input.get() || matches!(self.protocol, Protocol::Undecided);
        if !is_wanted || state.eof.get() {
            return Poll::Pending;
        }
        let mut scratch = self.worker.scratch.borrow_mut();
        let mut buf = ReadBuf::new(&mut scratch);
        match Pin::new(&mut self.socket).poll_read(cx, &mut buf) {
            Poll::Ready(Ok(())) => (),
            other => return other,
        }
        state.wants_input.set(false);
        state.eof.set(buf.filled().is_empty());
        self.worker.counters.add_bytes_in(buf.filled().len());
        state.received.set(state.received.get() + buf.filled().len());
        input.push(buf.filled());
        if state.phase.get() == Phase::Idle && !state.is_http2.get() {
            state.enter(Phase::Head, self.worker.now());
        }
        if state.phase.get() == Phase::Handshake && state.received.get() >= HANDSHAKE_LEN {
            state.enter(Phase::Idle, self.worker.now());
        }
        Poll::Ready(Ok(()))
    }

    /// Lets the hot path answer what it can, if what comes next may be for it.
    fn drive_hot_path(&mut self) -> Option<Progress> {
        if let Protocol::Undecided = self.protocol {
            self.decide();
        }
        let state = &*self.state;
        let is_for_hot_path = matches!(self.protocol, Protocol::Http1(_))
            && state.is_between_requests()
            && !state.input.borrow().is_empty()
            && !state.eof.get()
            && self.worker.has_hot_path();
        if !is_for_hot_path {
            return None;
        }
        let now = self.worker.now();
        let progress = hot_path::serve(&self.worker, state);
        match progress {
            Progress::Other | Progress::Full => {}
            Progress::Drained => {
                state.wants_input.set(true);
                state.enter(Phase::Idle, now);
            }
            Progress::Partial => {
                state.wants_input.set(true);
                if state.phase.get() != Phase::Head {
                    state.enter(Phase::Head, now);
                }
            }
        }
        Some(progress)
    }

    fn poll_protocol(&mut self, cx: &mut Context<'_>) {
        if let Protocol::Undecided = self.protocol {
            self.decide();
        }
        let is_done = match &mut self.protocol {
            Protocol::Undecided | Protocol::Closing { .. } => return,
            Protocol::Http1(http1) => http1.as_mut().poll(cx).is_ready(),
            Protocol::Http2(http2) => http2.as_mut().poll(cx).is_ready(),
        };
        let state = &self.state;
        if is_done {
            // All that came before it is answered: the refusal has its turn.
            if let Some(refused) = state.refused_head() {
                let refusal = canned::refused_head(refused, &self.worker.date.borrow());
                state.output.borrow_mut().push(&refusal);
            }
            self.close();
            return;
        }
        state.settle(self.worker.now());
        let is_ending = state.is_http2.get() && state.eof.get() && state.streams.get() == 0;
        if is_ending && !state.is_answered.get() {
            // Once all that it has written is gone too, it may know.
            state.is_answered.set(state.output.borrow().is_empty());
            cx.waker().wake_by_ref();
        }
    }

    /// HTTP/2 with prior knowledge begins with its preface, which is no HTTP/1 request.
    fn decide(&mut self) {
        let state = &self.state;
        let input = state.input.borrow();
        let compared = input.len().min(PREFACE.len());
        let could_be_http2 = input.unread()[..compared] == PREFACE[..compared];
        if could_be_http2 && compared < PREFACE.len() && !state.eof.get() {
            return;
        }
        let pipe = Pipe(state.clone());
        let service = ConnService::new(self.worker.clone(), state.clone());
        self.protocol = if could_be_http2 && compared == PREFACE.len() {
            state.is_http2.set(true);
            let phase =
                if state.received.get() < HANDSHAKE_LEN { Phase::Handshake } else { Phase::Idle };
            state.enter(phase, self.worker.now());
            let builder = http2_builder(StreamTasks(state.clone()));
            Protocol::Http2(Box::pin(builder.serve_connection(pipe, service)))
        } else {
            Protocol::Http1(Box::pin(http1_builder().serve_connection(pipe, service)))
        };
    }

    /// Shuts our side and discards what still arrives: a socket closed over unread bytes resets
    /// the connection, and the peer may lose the last answer. The sweep bounds the wait, a limit the bytes.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Over> {
        let Protocol::Closing { is_shut, discarded } = &mut self.protocol else {
            return Poll::Ready(Over::Gone);
        };
        if !*is_shut {
            match Pin::new(&mut self.socket).poll_shutdown(cx) {
                Poll::Ready(Ok(())) => *is_shut = true,
                Poll::Ready(Err(error)) => return Poll::Ready(error.into()),
                Poll::Pending => return Poll::Pending,
            }
        }
        if self.state.eof.get() {
            return Poll::Ready(Over::Gone);
        }
        let mut scratch = self.worker.scratch.borrow_mut();
        loop {
            let mut buf = ReadBuf::new(&mut scratch);
            match Pin::new(&mut self.socket).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() && *discarded < DISCARDED_MAX => {
                    *discarded += buf.filled().len();
                }
                Poll::Ready(_) => return Poll::Ready(Over::Gone),
                Poll::Pending if self.worker.is_grace_over() => return Poll::Ready(Over::Gone),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for Connection<S> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let is_known = match &*this.state.waker.borrow() {
            Some(waker) => waker.will_wake(cx.waker()),
            None => false,
        };
        if !is_known {
            this.state.waker.replace(Some(cx.waker().clone()));
        }
        this.poll_rounds(cx).map(|Over::Gone| ())
    }
}

/// hyper takes whole heads as long as they may be.
fn http1_builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.half_close(true).keep_alive(true).pipeline_flush(false).max_buf_size(HEAD_LEN_MAX);
    builder
}

fn http2_builder(tasks: StreamTasks) -> http2::Builder<StreamTasks> {
    let mut builder = http2::Builder::new(tasks);
    builder
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADER_LIST_LEN_MAX)
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(256)
        .max_send_buf_size(16 * 1024)
        .initial_stream_window_size(64 * 1024)
        .initial_connection_window_size(OUTPUT_LEN_MAX as u32);
    builder
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::sync::Arc;

    use super::*;
    use crate::engine::{self, Engine};
    use crate::http::config::Config;
    use crate::http::conn::context::Common;
    use crate::service::memory_budget::Budget;
    use crate::service::miss_limiter::MissLimiter;

    /// Like TLS over a socket that is full: it takes what is written, and only a flush sends it,
    /// at the second try.
    #[derive(Clone, Default)]
    struct Held(Rc<RefCell<(Vec<u8>, Vec<u8>)>>);

    impl AsyncRead for Held {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            into: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            // One request, and then nothing.
            let is_first = self.0.borrow().0.is_empty() && self.0.borrow().1.is_empty();
            if !is_first {
                return Poll::Pending;
            }
            into.put_slice(b"GET /v1/x HTTP/1.1\r\nHost: x\r\n\r\n");
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Held {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.0.borrow_mut().0.extend_from_slice(bytes);
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            let (held, sent) = &mut *self.0.borrow_mut();
            if held.is_empty() {
                return Poll::Ready(Ok(()));
            }
            sent.append(held);
            Poll::Pending
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn what_waits_below_is_flushed_and_stalls_until_it_is() {
        let (config, budget) = (Config::default(), Budget::new(1 << 30, 1 << 20, false));
        let common = Common {
            engine: Engine::open(engine::Config::memory_only()).unwrap(),
            miss_limiter: MissLimiter::new(config.miss_limits),
            config,
            budget: budget.clone(),
            open: Arc::default(),
        };
        let worker = Rc::new(Worker::new(&common, Arc::default()));
        let (held, slot) = (Held::default(), worker.slot().unwrap());
        let state = slot.state();
        let mut connection = Connection::new(held.clone(), worker, slot);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(Pin::new(&mut connection).poll(&mut cx).is_pending());
        assert!(held.0.borrow().1.starts_with(b"HTTP/1.1 404 "), "it is not sent");
        assert!(state.stalled.get().is_some(), "nobody would notice a peer that takes nothing");
        assert!(state.totals.held() >= BELOW_LEN_MAX, "what waits below is not counted");
        assert!(Pin::new(&mut connection).poll(&mut cx).is_pending());
        assert_eq!((state.totals.held(), budget.used()), (0, 0));
    }
}
