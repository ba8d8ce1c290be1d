//! What all nodes of a cluster know alike at one position of the stream: its chain of messages, and
//! which batch of which node counts next.
//!
//! Everything here is decided by the messages in their order, never by a clock or by the time at
//! which a node happens to land them. So each node comes to the same verdicts.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use crate::model::cluster::{
    BootNonce, Chain, ClusterId, Epoch, Era, MessageHash, NodeId, Position,
};
use crate::model::record::Record;
use crate::model::record::replication::{ENDED_LEN, Ended, MEMBER_LEN, Member, Origin, Verdict};
use crate::model::time::UnixMillis;

/// Maximum earlier streams whose ends are known.
const ENDED_MAX: usize = 16;
/// Maximum nodes of a cluster.
pub const MEMBERS_MAX: usize = 64;
/// A node unheard of for this time of the log gives way to a new one.
const UNHEARD_MS: u64 = 24 * 3_600_000;
/// A node heard of within this time of the log is there.
pub const PRESENT_WITHIN_MS: u64 = 5_000;
/// A node that was taken out gives way after this time of the log. Until then its row refuses what
/// it may still have proposed.
const RETIRED_MS: u64 = 10 * 60_000;
/// A proposer's clock and the stream's clock may differ by this; beyond it neither may make
/// anything expire early.
pub const CLOCK_DIFFERENCE_MAX_MS: u64 = 10_000;

/// The first format of messages and logs, which needs no agreement.
pub const FORMAT_FIRST: u16 = 1;
/// The first format with what nodes [ask](crate::model::record::asked) of each other: puts, deadlines
/// that may be earlier, and operations that are performed together.
pub const FORMAT_ASKED: u16 = 2;
/// The latest format of messages and logs that this version knows.
pub const FORMAT: u16 = FORMAT_ASKED;

/// Which life of which node sent a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// The node.
    pub node: NodeId,
    /// Its life.
    pub epoch: Epoch,
    /// The nonce of that life.
    pub nonce: BootNonce,
}

/// The kind of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageKind {
    /// The cluster begins, or goes on in a new stream; the first message of a stream.
    Genesis,
    /// A node begins a new life.
    Hello,
    /// Records of a node.
    Batch,
}

/// The head of a message, which nobody without the cluster's secret can have made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageHead {
    /// The format: that on which the nodes had agreed when it was sent.
    pub format: u16,
    /// The kind.
    pub kind: MessageKind,
    /// The cluster.
    pub cluster: ClusterId,
    /// The stream.
    pub era: Era,
    /// The sender.
    pub sender: Sender,
    /// Number of the batch within the sender's life, 1 and up; 0 for another kind.
    pub batch: u64,
    /// How often it was sent before.
    pub attempt: u32,
    /// The sender's clock when it sent this message.
    pub proposed_at: UnixMillis,
}

/// A message of the stream.
#[derive(Clone, Debug)]
pub struct Landed {
    /// Its sequence number.
    pub seq: u64,
    /// The time at which the stream stored it, by the stream's clock.
    pub stream_time: UnixMillis,
    /// Its hash.
    pub hash: MessageHash,
    /// Its head and its body; `None` if it cannot be opened.
    pub content: Option<(MessageHead, Vec<u8>)>,
}

/// The state of a node's log at one position of the stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replicated {
    /// The cluster.
    pub cluster: ClusterId,
    /// The position. Its era is 0 before the first Genesis.
    pub position: Position,
    /// Hash of the message there.
    pub hash: MessageHash,
    /// The chain of messages.
    pub chain: Chain,
    /// The chain of outcomes. A node that starts does not know how its last message came out:
    /// `None` until the next Hello, with which the chain begins anew on all nodes.
    pub outcomes: Option<Chain>,
    /// The nodes, those that were taken out lately included.
    pub members: BTreeMap<NodeId, Member>,
    /// Where earlier streams have ended, oldest first.
    pub ended: Vec<Ended>,
    /// The format that the nodes have agreed on; 0 for the first one.
    pub agreed: u16,
}

impl Landed {
    /// Where the stream before this one has ended, if this message begins one that continues it.
    #[must_use]
    pub fn continues(&self) -> Option<Ended> {
        let (head, body) = self.content.as_ref()?;
        let is_first = head.kind == MessageKind::Genesis && self.seq == 1;
        match Record::decode(body, 0) {
            Ok((Record::Ended(ended), end)) if is_first && end == body.len() => {
                Some(ended.fields()).filter(|ended| head.era > ended.position.era)
            }
            _ => None,
        }
    }
}

