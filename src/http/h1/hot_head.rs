//! The heads of the hot path, byte for byte what ordinary clients send: to resolve a token or a list, to
//! introspect, to issue and to consume.
//!
//! In the first no header is known that could say where the request ends, in the others one plain
//! `Content-Length`, so the end cannot be in doubt. Every other head is for the one
//! [reader](super::head) of heads.

use crate::http::h1::head::FIELDS_MAX;
use crate::http::h1::head_syntax::{self, is_host, trimmed};
use crate::model::token::TOKEN_TEXT_LEN;
use crate::service::operation::Operation;

/// A head of which more than this has come, and not the end, is not for the hot path.
const HOT_LEN_MAX: usize = 2 * 1024;
/// As many bytes as [`FIELDS_MAX`] of the shortest lines in [`KNOWN`], without a value.
const FIELDS_LEN_MIN: usize = FIELDS_MAX * b"Accept:\r\n".len();

const START: &[u8] = b"GET /v1/tokens/";
const VERSION: &[u8] = b" HTTP/1.1\r\n";

/// A form of request with a body that the hot path knows.
struct WithBody {
    /// How its type is written.
    types: &'static [&'static [u8]],
    /// The longest body on the hot path, in bytes.
    len_max: usize,
    /// Whether it may have no body, and then no length and no type.
    may_be_empty: bool,
    /// Whether it may have an `Idempotency-Key`.
    takes_key: bool,
}

const JSON_TYPES: &[&[u8]] =
    &[b"application/json", b"application/json;charset=utf-8", b"application/json; charset=utf-8"];

const FORM: WithBody = WithBody {
    types: &[
        b"application/x-www-form-urlencoded",
        b"application/x-www-form-urlencoded;charset=utf-8",
        b"application/x-www-form-urlencoded; charset=utf-8",
    ],
    len_max: 2 * 1024,
    may_be_empty: false,
    takes_key: false,
};
const LIST: WithBody =
    WithBody { types: JSON_TYPES, len_max: 64 * 1024, may_be_empty: false, takes_key: false };
const CHANGE: WithBody =
    WithBody { types: JSON_TYPES, len_max: 64 * 1024, may_be_empty: false, takes_key: true };
const CONSUME: WithBody = WithBody { may_be_empty: true, ..CHANGE };

const POST: &[u8] = b"POST /";
const FORM_LINE: &[u8] = b"oauth2/introspect HTTP/1.1\r\n";
const LIST_LINE: &[u8] = b"v1/resolve HTTP/1.1\r\n";
/// The rest of the request line of changes without a token in the path.
const CHANGE_LINES: [(&[u8], Operation); 3] = [
    (b"v1/tokens HTTP/1.1\r\n", Operation::Issue),
    (b"v1/consume HTTP/1.1\r\n", Operation::ConsumeBatch),
    (b"v1/tokens/batch HTTP/1.1\r\n", Operation::IssueBatch),
];
/// The request line of a consume, before and after its token.
const CONSUME_LINE: [&[u8]; 2] = [b"v1/tokens/", b"/consume HTTP/1.1\r\n"];

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

