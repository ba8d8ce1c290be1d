//! The engine as one thread calls it: one mailbox for all its calls, one wake a commit.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use slab::Slab;

use super::handle::Engine;
use super::mailbox::{Mailbox, Outcomes, Reply};
use super::op::{Op, Outcome, Rejected};

impl Engine {
    /// A way to call the engine many times from one thread, with one wake for all calls of a
    /// commit. [`Caller::pump`] must run on that thread.
    #[must_use]
    pub fn caller(&self) -> Caller {
        Caller::new(self.clone())
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
    fn new(engine: Engine) -> Caller {
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
