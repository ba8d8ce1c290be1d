//! How outcomes come back: a mailbox for each group of waiters, one wake a commit.
//!
//! Waking a thread costs microseconds, more than anything else that an issue does. So the committer
//! does not wake each operation's waiter: it puts the outcomes of a commit into the mailboxes they
//! belong to and wakes each mailbox once. A worker of the HTTP server has one mailbox for all its
//! requests and hands the outcomes to them on its own thread.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use crate::sync::{Mutex, Thread, current, park};

use super::op::{Outcome, Rejected};

/// Outcomes of one call, in the order of its operations; or that it was not carried out.
pub(super) type Outcomes = Result<Vec<Outcome>, Rejected>;

/// Outcomes on their way to the waiters of one thread, or to one waiter.
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
    /// Puts the outcomes for `ticket` in; returns the waker, once for any number of
    /// deliveries.
    pub(super) fn deliver(&self, ticket: usize, outcomes: Outcomes) -> Option<Waker> {
        let mut inbox = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inbox.delivered.push((ticket, outcomes));
        inbox.waker.take()
    }

    /// Takes all that was delivered; waits while there is nothing.
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

/// Delivers the outcomes of a call. Dropped unanswered, it delivers [`Rejected::Closed`], so that no
/// call waits for ever.
pub(super) struct Reply {
    mailbox: Arc<Mailbox>,
    ticket: usize,
    is_open: bool,
}

impl Reply {
    pub(super) fn new(mailbox: Arc<Mailbox>, ticket: usize) -> Reply {
        Reply { mailbox, ticket, is_open: true }
    }

    /// Delivers the outcomes; returns the waker of the mailbox.
    pub(super) fn deliver(mut self, outcomes: Vec<Outcome>) -> Option<Waker> {
        self.is_open = false;
        self.mailbox.deliver(self.ticket, Ok(outcomes))
    }

    /// Delivers nothing: the caller learns the result from a return value.
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

/// An answer that was asked for and has not come yet: a future for any executor, or
/// [`Pending::wait`]. It may be dropped: what was asked for happens all the same.
#[must_use = "the answer says whether it happened"]
pub struct Pending {
    mailbox: Arc<Mailbox>,
}

impl Pending {
    pub(super) fn new() -> (Pending, Reply) {
        let mailbox = Arc::new(Mailbox::default());
        (Pending { mailbox: Arc::clone(&mailbox) }, Reply::new(mailbox, 0))
    }

    /// Blocks this thread until the answer is there. Not for use inside an executor.
    ///
    /// # Errors
    /// The engine was closed before it came to it.
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
