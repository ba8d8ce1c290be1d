//! The framer: how much of an HTTP/1 peer's input hyper may have.
//!
//! [`head`](super::head) reads each head before hyper sees a byte of it, and says how long the body
//! behind it is. The framer follows bodies, chunk by chunk, and so finds the end of each request by
//! itself; what it lets through has the same end for hyper, because it lets through less than hyper
//! would take. A whole head passes at once, a body as it comes; the bytes of a line with a chunk's
//! size or a trailer are held back until the line is whole.
//!
//! Behind a head that is refused hyper gets nothing more, as if the peer had ended. It finishes what
//! it owes, and then the [`connection`](crate::http::server::connection) answers the refusal and
//! closes: so a refusal has its turn behind the answers before it. A body that is refused ends
//! early for hyper, which fails it, and the service answers 400 as it does to one that broke off.

use crate::http::h1::head::{FIELDS_MAX, Head, HeadReader, Refused};
use crate::http::h1::head_syntax::{self, Framing, NotStrict};

/// The longest line that says the size of a chunk, with its extensions.
const SIZE_LINE_LEN_MAX: usize = 1024;
/// The longest extensions of all chunks of a body together. hyper refuses a body whose extensions
/// have this length without the semicolons before them.
const EXTENSIONS_LEN_MAX: usize = 16 * 1024;
/// The longest trailer section.
const TRAILERS_LEN_MAX: usize = 8 * 1024;

/// What the next bytes are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Next {
    /// A head.
    #[default]
    Head,
    /// So many bytes of a body with a length.
    Body(u64),
    /// The line with the size of a chunk.
    ChunkSize,
    /// So many bytes of a chunk.
    Chunk(u64),
    /// The end of a chunk's line.
    ChunkEnd,
    /// A line of the trailer section, of which this much has come.
    Trailer(Trailers),
    /// Nothing: a head was refused.
    HeadRefused(Refused),
    /// Nothing: a body was refused.
    BodyRefused,
}

/// What has come of a trailer section.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Trailers {
    len: usize,
    fields: usize,
}

/// Follows one connection's input.
#[derive(Debug, Default)]
pub(in crate::http) struct Framer {
    next: Next,
    head: HeadReader,
    /// Bytes at the front of the input that hyper may have.
    passed: usize,
    /// Of a body, bytes behind those in which no line ends.
    searched: usize,
    /// Length of the extensions of the body's chunks so far.
    extensions_len: usize,
}

impl Framer {
    /// How many bytes at the front of `input` mean nothing.
    pub(in crate::http) fn skipped(&mut self, input: &[u8]) -> usize {
        if self.is_at_head() { self.head.skipped(input) } else { 0 }
    }

    /// True where all of a request has gone to hyper, and nothing of the next.
    pub(in crate::http) fn is_at_head(&self) -> bool {
        self.passed == 0 && self.next == Next::Head
    }

    /// The same, and nothing of the next request was looked at either.
    pub(in crate::http) fn is_between(&self) -> bool {
        self.is_at_head() && !self.head.has_begun()
    }

    /// True where nothing more is read.
    pub(in crate::http) fn is_refused(&self) -> bool {
        matches!(self.next, Next::HeadRefused(_) | Next::BodyRefused)
    }

    /// Why a head was refused, if one was.
    pub(in crate::http) fn refused_head(&self) -> Option<Refused> {
        match self.next {
            Next::HeadRefused(refused) => Some(refused),
            _ => None,
        }
    }

