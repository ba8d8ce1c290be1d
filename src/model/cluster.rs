//! The words of a cluster: its nodes, their lives, and positions in the stream that orders their
//! messages. This module does no I/O.

use std::fmt;
use std::str::FromStr;

/// Sixteen random bytes that identify a cluster, made once with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClusterId(pub [u8; 16]);

/// Number of the stream: 1 for the first stream of a cluster, then one more for each stream that
/// replaces a lost one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Era(pub u64);

/// A node of a cluster, random and not 0. It stays the same over restarts of the node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

/// Number of a node's life: one more with each start, 1 and up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(pub u64);

/// Sixteen random bytes of one start of a node. Two copies of a node may claim the same epoch, but
/// never the same nonce.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BootNonce(pub [u8; 16]);

/// A message's position in the stream, in the era that it belongs to. The first message is 1; 0 is
/// before all messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The stream.
    pub era: Era,
    /// The message's sequence number in it.
    pub seq: u64,
}

/// The first sixteen bytes of the SHA-256 of a message as the stream stores it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageHash(pub [u8; 16]);

/// Sixteen bytes that depend on everything up to a position: nodes with the same chain have landed
/// the same messages, or have seen the same outcomes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chain(pub [u8; 16]);

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.era.0, self.seq)
    }
}

/// The text is not a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a position of this cluster")]
pub struct NoPosition;

impl FromStr for Position {
    type Err = NoPosition;

    /// Reads what [`Display`](fmt::Display) writes of a message's position, and nothing else.
    fn from_str(text: &str) -> Result<Self, NoPosition> {
        let number = |digits: &str| {
            let is_canonical =
                digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
            digits.parse().ok().filter(|_| is_canonical).ok_or(NoPosition)
        };
        let (era, seq) = text.split_once('.').ok_or(NoPosition)?;
        Ok(Self { era: Era(number(era)?), seq: number(seq)? })
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The text is not the id of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the id of a node has 16 hexadecimal digits, not all of them 0")]
pub struct NoNode;

impl FromStr for NodeId {
    type Err = NoNode;

    /// Reads what [`Display`](fmt::Display) writes of a node.
    fn from_str(text: &str) -> Result<Self, NoNode> {
        let is_hex = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u64::from_str_radix(text, 16).ok().filter(|_| is_hex);
        number.filter(|number| *number != 0).map(Self).ok_or(NoNode)
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&const_hex::encode(self.0))
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&const_hex::encode(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_written_as_era_and_number_and_ordered_by_both() {
        let at = |era, seq| Position { era: Era(era), seq };
        assert_eq!(at(2, 17).to_string(), "2.17");
        assert!(at(1, 900) < at(2, 1) && at(2, 1) < at(2, 2));
    }

    #[test]
    fn a_position_is_read_as_it_is_written_and_in_no_other_form() {
        let all = Position { era: Era(u64::MAX), seq: u64::MAX };
        for position in [Position { era: Era(2), seq: 17 }, all] {
            assert_eq!(position.to_string().parse(), Ok(position));
        }
        for text in [
            "",
            ".",
            "1",
            "1.",
            ".1",
            "1.1.1",
            "0.1",
            "1.0",
            "01.1",
            "1.01",
            "+1.1",
            "1.-1",
            " 1.1",
            "1.1 ",
            "1.18446744073709551616",
            "x.y",
            "1,1",
            "١.١",
        ] {
            assert_eq!(text.parse::<Position>(), Err(NoPosition), "{text:?}");
        }
    }
}
