//! Reads commands: arrays of bulk strings, and inline commands as a person types them.
//!
//! A [`Parser`] remembers how far it has come in a command that is still arriving, so no byte is read
//! twice. Its limits and errors are those of Redis, where Redis has one.

use std::fmt;
use std::ops::Range;

use bytes::Bytes;

/// Maximum bytes of a whole command. A connection that sends more is closed.
pub const COMMAND_LEN_MAX: usize = 16 << 20;
/// Maximum bytes of an inline command, and of the line that begins an array or a bulk string.
const LINE_LEN_MAX: usize = 64 << 10;
/// Maximum words of a command.
const WORDS_MAX: i64 = 1 << 20;
/// The same, and maximum bytes of a word, for a client that has not authenticated where it must.
const STRANGER_WORDS_MAX: i64 = 10;
const STRANGER_WORD_LEN_MAX: i64 = 16 << 10;

/// What is at the front of the input.
#[derive(Clone, PartialEq, Eq)]
pub enum Parsed {
    /// A command, and how many bytes of the input it takes.
    Command(Vec<Bytes>, usize),
    /// So many bytes that mean nothing: an empty line, or an array without words.
    Nothing(usize),
    /// Not a whole command yet.
    Partial,
    /// What no client sends. The connection can only be closed after this error.
    Malformed(Malformed),
}

impl fmt::Debug for Parsed {
    /// Words may be tokens, payloads or keys of the server (promise P9).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(words, len) => write!(f, "Command({} words, {len} bytes)", words.len()),
            Self::Nothing(len) => write!(f, "Nothing({len} bytes)"),
            Self::Partial => f.write_str("Partial"),
            Self::Malformed(malformed) => write!(f, "Malformed({malformed:?})"),
        }
    }
}

/// Why the input is no command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The first line of an array has no end.
    #[error("too big mbulk count string")]
    LongCount,
    /// The first line of a bulk string has no end.
    #[error("too big bulk count string")]
    LongLen,
    /// An inline command has no end.
    #[error("too big inline request")]
    LongLine,
    /// The number of words is no number, or too large.
    #[error("invalid multibulk length")]
    Count,
    /// The length of a word is no number, or too large.
    #[error("invalid bulk length")]
    Len,
    /// A word does not begin as one.
    #[error("expected '$', got '{}'", shown(*.0))]
    NoBulk(u8),
    /// An inline command opens quotes and does not close them.
    #[error("unbalanced quotes in request")]
    Quotes,
    /// Too many words of a client that must authenticate first.
    #[error("unauthenticated multibulk length")]
    StrangerCount,
    /// Too long a word of a client that must authenticate first.
    #[error("unauthenticated bulk length")]
    StrangerLen,
}

/// Reads the commands of one connection.
#[derive(Debug, Default)]
pub struct Parser {
    /// The command that is arriving, if its first line was read.
    open: Option<Open>,
    /// Bytes of the line that is arriving that hold no line feed.
    searched: usize,
}

/// An array of which not all words have arrived.
#[derive(Debug)]
struct Open {
    /// How many bytes were read.
    at: usize,
    left: usize,
    words: Vec<Range<usize>>,
    /// Length of the word that is arriving.
    len: Option<usize>,
}

impl Parser {
    /// The command at the front of `input`, which grows between the calls until the command was
    /// taken. `is_stranger`: the client must authenticate and has not done so.
    pub fn next(&mut self, input: &[u8], is_stranger: bool) -> Parsed {
        if self.open.is_none() {
            match input.first() {
                None => return Parsed::Partial,
                Some(b'*') => match self.begin(input, is_stranger) {
                    Ok(Some(begun)) => self.open = Some(begun),
                    Ok(None) => return Parsed::Partial,
                    Err(stopped) => return stopped,
                },
                Some(_) => return self.inline(input),
            }
        }
        let Some(mut open) = self.open.take() else { return Parsed::Partial };
        match self.words(&mut open, input, is_stranger) {
            Ok(true) => {
                let whole = Bytes::copy_from_slice(&input[..open.at]);
                let words = open.words.into_iter().map(|word| whole.slice(word)).collect();
                Parsed::Command(words, open.at)
            }
            Ok(false) => {
                self.open = Some(open);
                Parsed::Partial
            }
            Err(malformed) => Parsed::Malformed(malformed),
        }
    }

    /// Whether a part of a command was read.
    #[must_use]
    pub fn is_within(&self) -> bool {
        self.open.is_some() || self.searched > 0
    }

