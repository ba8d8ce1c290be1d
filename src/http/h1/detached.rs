//! A connection without a socket: bytes in, bytes out.
//!
//! Through the hot path alone, for benches that count instructions: what a canonical resolve costs
//! above the kernel. Or as a whole conversation, for attacks that must repeat exactly: everything a
//! worker does for a connection, on one thread and without a socket.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use crossbeam::utils::CachePadded;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::engine::Engine;
use crate::engine::stepped::Stepped;
use crate::http::config::Config;
use crate::http::conn::context::{Common, Worker};
use crate::http::conn::phase::Tick;
use crate::http::conn::state::ConnState;
use crate::http::h1::hot_path::{self, Progress};
use crate::http::server::connection::Connection;
use crate::service::counters::Counters;

/// A worker with one connection that nobody has opened.
pub struct Loose {
    worker: Rc<Worker>,
    state: Rc<ConnState>,
}

impl Loose {
    /// A connection to this engine.
    #[must_use]
    pub fn new(engine: &Engine) -> Self {
        let common = Common::new(engine, &Config::default());
        let counters = Arc::<CachePadded<Counters>>::default();
        let worker = Rc::new(Worker::new(&common, counters));
        Self { worker, state: Rc::new(ConnState::new(Tick(0))) }
    }

    /// Puts what the hot path answers to `requests` into `answers`, in place of what was there.
    /// False where it left some of them for others.
    #[must_use]
    pub fn serve(&self, requests: &[u8], answers: &mut Vec<u8>) -> bool {
        self.state.wire.input.borrow_mut().push(requests);
        let progress = hot_path::serve(&self.worker, &self.state, &mut None);
        let mut output = self.state.wire.output.borrow_mut();
        answers.clear();
        answers.extend_from_slice(output.unread());
        output.clear();
        progress == Progress::Drained
    }
}

/// A whole conversation over a connection that is no socket: what the peer sends comes in these
/// pieces, then it ends its side.
pub struct Talk<'a> {
    /// What the peer sends, piece by piece.
    pub pieces: &'a [&'a [u8]],
    /// Whether the hot path answers what is for it; else all goes through hyper.
    pub with_hot_path: bool,
}

/// What came of a [`Talk`].
pub struct Heard {
    /// All that was answered.
    pub answers: Vec<u8>,
    /// The connection was over once the peer had ended its side.
    pub is_over: bool,
    /// Bytes held for clients when all was over: must be none.
    pub inflight_bytes: usize,
}

/// Rounds without any news after which nothing more will come.
const IDLE_ROUNDS: usize = 4;

/// Serves a conversation with all that a worker does for one, on the calling thread. The engine's
/// committer takes its turns in between.
///
/// # Panics
/// Where no runtime can be made.
#[must_use]
#[expect(clippy::expect_used, reason = "for tests alone, which stop where nothing can be run")]
pub fn converse(stepped: &mut Stepped, config: &Config, talk: &Talk<'_>) -> Heard {
    let builder = &mut tokio::runtime::Builder::new_current_thread();
    let runtime = builder.build_local(tokio::runtime::LocalOptions::default());
    runtime.expect("a runtime without drivers").block_on(async {
        let common = Common::new(stepped.engine(), config);
        let budget = common.shared.budget.clone();
        let worker = Rc::new(Worker::new(&common, Arc::default()));
        if !talk.with_hot_path {
            worker.close_hot_path();
        }
        let caller = worker.service.caller.clone();
        tokio::task::spawn_local(async move { caller.pump().await });
        let (wire, slot) = (Wire::of(talk.pieces), worker.slot().expect("the first connection"));
        let connection = Connection::new(wire.clone(), worker, slot);
        let mut heard = wire.carry(stepped, connection).await;
        heard.inflight_bytes = budget.used();
        heard
    })
}

/// The socket's stand-in.
#[derive(Clone, Default)]
struct Wire(Rc<RefCell<Ends>>);

#[derive(Default)]
struct Ends {
    sent: VecDeque<Vec<u8>>,
    is_ended: bool,
    answers: Vec<u8>,
}

/// Remembers that a task was woken.
#[derive(Default)]
struct Bell(AtomicBool);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Wire {
    fn of(pieces: &[&[u8]]) -> Self {
        let wire = Self::default();
        let whole = pieces.iter().filter(|piece| !piece.is_empty());
        wire.0.borrow_mut().sent.extend(whole.map(|piece| piece.to_vec()));
        wire
    }

    /// Serves until nothing more comes, ends the peer's side, and serves until it is over.
    async fn carry(&self, stepped: &mut Stepped, connection: Connection<Self>) -> Heard {
        let mut connection = Box::pin(connection);
        let bell = Arc::<Bell>::default();
        let waker = Waker::from(bell.clone());
        let (mut is_over, mut idle) = (false, 0);
        while idle < IDLE_ROUNDS {
            let is_done = connection.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
            if is_done {
                is_over = true;
                break;
            }
            tokio::task::yield_now().await;
            let has_news = stepped.turn() | bell.0.swap(false, Ordering::Relaxed);
            idle = if has_news { 0 } else { idle + 1 };
            if idle == IDLE_ROUNDS && !std::mem::replace(&mut self.0.borrow_mut().is_ended, true) {
                idle = 0;
            }
        }
        drop(connection);
        let answers = std::mem::take(&mut self.0.borrow_mut().answers);
        Heard { answers, is_over, inflight_bytes: 0 }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut ends = self.0.borrow_mut();
        let is_ended = ends.is_ended;
        let Some(piece) = ends.sent.front_mut() else {
            return if is_ended { Poll::Ready(Ok(())) } else { Poll::Pending };
        };
        let rest = piece.split_off(piece.len().min(into.remaining()));
        into.put_slice(piece);
        match rest.is_empty() {
            true => drop(ends.sent.pop_front()),
            false => *piece = rest,
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().answers.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
