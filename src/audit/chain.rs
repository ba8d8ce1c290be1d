//! The chain over the lines of the audit log.
//!
//! Every line is a JSON object whose last field is the *mark*: `…,"chain":"0123456789abcdef"}`. The
//! *body* of a line is everything before `,"chain":"`. A running hash starts with 32 zero bytes and
//! takes in each line:
//!
//! ```text
//! hash = SHA-256(hash before ‖ body of the line)        mark = the first 8 bytes of hash
//! ```
//!
//! What comes after the body has a fixed form, so a mark covers every byte of its line and of all
//! lines before it. A line without a mark, such as half a line that a crash has left, is taken in as
//! a whole, without its line break.
//!
//! The marks show where a chain breaks. Anyone can compute them; what nobody can do without the
//! secret is to sign the whole hash: see [`checkpoint`](super::checkpoint).

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub(super) const HASH_LEN: usize = 32;
const MARK_LEN: usize = 8;
/// What comes between the body and the mark.
const FIELD: &[u8] = b",\"chain\":\"";
/// What comes after the mark, without the line break.
const END: &[u8] = b"\"}";
const SUFFIX_LEN: usize = FIELD.len() + 2 * MARK_LEN + END.len();
/// Length of a chain's id in bytes.
pub(super) const ID_LEN: usize = 8;

/// A mark in hexadecimal digits.
pub(super) type Mark = [u8; 2 * MARK_LEN];

/// Which of the two logs a chain is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogKind {
    /// Completed operations.
    Operations,
    /// Refused and missed requests.
    Refusals,
}

impl std::fmt::Display for LogKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Operations => "operations",
            Self::Refusals => "refusals",
        })
    }
}

/// The running hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ChainHash(pub(super) [u8; HASH_LEN]);

impl ChainHash {
    pub(super) fn take(&mut self, body: &[u8]) {
        self.0 = Sha256::new().chain_update(self.0).chain_update(body).finalize().into();
    }

    /// Takes in a line of a file, without its line break.
    pub(super) fn take_line(&mut self, line: &[u8]) {
        self.take(split(line).map_or(line, |(body, _)| body));
    }

    pub(super) fn mark(&self) -> Mark {
        let mut mark = [0; 2 * MARK_LEN];
        // The lengths match.
        let _ = const_hex::encode_to_slice(&self.0[..MARK_LEN], &mut mark);
        mark
    }

    pub(super) fn hex(&self) -> String {
        const_hex::encode(self.0)
    }
}

/// A chain at one point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) log: LogKind,
    /// Random; it tells the chains of two servers with the same secret apart.
    pub(super) id: [u8; ID_LEN],
    /// Number of the current file, from 1.
    pub(super) file: u64,
    /// Number of the last event.
    pub(super) seq: u64,
    pub(super) hash: ChainHash,
}

impl Chain {
    /// The beginning of a chain.
    pub(super) fn new(log: LogKind, id: [u8; ID_LEN]) -> Self {
        Self { log, id, file: 1, seq: 0, hash: ChainHash::default() }
    }

    /// Completes the line that begins at `from` in the buffer and ends with `}`: adds its mark and
    /// the line break.
    pub(super) fn end_line(&mut self, buffer: &mut Vec<u8>, from: usize) {
        buffer.pop();
        self.hash.take(&buffer[from..]);
        buffer.extend_from_slice(FIELD);
        buffer.extend_from_slice(&self.hash.mark());
        buffer.extend_from_slice(END);
        buffer.push(b'\n');
    }
}

/// Body and mark of a line without its line break; `None` if it has no mark.
pub(super) fn split(line: &[u8]) -> Option<(&[u8], Mark)> {
    let (body, suffix) = line.split_at_checked(line.len().checked_sub(SUFFIX_LEN)?)?;
    let mark = suffix.strip_prefix(FIELD)?.strip_suffix(END)?;
    let is_hex = mark.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    is_hex.then(|| mark.try_into().ok())?.map(|mark| (body, mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_covers_every_byte_of_its_line_and_of_those_before() {
        let chained = |bodies: &[&str]| {
            let (mut chain, mut buffer) = (Chain::new(LogKind::Operations, [0; 8]), Vec::new());
            for body in bodies {
                let from = buffer.len();
                buffer.extend_from_slice(body.as_bytes());
                chain.end_line(&mut buffer, from);
            }
            buffer
        };
        let bytes = chained(&[r#"{"seq":1}"#, r#"{"seq":2}"#]);
        let text = String::from_utf8(bytes.clone()).unwrap();
        let lines: Vec<_> = text.lines().collect();
        let expected = Sha256::new().chain_update([0; 32]).chain_update(br#"{"seq":1"#).finalize();
        assert_eq!(
            lines[0],
            format!(r#"{{"seq":1,"chain":"{}"}}"#, const_hex::encode(&expected[..8]))
        );
        // Any changed bit leaves no line with a mark that fits.
        let marks_fit = |bytes: &[u8]| {
            let mut hash = ChainHash::default();
            bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).all(|line| {
                hash.take_line(line);
                split(line).is_some_and(|(_, mark)| mark == hash.mark())
            })
        };
        assert!(marks_fit(&bytes));
        for bit in 0..bytes.len() * 8 {
            let mut broken = bytes.clone();
            broken[bit / 8] ^= 1 << (bit % 8);
            // The last line break alone belongs to no line.
            assert!(!marks_fit(&broken) || bit / 8 == bytes.len() - 1, "bit {bit}");
        }
    }
}
