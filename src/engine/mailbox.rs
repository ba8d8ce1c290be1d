//! Return path of outcomes: a mailbox for each group of waiters, with one wake per commit.
//!
//! Waking a thread takes microseconds, more than any other step of an issue. So the committer does
//! not wake each operation's waiter: it puts the outcomes of a commit into the mailboxes they
//! belong to and wakes each mailbox once. A worker of the HTTP server has one mailbox for all its
//! requests and distributes the outcomes on its own thread.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use crate::sync::{Mutex, Thread, current, park};

use super::op::{Outcome, Rejected};

/// Outcomes of one call, in the order of its operations, or the reason why it was rejected.
pub(super) type Outcomes = Result<Vec<Outcome>, Rejected>;

/// Delivered outcomes for the waiters of one thread, or for one waiter.
#[derive(Default)]
pub(super) struct Mailbox {
    inner: Mutex<Inbox>,
}

#[derive(Default)]
struct Inbox {
    delivered: Vec<(usize, Outcomes)>,
    waker: Option<Waker>,
}

impl Mailbox {
    /// Adds the outcomes for `ticket`. Returns the waker, once for any number of deliveries.
    pub(super) fn deliver(&self, ticket: usize, outcomes: Outcomes) -> Option<Waker> {
        let mut inbox = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inbox.delivered.push((ticket, outcomes));
        inbox.waker.take()
    }

    /// Takes all delivered outcomes, or waits for some.
    pub(super) fn poll_take(
        &self,
        cx: &Context<'_>,
        into: &mut Vec<(usize, Outcomes)>,
    ) -> Poll<()> {
        let mut inbox = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inbox.delivered.is_empty() {
            inbox.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        std::mem::swap(&mut inbox.delivered, into);
        Poll::Ready(())
    }
}

/// Delivers the outcomes of a call. Dropping it delivers [`Rejected::Closed`], so that every call
/// is answered.
pub(super) struct Reply {
    mailbox: Arc<Mailbox>,
    ticket: usize,
    is_open: bool,
    /// For a node of a cluster: the caller has just waited for a barrier, so an operation that
    /// changes nothing needs no other.
    pub(super) is_confirmed: bool,
}

impl Reply {
    pub(super) fn new(mailbox: Arc<Mailbox>, ticket: usize) -> Self {
        Self { mailbox, ticket, is_open: true, is_confirmed: false }
    }

    /// Delivers the outcomes; returns the waker of the mailbox.
    pub(super) fn deliver(mut self, outcomes: Vec<Outcome>) -> Option<Waker> {
        self.is_open = false;
        self.mailbox.deliver(self.ticket, Ok(outcomes))
    }

    /// Delivers that no operation was accepted; returns the waker of the mailbox.
    pub(super) fn reject(mut self, rejected: Rejected) -> Option<Waker> {
        self.is_open = false;
        self.mailbox.deliver(self.ticket, Err(rejected))
    }

    /// Delivers nothing, because the caller gets the result as a return value.
    pub(super) fn forget(mut self) {
        self.is_open = false;
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if self.is_open
            && let Some(waker) = self.mailbox.deliver(self.ticket, Err(Rejected::Closed))
        {
            waker.wake();
        }
    }
}

/// The pending outcomes of a call: a future for any executor, or [`Pending::wait`]. If it is
/// dropped, the operations are still performed.
#[must_use = "only the answer shows whether the operations succeeded"]
pub struct Pending {
    mailbox: Arc<Mailbox>,
}

impl Pending {
    pub(super) fn new() -> (Self, Reply) {
        let mailbox = Arc::new(Mailbox::default());
        (Self { mailbox: Arc::clone(&mailbox) }, Reply::new(mailbox, 0))
    }

    /// Blocks this thread until the outcomes arrive. Not for use inside an executor.
    ///
    /// # Errors
    /// The engine was closed before it performed the call.
    pub fn wait(self) -> Result<Vec<Outcome>, Rejected> {
        struct Unpark(Thread);
        impl Wake for Unpark {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }
        let waker = Waker::from(Arc::new(Unpark(current())));
        let (mut cx, mut this) = (Context::from_waker(&waker), self);
        loop {
            match Pin::new(&mut this).poll(&mut cx) {
                Poll::Ready(outcomes) => return outcomes,
                Poll::Pending => park(),
            }
        }
    }
}

impl Future for Pending {
    type Output = Result<Vec<Outcome>, Rejected>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut delivered = Vec::new();
        self.mailbox
            .poll_take(cx, &mut delivered)
            .map(|()| delivered.pop().map_or(Err(Rejected::Closed), |(_, outcomes)| outcomes))
    }
}
