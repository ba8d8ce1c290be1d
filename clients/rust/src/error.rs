//! Errors. No message contains a token, a payload or a key.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;

use crate::types::Payload;

const KEY_MAX: usize = 255;

/// The Idempotency-Key of a change. Repeating the change with it changes nothing twice.
#[derive(Clone, PartialEq, Eq)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// A key of the caller's: 1 to 255 printable ASCII characters, without a space at either end.
    ///
    /// # Errors
    /// [`Error::Malformed`]: the text is no such key.
    pub fn new(text: impl Into<String>) -> Result<Self, Error> {
        let text = text.into();
        let is_printable = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        match (1..=KEY_MAX).contains(&text.len()) && is_printable && text.trim() == text {
            true => Ok(Self(text)),
            false => Err(Error::Malformed("key: must have 1 to 255 printable ASCII characters")),
        }
    }

    /// A key of 24 random bytes, as base64url. It does not begin with a hyphen, which command lines take
    /// for the begin of a flag.
    ///
    /// # Errors
    /// [`Error::Malformed`]: the system has no random bytes.
    pub fn random() -> Result<Self, Error> {
        let mut bytes = [0; 24];
        loop {
            let filled = getrandom::fill(&mut bytes);
            filled
                .map_err(|_| Error::Malformed("key: the system has no random bytes; give one"))?;
            let text = BASE64_URL_SAFE_NO_PAD.encode(bytes);
            if !text.starts_with('-') {
                return Ok(Self(text));
            }
        }
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdempotencyKey(…)")
    }
}

/// What a problem document is about, by its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProblemKind {
    /// 400: the request is malformed.
    BadRequest,
    /// 401: the key is missing, unknown, expired or revoked.
    Unauthorized,
    /// 403: the key lacks the scope.
    Forbidden,
    /// 404: the token is unknown, expired, consumed, revoked, or cannot be resolved.
    NotFound,
    /// 405: the server does not know this request. Is it older than the client?
    MethodNotAllowed,
    /// 408: the request took too long.
    RequestTimeout,
    /// 409: the reference or key was issued with other content, or its token was consumed.
    Conflict,
    /// 412: a token is under the name of a [`put_if_absent`](crate::Client::put_if_absent), or the
    /// position of [`Read::AtLeast`](crate::Read::AtLeast) is of an earlier stream of the cluster.
    PreconditionFailed,
    /// 413: the body or a payload is too long.
    ContentTooLarge,
    /// 415: the content type is not accepted.
    UnsupportedMediaType,
    /// 422: a value is out of its limits; `field` names it.
    OutOfLimits,
    /// 429: too many issues of the namespace, or too many misses of the client.
    TooManyRequests,
    /// 431: the head of the request is too long.
    HeadTooLong,
    /// 500: an internal error of the server. Nothing was changed.
    InternalError,
    /// 503: recovering, read-only, stopping or overloaded. In a cluster [`Problem::reason`] says more.
    Unavailable,
    /// 507: memory, quota or disk is full.
    StorageFull,
    /// Another status.
    Other,
}

impl ProblemKind {
    pub(crate) fn of(status: u16) -> Self {
        match status {
            400 => Self::BadRequest,
            401 => Self::Unauthorized,
            403 => Self::Forbidden,
            404 => Self::NotFound,
            405 => Self::MethodNotAllowed,
            408 => Self::RequestTimeout,
            409 => Self::Conflict,
            412 => Self::PreconditionFailed,
            413 => Self::ContentTooLarge,
            415 => Self::UnsupportedMediaType,
            422 => Self::OutOfLimits,
            429 => Self::TooManyRequests,
            431 => Self::HeadTooLong,
            500 => Self::InternalError,
            503 => Self::Unavailable,
            507 => Self::StorageFull,
            _ => Self::Other,
        }
    }
}

const REASONS: [&str; 5] = ["stale", "no-quorum", "stream-full", "unknown", "behind"];

/// A problem document (RFC 9457) of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// What it is about.
    pub kind: ProblemKind,
    /// Status of the answer.
    pub status: u16,
    /// A few words for the status.
    pub title: String,
    /// What is wrong, and what to do.
    pub detail: String,
    /// The field of the request that is wrong.
    pub field: Option<String>,
    /// How long to wait before a retry.
    pub retry_after: Option<Duration>,
}

#[derive(Deserialize)]
struct Document {
    status: u16,
    title: String,
    detail: String,
    field: Option<String>,
}

impl Problem {
    /// Reads a problem document of an answer with `status`.
    pub(crate) fn read(status: u16, body: &[u8], retry_after: Option<Duration>) -> Option<Self> {
        let document: Document = serde_json::from_slice(body).ok()?;
        let Document { title, detail, field, .. } = document;
        let kind = ProblemKind::of(status);
        let is_it = document.status == status;
        is_it.then_some(Self { kind, status, title, detail, field, retry_after })
    }

    /// In a cluster, why a node answered 503: `stale`, `no-quorum`, `stream-full`, `unknown` or `behind`.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        let word = self.detail.split([':', ' ']).next()?;
        (self.status == 503 && REASONS.contains(&word)).then_some(word)
    }

    pub(crate) fn not_found() -> Self {
        let (title, detail) = ("Not Found".to_owned(), "unknown token".to_owned());
        let kind = ProblemKind::NotFound;
        Self { kind, status: 404, title, detail, field: None, retry_after: None }
    }
}

