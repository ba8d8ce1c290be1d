//! The task that serves one stream of HTTP/2.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Serves one stream of HTTP/2, until the sweep ends it: a stream that is dropped is reset.
#[derive(Default)]
pub(in crate::http) struct Task {
    is_over: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Task {
    /// Runs `stream` to its end, or until it is ended from outside.
    pub(in crate::http) async fn run(self: Rc<Self>, stream: impl Future) {
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

    pub(super) fn end(&self) {
        self.is_over.set(true);
        self.wake();
    }

    pub(super) fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}
