//! The span of one request while it is answered; nothing where `--otlp` is not given.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use crate::service::audit_words::Ending;
use crate::service::operation::Operation;
use crate::service::state::Service;
use crate::service::traced::Traced;
use crate::trace::{Begun, Draw, Parent, Span};

/// How a request came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    /// `http` or `resp`.
    pub(crate) protocol: &'static str,
    /// What a short way that has left it to this one has decided.
    pub(crate) drawn: Draw,
}

/// What is known of the span of a request so far; `None` where nothing is traced.
pub(super) struct RequestSpan(Option<Box<Draft>>);

struct Draft {
    service: Rc<Service>,
    begun: Begun,
    arrival: Arrival,
    parent: Cell<Option<Parent>>,
    has_key: Cell<bool>,
    tokens: Cell<usize>,
    log_wait: Cell<Option<Duration>>,
    operation: Cell<Operation>,
    is_ended: Cell<bool>,
}

impl RequestSpan {
    pub(super) fn begin(service: &Rc<Service>, arrival: Option<Arrival>) -> Self {
        Self(service.traced.as_ref().zip(arrival).map(|(traced, arrival)| {
            Box::new(Draft {
                service: service.clone(),
                begun: traced.begin(),
                arrival,
                parent: Cell::new(None),
                has_key: Cell::new(false),
                tokens: Cell::new(0),
                log_wait: Cell::new(None),
                operation: Cell::new(Operation::Unknown),
                is_ended: Cell::new(false),
            })
        }))
    }

    fn parts(&self) -> Option<(&Draft, &Traced)> {
        let draft = self.0.as_ref()?;
        Some((draft, draft.service.traced.as_ref()?))
    }

    /// The value of the one `traceparent` of the request.
    pub(super) fn follows<'a>(&self, value: impl FnOnce() -> Option<&'a [u8]>) {
        if let Some(draft) = &self.0 {
            draft.parent.set(value().and_then(Parent::parse));
        }
    }

    /// The request is admitted, with a key or without.
    pub(super) fn admitted(&self, has_key: bool) {
        if let Some(draft) = &self.0 {
            draft.has_key.set(has_key);
        }
    }

    /// The request concerns so many tokens.
    pub(super) fn tokens(&self, count: usize) {
        if let Some(draft) = &self.0 {
            draft.tokens.set(count);
        }
    }

    /// It concerns one more.
    pub(super) fn one_more(&self) {
        if let Some(draft) = &self.0 {
            draft.tokens.set(draft.tokens.get() + 1);
        }
    }

    /// Waits for the engine, and counts the time.
    pub(super) async fn wait<T>(&self, outcome: impl Future<Output = T>) -> T {
        let Some((draft, traced)) = self.parts() else { return outcome.await };
        let since = traced.monotonic();
        let outcome = outcome.await;
        let waited = traced.monotonic().saturating_sub(since);
        draft.log_wait.set(Some(draft.log_wait.get().unwrap_or_default() + waited));
        outcome
    }

    /// Remembers the operation, for a request that gets no answer.
    pub(super) fn performs(&self, operation: Operation) {
        if let Some(draft) = &self.0 {
            draft.operation.set(operation);
        }
    }

    /// Ends it where no answer has.
    pub(super) fn break_off(&self, unanswered: Ending) {
        if let Some(draft) = &self.0 {
            self.end(draft.operation.get(), || unanswered);
        }
    }

    /// Ends it with the answer. The first end counts.
    pub(super) fn end(&self, operation: Operation, ending: impl FnOnce() -> Ending) {
        let Some((draft, traced)) = self.parts() else { return };
        if draft.is_ended.replace(true) {
            return;
        }
        let Ending { outcome, status } = ending();
        let Begun { wall_nanos, monotonic } = draft.begun;
        let span = Span {
            parent: draft.parent.get(),
            start_nanos: wall_nanos,
            length: traced.monotonic().saturating_sub(monotonic),
            operation: operation.name(),
            protocol: draft.arrival.protocol,
            outcome,
            status,
            log_wait: draft.log_wait.get(),
            tokens: draft.tokens.get(),
        };
        traced.end(span, draft.has_key.get(), draft.arrival.drawn);
    }
}