/// What the hot path makes of the bytes at the front of the input.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::http) enum Hot<'a> {
    /// A whole head of `len` bytes, its `Authorization`, and its `Host` unless that is known.
    Resolve { token: &'a [u8], key: Option<&'a [u8]>, new_host: Option<&'a [u8]>, len: usize },
    /// A whole introspection: `len` bytes with its form.
    Introspect { form: &'a [u8], key: Option<&'a [u8]>, new_host: Option<&'a [u8]>, len: usize },
    /// A whole request for a list: `len` bytes with its body.
    List { body: &'a [u8], key: Option<&'a [u8]>, new_host: Option<&'a [u8]>, len: usize },
    /// A whole request for a change: `len` bytes with its body.
    Change { change: Change<'a>, key: Option<&'a [u8]>, new_host: Option<&'a [u8]>, len: usize },
    /// Not all of it is there yet.
    Partial,
    /// Not for the hot path, however it goes on.
    Other,
}

/// The values of `Authorization` and of a new `Host`, and the length of a request.
type Caller<'a> = (Option<&'a [u8]>, Option<&'a [u8]>, usize);

impl<'a> Hot<'a> {
    /// Who asks, and how long the request is, if the hot path knows it.
    #[inline]
    pub(in crate::http) fn caller(&self) -> Option<Caller<'a>> {
        match *self {
            Self::Resolve { key, new_host, len, .. }
            | Self::List { key, new_host, len, .. }
            | Self::Introspect { key, new_host, len, .. }
            | Self::Change { key, new_host, len, .. } => Some((key, new_host, len)),
            Self::Partial | Self::Other => None,
        }
    }
}

/// An issue or a consume, alone or as a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) struct Change<'a> {
    pub(in crate::http) operation: Operation,
    /// The token in the path.
    pub(in crate::http) token: Option<&'a [u8]>,
    pub(in crate::http) idempotency_key: Option<&'a [u8]>,
    pub(in crate::http) body: &'a [u8],
}

/// Reads a head that may be for the hot path; `known` is the `Host` of the requests before it.
#[inline]
pub(in crate::http) fn hot<'a>(bytes: &'a [u8], known: &[u8]) -> Hot<'a> {
    let Some((line, headers)) = bytes.split_at_checked(LINE_END) else {
        return if may_become_hot(bytes) { Hot::Partial } else { Hot::Other };
    };
    if !line.starts_with(START) || &line[TOKEN_END..] != VERSION {
        return hot_post(bytes, known).unwrap_or(Hot::Other);
    }
    match read_headers(headers, known, |_, _| false) {
        Ok(Some(Headers { len, key, new_host })) => {
            if len > FIELDS_LEN_MIN && has_too_many_fields(&headers[..len]) {
                return Hot::Other;
            }
            let (token, len) = (&line[START.len()..TOKEN_END], LINE_END + len);
            Hot::Resolve { token, key, new_host, len }
        }
        Ok(None) if bytes.len() < HOT_LEN_MAX => Hot::Partial,
        Ok(None) | Err(NotHot) => Hot::Other,
    }
}

/// Reads a request with a body.
fn hot_post<'a>(bytes: &'a [u8], known: &[u8]) -> Option<Hot<'a>> {
    let target = bytes.strip_prefix(POST)?;
    let read = |form: &WithBody, rest: &'a [u8]| {
        let whole = hot_body(form, rest, known)?;
        Some((bytes.len() - rest.len() + whole.len, whole))
    };
    if let Some(rest) = target.strip_prefix(LIST_LINE) {
        let (len, WholeBody { headers: Headers { key, new_host, .. }, body, .. }) =
            read(&LIST, rest)?;
        return Some(Hot::List { body, key, new_host, len });
    }
    if let Some(rest) = target.strip_prefix(FORM_LINE) {
        let (len, WholeBody { headers: Headers { key, new_host, .. }, body, .. }) =
            read(&FORM, rest)?;
        return Some(Hot::Introspect { form: body, key, new_host, len });
    }
    let (form, operation, token, rest) = change_line(target)?;
    let (len, WholeBody { headers: Headers { key, new_host, .. }, idempotency_key, body, .. }) =
        read(form, rest)?;
    let change = Change { operation, token, idempotency_key, body };
    Some(Hot::Change { change, key, new_host, len })
}

type ChangeLine<'a> = (&'static WithBody, Operation, Option<&'a [u8]>, &'a [u8]);

/// The form of a change and its token, and what stands behind its request line.
fn change_line(target: &[u8]) -> Option<ChangeLine<'_>> {
    for (line, operation) in CHANGE_LINES {
        if let Some(rest) = target.strip_prefix(line) {
            return Some((&CHANGE, operation, None, rest));
        }
    }
    let (token, rest) = target.strip_prefix(CONSUME_LINE[0])?.split_at_checked(TOKEN_TEXT_LEN)?;
    let rest = rest.strip_prefix(CONSUME_LINE[1])?;
    Some((&CONSUME, Operation::Consume, Some(token), rest))
}

/// What stands behind the request line of a request with a body.
struct WholeBody<'a> {
    headers: Headers<'a>,
    idempotency_key: Option<&'a [u8]>,
    body: &'a [u8],
    /// Length of all, in bytes.
    len: usize,
}

