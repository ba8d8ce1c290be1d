//! The head of an answer over HTTP/1.1, as hyper writes it.

use bytes::BufMut;
use http::{Response, StatusCode};

use crate::http::answer::canned;
use crate::http::answer::response::Body;

/// Bytes of a head besides its headers, at most.
const BESIDE_LEN: usize = 160;

/// Writes the head of `response` and the empty line behind it; `date` is the value of `Date`.
pub(in crate::http) fn head(response: &Response<Body>, date: &str, out: &mut Vec<u8>) {
    let (status, headers) = (response.status(), response.headers());
    let len: usize =
        headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    out.reserve(BESIDE_LEN + len);
    out.put_slice(b"HTTP/1.1 ");
    out.put_slice(status.as_str().as_bytes());
    out.put_u8(b' ');
    out.put_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.put_slice(b"\r\n");
    for (name, value) in headers {
        out.put_slice(name.as_str().as_bytes());
        out.put_slice(b": ");
        out.put_slice(value.as_bytes());
        out.put_slice(b"\r\n");
    }
    if status == StatusCode::NO_CONTENT {
        out.put_slice(b"date: ");
        out.put_slice(date.as_bytes());
        out.put_slice(b"\r\n\r\n");
    } else {
        canned::complete(out, b"content-length: ", response.body().len(), date);
    }
}
