//! The hot path: the canonical `GET /v1/tokens/{token}` is answered before hyper sees it.
//!
//! Resolves are most of what a server does, and most of what a resolve costs beyond the kernel is
//! the general parsing and writing of HTTP. The hot path knows one form of request only, byte for byte
//! what ordinary clients send, and leaves everything else to hyper: another method, version or
//! target, a header it does not know or a value with an unusual byte, a body of any kind, a missing
//! or second Host. It takes whole heads and only between requests, so hyper never sees half of what
//! was answered here, and where one ends can't be in doubt: no header that could say so is known
//! here.

use bytes::BufMut;
use http::StatusCode;

use crate::http::answer::{canned, problem};
use crate::http::conn::buffer::{Buffer, OUTPUT_LEN_MAX};
use crate::http::conn::context::Worker;
use crate::http::conn::state::ConnState;
use crate::http::h1::head_syntax::{is_host, trimmed};
use crate::http::request::authorization::presented;
use crate::model::scope::Scope;
use crate::model::time::UnixMillis;
use crate::model::token::{Digest, TOKEN_TEXT_LEN, Token};
use crate::service::audit_trail::QuickTrail;
use crate::service::networks::Misses;
use crate::service::operation::Operation;

/// A longer head is not canonical.
const HEAD_LEN_MAX: usize = 2 * 1024;
const START: &[u8] = b"GET /v1/tokens/";
const VERSION: &[u8] = b" HTTP/1.1\r\n";
const TOKEN_END: usize = START.len() + TOKEN_TEXT_LEN;
const LINE_END: usize = TOKEN_END + VERSION.len();

/// Whose value says who is asking.
const KEY: &[u8] = b"authorization";

/// Headers that change nothing about a resolve, and [`KEY`].
const KNOWN: [&[u8]; 11] = [
    KEY,
    b"user-agent",
    b"accept",
    b"accept-encoding",
    b"accept-language",
    b"cache-control",
    b"pragma",
    b"traceparent",
    b"tracestate",
    b"x-request-id",
    b"x-forwarded-for",
];

/// How far the hot path came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum Progress {
    /// Everything that had arrived is answered.
    Drained,
    /// The begin of a request that may become canonical is there: read on.
    Partial,
    /// The output is full: send it, then come back.
    Full,
    /// What comes next is for hyper.
    Other,
}

/// Answers canonical requests from the front of the input, as far as they go.
pub(in crate::http) fn serve(worker: &Worker, state: &ConnState) -> Progress {
    let service = &*worker.service;
    let (mut input, mut output) = (state.input.borrow_mut(), state.output.borrow_mut());
    loop {
        if input.is_empty() {
            return Progress::Drained;
        }
        if output.len() >= OUTPUT_LEN_MAX {
            return Progress::Full;
        }
        let found = head(input.unread(), state.host.borrow().text());
        let (token, key, new_host, len) = match found {
            Head::Canonical { token, key, new_host, len } => (token, key, new_host, len),
            Head::Partial => return Progress::Partial,
            Head::Other => return Progress::Other,
        };
        // What is not accepted is refused by the service.
        if new_host.is_some_and(|host| !worker.accepts_host(state, host)) {
            return Progress::Other;
        }
        let Ok(token) = Token::parse(token) else { return Progress::Other };
        let now = service.now();
        // Who may not is told so by the service.
        match service.authenticator.admit(&state.credentials, presented(key), now) {
            Ok(access) if access.may(Scope::Resolve) => {
                let Ok(trail) = QuickTrail::begin(service) else { return Progress::Other };
                let digest = access.digester.digest(&token);
                let is_found = answer(worker, &digest, now, &mut output);
                if !is_found {
                    // What is missed too often is refused by the service.
                    let peer = state.peer.get();
                    if service.miss_limiter.is_in_debt(&access, peer, now) {
                        return Progress::Other;
                    }
                    service.miss_limiter.charge(&access, peer, now, Misses::ONE);
                    not_found(worker, &mut output);
                }
                if let Some(trail) = trail {
                    let found = (is_found, Some(if is_found { 200 } else { 404 }));
                    trail.end(service, state.address(), &access, digest, found);
                }
            }
            Ok(_) | Err(_) => return Progress::Other,
        }
        input.advance(len);
    }
}

/// False where nothing is there, and nothing was answered.
fn answer(worker: &Worker, digest: &Digest, now: UnixMillis, output: &mut Buffer) -> bool {
    let date = worker.date.borrow();
    let found = worker.service.engine.resolve(digest, now, |payload| {
        let out = output.tail(canned::OK_HEAD.len() + 64 + payload.len());
        out.put_slice(canned::OK_HEAD);
        out.put_slice(itoa::Buffer::new().format(payload.len()).as_bytes());
        out.put_slice(b"\r\ndate: ");
        out.put_slice(date.as_bytes());
        out.put_slice(b"\r\n\r\n");
        out.put_slice(payload);
    });
    if found.is_some() {
        worker.counters.count(Operation::Resolve, StatusCode::OK);
    }
    found.is_some()
}

