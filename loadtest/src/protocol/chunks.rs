//! A body in chunks, as a proxy between the harness and the server may send it.

use super::contract::BODY_MAX;
use super::{Garbage, excerpt};

/// A longer line of a chunk's size with its extensions is refused, and so are longer trailers.
const LINE_MAX: usize = 8 << 10;

/// A body as it arrives.
#[derive(Debug, Default)]
pub(super) struct Body {
    bytes: Vec<u8>,
    next: Next,
    trailers_len: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Next {
    #[default]
    Size,
    /// This many bytes of a chunk.
    Data(usize),
    /// The line end behind a chunk.
    End,
    Trailers,
    Nothing,
}

impl Body {
    /// Whether its last byte has come.
    pub(super) fn is_whole(&self) -> bool {
        self.next == Next::Nothing
    }

    /// What has come.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Takes what belongs to this body; gives the number of bytes it is done with.
    pub(super) fn take(&mut self, input: &[u8]) -> Result<usize, Garbage> {
        let mut used = 0;
        while !self.is_whole() {
            match self.step(&input[used..])? {
                0 => break,
                more => used += more,
            }
        }
        Ok(used)
    }

    /// One part; no bytes where more must come first.
    fn step(&mut self, input: &[u8]) -> Result<usize, Garbage> {
        match self.next {
            Next::Size => self.size(input),
            Next::Data(left) => {
                let part = &input[..left.min(input.len())];
                self.bytes.extend_from_slice(part);
                let left = left - part.len();
                self.next = if left == 0 { Next::End } else { Next::Data(left) };
                Ok(part.len())
            }
            Next::End => match input {
                [b'\r', b'\n', ..] => {
                    self.next = Next::Size;
                    Ok(2)
                }
                [] | [b'\r'] => Ok(0),
                _ => Err(Garbage(format!("a chunk without its end: {}", excerpt(input)))),
            },
            Next::Trailers => self.trailer(input),
            Next::Nothing => Ok(0),
        }
    }

    fn size(&mut self, input: &[u8]) -> Result<usize, Garbage> {
        match httparse::parse_chunk_size(input) {
            Ok(httparse::Status::Complete((line, size))) => {
                let size = usize::try_from(size).unwrap_or(usize::MAX);
                if size > BODY_MAX - self.bytes.len() {
                    return Err(Garbage(format!("a body in chunks of more than {BODY_MAX} bytes")));
                }
                self.next = if size == 0 { Next::Trailers } else { Next::Data(size) };
                Ok(line)
            }
            Ok(httparse::Status::Partial) if input.len() < LINE_MAX => Ok(0),
            _ => Err(Garbage(format!("not the size of a chunk: {}", excerpt(input)))),
        }
    }

    fn trailer(&mut self, input: &[u8]) -> Result<usize, Garbage> {
        let end = memchr::memchr(b'\n', input);
        if self.trailers_len + end.unwrap_or(input.len()) > LINE_MAX {
            return Err(Garbage(format!("trailers of more than {LINE_MAX} bytes")));
        }
        let Some(end) = end else {
            return Ok(0);
        };
        if input[..end].trim_ascii().is_empty() {
            self.next = Next::Nothing;
        }
        self.trailers_len += end + 1;
        Ok(end + 1)
    }
}