/// Reads the headers and the body, if all of it is there: nothing is waited for.
fn hot_body<'a>(form: &WithBody, rest: &'a [u8], known: &[u8]) -> Option<WholeBody<'a>> {
    let (mut is_typed, mut body_len, mut idempotency_key) = (false, None, None);
    let of_body = |name: &[u8], value: &'a [u8]| {
        let value = trimmed(value);
        if name.eq_ignore_ascii_case(b"content-length") {
            // What is given twice, or not as a plain number, is refused elsewhere.
            let len = head_syntax::length(value).ok().and_then(|len| usize::try_from(len).ok());
            len.is_some_and(|len| body_len.replace(len).is_none())
        } else if name.eq_ignore_ascii_case(b"content-type") {
            let is_first = !std::mem::replace(&mut is_typed, true);
            is_first && form.types.iter().any(|known| value.eq_ignore_ascii_case(known))
        } else if form.takes_key && name.eq_ignore_ascii_case(b"idempotency-key") {
            is_visible(value) && idempotency_key.replace(value).is_none()
        } else {
            false
        }
    };
    let headers = read_headers(rest, known, of_body).ok()??;
    if headers.len > FIELDS_LEN_MIN && has_too_many_fields(&rest[..headers.len]) {
        return None;
    }
    let body_len = match body_len {
        None | Some(0) if form.may_be_empty => 0,
        Some(len @ 1..) if is_typed && len <= form.len_max => len,
        _ => return None,
    };
    let body = rest[headers.len..].get(..body_len)?;
    let len = headers.len + body_len;
    Some(WholeBody { headers, idempotency_key, body, len })
}

/// Whether less than a request line can still become the one of a resolve. A shorter line, and with
/// it a whole request, must not be waited on for ever.
fn may_become_hot(bytes: &[u8]) -> bool {
    let (start, rest) = bytes.split_at(bytes.len().min(START.len()));
    let (token, version) = rest.split_at(rest.len().min(TOKEN_TEXT_LEN));
    START.starts_with(start)
        && token.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte))
        && VERSION.starts_with(version)
}

/// Counts the lines. The caller does so only for headers that are long enough for too many fields.
#[cold]
fn has_too_many_fields(headers: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', headers).count() > FIELDS_MAX + 1
}

struct NotHot;

/// What the headers of a request for the hot path say.
struct Headers<'a> {
    /// Length in bytes, with the empty line behind them.
    len: usize,
    /// The value of `Authorization`.
    key: Option<&'a [u8]>,
    /// The value of `Host`, unless it is the known one.
    new_host: Option<&'a [u8]>,
}

/// Reads the headers; nothing where the empty line behind them is not there yet. `is_expected` takes
/// those that describe a body.
#[inline]
fn read_headers<'a>(
    bytes: &'a [u8],
    known: &[u8],
    mut is_expected: impl FnMut(&[u8], &'a [u8]) -> bool,
) -> Result<Option<Headers<'a>>, NotHot> {
    let (mut at, mut has_host, mut new_host, mut key) = (0, false, None, None);
    loop {
        let rest = &bytes[at..];
        let Some(end) = memchr::memchr(b'\r', rest) else { return Ok(None) };
        match rest.get(end + 1) {
            Some(b'\n') => {}
            Some(_) => return Err(NotHot),
            None => return Ok(None),
        }
        let line = &rest[..end];
        at += end + 2;
        if line.is_empty() {
            return match has_host {
                true => Ok(Some(Headers { len: at, key, new_host })),
                false => Err(NotHot),
            };
        }
        let colon = memchr::memchr(b':', line).ok_or(NotHot)?;
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if name.eq_ignore_ascii_case(b"host") {
            let value = trimmed(value);
            let is_known = !value.is_empty() && value == known;
            if has_host || !(is_known || is_host(value)) {
                return Err(NotHot);
            }
            new_host = (!is_known).then_some(value);
            has_host = true;
            continue;
        }
        if !is_harmless(name, value) && !is_expected(name, value) {
            return Err(NotHot);
        }
        // What is given twice has two readings.
        if name.len() == KEY.len()
            && name.eq_ignore_ascii_case(KEY)
            && key.replace(trimmed(value)).is_some()
        {
            return Err(NotHot);
        }
    }
}

fn is_harmless(name: &[u8], value: &[u8]) -> bool {
    if name.eq_ignore_ascii_case(b"connection") {
        return trimmed(value).eq_ignore_ascii_case(b"keep-alive");
    }
    KNOWN.iter().any(|known| name.eq_ignore_ascii_case(known)) && is_visible(value)
}

fn is_visible(value: &[u8]) -> bool {
    value.iter().all(|byte| matches!(byte, b' '..=b'~'))
}

#[cfg(test)]
mod tests;
