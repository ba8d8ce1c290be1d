//! The one reader of HTTP/1 heads: refused, answered on the hot path, or forwarded to hyper.
//!
//! hyper is lenient where RFC 9112 allows it: it takes a bare LF for the end of a line, a
//! Transfer-Encoding beside a Content-Length, a list of codings of which it knows only the last. A
//! proxy in front may read such bytes otherwise, see the end of the request elsewhere, and what it
//! takes for a body is served here as a request of its own. So a head is read here before hyper
//! sees a byte of it, and one rule holds: what has two readings is refused, and nothing after it is
//! read. What hyper would refuse is refused here, so that every refusal is ours.
//!
//! There are two entries and one judgement. [`hot`] recognises a form of request in one pass,
//! byte for byte what ordinary clients send to resolve a token, and others for a list and for an
//! introspection.
//! In the first it knows no header that could say where the request ends, in the others one plain
//! `Content-Length`, so its end cannot be in doubt. All other heads go to [`HeadReader`],
//! which keeps its place: a head that comes byte by byte is read once. Tests hold that the second
//! forwards what the first accepts, with the same end, and that hyper finds in what is forwarded
//! what the reader found: `head::tests`.

use crate::http::h1::head_syntax::{
    self, Framing, NotStrict, RequestLine, is_host, may_begin, trimmed,
};
use crate::model::token::TOKEN_TEXT_LEN;

/// The longest head of an HTTP/1.1 request, in bytes.
pub(in crate::http) const HEAD_LEN_MAX: usize = 64 * 1024;
/// The most fields of a head. hyper takes no more.
pub(in crate::http) const FIELDS_MAX: usize = 100;
/// A head of which more than this has come, and not the end, is not for the hot path.
const HOT_LEN_MAX: usize = 2 * 1024;
/// As many bytes as [`FIELDS_MAX`] of the shortest lines in [`KNOWN`], without a value.
const FIELDS_LEN_MIN: usize = FIELDS_MAX * b"Accept:\r\n".len();

const START: &[u8] = b"GET /v1/tokens/";
const VERSION: &[u8] = b" HTTP/1.1\r\n";

/// A request with a body that the hot path knows.
struct WithBody {
    line: &'static [u8],
    /// How its type is written.
    types: &'static [&'static [u8]],
    /// The longest body on the hot path, in bytes.
    len_max: usize,
}

const FORM: WithBody = WithBody {
    line: b"POST /oauth2/introspect HTTP/1.1\r\n",
    types: &[
        b"application/x-www-form-urlencoded",
        b"application/x-www-form-urlencoded;charset=utf-8",
        b"application/x-www-form-urlencoded; charset=utf-8",
    ],
    len_max: 2 * 1024,
};
const LIST: WithBody = WithBody {
    line: b"POST /v1/resolve HTTP/1.1\r\n",
    types: &[b"application/json"],
    len_max: 64 * 1024,
};

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
    /// Not all of it is there yet.
    Partial,
    /// Not for the hot path, however it goes on.
    Other,
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
    if let Some((Headers { key, new_host, len }, body)) = hot_body(&LIST, bytes, known) {
        return Some(Hot::List { body, key, new_host, len });
    }
    let (Headers { key, new_host, len }, form) = hot_body(&FORM, bytes, known)?;
    Some(Hot::Introspect { form, key, new_host, len })
}

/// Reads a whole request, if all of it is there: nothing is waited for.
fn hot_body<'a>(form: &WithBody, bytes: &'a [u8], known: &[u8]) -> Option<(Headers<'a>, &'a [u8])> {
    let rest = bytes.strip_prefix(form.line)?;
    let (mut is_typed, mut body_len) = (false, None);
    let of_body = |name: &[u8], value: &[u8]| {
        let value = trimmed(value);
        if name.eq_ignore_ascii_case(b"content-length") {
            // What is given twice, or not as a plain number, is refused elsewhere.
            let len = head_syntax::length(value).ok().and_then(|len| usize::try_from(len).ok());
            len.is_some_and(|len| body_len.replace(len).is_none())
        } else if name.eq_ignore_ascii_case(b"content-type") {
            let is_first = !std::mem::replace(&mut is_typed, true);
            is_first && form.types.iter().any(|known| value.eq_ignore_ascii_case(known))
        } else {
            false
        }
    };
    let headers = read_headers(rest, known, of_body).ok()??;
    if headers.len > FIELDS_LEN_MIN && has_too_many_fields(&rest[..headers.len]) {
        return None;
    }
    let body_len = body_len.filter(|len| is_typed && *len <= form.len_max)?;
    let body = rest[headers.len..].get(..body_len)?;
    let len = form.line.len() + headers.len + body.len();
    Some((Headers { len, ..headers }, body))
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

/// Counts only where there is room for too many.
#[cold]
fn has_too_many_fields(headers: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', headers).count() > FIELDS_MAX + 1
}

struct NotHot;

/// What the headers of a request for the hot path say.
struct Headers<'a> {
    /// Length in bytes, with the empty line behind them, or of the whole request.
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
    mut is_expected: impl FnMut(&[u8], &[u8]) -> bool,
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
    KNOWN.iter().any(|known| name.eq_ignore_ascii_case(known))
        && value.iter().all(|byte| matches!(byte, b' '..=b'~'))
}

