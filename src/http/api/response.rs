//! Answers: their bodies, their headers, and the problem documents of RFC 9457.
//!
//! Every answer of the data listener has `Cache-Control: no-store` and `X-Content-Type-Options:
//! nosniff`, also those that are given before or without a request that could be parsed.

use std::borrow::Cow;
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::LazyLock;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use hyper::body::{Frame, SizeHint};

use crate::http::api::exchange::StreamGuard;
use crate::http::server::buffers::{ConnState, Pieces};
use crate::http::server::memory_budget::Charge;
use crate::http::server::outgoing::{Piece, Sending, Task};
use crate::http::server::worker::Worker;

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
pub(in crate::http) const NO_SNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");
pub(in crate::http) const CLOSE: HeaderValue = HeaderValue::from_static("close");
const ONE_SECOND: HeaderValue = HeaderValue::from_static("1");

/// hyper takes longer bodies in pieces of this size, so that its own buffers stay small.
const PIECE_LEN_MAX: usize = 32 * 1024;
/// Over HTTP/2 an answer up to this length ends its stream with its last byte; a longer one with a
/// frame of its own, once that byte was sent.
const ENDED_AT_ONCE_LEN: usize = 4 * 1024;

/// The head of a resolve's answer, up to its length.
pub(in crate::http) const OK_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\
    cache-control: no-store\r\nx-content-type-options: nosniff\r\ncontent-length: ";

/// The head of the one answer to whatever is not there, up to its length.
pub(in crate::http) const NOT_FOUND_HEAD: &[u8] = b"HTTP/1.1 404 Not Found\r\n\
    content-type: application/problem+json\r\ncache-control: no-store\r\n\
    x-content-type-options: nosniff\r\ncontent-length: ";

/// The one answer to whatever is not there (promise P10).
pub(in crate::http) const NOT_FOUND: &[u8] =
    br#"{"type":"about:blank","title":"Not Found","status":404,"detail":"nothing is here"}"#;

/// The detail of that answer.
const NOTHING: &str = "nothing is here";

/// Sent as it stands to a client whose request's head took too long.
pub(in crate::http) static SLOW_HEAD: LazyLock<Vec<u8>> = LazyLock::new(|| {
    canned(StatusCode::REQUEST_TIMEOUT, "", "the head of the request took too long")
});

/// Sent as it stands to a client that cannot be served at all.
pub(in crate::http) static TOO_MANY_CONNECTIONS: LazyLock<Vec<u8>> =
    LazyLock::new(|| canned(StatusCode::SERVICE_UNAVAILABLE, RETRY, "too many connections"));

/// Sent as it stands to a client whose request's head finds no room.
pub(in crate::http) static NO_MEMORY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let detail = "too many long heads at once (--max-inflight)";
    canned(StatusCode::SERVICE_UNAVAILABLE, RETRY, detail)
});

/// Sent as it stands while the log is being read.
pub(in crate::http) static RECOVERING: LazyLock<Vec<u8>> =
    LazyLock::new(|| canned(StatusCode::SERVICE_UNAVAILABLE, RETRY, "recovering"));

/// Sent as it stands to a client that speaks plain HTTP where TLS is spoken.
pub(in crate::http) static SPEAKS_TLS: LazyLock<Vec<u8>> = LazyLock::new(|| {
    canned(StatusCode::BAD_REQUEST, "", "this port speaks TLS: the address begins with https://")
});

const RETRY: &str = "retry-after: 1\r\n";

/// A whole answer as bytes, after which the connection ends: a problem document.
fn canned(status: StatusCode, headers: &str, detail: &'static str) -> Vec<u8> {
    let body = Problem::new(status, detail).to_json();
    let mut answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/problem+json\r\n\
         cache-control: no-store\r\nx-content-type-options: nosniff\r\n\
         connection: close\r\n{headers}content-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    answer.extend_from_slice(&body);
    answer
}

