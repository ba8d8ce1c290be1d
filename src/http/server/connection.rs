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
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::http::answer::canned;
use crate::http::api::change::{Pending, ShortWay};
use crate::http::api::exchange::ConnService;
use crate::http::conn::context::{Slot, Worker};
use crate::http::conn::phase::{Phase, Verdict};
use crate::http::conn::pipe::{OUTPUT_LEN_MAX, Pipe, StreamTasks};
use crate::http::conn::state::ConnState;
use crate::http::h1::head::HEAD_LEN_MAX;
use crate::http::h1::hot_path::{self, Progress};
use crate::service::memory_budget::Charge;

mod short_way;
mod socket;
#[cfg(test)]
mod tests;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The client's preface and the head of its first frame, which must be SETTINGS.
const HANDSHAKE_LEN: usize = PREFACE.len() + 9;
/// The longest head of an HTTP/2 request.
const HEADER_LIST_LEN_MAX: u32 = 16 * 1024;
const STREAMS_MAX: u32 = 128;
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
    /// HTTP/1: the change that waits for its answer.
    short_way: Option<ShortWay>,
    /// Bytes the peer has sent.
    received: usize,
    /// HTTP/1: what a long head takes, until the next request.
    head_charge: Option<Charge>,
    /// What waits for a peer that does not read.
    stalled_charge: Option<Charge>,
    /// Counts this connection and lets the sweep see it.
    _slot: Slot,
}

/// Why a connection is over.
enum Over {
    /// The peer is gone, or our verdict is that it should be.
    Gone,
}

impl From<io::Error> for Over {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(in crate::http) fn new(socket: S, worker: Rc<Worker>, slot: Slot) -> Self {
        Self {
            socket,
            state: slot.state(),
            worker,
            protocol: Protocol::Undecided,
            short_way: None,
            received: 0,
            head_charge: None,
            stalled_charge: None,
            _slot: slot,
        }
    }

    /// A connection to which only `last` is said.
    pub(in crate::http) fn farewell(
        socket: S,
        worker: Rc<Worker>,
        slot: Slot,
        last: &[u8],
    ) -> Self {
        let mut connection = Self::new(socket, worker, slot);
        connection.state.wire.output.borrow_mut().push(last);
        connection.close();
        connection
    }