    /// Reads `input`, as far as one request goes. Returns what hyper may have now; nothing where
    /// it must wait, or where the rest is refused. Nothing follows `input` where `is_eof`.
    pub(in crate::http) fn open<'a>(&mut self, input: &'a [u8], is_eof: bool) -> &'a [u8] {
        loop {
            let is_next_request = self.next == Next::Head && self.passed > 0;
            let rest = &input[self.passed..];
            if is_next_request || rest.is_empty() {
                break;
            }
            match self.step(rest, is_eof) {
                Some(len) => self.passed += len,
                None => break,
            }
        }
        &input[..self.passed]
    }

    /// hyper has taken `len` bytes of what [`Framer::open`] returned.
    pub(in crate::http) fn taken(&mut self, len: usize) {
        self.passed -= len;
    }

    /// Looks at what comes next: how many bytes of it may pass. `rest` is not empty.
    fn step(&mut self, rest: &[u8], is_eof: bool) -> Option<usize> {
        match self.next {
            Next::Head => match self.head.read(rest, is_eof) {
                Head::Partial => None,
                Head::Forward { len, body } => {
                    self.extensions_len = 0;
                    self.next = match body {
                        Framing::Length(0) => Next::Head,
                        Framing::Length(len) => Next::Body(len),
                        Framing::Chunked => Next::ChunkSize,
                    };
                    Some(len)
                }
                Head::Refused(refused) => {
                    self.next = Next::HeadRefused(refused);
                    None
                }
            },
            Next::Body(left) | Next::Chunk(left) => {
                let len = usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
                self.next = match (self.next, left - len as u64) {
                    (Next::Chunk(_), 0) => Next::ChunkEnd,
                    (Next::Chunk(_), left) => Next::Chunk(left),
                    (_, 0) => Next::Head,
                    (_, left) => Next::Body(left),
                };
                Some(len)
            }
            Next::HeadRefused(_) | Next::BodyRefused => None,
            Next::ChunkSize | Next::ChunkEnd | Next::Trailer(_) => match self.line(rest) {
                Ok(passed) => passed,
                Err(NotStrict) => {
                    self.next = Next::BodyRefused;
                    None
                }
            },
        }
    }

    /// The line of a body at the front of `rest`: its length, LF included, where it is whole.
    fn line(&mut self, rest: &[u8]) -> Result<Option<usize>, NotStrict> {
        let searched = self.searched.min(rest.len());
        let Some(end) = memchr::memchr(b'\n', &rest[searched..]) else {
            self.searched = rest.len();
            let len_max = match self.next {
                Next::ChunkEnd => 2,
                Next::Trailer(come) => TRAILERS_LEN_MAX - come.len,
                _ => SIZE_LINE_LEN_MAX,
            };
            return if rest.len() < len_max { Ok(None) } else { Err(NotStrict) };
        };
        let line = &rest[..searched + end + 1];
        self.next = self.after_line(line)?;
        self.searched = 0;
        Ok(Some(line.len()))
    }

    /// What comes behind a whole line of a body.
    fn after_line(&mut self, line: &[u8]) -> Result<Next, NotStrict> {
        let text = head_syntax::without_end(line)?;
        match self.next {
            Next::ChunkSize if line.len() <= SIZE_LINE_LEN_MAX => {
                let size = head_syntax::chunk_size(text)?;
                let before = memchr::memchr(b';', text).unwrap_or(text.len());
                self.extensions_len += text.len() - before;
                if self.extensions_len > EXTENSIONS_LEN_MAX {
                    return Err(NotStrict);
                }
                match size {
                    0 => Ok(Next::Trailer(Trailers::default())),
                    size => Ok(Next::Chunk(size)),
                }
            }
            Next::ChunkEnd if text.is_empty() => Ok(Next::ChunkSize),
            Next::Trailer(_) if text.is_empty() => Ok(Next::Head),
            Next::Trailer(Trailers { len, fields })
                if len + line.len() < TRAILERS_LEN_MAX && fields < FIELDS_MAX =>
            {
                head_syntax::trailer(text)?;
                Ok(Next::Trailer(Trailers { len: len + line.len(), fields: fields + 1 }))
            }
            _ => Err(NotStrict),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::http::h1::reference::serve_with_hyper;

    const HEAD: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

    /// Bytes of one request that pass, with input in pieces of `len` bytes; whether it is whole.
    fn passed(bytes: &[u8], len: usize) -> (usize, bool) {
        let (mut framer, mut at) = (Framer::default(), 0);
        for end in (len..bytes.len()).step_by(len).chain([bytes.len()]) {
            loop {
                let ready = framer.open(&bytes[at..end], false).len();
                framer.taken(ready);
                at += ready;
                if at > 0 && framer.is_at_head() {
                    return (at, true);
                }
                if ready == 0 {
                    break;
                }
            }
        }
        (at, false)
    }

    #[test]
    fn p8_a_line_of_a_body_has_a_longest_length() {
        for (line, len_max) in [("5;", SIZE_LINE_LEN_MAX), ("0\r\nX: ", TRAILERS_LEN_MAX + 2)] {
            let begun =
                |len: usize| [HEAD, line.as_bytes(), &vec![b'x'; len - line.len()]].concat();
            let mut framer = Framer::default();
            for (bytes, is_refused) in [(begun(len_max - 1), false), (begun(len_max + 1), true)] {
                let ready = framer.open(&bytes, false).len();
                assert!(ready < bytes.len(), "half a line is held back");
                assert_eq!(framer.is_refused(), is_refused, "{line:?}");
                assert_eq!(framer.refused_head(), None, "the service answers");
            }
        }
    }

    /// The bytes of `body` are served by hyper as one whole request, with the request after it.
    fn is_whole_for_hyper(body: &[u8]) -> bool {
        let last = b"GET /last HTTP/1.1\r\nHost: last\r\n\r\n";
        let (served, _) = serve_with_hyper(&[HEAD, body, last].concat());
        let targets: Vec<_> = served.iter().map(|it| it.target.as_str()).collect();
        targets == ["/", "/last"]
    }

    #[test]
    fn p8_all_extensions_and_all_trailers_of_a_body_have_a_limit_that_hyper_keeps() {
        let extended = |chunks: usize| {
            let chunk = format!("1;{}\r\nx\r\n", "e".repeat(511));
            [chunk.repeat(chunks).as_str(), "0\r\n\r\n"].concat()
        };
        let trailed =
            |fields: usize| ["1\r\nx\r\n0\r\n", &"a:b\r\n".repeat(fields), "\r\n"].concat();
        let chunks_max = EXTENSIONS_LEN_MAX / 512;
        for (body, is_whole) in [
            (extended(chunks_max), true),
            (extended(chunks_max + 1), false),
            (trailed(FIELDS_MAX), true),
            (trailed(FIELDS_MAX + 1), false),
        ] {
            let bytes = [HEAD, body.as_bytes()].concat();
            assert_eq!(passed(&bytes, bytes.len()).1, is_whole, "{body:.20}");
            assert_eq!(is_whole_for_hyper(body.as_bytes()), is_whole, "{body:.20}");
        }
        let mut framer = Framer::default();
        for _ in 0..3 {
            let bytes = [HEAD, extended(chunks_max).as_bytes()].concat();
            let passed_len = framer.open(&bytes, false).len();
            assert_eq!(passed_len, bytes.len(), "each body has the whole limit");
            framer.taken(passed_len);
        }
    }

    /// Chunks and trailers, most of them ordinary, and one odd byte.
    fn bodies() -> impl Strategy<Value = Vec<u8>> {
        let chunk = prop::sample::select(vec![
            "3\r\nxyz\r\n",
            "0003\r\nxyz\r\n",
            "3;a=b\r\nxyz\r\n",
            "3 ; a=\"b c\"\r\n\r\n\n\r\n",
            "A\r\n0\r\n\r\nGET /\r\n",
            "3\nxyz\r\n",
            "3 \r\nxyz\r\n",
        ]);
        let end = prop::sample::select(vec![
            "0\r\n\r\n",
            "0\r\n\r\n",
            "000;x\r\n\r\n",
            "0\r\nX: y\r\n\r\n",
            "0\r\nX: y\r\nContent-Length: 9\r\n\r\n",
            "0\r\nX: y\n\r\n",
            "0\n\n",
        ]);
        let odd =
            prop::option::weighted(0.5, (any::<prop::sample::Index>(), any::<u8>(), any::<bool>()));
        (prop::collection::vec(chunk, 0..4), end, odd).prop_map(|(chunks, end, odd)| {
            let mut bytes = [&chunks.concat(), end].concat().into_bytes();
            if let Some((at, byte, is_insert)) = odd {
                let at = at.index(bytes.len());
                if is_insert { bytes.insert(at, byte) } else { bytes[at] = byte }
            }
            bytes
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// What passes as a whole request hyper ends at the same byte; of what does not, it serves
        /// nothing.
        #[test]
        fn p8_hyper_ends_a_body_where_the_framer_does(body in bodies(), len in 1..20usize) {
            let bytes = [HEAD, &body].concat();
            let (passed_len, is_whole) = passed(&bytes, bytes.len());
            prop_assert_eq!(passed(&bytes, len), (passed_len, is_whole), "in pieces of {}", len);
            let passed = &bytes[..passed_len];
            if is_whole {
                let last = b"GET /last HTTP/1.1\r\nHost: last\r\n\r\n";
                let (served, answers) = serve_with_hyper(&[passed, last].concat());
                let targets: Vec<_> = served.iter().map(|it| it.target.as_str()).collect();
                prop_assert_eq!(targets, ["/", "/last"], "{}", answers);
            } else {
                let (served, answers) = serve_with_hyper(passed);
                prop_assert_eq!(served, [], "{}", answers);
            }
        }
    }
}
