//! One exchange, from a request to its answer: the checks that apply to every request, then the
//! operation.
//!
//! A resolve is answered immediately. Only a request with a body, or one that waits for the
//! committer, becomes a future of its own.

use std::convert::Infallible;
use std::rc::Rc;

use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, Request, Response, StatusCode};
use hyper::body::Incoming;

use crate::http::answer::problem::Problem;
use crate::http::answer::response::Body;
use crate::http::api::answering::{Answer, Exchange};
use crate::http::api::endpoints::{Route, perform, route};
use crate::http::api::oauth;
use crate::http::api::request_context::RequestContext;
use crate::http::conn::context::Worker;
use crate::http::conn::state::ConnState;
use crate::http::h1::head::FIELDS_MAX;
use crate::http::ops::{Answered, resolve, status};
use crate::http::request::authorization::{self, bearer};
use crate::http::request::body;
use crate::http::request::browser::{Refused, Sender};
use crate::http::request::head as request_head;
use crate::model::token::Digest;
use crate::service::context::Context;
use crate::service::operation::Operation;
use crate::service::principal::{Principal, demand};
use crate::service::reads::Demand;

/// The service of one connection.
pub(in crate::http) struct ConnService {
    worker: Rc<Worker>,
    conn: Rc<ConnState>,
}

impl hyper::service::Service<Request<Incoming>> for ConnService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn call(&self, request: Request<Incoming>) -> Answer {
        let (head, body) = request.into_parts();
        let mut exchange = Exchange::begin(&self.worker, &self.conn, &head, &body);
        match self.enter(&head, &mut exchange) {
            Ok(Entered::Admitted(admitted)) => self.ask(head, body, exchange, admitted),
            Ok(Entered::Form) => self.ask_with_form(head, body, exchange),
            Ok(Entered::Preflight(answer)) => exchange.ready(Operation::Unknown, Ok(answer)),
            Err(problem) => exchange.refuse(Operation::Unknown, problem, body),
        }
    }
}

/// A request that passed the checks that apply to every request.
enum Entered {
    /// A request with the access that its credentials give.
    Admitted(Principal),
    /// A request whose form may hold the key of its client.
    Form,
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
        let is_foreign = sender == Sender::Foreign && self.is_ambient(&head.headers);
        if exchange.is_oauth {
            return if is_foreign {
                Err(self.page_refused(Refused::Origin))
            } else {
                Ok(Entered::Form)
            };
        }
        let (authenticator, now) =
            (&self.worker.service.authenticator, self.worker.service.engine.now());
        let cached = &self.conn.client.credentials;
        let admitted = authorization::admit(authenticator, cached, &head.headers, now)
            .map_err(|denied| self.worker.service.denied(denied, self.conn.client.peer.get()))?;
        exchange.trail.admitted(&admitted);
        exchange.access = Some(admitted.clone());
        if is_foreign {
            return Err(self.page_refused(Refused::Origin));
        }
        Ok(Entered::Admitted(admitted))
    }

    /// Performs the operation of a path that takes forms.
    fn ask_with_form(&self, head: Parts, body: Incoming, mut exchange: Exchange) -> Answer {
        let found = route(head.uri.path().as_bytes());
        let Some(endpoint) = found.and_then(|found| found.endpoint(&head.method)) else {
            let methods = found.map_or_else(String::new, Route::methods);
            let problem = Problem::method_not_allowed(methods);
            return exchange.refuse(Operation::Unknown, problem, body);
        };
        match self.demand(&head.headers) {
            Ok(demand) => exchange.demand = demand,
            Err(problem) => return exchange.refuse(endpoint.operation, problem, body),
        }
        let answer = oauth::answer(exchange, endpoint.operation, head.headers, body);
        Answer::Waiting(Box::pin(answer))
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
        match self.demand(&head.headers) {
            Ok(demand) => exchange.demand = demand,
            Err(problem) => return exchange.refuse(operation, problem, body),
        }
        let read = match operation {
            Operation::Resolve => Some(resolve::answer as Read),
            Operation::Status => Some(status::answer as Read),
            _ => None,
        };
        // Operations that only read are answered without a wait, unless a miss has to be confirmed.
        let may_wait = exchange.has_body || self.worker.service.reads.is_some();
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

    /// How fresh the answer must be. A server alone is always fresh, and does not look at the headers.
    ///
    /// A refusal states the cluster, so that a client can find out whether servers are of one.
    fn demand(&self, headers: &HeaderMap) -> Result<Demand, Problem> {
        let Some(reads) = &self.worker.service.reads else { return Ok(Demand::default()) };
        request_head::demand(headers).map_err(|problem| problem.of_cluster(reads.cluster()))
    }

    /// Whether the request is admitted without a key, or by what a browser adds by itself: a
    /// certificate, or Basic credentials that a person has entered before.
    fn is_ambient(&self, headers: &HeaderMap) -> bool {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let has_bearer = values.any(|value| bearer(value.as_bytes()).is_some());
        self.worker.config.keys.is_none() || !has_bearer
    }

    fn page_refused(&self, refused: Refused) -> Problem {
        self.worker.config.web.log(refused, self.worker.service.engine.now());
        Problem::new(StatusCode::FORBIDDEN, refused.detail()).about(refused.field())
    }
}

/// Handler of an operation that only reads; it answers without a wait.
type Read = fn(&Context<'_>, HeaderMap, &Digest) -> Answered;