    fn poll_rounds(&mut self, cx: &mut Context<'_>) -> Poll<Over> {
        // Something has woken this task, perhaps an answer: hyper must look at least once.
        let mut has_news = true;
        for _ in 0..ROUNDS_MAX {
            match self.obey_verdict(cx) {
                Ok(is_news) => has_news |= is_news,
                Err(over) => return Poll::Ready(over),
            }
            match self.poll_flush(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(error.into()),
                Poll::Ready(Ok(())) => {}
            }
            if self.short_way.is_some() {
                if self.poll_short_way(cx).is_pending() {
                    return Poll::Pending;
                }
                has_news |= !self.state.wire.input.borrow().is_empty();
                continue;
            }
            // hyper holds an answer, or a part of one, for which there was no room.
            let is_hyper_first = self.state.wire.wants_output.replace(false);
            has_news |= is_hyper_first;
            if let Protocol::Closing { .. } = self.protocol {
                return self.poll_close(cx);
            }
            match self.poll_fill(cx) {
                Poll::Ready(Err(error)) => return Poll::Ready(error.into()),
                Poll::Ready(Ok(())) if !self.charge_head() => {
                    self.state.wire.output.borrow_mut().push(&canned::NO_MEMORY);
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
                Some(Progress::Drained | Progress::Partial | Progress::Begun) => continue,
                Some(Progress::Other) | None => {}
            }
            self.poll_protocol(cx);
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Does what the sweep decided; true where hyper has to look at it.
    fn obey_verdict(&mut self, cx: &mut Context<'_>) -> Result<bool, Over> {
        let Some(verdict) = self.state.watch.verdict.take() else {
            return Ok(false);
        };
        if verdict == Verdict::Drain {
            self.fill_before_drain(cx)?;
        }
        match (verdict, &mut self.protocol) {
            (Verdict::Drop, _) => return Err(Over::Gone),
            (_, Protocol::Closing { .. }) => (),
            // hyper knows nothing yet of what waits in the input: the answer to that is the last, or
            // the one that is pending.
            (Verdict::Drain, Protocol::Undecided | Protocol::Http1(_))
                if self.state.owes_answers() || self.short_way.is_some() =>
            {
                self.state.watch.verdict.set(Some(Verdict::Drain));
                return Ok(false);
            }
            (Verdict::Drain, Protocol::Http1(http1)) => http1.as_mut().graceful_shutdown(),
            (Verdict::WindDown | Verdict::Drain | Verdict::Close, Protocol::Http2(http2))
                if self.state.watch.phase.get() != Phase::Handshake =>
            {
                // Should the client ignore it, the next limit closes for good.
                let is_first = self.state.watch.phase.get() != Phase::Linger;
                http2.as_mut().graceful_shutdown();
                if is_first && verdict == Verdict::Close {
                    self.state.enter(Phase::Linger, self.worker.now());
                }
            }
            (Verdict::SlowHead, _) => {
                self.state.wire.output.borrow_mut().push(&canned::SLOW_HEAD);
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

    /// Lets the hot path answer what it can, if what comes next may be for it.
    fn drive_hot_path(&mut self) -> Option<Progress> {
        if let Protocol::Undecided = self.protocol {
            self.decide();
        }
        let state = &self.state;
        let waiting = state.wire.input.borrow().len();
        let may_be_for_it = matches!(self.protocol, Protocol::Http1(_))
            && state.is_between_requests()
            && waiting > 0
            && !state.wire.eof.get();
        if !may_be_for_it {
            return None;
        }
        let mut change = None;
        let progress = if self.worker.has_hot_path() {
            hot_path::serve(&self.worker, state, &mut change)
        } else if self.worker.has_fenced_path() {
            hot_path::serve_hits(&self.worker, state, &mut change)
        } else if self.worker.has_traced_path() {
            hot_path::serve_traced(&self.worker, state, &mut change)
        } else if let Some(begun) = self.worker.begin_sample() {
            self.drive_measured(begun, &mut change)
        } else {
            return None;
        };
        self.short_way = change.map(ShortWay::Pending);
        let now = self.worker.now();
        match progress {
            Progress::Other | Progress::Begun => {}
            Progress::Drained => {
                state.wire.wants_input.set(true);
                state.enter(Phase::Idle, now);
                self.head_charge = None;
            }
            Progress::Partial | Progress::Full => {
                if progress == Progress::Partial {
                    state.wire.wants_input.set(true);
                }
                // Behind an answer another head begins, with a time limit of its own.
                let is_another = state.wire.input.borrow().len() < waiting;
                if is_another || state.watch.phase.get() != Phase::Head {
                    state.enter(Phase::Head, now);
                }
            }
        }
        Some(progress)
    }

    /// Lets the hot path answer, and measures how long that takes.
    #[cold]
    fn drive_measured(&self, begun: Duration, change: &mut Option<Pending>) -> Progress {
        let (worker, state) = (&self.worker, &self.state);
        let before = worker.counters.resolved();
        let progress = match (&worker.config.tracer, &worker.config.reads) {
            (Some(_), _) => hot_path::serve_traced(worker, state, change),
            (None, Some(_)) => hot_path::serve_hits(worker, state, change),
            (None, None) => hot_path::serve(worker, state, change),
        };
        worker.end_sample(begun, worker.counters.resolved() > before);
        progress
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
                state.wire.output.borrow_mut().push(&refusal);
            }
            self.close();
            return;
        }
        if state.watch.phase.get() == Phase::Answered && !state.wire.wants_output.get() {
            self.settle();
        }
        let state = &self.state;
        let is_ending =
            state.is_http2.get() && state.wire.eof.get() && state.http2.streams.get() == 0;
        if is_ending && !state.http2.is_answered.get() {
            // Once all that it has written is gone too, it may know.
            state.http2.is_answered.set(state.wire.output.borrow().is_empty());
            cx.waker().wake_by_ref();
        }
    }

    /// An answered connection is idle, or waits for the rest of a request.
    fn settle(&mut self) {
        let is_idle = self.state.has_no_further_request();
        self.state.enter(if is_idle { Phase::Idle } else { Phase::Head }, self.worker.now());
        self.head_charge = None;
    }

    /// HTTP/2 with prior knowledge begins with its preface, which is no HTTP/1 request.
    fn decide(&mut self) {
        let state = &self.state;
        let input = state.wire.input.borrow();
        let compared = input.len().min(PREFACE.len());
        let could_be_http2 = input.unread()[..compared] == PREFACE[..compared];
        if could_be_http2 && compared < PREFACE.len() && !state.wire.eof.get() {
            return;
        }
        let pipe = Pipe(state.clone());
        let service = ConnService::new(self.worker.clone(), state.clone());
        self.protocol = if could_be_http2 && compared == PREFACE.len() {
            state.is_http2.set(true);
            let phase = if self.received < HANDSHAKE_LEN { Phase::Handshake } else { Phase::Idle };
            state.enter(phase, self.worker.now());
            let builder = http2_builder(StreamTasks(state.clone()));
            Protocol::Http2(Box::pin(builder.serve_connection(pipe, service)))
        } else {
            Protocol::Http1(Box::pin(http1_builder().serve_connection(pipe, service)))
        };
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for Connection<S> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.worker.serves(Rc::as_ptr(&this.state).addr());
        let is_known = match &*this.state.watch.waker.borrow() {
            Some(waker) => waker.will_wake(cx.waker()),
            None => false,
        };
        if !is_known {
            this.state.watch.waker.replace(Some(cx.waker().clone()));
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
