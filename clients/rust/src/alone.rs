//! A resolve that goes at once and alone, driven by its caller: a task for it would cost more than all else
//! that coalescing needs.
//!
//! A caller may not be polled for a while, and those who gather behind it would wait for it. So its request
//! is handed to a task when somebody gathers.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::core::lock;
use crate::error::Error;
use crate::lanes::Outcome;

type Request = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// A request, and who drives it.
pub(crate) struct Alone {
    /// Locked before the lanes: a request that ends while it is polled gives its place back.
    state: Mutex<State>,
    /// The caller's: that of another caller may end before.
    runtime: Handle,
}

enum State {
    /// Its caller, who was polled with this waker.
    Own(Request, Option<Waker>),
    /// A task.
    Handed(oneshot::Receiver<Outcome>),
    Over,
}

impl Alone {
    pub(crate) fn new(
        request: impl Future<Output = Outcome> + Send + 'static,
        runtime: &Handle,
    ) -> Arc<Self> {
        let state = Mutex::new(State::Own(Box::pin(request), None));
        Arc::new(Self { state, runtime: runtime.clone() })
    }

    /// Has a task of the caller's runtime drive the request from now on, if the caller has done so.
    pub(crate) fn hand_over(&self) {
        let (mut sender, receiver) = oneshot::channel();
        let mut state = lock(&self.state);
        if !matches!(*state, State::Own(..)) {
            return;
        }
        let own = std::mem::replace(&mut *state, State::Handed(receiver));
        drop(state);
        let State::Own(request, caller) = own else { return };
        self.runtime.spawn(async move {
            let outcome = tokio::select! {
                outcome = request => Some(outcome),
                // The caller has gone, and its request ends with it.
                () = sender.closed() => None,
            };
            // An error: it has gone just now.
            let _ = outcome.map(|outcome| sender.send(outcome));
        });
        // It waits for the task from now on.
        caller.into_iter().for_each(Waker::wake);
    }
}

/// The caller's side. Dropping it ends the request.
pub(crate) struct Driven(pub(crate) Arc<Alone>);

impl Future for Driven {
    type Output = Outcome;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let mut state = lock(&self.0.state);
        let outcome = match &mut *state {
            State::Own(request, caller) => match request.as_mut().poll(cx) {
                Poll::Ready(outcome) => outcome,
                Poll::Pending => {
                    match caller {
                        Some(caller) => caller.clone_from(cx.waker()),
                        None => *caller = Some(cx.waker().clone()),
                    }
                    return Poll::Pending;
                }
            },
            State::Handed(receiver) => match Pin::new(receiver).poll(cx) {
                Poll::Ready(outcome) => outcome.unwrap_or(Err(Error::Closed)),
                Poll::Pending => return Poll::Pending,
            },
            State::Over => return Poll::Pending,
        };
        // What is left of the request is dropped without the lock.
        let over = std::mem::replace(&mut *state, State::Over);
        drop(state);
        drop(over);
        Poll::Ready(outcome)
    }
}
