//! The framer, before hyper: what an HTTP/1 peer sends goes on only where its framing is beyond doubt.
//!
//! hyper is lenient where RFC 9112 allows it: it takes a bare LF for the end of a line, a
//! Transfer-Encoding beside a Content-Length, a list of codings of which it knows only the last. A
//! proxy in front may read such bytes otherwise, see the end of the request elsewhere, and what it
//! takes for a body is served here as a request of its own. So the framer reads every head line, chunk
//! size and trailer before hyper does, and knows one rule: what has two readings is refused, and
//! nothing after it is read. It finds the end of each message by itself; what it lets through has
//! the same end for hyper, because it lets through less than hyper would take.
//!
//! Refusing is done by hyper too, so that the answers before it leave in their order: the framer hands
//! over [`POISON`] in place of the line, which hyper cannot read either, as a head, as a chunk or as
//! a trailer. hyper then answers 400 (or fails the body, and the service answers 400) and closes.
//!
//! The bytes of a line are held back until the line is whole; bodies pass as they come.

use crate::http::h1::head_syntax::{self, Facts, Framing, NotStrict};

/// The longest head of an HTTP/1.1 request.
pub(in crate::http) const HEAD_LEN_MAX: usize = 64 * 1024;
/// Never part of a request: a NUL, and what ends a line, a head and a trailer section.
const POISON: &[u8] = b"\0\r\n\r\n";
/// The longest line that says the size of a chunk, with its extensions.
const SIZE_LINE_LEN_MAX: usize = 1024;
/// The longest trailer section.
const TRAILERS_LEN_MAX: usize = 8 * 1024;

/// What the next bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// A request line, perhaps after one empty line.
    Start { was_empty: bool },
    /// A header line.
    Header,
    /// So many bytes of a body with a length.
    Body(u64),
    /// The line with the size of a chunk.
    ChunkSize,
    /// So many bytes of a chunk.
    Chunk(u64),
    /// The end of a chunk's line.
    ChunkEnd,
    /// A line of the trailer section, of which so many bytes have come.
    Trailer(usize),
    /// A head that is too long: hyper says so once it has all that it can hold.
    TooLong,
    /// Nothing: what came was refused.
    Refused,
}

/// Follows one connection's input.
#[derive(Debug, Default)]
pub(in crate::http) struct Framer {
    next: Next,
    facts: Facts,
    /// Bytes of the present head that were let through.
    head_len: usize,
    /// Bytes at the front of the input that hyper may have.
    passed: usize,
    /// Bytes behind those in which no line ends.
    searched: usize,
    /// Bytes of [`POISON`] that hyper has taken.
    poisoned: usize,
}

impl Default for Next {
    fn default() -> Next {
        Next::Start { was_empty: false }
    }
}

/// What becomes of the bytes behind those that have passed.
enum Step {
    /// So many more may pass.
    Pass(usize),
    /// They are not all there.
    Wait,
}

impl Framer {
    /// How many bytes at the front of `input` mean nothing: the one empty line that may stand
    /// before a request (RFC 9112, 2.2).
    pub(in crate::http) fn skipped(&mut self, input: &[u8]) -> usize {
        let is_empty_line = input.starts_with(b"\r\n");
        if self.passed > 0 || !is_empty_line || self.next != (Next::Start { was_empty: false }) {
            return 0;
        }
        (self.next, self.searched) = (Next::Start { was_empty: true }, 0);
        2
    }

    /// Forgets what it has seen of a request that it will not get: a new one begins.
    pub(in crate::http) fn begin(&mut self) {
        debug_assert!(self.is_between(), "a request is taken whole or not at all");
        (self.next, self.searched) = (Next::default(), 0);
    }

    /// True where all of a request, and nothing of the next, has gone to hyper.
    pub(in crate::http) fn is_between(&self) -> bool {
        self.passed == 0 && matches!(self.next, Next::Start { .. })
    }

    /// Bytes of the head that is being read which were let through.
    pub(in crate::http) fn head_len(&self) -> usize {
        self.head_len
    }

    pub(in crate::http) fn is_refused(&self) -> bool {
        self.next == Next::Refused
    }

