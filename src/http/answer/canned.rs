//! Prepared answers as bytes: the heads of the hot path's answers up to their length, and whole
//! answers for connections without a parseable request, which are closed afterwards.
//!
//! They have the headers of all answers of the data listener (see [`response`](super::response)).

use std::sync::LazyLock;

use bytes::BufMut;
use http::StatusCode;

use crate::http::answer::problem::Problem;
use crate::http::h1::head::Refused;

/// The head of a resolve's answer, up to its length.
pub(in crate::http) const OK_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\
    cache-control: no-store\r\nx-content-type-options: nosniff\r\ncontent-length: ";

/// The same for a payload that is not JSON.
pub(in crate::http) const OK_HEAD_OF_BYTES: &[u8] = b"HTTP/1.1 200 OK\r\n\
    content-type: application/octet-stream\r\ncache-control: no-store\r\n\
    x-content-type-options: nosniff\r\ncontent-length: ";

/// The head of an introspection's answer, up to its length.
pub(in crate::http) const OAUTH_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\n\
    content-type: application/json\r\ncache-control: no-store\r\n\
    x-content-type-options: nosniff\r\npragma: no-cache\r\ncontent-length: ";

/// The head of the one answer for unknown tokens, up to its length.
pub(in crate::http) const NOT_FOUND_HEAD: &[u8] = b"HTTP/1.1 404 Not Found\r\n\
    content-type: application/problem+json\r\ncache-control: no-store\r\n\
    x-content-type-options: nosniff\r\ncontent-length: ";

/// Writes one of these heads, and completes it: `len` is the length of the body, `date` the value of
/// `Date`.
pub(in crate::http) fn complete(out: &mut Vec<u8>, head: &[u8], len: usize, date: &str) {
    out.put_slice(head);
    out.put_slice(itoa::Buffer::new().format(len).as_bytes());
    out.put_slice(b"\r\ndate: ");
    out.put_slice(date.as_bytes());
    out.put_slice(b"\r\n\r\n");
}

/// Sent to a client whose request's head took too long.
pub(in crate::http) static SLOW_HEAD: LazyLock<Vec<u8>> = LazyLock::new(|| {
    canned(StatusCode::REQUEST_TIMEOUT, "", "the head of the request took too long")
});

/// Sent to a client for which there is no connection place.
pub(in crate::http) static TOO_MANY_CONNECTIONS: LazyLock<Vec<u8>> =
    LazyLock::new(|| canned(StatusCode::SERVICE_UNAVAILABLE, RETRY, "too many connections"));

/// Sent to a client whose request head finds no room in the memory budget.
pub(in crate::http) static NO_MEMORY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let detail = "too many long heads at once (--max-inflight)";
    canned(StatusCode::SERVICE_UNAVAILABLE, RETRY, detail)
});

/// Sent during recovery.
pub(in crate::http) static RECOVERING: LazyLock<Vec<u8>> =
    LazyLock::new(|| canned(StatusCode::SERVICE_UNAVAILABLE, RETRY, "recovering"));

/// Sent to a client that speaks plain HTTP to a TLS port.
pub(in crate::http) static SPEAKS_TLS: LazyLock<Vec<u8>> = LazyLock::new(|| {
    canned(
        StatusCode::BAD_REQUEST,
        "",
        "this port speaks TLS: use an address that begins with \
        https://",
    )
});

const RETRY: &str = "retry-after: 1\r\n";

/// A complete answer with a problem document, after which the connection is closed.
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

/// The answer to a refused head; `date` is the value of `Date`.
pub(in crate::http) fn refused_head(refused: Refused, date: &str) -> Vec<u8> {
    let (status, detail) = match refused {
        Refused::NotStrict => (StatusCode::BAD_REQUEST, "not a valid HTTP/1.1 request"),
        Refused::TooLong => {
            (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "the head of the request is too long")
        }
    };
    canned(status, &format!("date: {date}\r\n"), detail)
}

#[cfg(test)]
mod tests {
    use super::*;

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
