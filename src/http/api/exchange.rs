//! One exchange, from a request to its answer: the checks that apply to every request, then the
//! operation.
//!
//! A resolve is answered immediately. Only a request with a body, or one that waits for the
//! committer, becomes a future of its own.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{self, Poll};

use http::header::{AUTHORIZATION, CONNECTION, EXPECT};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::{Body as _, Incoming};

use crate::http::answer::meaning::{class, meaning};
use crate::http::answer::problem::Problem;
use crate::http::answer::response::{self, Body};
use crate::http::api::endpoints::{perform, route};
use crate::http::api::request_context::RequestContext;
use crate::http::conn::context::Worker;
use crate::http::conn::phase::Phase;
use crate::http::conn::sending::StreamGuard;
use crate::http::conn::state::ConnState;
use crate::http::conn::stream_task::Task;
use crate::http::h1::head::FIELDS_MAX;
use crate::http::ops::{Answered, resolve, status};
use crate::http::request::authorization;
use crate::http::request::body;
use crate::http::request::browser::{Refused, Sender};
use crate::http::request::head as request_head;
use crate::keys::Access;
use crate::model::token::Digest;
use crate::service::audit_trail::{Ending, Trail};
use crate::service::context::Context;
use crate::service::memory_budget::{FREE_LEN, Holder};
use crate::service::operation::Operation;
use crate::service::principal::{Principal, demand};
use crate::service::reads::Demand;
use crate::service::refusal::Refusal;

/// The service of one connection.
pub(in crate::http) struct ConnService {
    worker: Rc<Worker>,
    conn: Rc<ConnState>,
}

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

impl hyper::service::Service<Request<Incoming>> for ConnService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn call(&self, request: Request<Incoming>) -> Answer {
        let (head, body) = request.into_parts();
        let mut exchange = self.begin(&head, &body);
        match self.enter(&head, &mut exchange) {
            Ok(Entered::Admitted(admitted)) => self.ask(head, body, exchange, admitted),
            Ok(Entered::Preflight(answer)) => exchange.ready(Operation::Unknown, Ok(answer)),
            Err(problem) => exchange.refuse(Operation::Unknown, problem, body),
        }
    }
}

/// A request that passed the checks that apply to every request.
enum Entered {
    /// A request with the access that its credentials give.
    Admitted(Principal),
    /// A browser's preflight, with its answer.
    Preflight(Response<Body>),
}

impl ConnService {
    pub(in crate::http) fn new(worker: Rc<Worker>, conn: Rc<ConnState>) -> Self {
        Self { worker, conn }
    }

    /// The checks that apply to every request, whatever its operation.
    fn enter(&self, head: &Parts, exchange: &mut Exchange) -> Result<Entered, Problem> {
        let host = request_head::host(&head.uri, head.version, &head.headers)?;
        if let Some(host) = host
            && host != self.conn.client.host.borrow().text()
            && !self.worker.accepts_host(&self.conn, host)
        {
            return Err(self.page_refused(Refused::Host));
        }
        if head.headers.len() > FIELDS_MAX {
            let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            let detail = format!("the head of the request has more than {FIELDS_MAX} fields");
            return Err(Problem::new(status, detail).closing());
        }
        if head.uri.query().is_some() {
            return Err(Problem::malformed("no path here accepts a query"));
        }
        let sender = self.worker.config.web.sender(&head.headers, host);
        if let Sender::Allowed(origin) = &sender {
            exchange.origin = Some(origin.clone());
            let is_preflight = request_head::is_preflight(&head.method, &head.headers);
            if let (true, Some(route)) = (is_preflight, route(head.uri.path().as_bytes())) {
                let answer = request_head::preflight(&route.methods(), &head.headers);
                return Ok(Entered::Preflight(answer));
            }
        }
        let (authenticator, now) =
            (&self.worker.service.authenticator, self.worker.service.engine.now());
        let cached = &self.conn.client.credentials;
        let admitted = authorization::admit(authenticator, cached, &head.headers, now)
            .map_err(|denied| self.worker.service.denied(denied, self.conn.client.peer.get()))?;
        exchange.trail.admitted(&admitted);
        exchange.access = Some(admitted.clone());
        if sender == Sender::Foreign && self.is_ambient(&head.headers) {
            return Err(self.page_refused(Refused::Origin));
        }
        Ok(Entered::Admitted(admitted))
    }