impl Replicated {
    /// How a message after this position is taken.
    #[must_use]
    pub fn judge(&self, message: &Landed, log_time: UnixMillis) -> Verdict {
        let is_whole = |head: &MessageHead| head.sender.node.0 != 0 && head.sender.epoch.0 != 0;
        let head = message.content.as_ref().map(|(head, _)| head);
        let Some(head) = head.filter(|head| is_whole(head)) else { return Verdict::Unopened };
        let has_begun = self.position.era != Era(0);
        let is_ours = head.cluster == self.cluster && head.era == self.position.era;
        match head.kind {
            MessageKind::Genesis if self.is_continued_by(message) => Verdict::Genesis,
            // Without what the stream before had, nobody can follow one that continues it.
            MessageKind::Genesis if has_begun || head.era != Era(1) => Verdict::Refused,
            MessageKind::Genesis => Verdict::Genesis,
            _ if !has_begun || !is_ours => Verdict::Refused,
            _ if head.format > self.agreed.max(FORMAT_FIRST) => Verdict::Refused,
            MessageKind::Hello => self.judge_hello(&head.sender, log_time),
            MessageKind::Batch => self.judge_batch(&head.sender, head.batch),
        }
    }

    /// Whether the message begins a stream that continues where this node is.
    #[must_use]
    pub fn is_continued_by(&self, message: &Landed) -> bool {
        let here = Ended { position: self.position, chain: self.chain };
        let is_ours = |head: &MessageHead| head.cluster == self.cluster;
        message.continues() == Some(here)
            && message.content.as_ref().is_some_and(|(head, _)| is_ours(head))
    }

    /// The later era that the message belongs to, if it does not lead there from here. Then the
    /// cluster goes on in another stream, without this node.
    #[must_use]
    pub fn is_left_behind_by(&self, message: &Landed) -> Option<Era> {
        let (head, _) = message.content.as_ref()?;
        let is_later = self.position.era != Era(0)
            && head.cluster == self.cluster
            && head.era > self.position.era
            && !self.is_continued_by(message);
        is_later.then_some(head.era)
    }

    fn judge_hello(&self, sender: &Sender, log_time: UnixMillis) -> Verdict {
        match self.members.get(&sender.node) {
            Some(row) if row.retired => Verdict::Refused,
            Some(row) if sender.epoch > row.epoch => Verdict::Hello,
            Some(row) if sender.epoch == row.epoch && sender.nonce == row.nonce => Verdict::Repeat,
            Some(_) => Verdict::Refused,
            None if self.members.len() < MEMBERS_MAX => Verdict::Hello,
            None if self.members.values().any(|row| is_gone(row, log_time)) => Verdict::Hello,
            None => Verdict::Refused,
        }
    }

    /// A batch counts if it is the next one of the present life of its node.
    fn judge_batch(&self, sender: &Sender, batch: u64) -> Verdict {
        match self.members.get(&sender.node) {
            Some(row) if row.retired => Verdict::Refused,
            Some(row) if sender.epoch < row.epoch => Verdict::Repeat,
            Some(row) if sender.epoch == row.epoch && sender.nonce == row.nonce => {
                match batch.checked_sub(row.high) {
                    Some(1) => Verdict::Counted,
                    Some(0) | None => Verdict::Repeat,
                    Some(_) => Verdict::Refused,
                }
            }
            Some(_) | None => Verdict::Refused,
        }
    }

    /// The position after `message`, which was judged, with the nodes as they are then.
    #[must_use]
    pub fn after(&self, message: &Landed, verdict: Verdict, log_time: UnixMillis) -> Self {
        let mut next = self.clone();
        next.position.seq = message.seq;
        next.hash = message.hash;
        next.chain = next_chain(&self.chain, message.seq, &message.hash);
        let Some((head, _)) = &message.content else { return next };
        let Sender { node, epoch, nonce } = head.sender;
        match verdict {
            Verdict::Genesis => {
                (next.cluster, next.position.era) = (head.cluster, head.era);
                if head.format > FORMAT_FIRST {
                    next.agreed = next.agreed.max(head.format);
                }
                next.outcomes = Some(first_outcomes(&next.chain));
                next.ended.extend(message.continues());
                if next.ended.len() > ENDED_MAX {
                    next.ended.remove(0);
                }
            }
            Verdict::Hello => {
                if next.members.len() >= MEMBERS_MAX && !next.members.contains_key(&node) {
                    next.members.retain(|_, row| !is_gone(row, log_time));
                }
                let (retired, high, heard) = (false, 0, log_time);
                next.members.insert(node, Member { node, retired, epoch, nonce, high, heard });
                next.outcomes = Some(first_outcomes(&next.chain));
            }
            Verdict::Counted => {
                if let Some(row) = next.members.get_mut(&node) {
                    (row.high, row.heard) = (head.batch, log_time);
                }
            }
            Verdict::Restated | Verdict::Repeat | Verdict::Unopened | Verdict::Refused => {}
        }
        next
    }

    /// The record of the message that was landed last, with the outcomes before it.
    #[must_use]
    pub fn origin(&self, head: Option<&MessageHead>, verdict: Verdict, before: &Self) -> Origin {
        let sender = head.filter(|_| verdict != Verdict::Unopened);
        Origin {
            verdict,
            agreed: self.agreed,
            attempt: sender.map_or(0, |head| head.attempt),
            position: self.position,
            node: sender.map_or(NodeId(0), |head| head.sender.node),
            epoch: sender.map_or(Epoch(0), |head| head.sender.epoch),
            batch: sender.map_or(0, |head| head.batch),
            cluster: self.cluster,
            hash: self.hash,
            chain: self.chain,
            outcomes: before.outcomes.unwrap_or_default(),
        }
    }

