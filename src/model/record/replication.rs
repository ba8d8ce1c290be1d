//! The records of a cluster: where a frame comes from, the nodes, a node's report, and where earlier
//! streams have ended.
//!
//! They concern no entry. Each is a view of its bytes, whose layout is at the head of
//! [`super`](crate::model::record); every field is validated when it is read.

use crate::model::cluster::{
    BootNonce, Chain, ClusterId, Epoch, Era, MessageHash, NodeId, Position,
};
use crate::model::time::UnixMillis;

use super::fields::{Fields, Writer};

pub(super) const ORIGIN: u8 = 7;
pub(super) const MEMBER: u8 = 8;
pub(super) const REPORT: u8 = 9;
pub(super) const ENDED: u8 = 10;
pub(super) const DECISION: u8 = 11;

/// Flag of a Report.
const HAS_STOPPED: u8 = 1;

/// Length of an Origin.
pub const ORIGIN_LEN: usize = 112;
/// Length of a Member.
pub const MEMBER_LEN: usize = 56;
/// Length of a Report.
pub const REPORT_LEN: usize = 80;
/// Length of an Ended.
pub const ENDED_LEN: usize = 40;
/// Length of a Decision.
pub const DECISION_LEN: usize = 16;

/// What a Decision is about.
const RETIRE: u8 = 1;
const AGREE: u8 = 2;

/// How a message was taken. All nodes come to the same verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No new message: the frame states the position of the last one again.
    Restated = 0,
    /// The next batch of a node: its records count.
    Counted = 1,
    /// A batch that has counted before, or is of an earlier life of its node.
    Repeat = 2,
    /// A message that cannot be opened with the cluster's secret.
    Unopened = 3,
    /// A node begins a new life.
    Hello = 4,
    /// The cluster begins.
    Genesis = 5,
    /// A genuine message that must not count here.
    Refused = 6,
}

impl Verdict {
    const ALL: [Self; 7] = [
        Self::Restated,
        Self::Counted,
        Self::Repeat,
        Self::Unopened,
        Self::Hello,
        Self::Genesis,
        Self::Refused,
    ];

    /// Whether the frame states all rows of members, and there are no others.
    #[must_use]
    pub fn states_all_members(self) -> bool {
        matches!(self, Self::Restated | Self::Hello | Self::Genesis)
    }

    /// Whether the message's sender is known.
    fn has_sender(self) -> bool {
        !matches!(self, Self::Restated | Self::Unopened)
    }
}

/// The message that a frame was made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// How it was taken.
    pub verdict: Verdict,
    /// The format that the nodes have agreed on, as of this message; 0 for the first one.
    pub agreed: u16,
    /// How often its sender had sent it before; 0 without a sender.
    pub attempt: u32,
    /// Its position.
    pub position: Position,
    /// Its sender; 0 if that is unknown.
    pub node: NodeId,
    /// The sender's life.
    pub epoch: Epoch,
    /// Number of the batch within that life.
    pub batch: u64,
    /// The cluster.
    pub cluster: ClusterId,
    /// Hash of the message.
    pub hash: MessageHash,
    /// The chain of messages up to this one.
    pub chain: Chain,
    /// The chain of outcomes up to the message before. Its own outcomes are known only after the
    /// frame was written.
    pub outcomes: Chain,
}

/// A node, as all nodes know it at one position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// The node.
    pub node: NodeId,
    /// Whether it was taken out of the cluster: nothing of it counts any more.
    pub retired: bool,
    /// Its present life.
    pub epoch: Epoch,
    /// The nonce of that life.
    pub nonce: BootNonce,
    /// Its last batch that counted.
    pub high: u64,
    /// Log time of its last message that counted, or of its retirement.
    pub heard: UnixMillis,
}

/// What a node says of itself, in its batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Whether the node takes no changes any more, because nobody knows whose content is right.
    pub has_stopped: bool,
    /// Latest format of messages and logs that the node reads.
    pub format: u32,
    /// The node's position when it made the batch.
    pub seq: u64,
    /// Everything up to here is durable in the node's log; at most `seq`.
    pub durable: u64,
    /// The node's limit of memory, in bytes; 0 for none.
    pub memory_max: u64,
    /// The chain of messages up to `seq`.
    pub chain: Chain,
    /// The chain of outcomes up to `seq`; all zero while the node does not know it.
    pub outcomes: Chain,
    /// Fingerprint of the node's keys file.
    pub keys: [u8; 16],
}