/// Why no connection could be opened. No answer of the server is in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NoConnection {
    /// The name of the host has no address.
    #[error("the name of the server has no address")]
    Name(#[source] io::Error),
    /// No address of the server accepted a connection.
    #[error("{}", .0.kind())]
    Connect(#[source] io::Error),
    /// The TLS handshake failed; its cause may be a `rustls::Error`.
    #[error("{}", handshake(.0))]
    Handshake(#[source] io::Error),
    /// The server accepted no connection within the time of a try.
    #[error("the server did not accept the connection in time")]
    Slow,
    /// No connection became free within the time of the call.
    #[error("all connections are in use (connections_max)")]
    AllInUse,
    /// A connection ended before the request was sent.
    #[error("the connection had died")]
    Died,
}

fn handshake(error: &io::Error) -> String {
    let of_tls = error.get_ref().and_then(|it| it.downcast_ref::<rustls::Error>());
    of_tls.map_or_else(|| error.kind().to_string(), ToString::to_string)
}

/// Why a call failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument is out of its limits. Nothing was sent.
    #[error("{0}")]
    Malformed(&'static str),
    /// The server refused with a problem document.
    #[error("{} {}: {}", .0.status, .0.title, .0.detail)]
    Problem(Problem),
    /// An answer that is no problem document of jeton: a gateway's HTML, or a redirect.
    #[error("{status}: {}", gateway(*.status))]
    Gateway {
        /// Status of the answer.
        status: u16,
        /// How long to wait before a retry.
        retry_after: Option<Duration>,
    },
    /// No connection could be opened. Nothing was sent.
    #[error("no connection could be opened: {0}")]
    NoConnection(Arc<NoConnection>),
    /// A request was sent, and no complete answer came. Of a read only: it changed nothing.
    #[error("{0}")]
    NoAnswer(&'static str),
    /// The deadline of the call has passed. Of a read, or before anything was sent.
    #[error("the deadline of the call has passed")]
    Deadline,
    /// The answer is longer than allowed. Of a read only.
    #[error("the answer is longer than answer_max_bytes")]
    AnswerTooLarge,
    /// The answer is a success, but not what the operation returns.
    #[error("the answer to the {0} is not one of jeton")]
    UnexpectedAnswer(&'static str),
    /// A change may have happened: an answer was lost, and no later try settled the question. The same
    /// call with the same key changes nothing twice, and returns the answer of the first one. A refusal of
    /// that later call, such as `read-only`, settles nothing: the key stays the one to use.
    #[error("the outcome of the {operation} is unknown: {}", reason(.cause.as_deref()))]
    OutcomeUnknown {
        /// The operation.
        operation: &'static str,
        /// Its Idempotency-Key. `None` for a call that may be repeated without one (an issue with a
        /// reference, which is itself the key; extend; revoke), and for a put, whose repetition could
        /// bring back what was consumed meanwhile.
        key: Option<IdempotencyKey>,
        /// Of a consume of several tokens: the payloads that are known, in the order of the call.
        payloads: Option<Vec<Option<Payload>>>,
        /// The last error, without later refusals: they say only that they changed nothing themselves.
        /// `None` if a later try answered that the token is not found.
        cause: Option<Arc<Self>>,
    },
    /// Several URLs were given, and the servers are not nodes of one cluster. Servers that share nothing
    /// would consume a token once each.
    #[error("{0}")]
    NotOneCluster(&'static str),
    /// The client was closed. Of a read, or before anything was sent.
    #[error("the client was closed")]
    Closed,
}

fn reason(cause: Option<&Error>) -> String {
    let not_found = || "an answer was lost, and a later try did not find the token".to_owned();
    cause.map_or_else(not_found, ToString::to_string)
}

fn gateway(status: u16) -> &'static str {
    match status {
        300..=399 => "a redirect, which is not followed",
        _ => "the answer is not from jeton; something in between answered",
    }
}

impl Error {
    pub(crate) fn unknown(
        operation: &'static str,
        key: Option<IdempotencyKey>,
        cause: Self,
    ) -> Self {
        let cause = Some(Arc::new(cause));
        Self::OutcomeUnknown { operation, key, payloads: None, cause }
    }

    /// Whether the change that got this answer may have happened: a request that passed a gateway may have
    /// reached the server, a failed sync may have written the change, and of a list a part may be done.
    pub(crate) fn is_perhaps_done(&self) -> bool {
        match self {
            Self::Gateway { status, .. } => *status >= 500 || *status == 408,
            Self::Problem(Problem { status: 503 | 507, detail, .. }) => {
                detail.starts_with("unknown:") || detail.contains("others may have been")
            }
            _ => false,
        }
    }

    pub(crate) fn not_found() -> Self {
        Self::Problem(Problem::not_found())
    }

    /// Whether the token is unknown, expired, consumed, revoked, or cannot be resolved.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Problem(problem) if problem.kind == ProblemKind::NotFound)
    }

    /// Status of the answer, if there was one.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Problem(problem) => Some(problem.status),
            Self::Gateway { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Its Idempotency-Key, if this is an unknown outcome of a call that has one.
    #[must_use]
    pub fn key(&self) -> Option<&IdempotencyKey> {
        match self {
            Self::OutcomeUnknown { key, .. } => key.as_ref(),
            _ => None,
        }
    }

    /// How long to wait before a retry, if the answer said so.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Problem(problem) => problem.retry_after,
            Self::Gateway { retry_after, .. } => *retry_after,
            Self::OutcomeUnknown { cause, .. } => cause.as_ref().and_then(|it| it.retry_after()),
            _ => None,
        }
    }
}