    /// Memory of the places of words, in bytes.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.open.as_ref().map_or(0, |open| open.words.capacity() * size_of::<Range<usize>>())
    }

    /// Reads the first line of an array; `None` where it is not whole.
    fn begin(&mut self, input: &[u8], is_stranger: bool) -> Result<Option<Open>, Parsed> {
        let malformed = Parsed::Malformed;
        let Some(line) = self.line(input, 1, Malformed::LongCount).map_err(malformed)? else {
            return Ok(None);
        };
        let count = number(&input[1..line.text_end]).filter(|count| *count <= WORDS_MAX);
        let count = count.ok_or(malformed(Malformed::Count))?;
        if is_stranger && count > STRANGER_WORDS_MAX {
            return Err(malformed(Malformed::StrangerCount));
        }
        match usize::try_from(count) {
            Ok(left @ 1..) => Ok(Some(Open { at: line.end, left, words: Vec::new(), len: None })),
            // Redis passes over arrays without words, also over negative ones.
            _ => Err(Parsed::Nothing(line.end)),
        }
    }

    /// Reads as many words as have arrived; true where that is all of them.
    fn words(
        &mut self,
        open: &mut Open,
        input: &[u8],
        is_stranger: bool,
    ) -> Result<bool, Malformed> {
        while open.left > 0 {
            let len = match open.len {
                Some(len) => len,
                None => match self.word_len(open, input, is_stranger)? {
                    Some(len) => len,
                    None => return Ok(false),
                },
            };
            open.len = Some(len);
            // A word ends with two bytes, which Redis does not look at either.
            let end = open.at + len;
            if input.len() < end + 2 {
                return Ok(false);
            }
            open.words.push(open.at..end);
            open.at = end + 2;
            open.left -= 1;
            open.len = None;
        }
        Ok(true)
    }

    /// Reads the length of the next word; `None` where its line is not whole.
    fn word_len(
        &mut self,
        open: &mut Open,
        input: &[u8],
        is_stranger: bool,
    ) -> Result<Option<usize>, Malformed> {
        match input.get(open.at) {
            None => return Ok(None),
            Some(b'$') => {}
            Some(other) => return Err(Malformed::NoBulk(*other)),
        }
        let Some(line) = self.line(input, open.at + 1, Malformed::LongLen)? else {
            return Ok(None);
        };
        let len = number(&input[open.at + 1..line.text_end]).ok_or(Malformed::Len)?;
        if is_stranger && len > STRANGER_WORD_LEN_MAX {
            return Err(Malformed::StrangerLen);
        }
        let len = usize::try_from(len).map_err(|_| Malformed::Len)?;
        if line.end.saturating_add(len) > COMMAND_LEN_MAX {
            return Err(Malformed::Len);
        }
        open.at = line.end;
        Ok(Some(len))
    }

    fn inline(&mut self, input: &[u8]) -> Parsed {
        let line = match self.line(input, 0, Malformed::LongLine) {
            Ok(Some(line)) => line,
            Ok(None) => return Parsed::Partial,
            Err(malformed) => return Parsed::Malformed(malformed),
        };
        match split(&input[..line.text_end]) {
            None => Parsed::Malformed(Malformed::Quotes),
            Some(words) if words.is_empty() => Parsed::Nothing(line.end),
            Some(words) => Parsed::Command(words, line.end),
        }
    }

    /// The line whose text begins at `from`; `None` where it has no end yet.
    fn line(
        &mut self,
        input: &[u8],
        from: usize,
        too_long: Malformed,
    ) -> Result<Option<Line>, Malformed> {
        let begin = from.max(self.searched);
        match memchr::memchr(b'\n', input.get(begin..).unwrap_or_default()) {
            Some(found) if begin + found - from <= LINE_LEN_MAX => {
                self.searched = 0;
                let feed = begin + found;
                let is_crlf = feed > from && input[feed - 1] == b'\r';
                Ok(Some(Line { text_end: feed - usize::from(is_crlf), end: feed + 1 }))
            }
            None if input.len().saturating_sub(from) <= LINE_LEN_MAX => {
                self.searched = input.len();
                Ok(None)
            }
            _ => Err(too_long),
        }
    }
}

/// A line of the input: where its text ends, and where the next one begins.
struct Line {
    text_end: usize,
    end: usize,
}

/// A byte as an error repeats it, which is one line.
fn shown(byte: u8) -> char {
    match byte {
        b'\r' | b'\n' => ' ',
        b' '..=b'~' => char::from(byte),
        _ => '?',
    }
}

/// A number as Redis reads it: no plus sign, no space, no leading zero.
pub(in crate::resp) fn number(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let is_plain = match digits {
        [b'0'] => text.len() == 1,
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if !is_plain {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Splits a line into its words, of which some may be quoted; `None` where quotes are not closed.
fn split(line: &[u8]) -> Option<Vec<Bytes>> {
    let mut words = Vec::new();
    let mut rest = line;
    loop {
        let begin = rest.iter().position(|byte| !is_space(*byte));
        let Some(begin) = begin else { return Some(words) };
        rest = &rest[begin..];
        let mut word = Vec::new();
        rest = loop {
            match rest {
                [b'"', quoted @ ..] => break double_quoted(quoted, &mut word)?,
                [b'\'', quoted @ ..] => break single_quoted(quoted, &mut word)?,
                [byte, after @ ..] if !is_space(*byte) => {
                    word.push(*byte);
                    rest = after;
                }
                _ => break rest,
            }
        };
        words.push(word.into());
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | 0x0b | 0x0c | 0)
}

/// Reads to the closing quote, which a space or the end must follow.
fn double_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        match rest {
            [b'\\', b'x', high, low, after @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                word.push(digit(*high) << 4 | digit(*low));
                rest = after;
            }
            [b'\\', escaped, after @ ..] => {
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => *other,
                });
                rest = after;
            }
            [b'"', after @ ..] => return closed(after),
            [byte, after @ ..] => {
                word.push(*byte);
                rest = after;
            }
            [] => return None,
        }
    }
}

fn single_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        match rest {
            [b'\\', b'\'', after @ ..] => {
                word.push(b'\'');
                rest = after;
            }
            [b'\'', after @ ..] => return closed(after),
            [byte, after @ ..] => {
                word.push(*byte);
                rest = after;
            }
            [] => return None,
        }
    }
}

fn closed(after: &[u8]) -> Option<&[u8]> {
    after.first().is_none_or(|byte| is_space(*byte)).then_some(after)
}

fn digit(hex: u8) -> u8 {
    char::from(hex).to_digit(16).unwrap_or_default() as u8
}

#[cfg(test)]
mod tests;