fn not_found(worker: &Worker, output: &mut Buffer) {
    let out = output.tail(canned::NOT_FOUND_HEAD.len() + 512);
    out.put_slice(canned::NOT_FOUND_HEAD);
    out.put_slice(itoa::Buffer::new().format(problem::NOT_FOUND.len()).as_bytes());
    out.put_slice(b"\r\ndate: ");
    out.put_slice(worker.date.borrow().as_bytes());
    out.put_slice(b"\r\n\r\n");
    out.put_slice(problem::NOT_FOUND);
    worker.counters.count(Operation::Resolve, StatusCode::NOT_FOUND);
}

#[derive(Debug, PartialEq, Eq)]
enum Head<'a> {
    /// A whole head of `len` bytes, its `Authorization`, and its `Host` unless that is known.
    Canonical { token: &'a [u8], key: Option<&'a [u8]>, new_host: Option<&'a [u8]>, len: usize },
    /// Not all of it is there yet.
    Partial,
    /// Not for the hot path.
    Other,
}

/// Reads a head; `known` is the `Host` of the requests before it.
fn head<'a>(bytes: &'a [u8], known: &[u8]) -> Head<'a> {
    let Some((line, headers)) = bytes.split_at_checked(LINE_END) else {
        return if may_become_canonical(bytes) { Head::Partial } else { Head::Other };
    };
    if !line.starts_with(START) || &line[TOKEN_END..] != VERSION {
        return Head::Other;
    }
    match read_headers(headers, known) {
        Ok(Some(Headers { len, key, new_host })) => {
            let (token, len) = (&line[START.len()..TOKEN_END], LINE_END + len);
            Head::Canonical { token, key, new_host, len }
        }
        Ok(None) if bytes.len() < HEAD_LEN_MAX => Head::Partial,
        Ok(None) | Err(NotCanonical) => Head::Other,
    }
}

/// Whether less than a request line can still become the canonical one. A shorter line, and with
/// it a whole request, must not be waited on for ever.
fn may_become_canonical(bytes: &[u8]) -> bool {
    let (start, rest) = bytes.split_at(bytes.len().min(START.len()));
    let (token, version) = rest.split_at(rest.len().min(TOKEN_TEXT_LEN));
    START.starts_with(start)
        && token.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte))
        && VERSION.starts_with(version)
}

struct NotCanonical;

/// What the headers of a canonical head say.
struct Headers<'a> {
    /// Length in bytes, with the empty line behind them.
    len: usize,
    /// The value of `Authorization`.
    key: Option<&'a [u8]>,
    /// The value of `Host`, unless it is the known one.
    new_host: Option<&'a [u8]>,
}

/// Reads the headers; nothing where the empty line behind them is not there yet.
fn read_headers<'a>(bytes: &'a [u8], known: &[u8]) -> Result<Option<Headers<'a>>, NotCanonical> {
    let (mut at, mut has_host, mut new_host, mut key) = (0, false, None, None);
    loop {
        let rest = &bytes[at..];
        let Some(end) = memchr::memchr(b'\r', rest) else { return Ok(None) };
        match rest.get(end + 1) {
            Some(b'\n') => {}
            Some(_) => return Err(NotCanonical),
            None => return Ok(None),
        }
        let line = &rest[..end];
        at += end + 2;
        if line.is_empty() {
            return match has_host {
                true => Ok(Some(Headers { len: at, key, new_host })),
                false => Err(NotCanonical),
            };
        }
        let colon = memchr::memchr(b':', line).ok_or(NotCanonical)?;
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if name.eq_ignore_ascii_case(b"host") {
            let value = trimmed(value);
            let is_known = !value.is_empty() && value == known;
            if has_host || !(is_known || is_host(value)) {
                return Err(NotCanonical);
            }
            new_host = (!is_known).then_some(value);
            has_host = true;
            continue;
        }
        if !is_harmless(name, value) {
            return Err(NotCanonical);
        }
        // What is given twice has two readings.
        if name.len() == KEY.len()
            && name.eq_ignore_ascii_case(KEY)
            && key.replace(trimmed(value)).is_some()
        {
            return Err(NotCanonical);
        }
    }
}

