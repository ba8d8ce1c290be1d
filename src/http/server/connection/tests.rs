//! A connection over a stream that holds back what it was given, as TLS does; and a connection that
//! drains while requests arrive behind one that waits for the log.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;

use ahash::RandomState;
use tokio::io::ReadBuf;
use tokio::task::yield_now;

use super::*;
use crate::engine::stepped::Stepped;
use crate::engine::{self, Engine};
use crate::http::config::Config;
use crate::http::conn::context::Common;
use crate::model::time::UnixMillis;
use crate::model::token::{Digester, Secret};
use crate::net::tls::BELOW_LEN_MAX;
use crate::service::memory_budget::Budget;
use crate::testkit::clock::ManualClock;

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

fn worker(engine: &Engine, budget: Budget) -> Rc<Worker> {
    let mut common = Common::new(engine, &Config::default());
    common.shared.budget = budget;
    Rc::new(Worker::new(&common, Arc::default()))
}

#[test]
fn what_waits_below_is_flushed_and_stalls_until_it_is() {
    let budget = Budget::new(1 << 30, 1 << 20, false);
    let worker = worker(&Engine::open(engine::Config::memory_only()).unwrap(), budget.clone());
    let (held, slot) = (Held::default(), worker.slot().unwrap());
    let state = slot.state();
    let mut connection = Connection::new(held.clone(), worker, slot);
    let mut cx = Context::from_waker(std::task::Waker::noop());
    assert!(Pin::new(&mut connection).poll(&mut cx).is_pending());
    assert!(held.0.borrow().1.starts_with(b"HTTP/1.1 404 "), "it is not sent");
    assert!(state.watch.stalled.get().is_some(), "nobody would notice a peer that takes nothing");
    assert!(state.totals.held() >= BELOW_LEN_MAX, "what waits below is not counted");
    assert!(Pin::new(&mut connection).poll(&mut cx).is_pending());
    assert_eq!((state.totals.held(), budget.used()), (0, 0));
}

/// A peer, the pieces that it has sent, and the answers to it.
#[derive(Clone, Default)]
struct Peer {
    sent: Rc<RefCell<VecDeque<Vec<u8>>>>,
    answers: Rc<RefCell<Vec<u8>>>,
}

impl Peer {
    fn send(&self, bytes: &[u8]) {
        self.sent.borrow_mut().push_back(bytes.to_vec());
    }

    /// The statuses of the answers, and whether the last one says that the connection ends.
    fn answers(&self) -> (Vec<u16>, bool) {
        let text = String::from_utf8(self.answers.borrow().clone()).unwrap();
        let heads = text.split("HTTP/1.1 ").skip(1);
        let statuses = heads.clone().map(|head| head[..3].parse().unwrap()).collect();
        (statuses, heads.last().is_some_and(|head| head.contains("connection: close\r\n")))
    }
}