    /// Reads `input`, as far as one request goes. Returns what hyper may have now; nothing where
    /// it must wait.
    pub(in crate::http) fn open<'a>(&mut self, input: &'a [u8], is_eof: bool) -> &'a [u8] {
        loop {
            let is_next_request = matches!(self.next, Next::Start { .. }) && self.passed > 0;
            let rest = &input[self.passed..];
            if is_next_request || rest.is_empty() || self.next == Next::Refused {
                break;
            }
            match self.step(rest) {
                Ok(Step::Pass(len)) => {
                    self.passed += len;
                    self.searched = 0;
                }
                // Half a line at the end of all input ends neither a head nor a body.
                Ok(Step::Wait) if is_eof && self.next != Next::TooLong => self.passed = input.len(),
                Ok(Step::Wait) => break,
                Err(NotStrict) => self.next = Next::Refused,
            }
        }
        if self.passed == 0 && self.next == Next::Refused {
            return &POISON[self.poisoned..];
        }
        &input[..self.passed]
    }

    /// hyper has taken `len` bytes of what [`Framer::open`] returned: how many of them were input.
    pub(in crate::http) fn taken(&mut self, len: usize) -> usize {
        if self.passed == 0 {
            self.poisoned += len;
            return 0;
        }
        self.passed -= len;
        len
    }

    /// Looks at what comes next. `rest` is not empty.
    fn step(&mut self, rest: &[u8]) -> Result<Step, NotStrict> {
        match self.next {
            Next::Body(left) | Next::Chunk(left) => {
                let len = usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
                self.next = match (self.next, left - len as u64) {
                    (Next::Chunk(_), 0) => Next::ChunkEnd,
                    (Next::Chunk(_), left) => Next::Chunk(left),
                    (_, 0) => Next::default(),
                    (_, left) => Next::Body(left),
                };
                Ok(Step::Pass(len))
            }
            Next::TooLong | Next::Refused => Ok(Step::Wait),
            Next::Start { .. } if !head_syntax::may_begin(rest[0]) => Err(NotStrict),
            _ => match self.line(rest) {
                Some(len) => self.whole_line(&rest[..len]),
                None => self.half_line(rest),
            },
        }
    }

    /// Length of the line at the front of `rest`, LF included.
    fn line(&self, rest: &[u8]) -> Option<usize> {
        let searched = self.searched.min(rest.len());
        memchr::memchr(b'\n', &rest[searched..]).map(|at| searched + at + 1)
    }

    /// The begin of a line of which no end is there.
    fn half_line(&mut self, rest: &[u8]) -> Result<Step, NotStrict> {
        self.searched = rest.len();
        let len_max = match self.next {
            Next::ChunkEnd => 2,
            Next::ChunkSize => SIZE_LINE_LEN_MAX,
            Next::Trailer(len) => TRAILERS_LEN_MAX - len,
            _ if self.head_len + rest.len() >= HEAD_LEN_MAX => return Ok(self.too_long()),
            _ => return Ok(Step::Wait),
        };
        if rest.len() < len_max { Ok(Step::Wait) } else { Err(NotStrict) }
    }

    /// Lets pass what hyper can hold of a head that is longer.
    fn too_long(&mut self) -> Step {
        self.next = Next::TooLong;
        Step::Pass(HEAD_LEN_MAX - self.head_len)
    }

    fn whole_line(&mut self, line: &[u8]) -> Result<Step, NotStrict> {
        let is_head = matches!(self.next, Next::Start { .. } | Next::Header);
        if is_head && self.head_len + line.len() > HEAD_LEN_MAX {
            return Ok(self.too_long());
        }
        let text = head_syntax::without_end(line)?;
        self.next = match self.next {
            Next::Start { .. } => {
                self.facts = head_syntax::request_line(text)?;
                Next::Header
            }
            Next::Header if text.is_empty() => match self.facts.framing()? {
                Framing::Length(0) => Next::default(),
                Framing::Length(len) => Next::Body(len),
                Framing::Chunked => Next::ChunkSize,
            },
            Next::Header => {
                self.facts.header(text)?;
                Next::Header
            }
            Next::ChunkSize if line.len() > SIZE_LINE_LEN_MAX => return Err(NotStrict),
            Next::ChunkSize => match head_syntax::chunk_size(text)? {
                0 => Next::Trailer(0),
                size => Next::Chunk(size),
            },
            Next::ChunkEnd if text.is_empty() => Next::ChunkSize,
            Next::Trailer(_) if text.is_empty() => Next::default(),
            Next::Trailer(len) if len + line.len() < TRAILERS_LEN_MAX => {
                head_syntax::trailer(text)?;
                Next::Trailer(len + line.len())
            }
            Next::ChunkEnd | Next::Trailer(_) => return Err(NotStrict),
            Next::Body(_) | Next::Chunk(_) | Next::TooLong | Next::Refused => self.next,
        };
        self.head_len = if self.next == Next::Header { self.head_len + line.len() } else { 0 };
        Ok(Step::Pass(line.len()))
    }
}
