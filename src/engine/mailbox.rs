//! How outcomes come back: a mailbox for each group of waiters, one wake a commit.
//!
//! Waking a thread costs microseconds, more than anything else that an issue does. So the committer
//! does not wake each operation's waiter: it puts the outcomes of a commit into the mailboxes they
//! belong to and wakes each mailbox once. A worker of the HTTP server has one mailbox for all its
//! requests and hands the outcomes to them on its own thread.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use slab::Slab;

use crate::sync::{Mutex, Thread, current, park};

use super::op::{Op, Outcome, Rejected};
use super::{Engine, Reply};

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
    /// Puts the outcomes for `ticket` in; returns who must be woken, once for any number of
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

/// The engine as one thread calls it, with one mailbox for all its calls. Clones share it.
#[derive(Clone)]
pub struct Caller {
    engine: Engine,
    mailbox: Arc<Mailbox>,
    waiting: Rc<RefCell<Slab<Waiter>>>,
}

/// What is known about one call.
enum Waiter {
    /// Nothing yet; whom to wake.
    Waiting(Waker),
    /// Its outcomes, not fetched yet.
    Done(Outcomes),
    /// Nobody waits any more.
    Abandoned,
}

impl Caller {
    pub(super) fn new(engine: Engine) -> Caller {
        Caller { engine, mailbox: Arc::default(), waiting: Rc::default() }
    }

    /// The engine.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Hands outcomes to the calls that wait for them. Runs for as long as this thread calls, in a
    /// task of its own; never ends.
    pub async fn pump(&self) {
        let mut delivered = Vec::new();
        loop {
            poll_fn(|cx| self.mailbox.poll_take(cx, &mut delivered)).await;
            let mut waiting = self.waiting.borrow_mut();
            for (ticket, outcomes) in delivered.drain(..) {
                match std::mem::replace(&mut waiting[ticket], Waiter::Done(outcomes)) {
                    Waiter::Waiting(waker) => waker.wake(),
                    Waiter::Abandoned => drop(waiting.remove(ticket)),
                    Waiter::Done(_) => unreachable!("a ticket is answered once"),
                }
            }
        }
    }

    /// Carries out operations; one outcome for each, in their order. Each is by itself: some may
    /// succeed where others do not. May be dropped while it waits: the operations happen all the
    /// same.
    ///
    /// # Errors
    /// None of them was taken on.
    pub async fn call(&self, ops: Vec<Op>) -> Result<Vec<Outcome>, Rejected> {
        if let Some(outcomes) = self.engine.answer_at_once(&ops)? {
            return Ok(outcomes);
        }
        let mut slot = self.reserve();
        let reply = Reply::new(Arc::clone(&self.mailbox), slot.ticket);
        if let Err(rejected) = self.engine.enqueue(ops, reply) {
            slot.release();
            return Err(rejected);
        }
        slot.await
    }

    /// Carries out one operation.
    ///
    /// # Errors
    /// It was not taken on.
    pub async fn call_one(&self, op: Op) -> Result<Outcome, Rejected> {
        self.call(vec![op]).await?.pop().ok_or(Rejected::Closed)
    }

    fn reserve(&self) -> Slot {
        let waiter = Waiter::Waiting(Waker::noop().clone());
        let ticket = self.waiting.borrow_mut().insert(waiter);
        Slot { waiting: Rc::clone(&self.waiting), ticket, is_open: true }
    }
}

/// The place of one call among those that wait.
struct Slot {
    waiting: Rc<RefCell<Slab<Waiter>>>,
    ticket: usize,
    is_open: bool,
}

impl Slot {
    /// Gives the place back at once: nothing will be delivered to it.
    fn release(&mut self) {
        self.is_open = false;
        self.waiting.borrow_mut().remove(self.ticket);
    }
}

impl Future for Slot {
    type Output = Outcomes;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcomes> {
        let mut waiting = self.waiting.borrow_mut();
        match &mut waiting[self.ticket] {
            Waiter::Done(outcomes) => {
                let outcomes = std::mem::replace(outcomes, Err(Rejected::Closed));
                waiting.remove(self.ticket);
                drop(waiting);
                self.is_open = false;
                Poll::Ready(outcomes)
            }
            waiter => {
                *waiter = Waiter::Waiting(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if !self.is_open {
            return;
        }
        let mut waiting = self.waiting.borrow_mut();
        match &mut waiting[self.ticket] {
            Waiter::Done(_) => drop(waiting.remove(self.ticket)),
            waiter => *waiter = Waiter::Abandoned,
        }
    }
}
