//! The one reader of HTTP/1 heads: refused, answered on the hot path, or forwarded to hyper.
//!
//! hyper is lenient where RFC 9112 allows it: it takes a bare LF for the end of a line, a
//! Transfer-Encoding beside a Content-Length, a list of codings of which it knows only the last. A
//! proxy in front may read such bytes otherwise, see the end of the request elsewhere, and what it
//! takes for a body is served here as a request of its own. So a head is read here before hyper
//! sees a byte of it, and one rule holds: what has two readings is refused, and nothing after it is
//! read. What hyper would refuse is refused here, so that every refusal is ours.
//!
//! There are two entries and one judgement. [`hot_head`](super::hot_head) recognises a few forms of
//! requests in one pass. All other heads go to [`HeadReader`], which keeps its place: a head that comes
//! byte by byte is read once. Tests hold that the second forwards what the first accepts, with the same
//! end, and that hyper finds in what is forwarded what the reader found: `head::tests`.

use crate::http::h1::head_syntax::{self, Framing, NotStrict, RequestLine, is_host, may_begin};

/// The longest head of an HTTP/1.1 request, in bytes.
pub(in crate::http) const HEAD_LEN_MAX: usize = 64 * 1024;
/// The most fields of a head. hyper takes no more.
pub(in crate::http) const FIELDS_MAX: usize = 100;

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
pub(in crate::http::h1) mod tests;
