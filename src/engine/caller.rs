//! The engine's interface for one thread with many calls: one mailbox, and one wake per commit.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use slab::Slab;

use super::clustered::{Follower, Until};
use super::handle::Engine;
use super::job::{Call, Here};
use super::mailbox::{Mailbox, Outcomes, Reply};
use super::op::{Op, Outcome, Rejected};

impl Engine {
    /// Makes a caller, which gets one wake for all calls of a commit. [`Caller::pump`] must run on
    /// the thread that uses it.
    #[must_use]
    pub fn caller(&self) -> Caller {
        Caller::new(self.clone())
    }
}

/// Calls the engine from one thread, with one mailbox for all calls. Clones share it.
#[derive(Clone)]
pub struct Caller {
    engine: Engine,
    mailbox: Arc<Mailbox>,
    waiting: Rc<RefCell<Slab<Waiter>>>,
    /// Whether a call may be performed on this thread.
    here: Rc<Cell<Here>>,
    /// Whether one was, since what it retired was freed.
    has_retired: Rc<Cell<bool>>,
}

/// State of one call.
enum Waiter {
    /// Waiting; the task to wake.
    Waiting(Waker),
    /// Done, with outcomes that were not fetched yet.
    Done(Outcomes),
    /// The caller no longer waits.
    Abandoned,
}

impl Caller {
    fn new(engine: Engine) -> Self {
        let (mailbox, waiting) = (Arc::default(), Rc::default());
        Self { engine, mailbox, waiting, here: Rc::default(), has_retired: Rc::default() }
    }

    /// The engine.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Passes outcomes to the waiting calls. It must run in a task of its own as long as this
    /// thread makes calls; it never ends.
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

    /// Performs operations and returns one outcome for each, in their order. The operations are
    /// independent: some may succeed and others fail. If the future is dropped while it waits, the
    /// operations are still performed.
    ///
    /// # Errors
    /// No operation was accepted.
    pub async fn call(&self, ops: Vec<Op>) -> Result<Vec<Outcome>, Rejected> {
        self.call_as(ops, false).await
    }

    /// The same for a caller that has just [waited](Caller::wait) for a barrier: what changes nothing
    /// is answered without another.
    ///
    /// # Errors
    /// As [`Caller::call`].
    #[doc(hidden)]
    pub async fn call_confirmed(&self, ops: Vec<Op>) -> Result<Vec<Outcome>, Rejected> {
        self.call_as(ops, true).await
    }

    /// Says whether calls may be performed on this thread from now on. It must call
    /// [`Caller::free_retired`] now and then.
    #[cfg(feature = "server")]
    pub(crate) fn commit_here(&self, here: Here) {
        self.here.set(here);
    }

    /// Frees what calls on this thread have retired.
    #[cfg(feature = "server")]
    pub(crate) fn free_retired(&self) {
        if self.has_retired.take() {
            self.engine.free_retired();
        }
    }

    /// Performs operations together, as [`Engine::submit_together`].
    ///
    /// # Errors
    /// No operation was accepted.
    pub async fn call_together(&self, ops: Vec<Op>) -> Result<Vec<Outcome>, Rejected> {
        let mut slot = self.reserve();
        let reply = Reply::new(Arc::clone(&self.mailbox), slot.ticket);
        if let Err(rejected) = self.engine.enqueue_together(ops, reply) {
            slot.release();
            return Err(rejected);
        }
        slot.await
    }

    async fn call_as(
        &self,
        mut ops: Vec<Op>,
        is_confirmed: bool,
    ) -> Result<Vec<Outcome>, Rejected> {
        if let Some(outcomes) = self.engine.answer_at_once(&ops)? {
            return Ok(outcomes);
        }
        let here = self.here.get();
        if here != Here::Never && self.waiting.borrow().is_empty() {
            match self.engine.commit_here(ops, here) {
                Ok(outcomes) => {
                    self.has_retired.set(true);
                    return outcomes;
                }
                Err(given_back) => ops = given_back,
            }
        }
        let mut slot = self.reserve();
        let mut reply = Reply::new(Arc::clone(&self.mailbox), slot.ticket);
        reply.is_confirmed = is_confirmed;
        if let Err(rejected) = self.engine.enqueue(Call { ops, reply, is_together: false }) {
            slot.release();
            return Err(rejected);
        }
        slot.await
    }

    /// Performs one operation.
    ///
    /// # Errors
    /// The operation was not accepted.
    pub async fn call_one(&self, op: Op) -> Result<Outcome, Rejected> {
        self.call(vec![op]).await?.pop().ok_or(Rejected::Closed)
    }

    /// Waits for a cluster's node. Dropping the future ends the wait.
    ///
    /// # Errors
    /// No message of this node lands at present, too many wait, or the engine is
    /// closing.
    #[doc(hidden)]
    pub async fn wait(&self, follower: &Follower, until: Until) -> Result<(), Rejected> {
        let mut slot = self.reserve();
        let reply = Reply::new(Arc::clone(&self.mailbox), slot.ticket);
        let number = match follower.wait(until, reply) {
            Ok(number) => number,
            Err(rejected) => {
                slot.release();
                return Err(rejected);
            }
        };
        let mut waiting = Waiting { follower, until, number, is_over: false };
        let waited = slot.await;
        waiting.is_over = true;
        waited.map(drop)
    }

    fn reserve(&self) -> Slot {
        let waiter = Waiter::Waiting(Waker::noop().clone());
        let ticket = self.waiting.borrow_mut().insert(waiter);
        Slot { waiting: Rc::clone(&self.waiting), ticket, is_open: true }
    }
}

/// A wait, which is left if its caller goes away.
struct Waiting<'a> {
    follower: &'a Follower,
    until: Until,
    number: u64,
    is_over: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.follower.leave(self.until, self.number);
        }
    }
}

/// The slot of one waiting call.
struct Slot {
    waiting: Rc<RefCell<Slab<Waiter>>>,
    ticket: usize,
    is_open: bool,
}

impl Slot {
    /// Frees the slot at once, because nothing will be delivered to it.
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