    /// Whether a log that was read up to here can go on with this Origin: it states the position
    /// again, or it is of the next message of the stream, or another era begins.
    #[must_use]
    pub fn goes_on_with(&self, origin: &Origin) -> bool {
        let (now, next) = (self.position, origin.position);
        let is_chained = || origin.chain == next_chain(&self.chain, next.seq, &origin.hash);
        match origin.verdict {
            Verdict::Restated => {
                (now, self.cluster, self.hash, self.chain)
                    == (next, origin.cluster, origin.hash, origin.chain)
            }
            Verdict::Genesis => next.era > now.era && is_chained(),
            _ => {
                (next.era, origin.cluster) == (now.era, self.cluster)
                    && next.seq == now.seq + 1
                    && is_chained()
            }
        }
    }

    /// Bytes of [`Replicated::state_all`].
    #[must_use]
    pub fn statement_len(&self) -> usize {
        self.members.len() * MEMBER_LEN + self.ended.len() * ENDED_LEN
    }

    /// Appends the records that state all nodes, and where earlier streams have ended.
    pub fn state_all(&self, out: &mut Vec<u8>) {
        self.members.values().for_each(|row| out.extend_from_slice(&row.encode()));
        self.ended.iter().for_each(|ended| out.extend_from_slice(&ended.encode()));
    }

    /// Takes an Origin that was read from the log, where it stood in a frame of this time.
    pub fn replay_origin(&mut self, origin: &Origin, log_time: UnixMillis) {
        if origin.verdict.states_all_members() {
            self.members.clear();
            self.ended.clear();
        }
        (self.cluster, self.agreed) = (origin.cluster, origin.agreed);
        self.position = origin.position;
        (self.hash, self.chain, self.outcomes) = (origin.hash, origin.chain, None);
        if origin.verdict == Verdict::Counted
            && let Some(row) = self.members.get_mut(&origin.node)
        {
            (row.high, row.heard) = (origin.batch, log_time);
        }
    }

    /// Takes a row that was read from the log.
    pub fn replay_member(&mut self, member: Member) {
        self.members.insert(member.node, member);
    }

    /// Takes the end of an earlier stream that was read from the log.
    pub fn replay_ended(&mut self, ended: Ended) {
        self.ended.push(ended);
    }
}

/// Log time of a message after a frame of the time `previous`.
///
/// It follows the stream's clock while the proposer's clock agrees with it, else the earlier of the
/// two: one wrong clock alone makes nothing expire early. A message that cannot be opened has no
/// proposer that could agree, so it does not move time.
#[must_use]
pub fn log_time_of(message: &Landed, previous: UnixMillis) -> UnixMillis {
    let Some((head, _)) = &message.content else { return previous };
    let (stream, proposer) = (message.stream_time, head.proposed_at);
    let agrees = stream.0.abs_diff(proposer.0) <= CLOCK_DIFFERENCE_MAX_MS;
    let time = if agrees { stream } else { stream.min(proposer) };
    previous.max(time.min(UnixMillis::MAX))
}

/// Hash of a message as the stream stores it.
#[must_use]
pub fn hash_of(message: &[u8]) -> MessageHash {
    MessageHash(first(Sha256::new().chain_update(message)))
}

/// The chain of outcomes after a message with this verdict, whose records came to `outcomes`.
#[must_use]
pub fn next_outcomes(before: &Chain, seq: u64, verdict: Verdict, outcomes: &[u8]) -> Chain {
    let hasher = Sha256::new().chain_update(before.0).chain_update(seq.to_le_bytes());
    Chain(first(hasher.chain_update([verdict as u8]).chain_update(outcomes)))
}

fn next_chain(before: &Chain, seq: u64, message: &MessageHash) -> Chain {
    let hasher = Sha256::new().chain_update(before.0).chain_update(seq.to_le_bytes());
    Chain(first(hasher.chain_update(message.0)))
}

/// The chain of outcomes begins anew where the chain of messages is this.
fn first_outcomes(chain: &Chain) -> Chain {
    Chain(first(Sha256::new().chain_update(b"outcomes").chain_update(chain.0)))
}

fn first(hasher: Sha256) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hasher.finalize()[..16]);
    bytes
}

/// Whether a node was unheard of for so long that it gives way to a new one.
#[must_use]
pub fn is_gone(row: &Member, log_time: UnixMillis) -> bool {
    let kept_ms = if row.retired { RETIRED_MS } else { UNHEARD_MS };
    log_time.since(row.heard) > kept_ms
}

/// Whether a node was heard of lately.
#[must_use]
pub fn is_present(row: &Member, log_time: UnixMillis) -> bool {
    !row.retired && log_time.since(row.heard) <= PRESENT_WITHIN_MS
}

mod decided;
#[cfg(test)]
mod tests;