fn is_harmless(name: &[u8], value: &[u8]) -> bool {
    if name.eq_ignore_ascii_case(b"connection") {
        return trimmed(value).eq_ignore_ascii_case(b"keep-alive");
    }
    KNOWN.iter().any(|known| name.eq_ignore_ascii_case(known))
        && value.iter().all(|byte| matches!(byte, b' '..=b'~'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TOKEN: &str = "abcdefghijklmnopqrstuvwxyzABCDEF";

    fn request(headers: &str) -> Vec<u8> {
        format!("GET /v1/tokens/{TOKEN} HTTP/1.1\r\n{headers}\r\n").into_bytes()
    }

    #[test]
    fn what_clients_send_is_canonical() {
        for headers in [
            "Host: a\r\n",
            "host:127.0.0.1:7450\r\n",
            "Host: [::1]:7450\r\nUser-Agent: curl/8\r\nAccept: */*\r\n",
            "User-Agent: x\r\nHost: a\r\nConnection: Keep-Alive\r\n",
        ] {
            let bytes = request(headers);
            let (token, key, len) = (TOKEN.as_bytes(), None, bytes.len());
            let Head::Canonical { new_host: Some(host), .. } = head(&bytes, b"") else {
                panic!("{headers:?} is not canonical");
            };
            for (known, new_host) in [(&b"b"[..], Some(host)), (host, None)] {
                let expected = Head::Canonical { token, key, new_host, len };
                assert_eq!(head(&bytes, known), expected, "{headers:?}");
                let more = [&bytes[..], b"GET"].concat();
                assert_eq!(head(&more, known), expected, "what follows does not matter");
            }
            for len in 1..bytes.len() {
                assert_eq!(head(&bytes[..len], b""), Head::Partial, "{len} of {headers:?}");
            }
        }
    }

    #[test]
    fn p8_anything_that_could_be_ambiguous_is_left_to_hyper() {
        for headers in [
            "",
            "Host:\r\n",
            "Host: a\r\nHost: a\r\n",
            "Host: a\r\nHost: b\r\n",
            "Host: b\r\nHost: a\r\n",
            "Host: a b\r\n",
            "Host: a:1:2\r\n",
            "Host: a:b\r\n",
            "Host: a\r\nContent-Length: 0\r\n",
            "Host: a\r\nTransfer-Encoding: chunked\r\n",
            "Host: a\r\nConnection: close\r\n",
            "Host: a\r\nAuthorization: Bearer x\r\nAuthorization: Bearer x\r\n",
            "Host: a\r\nConnection: keep-alive, upgrade\r\n",
            "Host: a\r\nUpgrade: h2c\r\n",
            "Host: a\r\nExpect: 100-continue\r\n",
            "Host: a\r\nAccept : x\r\n",
            "Host: a\r\n Accept: x\r\n",
            "Host: a\r\nAccept: x\r\n y\r\n",
            "Host: a\r\nAccept: \0\r\n",
            "Host: a\r\nAccept: x\ny\r\n",
            "Host: a\r\nAccept: x\ry\r\n",
            "Host: a\r\nAccept: \u{e9}\r\n",
            "Host: a\r\nnonsense\r\n",
            "Host: a\nAccept: x\r\n",
            "Host: a\n\r\n",
            "Host: a\r\nConnection: keep-alive\n\r\n",
            "Host: \x0ca\r\n",
        ] {
            for known in [&b""[..], b"a"] {
                assert_eq!(head(&request(headers), known), Head::Other, "{headers:?}");
            }
        }
        for line in [
            "get /v1/tokens/",
            "GET  /v1/tokens/",
            "HEAD /v1/tokens/",
            "GET /v1/tokens?",
            "GET http://a/v1/tokens/",
            "\r\nGET /v1/tokens/",
        ] {
            let bytes = format!("{line}{TOKEN} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes();
            assert_eq!(head(&bytes, b"a"), Head::Other, "{line}");
        }
        for tail in [" HTTP/1.0\r\n", "/status HTTP/1.1\r\n", "?x HTTP/1.1\r\n", "x HTTP/1.1\r\n"] {
            let bytes = format!("GET /v1/tokens/{TOKEN}{tail}Host: a\r\n\r\n").into_bytes();
            assert_eq!(head(&bytes, b"a"), Head::Other, "{tail}");
        }
        for whole in ["GET /v1/tokens/short HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\n"] {
            assert_eq!(head(whole.as_bytes(), b"a"), Head::Other, "{whole:?} is not waited on");
        }
        let long = request(&format!("Host: a\r\nAccept: {}", "x".repeat(HEAD_LEN_MAX)));
        assert_eq!(head(&long[..long.len() - 2], b"a"), Head::Other, "not for ever");
    }

    proptest! {
        /// One byte changed anywhere: the hot path either leaves the request alone, or its length and
        /// the place of its token are what they were.
        #[test]
        fn one_odd_byte_never_moves_the_end(at in 0..120usize, byte: u8) {
            let whole = request("Host: 127.0.0.1:7450\r\nAccept: */*\r\n");
            let mut bytes = whole.clone();
            let at = at % bytes.len();
            bytes[at] = byte;
            if let Head::Canonical { token, len, .. } = head(&bytes, b"") {
                prop_assert_eq!(len, whole.len());
                prop_assert_eq!(token, &bytes[START.len()..TOKEN_END]);
            }
        }
    }
}
