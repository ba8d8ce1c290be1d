//! A request that is being answered: its connection, its access, its audit trail, and the way of its
//! answer to the client.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{self, Poll};

use http::header::{CONNECTION, EXPECT};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use hyper::body::{Body as _, Incoming};

use crate::http::answer::meaning::{class, meaning};
use crate::http::answer::oauth;
use crate::http::answer::problem::Problem;
use crate::http::answer::response::{self, Body};
use crate::http::api::endpoints::takes_form;
use crate::http::conn::context::Worker;
use crate::http::conn::phase::Phase;
use crate::http::conn::sending::StreamGuard;
use crate::http::conn::state::ConnState;
use crate::http::conn::stream_task::Task;
use crate::http::ops::Answered;
use crate::http::request::body;
use crate::http::request::head as request_head;
use crate::keys::Access;
use crate::service::audit_trail::Trail;
use crate::service::audit_words::Ending;
use crate::service::context::Context;
use crate::service::memory_budget::{FREE_LEN, Holder};
use crate::service::operation::Operation;
use crate::service::principal::Principal;
use crate::service::reads::Demand;
use crate::service::refusal::Refusal;
use crate::service::request_span::Arrival;

/// An answer, ready or pending.
pub(in crate::http) enum Answer {
    /// Ready; `None` after it was taken.
    Ready(Option<Response<Body>>),
    /// Pending.
    Waiting(Pin<Box<dyn Future<Output = Response<Body>>>>),
}

impl Future for Answer {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Ready(response) => response.take().map_or(Poll::Pending, |r| Poll::Ready(Ok(r))),
            Self::Waiting(future) => future.as_mut().poll(cx).map(Ok),
        }
    }
}

/// The ending of an answer for the audit log.
fn ending(response: &Response<Body>) -> Ending {
    let status = response.status();
    Ending { outcome: meaning(status), status: Some(status.as_u16()) }
}

/// One request and its answer.
pub(super) struct Exchange {
    pub(super) worker: Rc<Worker>,
    pub(super) conn: Rc<ConnState>,
    /// The principal, once it is authenticated.
    pub(super) access: Option<Principal>,
    stream: Option<(StreamGuard, Rc<Task>)>,
    pub(super) trail: Trail,
    /// Origin of the page that may read the answer.
    pub(super) origin: Option<HeaderValue>,
    pub(super) demand: Demand,
    pub(super) has_body: bool,
    /// Whether the client waits for 100 (Continue) before it sends its body.
    awaits_continue: bool,
    is_head: bool,
    /// Whether refusals have the form of OAuth.
    pub(super) is_oauth: bool,
}

impl Exchange {
    /// Begins with a request on the connection `conn`.
    pub(super) fn begin(
        worker: &Rc<Worker>,
        conn: &Rc<ConnState>,
        head: &Parts,
        body: &Incoming,
    ) -> Self {
        let has_body = !body.is_end_stream();
        conn.enter(Phase::Busy, worker.now());
        let stream = conn.is_http2.get().then(|| {
            let task = Rc::<Task>::default();
            conn.http2.begun.set(Some(task.clone()));
            (StreamGuard::new(worker, conn), task)
        });
        let arrival = Arrival { protocol: "http", drawn: conn.http1.draw.take() };
        let trail = Trail::begin(&worker.service, conn.address(), Some(arrival));
        trail.follows(|| request_head::only(&head.headers, "traceparent"));
        Self {
            worker: worker.clone(),
            access: None,
            stream,
            conn: conn.clone(),
            trail,
            origin: None,
            demand: Demand::default(),
            has_body,
            awaits_continue: has_body && head.headers.contains_key(EXPECT),
            is_head: head.method == Method::HEAD,
            is_oauth: takes_form(head.uri.path().as_bytes()),
        }
    }

    /// Begins with a change of `access` whose body has arrived.
    pub(super) fn of_change(worker: &Rc<Worker>, conn: &Rc<ConnState>, access: &Principal) -> Self {
        // One that is sampled is not on the short way.
        let trail = Trail::begin(&worker.service, conn.address(), None);
        trail.admitted(access);
        Self {
            worker: worker.clone(),
            access: Some(access.clone()),
            stream: None,
            conn: conn.clone(),
            trail,
            origin: None,
            demand: Demand::default(),
            has_body: true,
            awaits_continue: false,
            is_head: false,
            is_oauth: false,
        }
    }

    /// A ready answer to a request without a body.
    pub(super) fn ready(self, operation: Operation, answered: Answered) -> Answer {
        Answer::Ready(Some(self.finish(operation, answered)))
    }