/// What becomes of a head that is not for the hot path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum Head {
    /// Not all of it is there yet.
    Partial,
    /// It has one reading: hyper may have its `len` bytes, and then the body.
    Forward { len: usize, body: Framing },
    /// It is refused, and nothing behind it is read.
    Refused(Refused),
}

/// Why a head is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum Refused {
    /// A line has two readings, or none.
    NotStrict,
    /// It has more than [`HEAD_LEN_MAX`] bytes or more than [`FIELDS_MAX`] fields.
    TooLong,
}

impl From<NotStrict> for Refused {
    fn from(_: NotStrict) -> Self {
        Self::NotStrict
    }
}

/// Reads one head after the other, line by line as they arrive.
#[derive(Debug, Default)]
pub(in crate::http) struct HeadReader {
    /// The empty line that may stand before a request was there.
    is_behind_empty_line: bool,
    /// Bytes of the lines that were read.
    read: usize,
    /// Bytes behind those in which no line ends.
    searched: usize,
    facts: Facts,
}

impl HeadReader {
    /// How many bytes at the front of `input` mean nothing: the one empty line that may stand
    /// before a request (RFC 9112, 2.2).
    pub(in crate::http) fn skipped(&mut self, input: &[u8]) -> usize {
        if self.is_behind_empty_line || self.read > 0 || !input.starts_with(b"\r\n") {
            return 0;
        }
        (self.is_behind_empty_line, self.searched) = (true, 0);
        2
    }

    /// True once something of a head was looked at.
    pub(in crate::http) fn has_begun(&self) -> bool {
        self.is_behind_empty_line || self.read + self.searched > 0
    }

    /// Reads the head at the front of `bytes`, of which it has seen as much as there was at the last
    /// call. Nothing will follow where `is_eof`.
    pub(in crate::http) fn read(&mut self, bytes: &[u8], is_eof: bool) -> Head {
        let head = self.read_lines(bytes, is_eof).unwrap_or_else(Head::Refused);
        if head != Head::Partial {
            *self = Self::default();
        }
        head
    }

    fn read_lines(&mut self, bytes: &[u8], is_eof: bool) -> Result<Head, Refused> {
        if bytes.first().is_some_and(|first| !may_begin(*first)) {
            return Err(Refused::NotStrict);
        }
        loop {
            let rest = &bytes[self.read..];
            let Some(end) = memchr::memchr(b'\n', &rest[self.searched..]) else {
                self.searched = rest.len();
                return self.wait(rest, is_eof);
            };
            let line = &rest[..self.searched + end + 1];
            if self.read + line.len() > HEAD_LEN_MAX {
                return Err(Refused::TooLong);
            }
            let text = head_syntax::without_end(line)?;
            let is_first = self.read == 0;
            (self.read, self.searched) = (self.read + line.len(), 0);
            if is_first {
                self.facts.line = head_syntax::request_line(text)?;
            } else if text.is_empty() {
                return Ok(Head::Forward { len: self.read, body: self.facts.framing()? });
            } else {
                self.facts.field(text)?;
            }
        }
    }

    /// A line has begun and not ended.
    fn wait(&self, begun: &[u8], is_eof: bool) -> Result<Head, Refused> {
        if self.read + begun.len() >= HEAD_LEN_MAX {
            return Err(Refused::TooLong);
        }
        // A peer that ends in the middle of a request gets no answer, where it could have become one.
        let may_go_on = || match self.read {
            0 => head_syntax::may_become_request_line(begun),
            _ => head_syntax::may_become_field(begun),
        };
        if is_eof && !may_go_on() { Err(Refused::NotStrict) } else { Ok(Head::Partial) }
    }
}

/// What a head says about its own end and its addressee.
#[derive(Debug, Default)]
struct Facts {
    line: RequestLine,
    fields: usize,
    has_host: bool,
    is_chunked: bool,
    length: Option<u64>,
}

impl Facts {
    /// Takes in one field line.
    fn field(&mut self, line: &[u8]) -> Result<(), Refused> {
        let (name, value) = head_syntax::field(line)?;
        if name.eq_ignore_ascii_case(b"host") {
            ensure(!self.has_host && is_host(value))?;
            self.has_host = true;
        } else if name.eq_ignore_ascii_case(b"content-length") {
            ensure(self.length.is_none())?;
            self.length = Some(head_syntax::length(value)?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            // RFC 9112, 6.1: no other coding is known here, and a list has more than one reading.
            ensure(!self.is_chunked && value.eq_ignore_ascii_case(b"chunked"))?;
            self.is_chunked = true;
        }
        self.fields += 1;
        if self.fields > FIELDS_MAX { Err(Refused::TooLong) } else { Ok(()) }
    }

    /// What the whole head says.
    fn framing(&self) -> Result<Framing, Refused> {
        let is_version_1_1 = self.line.is_version_1_1;
        ensure(self.has_host || !is_version_1_1)?;
        match (self.is_chunked, self.length) {
            (false, length) => Ok(Framing::Length(length.unwrap_or(0))),
            (true, None) if is_version_1_1 => Ok(Framing::Chunked),
            (true, _) => Err(Refused::NotStrict),
        }
    }
}

fn ensure(holds: bool) -> Result<(), Refused> {
    if holds { Ok(()) } else { Err(Refused::NotStrict) }
}

#[cfg(test)]
mod tests;