impl AsyncRead for Peer {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.sent.borrow_mut().pop_front() {
            Some(piece) => into.put_slice(&piece),
            None => return Poll::Pending,
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Peer {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.answers.borrow_mut().extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

const ISSUE: &[u8] = b"POST /v1/tokens HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
    Content-Length: 13\r\n\r\n{\"payload\":1}";
const RESOLVE: &[u8] =
    b"GET /v1/tokens/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA HTTP/1.1\r\nHost: a\r\n\r\n";

/// Sends `before`, lets the server drain while the first request waits for the log, commits, and
/// sends `after`. Returns the answers.
async fn drained(before: &[u8], after: &[u8]) -> (Vec<u16>, bool) {
    drained_with(before, b"", after).await
}

/// The same, where `arrived` waits in the socket when the drain begins.
async fn drained_with(before: &[u8], arrived: &[u8], after: &[u8]) -> (Vec<u16>, bool) {
    let clock = Arc::new(ManualClock::at(UnixMillis(1_800_000_000_000)));
    let digester = Digester::new(&Secret::from_bytes([7; 32]), "default");
    let mut stepped = Stepped::new(digester, &RandomState::with_seeds(1, 2, 3, 4), clock);
    let worker = worker(stepped.engine(), Budget::new(1 << 30, 1 << 20, false));
    let caller = worker.service.caller.clone();
    let pump = tokio::task::spawn_local(async move { caller.pump().await });
    let (peer, slot) = (Peer::default(), worker.slot().unwrap());
    let mut connection = Box::pin(Connection::new(peer.clone(), worker.clone(), slot));
    let mut cx = Context::from_waker(std::task::Waker::noop());
    if !before.is_empty() {
        peer.send(before);
    }
    assert!(connection.as_mut().poll(&mut cx).is_pending());
    if !arrived.is_empty() {
        peer.send(arrived);
    }
    worker.close_hot_path();
    worker.is_draining.set(true);
    worker.is_grace_over.set(true);
    worker.watched.drain();
    let mut is_over = connection.as_mut().poll(&mut cx).is_ready();
    assert!(!is_over || before.is_empty(), "the first request waits for the log");
    stepped.turn();
    yield_now().await;
    is_over = is_over || connection.as_mut().poll(&mut cx).is_ready();
    peer.send(after);
    for _ in 0..8 {
        stepped.turn();
        yield_now().await;
        is_over = is_over || connection.as_mut().poll(&mut cx).is_ready();
    }
    assert!(is_over, "the drain would wait for this connection");
    pump.abort();
    peer.answers()
}

/// A body counts as held by its connection as long as its change waits for the log.
#[test]
fn p8_the_body_of_a_change_on_the_short_way_is_charged_until_it_is_answered() {
    let builder = &mut tokio::runtime::Builder::new_current_thread();
    let runtime = builder.build_local(tokio::runtime::LocalOptions::default()).unwrap();
    runtime.block_on(async {
        let clock = Arc::new(ManualClock::at(UnixMillis(1_800_000_000_000)));
        let digester = Digester::new(&Secret::from_bytes([7; 32]), "default");
        let mut stepped = Stepped::new(digester, &RandomState::with_seeds(1, 2, 3, 4), clock);
        let worker = worker(stepped.engine(), Budget::new(1 << 30, 1 << 20, false));
        let caller = worker.service.caller.clone();
        let pump = tokio::task::spawn_local(async move { caller.pump().await });
        let (peer, slot) = (Peer::default(), worker.slot().unwrap());
        let state = slot.state();
        let mut connection = Box::pin(Connection::new(peer.clone(), worker.clone(), slot));
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let body = format!("{{\"payload\":\"{}\"}}", "x".repeat(10_000));
        let head = "POST /v1/tokens HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n";
        peer.send(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes());
        assert!(connection.as_mut().poll(&mut cx).is_pending());
        assert!(connection.short_way.is_some(), "it is on the short way");
        assert!(state.totals.held() >= body.len(), "{}", state.totals.held());
        stepped.turn();
        yield_now().await;
        assert!(connection.as_mut().poll(&mut cx).is_pending());
        assert_eq!((peer.answers(), state.totals.held()), ((vec![201], false), 0));
        pump.abort();
    });
}

#[test]
fn a_drain_answers_what_has_begun_to_arrive_and_nothing_after_it() {
    let builder = &mut tokio::runtime::Builder::new_current_thread();
    let runtime = builder.build_local(tokio::runtime::LocalOptions::default()).unwrap();
    runtime.block_on(async {
        assert_eq!(drained(ISSUE, b"").await, (vec![201], true));
        assert_eq!(drained(&ISSUE[..1], &ISSUE[1..]).await, (vec![201], true), "of a method");
        assert_eq!(drained(&ISSUE[..30], &ISSUE[30..]).await, (vec![201], true), "of a head");
        for len in [1, 10, RESOLVE.len() - 1, RESOLVE.len()] {
            let (part, rest) = RESOLVE.split_at(len);
            let answers = drained(&[ISSUE, part].concat(), rest).await;
            assert_eq!(answers, (vec![201, 404], true), "{len} bytes behind a busy request");
            let more = [rest, RESOLVE, part].concat();
            let answers = drained(&[ISSUE, part].concat(), &more).await;
            assert_eq!(answers, (vec![201, 404], true), "a client cannot prolong a drain");
        }
        for before in [&b""[..], ISSUE] {
            for len in [1, 10, RESOLVE.len()] {
                let (part, rest) = RESOLVE.split_at(len);
                let answers = drained_with(before, part, rest).await;
                let expected = if before.is_empty() { vec![404] } else { vec![201, 404] };
                assert_eq!(answers, (expected, true), "{len} bytes had arrived");
            }
        }
        let many = [ISSUE, RESOLVE, ISSUE, &RESOLVE[..20]].concat();
        assert_eq!(drained(&many, &RESOLVE[20..]).await, (vec![201, 404, 201, 404], true));
    });
}
