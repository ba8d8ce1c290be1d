//! A resolve that goes at once and alone, driven by its caller: a task for it would cost more than all else
//! that coalescing needs.
//!
//! A caller may not be polled for a while, and those who gather behind it would wait for it. So its request
//! is handed to a task when somebody gathers.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use tokio::sync::oneshot;

use crate::core::lock;
use crate::error::Error;
use crate::lanes::Outcome;

type Request = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// A request, and who drives it.
pub(crate) struct Alone(Mutex<State>);

enum State {
    /// Its caller, who was polled with this waker.
    Own(Request, Option<Waker>),
    /// A task.
    Handed(oneshot::Receiver<Outcome>),
    Over,
}

impl Alone {
    pub(crate) fn new(request: impl Future<Output = Outcome> + Send + 'static) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State::Own(Box::pin(request), None))))
    }

    /// Has a task drive the request from now on, if its caller has done so.
    pub(crate) fn hand_over(&self) {
        let (mut sender, receiver) = oneshot::channel();
        let mut state = lock(&self.0);
        if !matches!(*state, State::Own(..)) {
            return;
        }
        let own = std::mem::replace(&mut *state, State::Handed(receiver));
        drop(state);
        let State::Own(request, caller) = own else { return };
        tokio::spawn(async move {
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
        let mut state = lock(&self.0.0);
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
        // The request gives its place back, for which it needs other locks.
        let over = std::mem::replace(&mut *state, State::Over);
        drop(state);
        drop(over);
        Poll::Ready(outcome)
    }
}
