//! What the messages of a stream mean, worked out a second time: which of them count, the log time
//! of each, and the tokens after each. It shares only the seal and the bytes of records with jeton.

use std::collections::{BTreeMap, BTreeSet};

use jeton::cluster::message::Sealer;
use jeton::engine::replicated::{MessageHead, MessageKind};
use jeton::model::cluster::NodeId;
use jeton::model::condition::{DeadlineWhen, When};
use jeton::model::record::asked::Asked;
use jeton::model::record::replication::Decision;
use jeton::model::record::{Record, records};
use jeton::model::time::UnixMillis;

use crate::simulation::model::{Change, Held, What, id_of};

/// The present life of a node: epoch, nonce, and its last batch.
type Row = (u64, [u8; 16], u64);

pub struct Truth {
    sealer: Sealer,
    /// The last message.
    pub seq: u64,
    pub log_time: u64,
    rows: BTreeMap<u64, Row>,
    /// Nodes that were taken out.
    pub retired: BTreeSet<u64>,
    has_begun: bool,
    pub tokens: BTreeMap<u64, Held>,
    pub counted: u64,
    pub repeats: u64,
}

impl Truth {
    pub fn new(sealer: Sealer) -> Self {
        Self {
            sealer,
            seq: 0,
            log_time: 0,
            rows: BTreeMap::new(),
            retired: BTreeSet::new(),
            has_begun: false,
            tokens: BTreeMap::new(),
            counted: 0,
            repeats: 0,
        }
    }

    /// Another stream goes on from here.
    pub fn begin_stream(&mut self) {
        self.seq = 0;
    }

    pub fn take(&mut self, seq: u64, stored_at: UnixMillis, message: &[u8]) {
        assert_eq!(seq, self.seq + 1, "the stream has no gap");
        self.seq = seq;
        let landed = self.sealer.open(seq, stored_at, message).expect("a known format");
        let Some((head, body)) = landed.content else { return };
        let (stream, proposer) = (stored_at.0, head.proposed_at.0);
        let agree = stream.abs_diff(proposer) <= 10_000;
        let time = if agree { stream } else { stream.min(proposer) };
        self.log_time = self.log_time.max(time);
        if self.counts(&head) {
            self.counted += 1;
            self.apply(&body);
        }
    }

    fn counts(&mut self, head: &MessageHead) -> bool {
        let sender = head.sender;
        let (node, epoch, nonce) = (sender.node.0, sender.epoch.0, sender.nonce.0);
        match head.kind {
            _ if self.retired.contains(&node) => {}
            MessageKind::Genesis => self.has_begun = true,
            _ if !self.has_begun => {}
            MessageKind::Hello => {
                if self.rows.get(&node).is_none_or(|row| epoch > row.0) {
                    self.rows.insert(node, (epoch, nonce, 0));
                }
            }
            MessageKind::Batch => {
                let Some(row) = self.rows.get_mut(&node) else { return false };
                if (row.0, row.1) == (epoch, nonce) && head.batch == row.2 + 1 {
                    row.2 = head.batch;
                    return true;
                }
                self.repeats += 1;
            }
        }
        false
    }

    /// A node is taken out, unless nobody would be left.
    fn decide(&mut self, decision: Decision) {
        let Decision::Retire(NodeId(node)) = decision else { return };
        let is_there = |node: &u64| !self.retired.contains(node);
        let others = self.rows.keys().filter(|other| **other != node && is_there(other)).count();
        if self.rows.contains_key(&node) && is_there(&node) && others > 0 {
            self.retired.insert(node);
        }
    }

    /// Records that change nothing in the state before the message change nothing at all; the
    /// others are applied one after the other. From the first condition on, and from the first call
    /// that is performed together, each depends on the state after those before it.
    fn apply(&mut self, body: &[u8]) {
        let (before, now) = (self.tokens.clone(), self.log_time);
        let mut is_exact = false;
        for record in records(body) {
            let record = record.expect("a record");
            if let Record::Decision(decision) = record {
                self.decide(decision.fields());
            }
            is_exact |= needs_exact(&record);
            let Some(change) = change(&record) else { continue };
            let tokens = if is_exact { &self.tokens } else { &before };
            if change.refused(tokens.get(&change.id), now).is_some() {
                continue;
            }
            match change.apply(self.tokens.get(&change.id), now).0 {
                // Nothing depends on a token that was consumed without a key or a reference.
                Some(held) if held.uses_left == 0 && held.keys.is_empty() && !held.derived => {
                    self.tokens.remove(&change.id);
                }
                Some(held) => drop(self.tokens.insert(change.id, held)),
                None => drop(self.tokens.remove(&change.id)),
            }
        }
    }
}

fn needs_exact(record: &Record<'_>) -> bool {
    match record {
        Record::Asked(Asked::Together { .. } | Asked::Read { .. }) => true,
        Record::Asked(Asked::Put(put)) => put.keeps || put.when != When::Always,
        Record::Asked(Asked::SetDeadline { when, .. }) => *when != DeadlineWhen::Always,
        _ => false,
    }
}

fn change(record: &Record<'_>) -> Option<Change> {
    let (id, what) = match record {
        Record::Issue { digest, deadline, uses, peek, derived, payload, .. } => {
            let (payload, ttl_ms) = ((*payload).into(), deadline.0);
            let what = What::Issue { payload, ttl_ms, uses: *uses, peek: *peek, derived: *derived };
            (id_of(digest), what)
        }
        Record::Consume { digest, key, .. } => {
            (id_of(digest), What::Consume { key: key.map(|key| key.0[0]) })
        }
        Record::Extend { digest, deadline, .. } => {
            (id_of(digest), What::Extend { ttl_ms: deadline.0 })
        }
        Record::Revoke { digest } => (id_of(digest), What::Revoke),
        Record::Asked(Asked::Put(put)) => {
            let ttl_ms = (!put.keeps).then_some(put.lifetime.0);
            let (payload, uses, peek) = (put.payload.into(), put.uses, put.peek);
            (
                id_of(&put.digest),
                What::Put { payload, ttl_ms, uses, peek, when: put.when, asks: put.asks },
            )
        }
        Record::Asked(Asked::SetDeadline { digest, deadline, when }) => {
            (id_of(digest), What::Deadline { at: deadline.0, when: *when })
        }
        _ => return None,
    };
    Some(Change { id, what })
}