    /// Performs the operation that the request names.
    fn ask(
        &self,
        head: Parts,
        mut body: Incoming,
        mut exchange: Exchange,
        admitted: Principal,
    ) -> Answer {
        let (method, target) = (head.method, head.uri);
        let path = target.path().as_bytes();
        let Some(found) = route(path) else {
            return exchange.refuse(Operation::Unknown, Problem::no_such_path(), body);
        };
        if found.token.is_some() {
            exchange.trail.token(|| found.digest(&admitted.digester)?.ok());
        }
        let Some(endpoint) = found.endpoint(&method) else {
            let problem = Problem::method_not_allowed(found.methods());
            return exchange.refuse(Operation::Unknown, problem, body);
        };
        let operation = endpoint.operation;
        if let Some(Err(refusal)) = operation.scope().map(|scope| demand(&admitted, scope)) {
            return exchange.refuse(operation, refusal.into(), body);
        }
        if let Err(refusal) = exchange.trail.may(operation) {
            return exchange.refuse(operation, refusal.into(), body);
        }
        let token = match found.digest(&admitted.digester) {
            Some(Err(problem)) => return exchange.refuse(operation, problem, body),
            Some(Ok(digest)) => Some(digest),
            None => None,
        };
        let in_cluster = self.worker.service.reads.is_some();
        if in_cluster {
            match request_head::demand(&head.headers) {
                Ok(demand) => exchange.demand = demand,
                Err(problem) => return exchange.refuse(operation, problem, body),
            }
        }
        let read = match operation {
            Operation::Resolve => Some(resolve::answer as Read),
            Operation::Status => Some(status::answer as Read),
            _ => None,
        };
        // Operations that only read are answered without a wait, unless a miss has to be confirmed.
        let may_wait = exchange.has_body || in_cluster;
        if let (Some(read), Some(digest), false) = (read, &token, may_wait) {
            let holder = exchange.holder();
            let answered = read(&exchange.context(&admitted, &holder), head.headers, digest);
            return exchange.ready(operation, answered);
        }
        let worker = self.worker.clone();
        Answer::Waiting(Box::pin(async move {
            let (holder, conn) = (exchange.holder(), &exchange.conn);
            let context = exchange.context(&admitted, &holder);
            let request = RequestContext { context, conn };
            let done = perform(&worker, request, endpoint, token, head.headers, &mut body).await;
            body::let_run_out(&worker, conn, body);
            exchange.finish_written(operation, done).await
        }))
    }

    /// Whether the request is admitted without a key, or by a certificate, which a browser adds by
    /// itself.
    fn is_ambient(&self, headers: &HeaderMap) -> bool {
        self.worker.config.keys.is_none() || !headers.contains_key(AUTHORIZATION)
    }

    fn page_refused(&self, refused: Refused) -> Problem {
        self.worker.config.web.log(refused, self.worker.service.engine.now());
        Problem::new(StatusCode::FORBIDDEN, refused.detail()).about(refused.field())
    }

    fn begin(&self, head: &Parts, body: &Incoming) -> Exchange {
        let has_body = !body.is_end_stream();
        self.conn.enter(Phase::Busy, self.worker.now());
        let stream = self.conn.is_http2.get().then(|| {
            let task = Rc::<Task>::default();
            self.conn.http2.begun.set(Some(task.clone()));
            (StreamGuard::new(&self.worker, &self.conn), task)
        });
        Exchange {
            worker: self.worker.clone(),
            access: None,
            stream,
            conn: self.conn.clone(),
            trail: Trail::begin(&self.worker.service, self.conn.address()),
            origin: None,
            demand: Demand::default(),
            has_body,
            awaits_continue: has_body && head.headers.contains_key(EXPECT),
            is_head: head.method == Method::HEAD,
        }
    }
}

/// Handler of an operation that only reads; it answers without a wait.
type Read = fn(&Context<'_>, HeaderMap, &Digest) -> Answered;

/// The ending of an answer for the audit log.
fn ending(response: &Response<Body>) -> Ending {
    let status = response.status();
    Ending { outcome: meaning(status), status: Some(status.as_u16()) }
}

/// One request and its answer.
struct Exchange {
    worker: Rc<Worker>,
    conn: Rc<ConnState>,
    /// The principal, once it is authenticated.
    access: Option<Principal>,
    stream: Option<(StreamGuard, Rc<Task>)>,
    trail: Trail,
    /// Origin of the page that may read the answer.
    origin: Option<HeaderValue>,
    demand: Demand,
    has_body: bool,
    /// Whether the client waits for 100 (Continue) before it sends its body.
    awaits_continue: bool,
    is_head: bool,
}

impl Exchange {
    /// A ready answer to a request without a body.
    fn ready(self, operation: Operation, answered: Answered) -> Answer {
        Answer::Ready(Some(self.finish(operation, answered)))
    }

    /// Refuses a request before its body is read. A small body is read and discarded, so that the
    /// connection can be kept.
    fn refuse(self, operation: Operation, mut problem: Problem, mut body: Incoming) -> Answer {
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
    fn context<'a>(&'a self, access: &'a Access, holder: &'a Holder) -> Context<'a> {
        let (service, trail) = (&*self.worker.service, &self.trail);
        let (peer, demand) = (self.conn.client.peer.get(), self.demand);
        Context { service, access, peer, trail, holder, demand }
    }

    fn holder(&self) -> Holder {
        Holder { access: self.access.clone(), ..self.conn.holder() }
    }

    fn finish(self, operation: Operation, answered: Answered) -> Response<Body> {
        let response = self.settle(operation, answered);
        let _ = self.trail.end(operation, || ending(&response));
        self.hand_on(response)
    }

    /// Finishes the answer after the audit log has written its lines, if it is required.
    async fn finish_written(self, operation: Operation, answered: Answered) -> Response<Body> {
        let response = self.settle(operation, answered);
        if let Some(written) = self.trail.end(operation, || ending(&response)) {
            // An error means that the writer has ended, because the server is shutting down.
            let _ = written.await;
        }
        self.hand_on(response)
    }

    fn settle(&self, operation: Operation, answered: Answered) -> Response<Body> {
        let mut response = answered.unwrap_or_else(Problem::into_response);
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
            Operation::Resolve | Operation::ResolveBatch | Operation::StatusBatch => {
                budget.take(&holder, len)
            }
            _ => Some(budget.take_anyway(&holder, len)),
        };
        if charge.is_none() {
            return Problem::from(Refusal::NoRoom).into_response();
        }
        response.body_mut().hold(charge);
        response
    }
}