/// Where an earlier stream of the cluster has ended. A new stream continues it from there; what came
/// after it is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The last position that counts.
    pub position: Position,
    /// The chain of messages up to it.
    pub chain: Chain,
}

/// What a person has decided about the cluster. It is in a batch of the node that was asked, and
/// never in a log: what it changes is in the Member and the Origin of the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// This node is no longer part of the cluster.
    Retire(NodeId),
    /// Every node reads messages and logs of this format, so that it may be used.
    Agree(u16),
}

/// A record of a cluster in its bytes.
#[derive(Clone, Copy)]
pub struct View<'a, const N: usize>(pub(super) &'a [u8; N]);

impl Origin {
    /// The record's bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; ORIGIN_LEN] {
        let mut out = Writer { bytes: [0; ORIGIN_LEN], at: 0 };
        out.put(&[ORIGIN, self.verdict as u8]);
        out.put(&self.agreed.to_le_bytes());
        out.put(&self.attempt.to_le_bytes());
        for number in
            [self.position.era.0, self.position.seq, self.node.0, self.epoch.0, self.batch]
        {
            out.put(&number.to_le_bytes());
        }
        for bytes in [&self.cluster.0, &self.hash.0, &self.chain.0, &self.outcomes.0] {
            out.put(bytes);
        }
        out.bytes
    }
}

impl Member {
    /// The record's bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; MEMBER_LEN] {
        let mut out = Writer { bytes: [0; MEMBER_LEN], at: 0 };
        out.put(&[MEMBER, u8::from(self.retired), 0, 0, 0, 0, 0, 0]);
        for number in [self.node.0, self.epoch.0, self.high, self.heard.0] {
            out.put(&number.to_le_bytes());
        }
        out.put(&self.nonce.0);
        out.bytes
    }
}

impl Report {
    /// The record's bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; REPORT_LEN] {
        let mut out = Writer { bytes: [0; REPORT_LEN], at: 0 };
        out.put(&[REPORT, if self.has_stopped { HAS_STOPPED } else { 0 }, 0, 0]);
        out.put(&self.format.to_le_bytes());
        for number in [self.seq, self.durable, self.memory_max] {
            out.put(&number.to_le_bytes());
        }
        for bytes in [&self.chain.0, &self.outcomes.0, &self.keys] {
            out.put(bytes);
        }
        out.bytes
    }
}

impl Ended {
    /// The record's bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; ENDED_LEN] {
        let mut out = Writer { bytes: [0; ENDED_LEN], at: 0 };
        out.put(&[ENDED, 0, 0, 0, 0, 0, 0, 0]);
        out.put(&self.position.era.0.to_le_bytes());
        out.put(&self.position.seq.to_le_bytes());
        out.put(&self.chain.0);
        out.bytes
    }
}

impl Decision {
    /// The record's bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; DECISION_LEN] {
        let (what, agreed, node) = match *self {
            Self::Retire(node) => (RETIRE, 0, node.0),
            Self::Agree(format) => (AGREE, format, 0),
        };
        let mut out = Writer { bytes: [0; DECISION_LEN], at: 0 };
        out.put(&[DECISION, what]);
        out.put(&agreed.to_le_bytes());
        out.put(&[0; 4]);
        out.put(&node.to_le_bytes());
        out.bytes
    }
}