    /// The answer with this problem, in the form of the endpoint.
    fn refusal(&self, problem: Problem) -> Response<Body> {
        if self.is_oauth { oauth::refusal(problem) } else { problem.into_response() }
    }

    /// Refuses a request before its body is read. A small body is read and discarded, so that the
    /// connection can be kept.
    pub(super) fn refuse(
        self,
        operation: Operation,
        mut problem: Problem,
        mut body: Incoming,
    ) -> Answer {
        let is_small = body.size_hint().lower() <= body::SKIPPED_LEN_MAX as u64;
        let is_http1 = self.stream.is_none();
        if self.has_body && is_http1 && is_small && !problem.closes && !self.awaits_continue {
            return Answer::Waiting(Box::pin(async move {
                problem.closes = body::skip(&self.worker, &mut body).await.is_err();
                self.finish(operation, Err(problem))
            }));
        }
        problem.closes |= self.has_body;
        body::let_run_out(&self.worker, &self.conn, body);
        self.ready(operation, Err(problem))
    }

    /// The context that the operation gets.
    pub(super) fn context<'a>(&'a self, access: &'a Access, holder: &'a Holder) -> Context<'a> {
        let (service, trail) = (&*self.worker.service, &self.trail);
        let (peer, demand) = (self.conn.client.peer.get(), self.demand);
        Context { service, access, peer, trail, holder, demand }
    }

    pub(super) fn holder(&self) -> Holder {
        Holder { access: self.access.clone(), ..self.conn.holder() }
    }

    pub(super) fn finish(self, operation: Operation, answered: Answered) -> Response<Body> {
        let response = self.settle(operation, answered);
        let _ = self.trail.end(operation, || ending(&response));
        self.hand_on(response)
    }

    /// Finishes the answer after the audit log has written its lines, if it is required.
    pub(super) async fn finish_written(
        self,
        operation: Operation,
        answered: Answered,
    ) -> Response<Body> {
        let response = self.settle(operation, answered);
        if let Some(written) = self.trail.end(operation, || ending(&response)) {
            // An error means that the writer has ended, because the server is shutting down.
            let _ = written.await;
        }
        self.hand_on(response)
    }

    fn settle(&self, operation: Operation, answered: Answered) -> Response<Body> {
        let mut response = answered.unwrap_or_else(|problem| self.refusal(problem));
        let is_http2 = self.stream.is_some();
        // For HTTP/1 hyper does this.
        if self.is_head && is_http2 {
            response = response::without_body(response);
        }
        self.state_position(operation, &mut response);
        let len = response.body().len();
        if len > FREE_LEN || (is_http2 && len > 0) {
            response = self.charge(operation, response, len);
        }
        self.worker.counters.count(operation, class(response.status()));
        response
    }

    /// In a cluster, the answer to a change states a position where it can be read.
    fn state_position(&self, operation: Operation, response: &mut Response<Body>) {
        let Some(reads) = &self.worker.service.reads else { return };
        let status = response.status();
        let is_answered =
            status.is_success() || matches!(status, StatusCode::NOT_FOUND | StatusCode::CONFLICT);
        if operation.changes()
            && is_answered
            && let Ok(position) = HeaderValue::try_from(reads.position().to_string())
        {
            response.headers_mut().insert("jeton-position", position);
        }
    }

    fn hand_on(self, mut response: Response<Body>) -> Response<Body> {
        if let Some(origin) = self.origin {
            request_head::readable_by(origin, response.headers_mut());
        }
        // While the server is stopping, an answer is the last one of its connection, unless the
        // client has already sent more requests.
        let is_last = self.stream.is_none() && self.conn.owes_no_further_answer();
        if is_last && self.worker.is_draining() {
            response.headers_mut().insert(CONNECTION, response::CLOSE);
        }
        match self.stream {
            Some(stream) => response.body_mut().watch_stream(&self.worker, &self.conn, stream),
            None => response.body_mut().watch_charge(&self.worker, &self.conn),
        }
        self.conn.answered(self.worker.now());
        response
    }

    /// Charges a large answer to the memory budget. The answer to a consume must not be lost, so it
    /// is always admitted; a resolve can be repeated, so it may be refused.
    fn charge(
        &self,
        operation: Operation,
        mut response: Response<Body>,
        len: usize,
    ) -> Response<Body> {
        let (budget, holder) = (&self.worker.service.budget, self.holder());
        let charge = match operation {
            Operation::Resolve
            | Operation::ResolveBatch
            | Operation::StatusBatch
            | Operation::Introspect => budget.take(&holder, len),
            _ => Some(budget.take_anyway(&holder, len)),
        };
        if charge.is_none() {
            return self.refusal(Problem::from(Refusal::NoRoom));
        }
        response.body_mut().hold(charge);
        response
    }
}
