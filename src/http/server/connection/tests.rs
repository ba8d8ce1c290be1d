//! A connection over a stream that holds back what it was given, as TLS does.

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
    assert!(state.watch.stalled.get().is_some(), "nobody would notice a peer that takes nothing");
    assert!(state.totals.held() >= BELOW_LEN_MAX, "what waits below is not counted");
    assert!(Pin::new(&mut connection).poll(&mut cx).is_pending());
    assert_eq!((state.totals.held(), budget.used()), (0, 0));
}