impl View<'_, ORIGIN_LEN> {
    /// The fields; the error names the one that is invalid.
    pub(super) fn check(self) -> Result<Origin, &'static str> {
        let mut from = Fields { bytes: self.0, at: 1 };
        let [verdict] = from.array();
        let verdict = Verdict::ALL.into_iter().find(|known| *known as u8 == verdict);
        let verdict = verdict.ok_or("unknown verdict")?;
        let agreed = u16::from_le_bytes(from.array());
        let attempt = u32::from_le_bytes(from.array());
        let (era, seq) = (Era(from.number()), from.number());
        let (node, epoch, batch) = (NodeId(from.number()), Epoch(from.number()), from.number());
        let origin = Origin {
            verdict,
            agreed,
            attempt,
            position: Position { era, seq },
            node,
            epoch,
            batch,
            cluster: ClusterId(from.array()),
            hash: MessageHash(from.array()),
            chain: Chain(from.array()),
            outcomes: Chain(from.array()),
        };
        if seq == 0 {
            return Err("position out of range");
        }
        let has_sender = node.0 != 0 && epoch.0 != 0;
        let has_none = node.0 == 0 && epoch.0 == 0 && batch == 0 && attempt == 0;
        match if verdict.has_sender() { has_sender } else { has_none } {
            true => Ok(origin),
            false => Err("sender out of range"),
        }
    }
}

impl View<'_, MEMBER_LEN> {
    /// As for an Origin.
    pub(super) fn check(self) -> Result<Member, &'static str> {
        let mut from = Fields { bytes: self.0, at: 1 };
        let [retired] = from.array();
        from.zero::<6>()?;
        let (node, epoch, high) = (NodeId(from.number()), Epoch(from.number()), from.number());
        let (heard, nonce) = (UnixMillis(from.number()), BootNonce(from.array()));
        if node.0 == 0 || epoch.0 == 0 {
            return Err("node out of range");
        }
        if heard > UnixMillis::MAX {
            return Err("time out of range");
        }
        match retired {
            0 | 1 => Ok(Member { node, retired: retired == 1, epoch, nonce, high, heard }),
            _ => Err("unknown flags"),
        }
    }
}

impl View<'_, REPORT_LEN> {
    /// As for an Origin.
    pub(super) fn check(self) -> Result<Report, &'static str> {
        let mut from = Fields { bytes: self.0, at: 1 };
        let [flags] = from.array();
        if flags & !HAS_STOPPED != 0 {
            return Err("unknown flag");
        }
        from.zero::<2>()?;
        let report = Report {
            has_stopped: flags & HAS_STOPPED != 0,
            format: u32::from_le_bytes(from.array()),
            seq: from.number(),
            durable: from.number(),
            memory_max: from.number(),
            chain: Chain(from.array()),
            outcomes: Chain(from.array()),
            keys: from.array(),
        };
        match report.durable <= report.seq && report.format > 0 {
            true => Ok(report),
            false => Err("report out of range"),
        }
    }
}

impl View<'_, ENDED_LEN> {
    /// As for an Origin.
    pub(super) fn check(self) -> Result<Ended, &'static str> {
        let mut from = Fields { bytes: self.0, at: 1 };
        from.zero::<7>()?;
        let position = Position { era: Era(from.number()), seq: from.number() };
        match position.era.0 != 0 && position.seq != 0 {
            true => Ok(Ended { position, chain: Chain(from.array()) }),
            false => Err("position out of range"),
        }
    }
}

impl View<'_, DECISION_LEN> {
    /// As for an Origin.
    pub(super) fn check(self) -> Result<Decision, &'static str> {
        let mut from = Fields { bytes: self.0, at: 1 };
        let [what] = from.array();
        let agreed = u16::from_le_bytes(from.array());
        from.zero::<4>()?;
        let node = from.number();
        match (what, agreed, node) {
            (RETIRE, 0, 1..) => Ok(Decision::Retire(NodeId(node))),
            (AGREE, 1.., 0) => Ok(Decision::Agree(agreed)),
            _ => Err("decision out of range"),
        }
    }
}

macro_rules! fields {
    ($len:ident, $fields:ident) => {
        impl View<'_, $len> {
            /// The fields, which were validated when the record was read.
            #[must_use]
            pub fn fields(&self) -> $fields {
                self.check().unwrap_or_else(|what| unreachable!("checked before: {what}"))
            }
        }
    };
}

fields!(ORIGIN_LEN, Origin);
fields!(MEMBER_LEN, Member);
fields!(REPORT_LEN, Report);
fields!(ENDED_LEN, Ended);
fields!(DECISION_LEN, Decision);
