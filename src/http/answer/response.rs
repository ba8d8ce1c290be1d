//! Answers: their bodies and their headers.
//!
//! Every answer of the data listener has `Cache-Control: no-store` and `X-Content-Type-Options:
//! nosniff`, also those that are given before or without a request that could be parsed.

use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use hyper::body::{Frame, SizeHint};

use crate::http::answer::problem::{NOT_FOUND, NOTHING, Problem};
use crate::http::conn::context::Worker;
use crate::http::conn::sending::{Piece, Sending, StreamGuard};
use crate::http::conn::state::ConnState;
use crate::http::conn::stream_task::Task;
use crate::model::value::{is_json, value_of};
use crate::service::memory_budget::Charge;

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
pub(in crate::http) const NO_SNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Bytes of any kind.
const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");
const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");
pub(in crate::http) const CLOSE: HeaderValue = HeaderValue::from_static("close");
const ONE_SECOND: HeaderValue = HeaderValue::from_static("1");

/// Longer bodies are passed to hyper in pieces of this size, so that its own buffers stay small.
const PIECE_LEN_MAX: usize = 32 * 1024;
/// Over HTTP/2 an answer up to this length ends its stream with its last byte; a longer one ends it
/// with a separate frame, after that byte was sent.
const ENDED_AT_ONCE_LEN: usize = 4 * 1024;

/// The complete body of an answer.
#[derive(Default)]
pub(in crate::http) struct Body {
    bytes: Bytes,
    /// Memory reserved until the answer is sent.
    charge: Option<Charge>,
    /// How the sending of an answer is monitored.
    sending: Option<Rc<Sending>>,
    /// HTTP/2: the stream ends only after everything was sent, so that it can be reset until then.
    holds_end: bool,
}

impl Body {
    /// A body with these bytes.
    pub(in crate::http) fn new(bytes: Bytes) -> Self {
        Self { bytes, charge: None, sending: None, holds_end: false }
    }

    /// Holds `charge` until the answer is sent.
    pub(in crate::http) fn hold(&mut self, charge: Option<Charge>) {
        self.charge = charge;
    }

    pub(in crate::http) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Prepares the body for HTTP/1: a charged body is monitored until its last byte is sent.
    pub(in crate::http) fn watch_charge(&mut self, worker: &Rc<Worker>, conn: &Rc<ConnState>) {
        if self.charge.is_some() {
            let (len, charge) = (self.len(), self.charge.take());
            self.sending = Some(Sending::begin(worker, conn, len, charge, None));
        }
    }

    /// Prepares the body for HTTP/2, where every body is monitored.
    pub(in crate::http) fn watch_stream(
        &mut self,
        worker: &Rc<Worker>,
        conn: &Rc<ConnState>,
        stream: (StreamGuard, Rc<Task>),
    ) {
        let (len, charge) = (self.len(), self.charge.take());
        self.holds_end = len > ENDED_AT_ONCE_LEN;
        self.sending = Some(Sending::begin(worker, conn, len, charge, Some(stream)));
    }

    /// Whether everything was handed over, but not everything was sent.
    fn waits_for_end(&self) -> bool {
        self.holds_end && self.sending.as_ref().is_some_and(|sending| !sending.is_sent())
    }
}

impl hyper::body::Body for Body {
    type Data = Piece;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, Infallible>>> {
        let body = self.get_mut();
        if body.bytes.is_empty() {
            // Sending the last byte wakes the stream's task.
            return if body.waits_for_end() { Poll::Pending } else { Poll::Ready(None) };
        }
        let piece = body.bytes.split_to(body.bytes.len().min(PIECE_LEN_MAX));
        Poll::Ready(Some(Ok(Frame::data(Piece::new(piece, body.sending.clone())))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty() && !self.waits_for_end()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.len() as u64)
    }
}

/// An answer with a payload: JSON, or any bytes.
pub(in crate::http) fn payload(headers: HeaderMap, payload: Bytes) -> Response<Body> {
    if is_json(&payload) {
        return json(headers, StatusCode::OK, payload);
    }
    let value = payload.slice_ref(value_of(&payload));
    let mut response = json(headers, StatusCode::OK, value);
    response.headers_mut().insert(CONTENT_TYPE, OCTETS);
    response
}

/// An answer with a JSON body. `headers` are those of the request, whose allocation is reused.
pub(in crate::http) fn json(
    mut headers: HeaderMap,
    status: StatusCode,
    body: Bytes,
) -> Response<Body> {
    headers.clear();
    headers.insert(CONTENT_TYPE, JSON);
    headers.insert(CACHE_CONTROL, NO_STORE);
    headers.insert(X_CONTENT_TYPE_OPTIONS, NO_SNIFF);
    let mut response = Response::new(Body::new(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// 204, without a body.
pub(in crate::http) fn no_content() -> Response<Body> {
    let mut response = Response::new(Body::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, NO_SNIFF);
    response
}

/// The answer to HEAD, made from the answer to GET.
pub(in crate::http) fn without_body(mut response: Response<Body>) -> Response<Body> {
    let body = std::mem::take(response.body_mut());
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    response
}

impl Problem {
    /// The answer with this problem document.
    pub(in crate::http) fn into_response(self) -> Response<Body> {
        let body = if self.detail == NOTHING {
            Bytes::from_static(NOT_FOUND)
        } else {
            Bytes::from(self.to_json())
        };
        let mut response = Response::new(Body::new(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, PROBLEM_JSON);
        headers.insert(CACHE_CONTROL, NO_STORE);
        headers.insert(X_CONTENT_TYPE_OPTIONS, NO_SNIFF);
        if let Some(allow) = self.allow.and_then(|allow| HeaderValue::try_from(allow).ok()) {
            headers.insert(ALLOW, allow);
        }
        if let Some(challenge) = self.challenge {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, ONE_SECOND);
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        let cluster =
            self.cluster.and_then(|cluster| HeaderValue::try_from(cluster.to_string()).ok());
        if let Some(cluster) = cluster {
            headers.insert("jeton-cluster", cluster);
        }
        if self.closes {
            headers.insert(CONNECTION, CLOSE);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_says_no_store_and_unavailable_says_when() {
        for problem in [
            Problem::not_found(),
            Problem::method_not_allowed("GET".into()),
            Problem::malformed("x"),
        ] {
            let response = problem.into_response();
            assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
            assert!(!response.headers().contains_key(RETRY_AFTER));
        }
        let response = Problem::unavailable("the queue is full").into_response();
        assert_eq!(response.headers()[RETRY_AFTER], "1");
    }
}