/// What hyper said by itself, as a problem document. Keeps its date.
pub(in crate::http) fn replace_hypers_own(own: &[u8]) -> Vec<u8> {
    let head = String::from_utf8_lossy(own);
    let date = head
        .lines()
        .find(|line| line.starts_with("date:"))
        .unwrap_or("date: Thu, 01 Jan 1970 00:00:00 GMT");
    let code = head.get(9..12).and_then(|code| code.parse().ok());
    let status = code.unwrap_or(StatusCode::BAD_REQUEST);
    let detail = match status {
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => "the head of the request is too long",
        StatusCode::URI_TOO_LONG => "the request target is too long",
        _ => "not a valid HTTP/1.1 request",
    };
    canned(status, &format!("{date}\r\n"), detail)
}

/// The body of an answer: bytes that are all there.
#[derive(Default)]
pub(in crate::http) struct Body {
    bytes: Bytes,
    /// Memory held until the answer was sent.
    charge: Option<Charge>,
    /// HTTP/1.1, where the answer is written in pieces.
    pieces_of: Option<Rc<ConnState>>,
    /// What watches over an answer on its way.
    sending: Option<Rc<Sending>>,
    /// HTTP/2: the stream ends only once all of it was sent, so that until then it can be reset.
    holds_end: bool,
}

impl Body {
    /// A body with these bytes.
    pub(in crate::http) fn new(bytes: Bytes) -> Body {
        Body { bytes, charge: None, pieces_of: None, sending: None, holds_end: false }
    }

    /// Holds `charge` until the answer was sent.
    pub(in crate::http) fn hold(&mut self, charge: Option<Charge>) {
        self.charge = charge;
    }

    pub(in crate::http) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Prepares the body for hyper's HTTP/1.1, whose writes the connection watches.
    pub(in crate::http) fn watch_pieces(&mut self, worker: &Rc<Worker>, conn: &Rc<ConnState>) {
        if self.charge.is_some() {
            let (len, charge) = (self.len(), self.charge.take());
            self.sending = Some(Sending::begin(worker, conn, len, charge, None));
        }
        if self.bytes.len() > PIECE_LEN_MAX {
            conn.pieces.set(Pieces::More);
            self.pieces_of = Some(conn.clone());
        }
    }

    /// The same for HTTP/2: watched until its last byte was sent.
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

    /// All was handed over, and not all of it was sent.
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
            // The last byte that is sent wakes the stream's task.
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

impl Drop for Body {
    fn drop(&mut self) {
        if let Some(conn) = &self.pieces_of {
            conn.pieces.set(Pieces::Last);
        }
    }
}

/// An answer with a JSON body. `headers` are the request's, whose allocation is used again.
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

/// The answer to HEAD where the answer to GET would be this.
pub(in crate::http) fn without_body(mut response: Response<Body>) -> Response<Body> {
    let body = std::mem::take(response.body_mut());
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    response
}

#[derive(serde::Serialize)]
struct Document<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
}

/// Why a request gets no other answer. Never holds a token, a payload or any other text of the
/// request (promise P9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::http) struct Problem {
    pub(in crate::http) status: StatusCode,
    pub(in crate::http) detail: Cow<'static, str>,
    /// The field of the body or the header that it is about.
    pub(in crate::http) field: Option<Cow<'static, str>>,
    /// For 405.
    allow: Option<&'static str>,
    /// For 401 and 403 (RFC 6750, 3).
    challenge: Option<&'static str>,
    /// For 429, in seconds.
    retry_after: Option<u64>,
    /// What the client had still to send is not wanted: the connection ends after this answer.
    pub(in crate::http) closes: bool,
}

impl Problem {
    pub(in crate::http) fn new(
        status: StatusCode,
        detail: impl Into<Cow<'static, str>>,
    ) -> Problem {
        Problem {
            status,
            detail: detail.into(),
            field: None,
            allow: None,
            challenge: None,
            retry_after: None,
            closes: false,
        }
    }

    /// 400: the form of the request is wrong.
    pub(in crate::http) fn malformed(detail: impl Into<Cow<'static, str>>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 422: the form is right, a value is out of its limits.
    pub(in crate::http) fn out_of_limits(detail: impl Into<Cow<'static, str>>) -> Problem {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    }

    /// 413.
    pub(in crate::http) fn too_large(detail: impl Into<Cow<'static, str>>) -> Problem {
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    }

    /// 503 with `Retry-After`.
    pub(in crate::http) fn unavailable(detail: impl Into<Cow<'static, str>>) -> Problem {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    /// 404: the same whatever it is that is not there.
    pub(in crate::http) fn not_found() -> Problem {
        Problem::new(StatusCode::NOT_FOUND, NOTHING)
    }

    /// 404: whatever the token, the path has no meaning here.
    pub(in crate::http) fn no_such_path() -> Problem {
        Problem::new(StatusCode::NOT_FOUND, "no such path")
    }

    /// 405.
    pub(in crate::http) fn method_not_allowed(allow: &'static str) -> Problem {
        let mut problem =
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, format!("the methods here are {allow}"));
        problem.allow = Some(allow);
        problem
    }

    /// 401: there is no key.
    pub(in crate::http) fn unauthorized(detail: impl Into<Cow<'static, str>>) -> Problem {
        let problem = Problem::new(StatusCode::UNAUTHORIZED, detail);
        Problem { challenge: Some("Bearer realm=\"jeton\""), ..problem }
    }

    /// 401: there is one that does not count, whatever the reason.
    pub(in crate::http) fn wrong_key() -> Problem {
        let problem = Problem::unauthorized("the key is not valid here");
        Problem { challenge: Some("Bearer realm=\"jeton\", error=\"invalid_token\""), ..problem }
    }

    /// 403: the key may not do this.
    pub(in crate::http) fn forbidden(detail: impl Into<Cow<'static, str>>) -> Problem {
        let problem = Problem::new(StatusCode::FORBIDDEN, detail);
        let challenge = "Bearer realm=\"jeton\", error=\"insufficient_scope\"";
        Problem { challenge: Some(challenge), ..problem }
    }

    /// Names the field it is about.
    #[must_use]
    pub(in crate::http) fn about(mut self, field: impl Into<Cow<'static, str>>) -> Problem {
        self.field = Some(field.into());
        self
    }

    /// Says when to come again, in whole seconds.
    #[must_use]
    pub(in crate::http) fn after(mut self, wait: Duration) -> Problem {
        self.retry_after = Some(wait.as_secs() + u64::from(wait.subsec_nanos() > 0));
        self
    }

    /// Ends the connection after the answer.
    #[must_use]
    pub(in crate::http) fn closing(mut self) -> Problem {
        self.closes = true;
        self
    }

    fn title(&self) -> &'static str {
        match self.status {
            StatusCode::PAYLOAD_TOO_LARGE => "Content Too Large",
            StatusCode::UNPROCESSABLE_ENTITY => "Unprocessable Content",
            status => status.canonical_reason().unwrap_or("Error"),
        }
    }

    /// The problem document.
    pub(in crate::http) fn to_json(&self) -> Vec<u8> {
        let document = Document {
            r#type: "about:blank",
            title: self.title(),
            status: self.status.as_u16(),
            detail: &self.detail,
            field: self.field.as_deref(),
        };
        // Strings and a number always serialize.
        serde_json::to_vec(&document).unwrap_or_default()
    }

    /// The answer that says so.
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
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
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
    fn p10_the_fixed_404_is_the_document_it_claims_to_be() {
        let fixed: serde_json::Value = serde_json::from_slice(NOT_FOUND).unwrap();
        let made: serde_json::Value =
            serde_json::from_slice(&Problem::not_found().to_json()).unwrap();
        assert_eq!(fixed, made);
    }

    #[test]
    fn every_problem_says_no_store_and_unavailable_says_when() {
        for problem in
            [Problem::not_found(), Problem::method_not_allowed("GET"), Problem::malformed("x")]
        {
            let response = problem.into_response();
            assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
            assert!(!response.headers().contains_key(RETRY_AFTER));
        }
        let response = Problem::unavailable("the queue is full").into_response();
        assert_eq!(response.headers()[RETRY_AFTER], "1");
    }

    #[test]
    fn canned_answers_are_whole() {
        for (canned, status) in [
            (&SLOW_HEAD, 408),
            (&TOO_MANY_CONNECTIONS, 503),
            (&NO_MEMORY, 503),
            (&RECOVERING, 503),
            (&SPEAKS_TLS, 400),
        ] {
            let text = std::str::from_utf8(canned.as_slice()).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.contains("cache-control: no-store"), "{head}");
            assert!(head.contains("x-content-type-options: nosniff"), "{head}");
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
            let body: serde_json::Value = serde_json::from_str(body).unwrap();
            assert_eq!(body["status"], status);
        }
    }
}
