//! Admission: decides which operations go into the frame, and checks their memory against the
//! limits.
//!
//! The committer decides by the state of the store and the records that are already in the frame.
//! Operations that need memory (an issue, and a consume with a key that leaves its token alive) are
//! checked against `--max-memory` and the quota of their namespace. The last use is never refused,
//! because it keeps only one more key until the deadline; so a full engine can always be emptied.

use std::collections::{HashMap, HashSet};

use ahash::RandomState;

use crate::model::entry::Entry;
use crate::model::namespace::NamespaceTag;
use crate::model::record::Record;
use crate::model::time::UnixMillis;
use crate::model::token::{ConsumeKey, Digest};
use crate::store::Pinned;

use super::op::{Op, Outcome, Put};
use super::quota::{Quotas, Reserved};
use super::refusal::refuse;
use super::shared::Shared;
use super::state::{Accounting, Holding};

/// Effects of the current frame's records when they are applied.
#[derive(Clone, Default)]
pub(super) struct Admitted {
    /// Memory that they will use, in bytes.
    bytes: u64,
    /// The same memory, by namespace.
    by_namespace: Reserved,
    /// Uses that they will consume of tokens with several uses.
    takes: HashMap<Digest, Takes, RandomState>,
    /// The keys of these consumes.
    keys: HashSet<(Digest, ConsumeKey), RandomState>,
}

/// Uses that the frame will consume of one token.
#[derive(Clone, Copy, Default)]
struct Takes {
    uses: u32,
    keys: usize,
}

/// The limits, and the current use.
struct Limits<'a> {
    memory_max: u64,
    accounting: &'a Accounting,
    quotas: &'a Quotas,
}

/// The conditions under which an operation is admitted.
pub(super) struct Conditions<'a> {
    pub(super) shared: &'a Shared,
    pub(super) accounting: &'a Accounting,
    /// Memory at the start of the turn.
    pub(super) quotas: &'a Quotas,
    /// Log time of the frame.
    pub(super) now: UnixMillis,
    /// Why no record can be accepted at all, if that is so.
    pub(super) refusal: Option<Outcome>,
    /// Whether the entries are those after the records of the frame.
    pub(super) is_exact: bool,
}

impl Admitted {
    /// Admits an operation to the frame. For a consume it returns until when the token is
    /// remembered if nothing else depends on it, for a put the deadline that it keeps. Two
    /// competing consumes in one frame are both admitted: `apply` decides between them.
    ///
    /// # Errors
    /// The outcome of an operation that needs no record in the log.
    pub(super) fn admit(
        &mut self,
        op: &Op,
        pinned: &Pinned<'_>,
        conditions: Conditions<'_>,
    ) -> Result<Option<UnixMillis>, Outcome> {
        if let Some(refused) = refuse(pinned, op, conditions.now) {
            return Err(conditions.shared.refusal(&refused));
        }
        self.admit_changing(op, pinned, conditions)
    }

    /// The same for an operation that changes something, as far as the store tells.
    ///
    /// # Errors
    /// As [`Admitted::admit`].
    pub(super) fn admit_changing(
        &mut self,
        op: &Op,
        pinned: &Pinned<'_>,
        conditions: Conditions<'_>,
    ) -> Result<Option<UnixMillis>, Outcome> {
        let Conditions { shared, accounting, quotas, now, refusal, is_exact } = conditions;
        if let Some(refusal) = refusal {
            return Err(refusal);
        }
        let memory_max = shared.config.max_memory_bytes.unwrap_or(u64::MAX);
        let limits = Limits { memory_max, accounting, quotas };
        match op {
            Op::Issue { digest, payload, uses, .. } => {
                let bytes = Entry::footprint(payload.len(), *uses) as u64;
                self.reserve(&limits, digest.tag(), Holding { tokens: 1, bytes })?;
                Ok(None)
            }
            Op::Consume { digest, key } => {
                let Some(entry) = pinned.get(digest) else { return Ok(None) };
                let leaves_trace = match is_exact {
                    true => self.consume_exactly(&limits, digest, entry, key.as_ref())?,
                    false => self.consume(&limits, digest, entry, key.as_ref())?,
                };
                Ok(remembered_until(shared, entry, now).filter(|_| leaves_trace))
            }
            Op::Put(put) => {
                let before = pinned.get(&put.digest);
                self.reserve(&limits, put.digest.tag(), growth(put, before))?;
                let kept = before.filter(|entry| put.ttl.is_none() && entry.is_alive(now));
                Ok(kept.map(Entry::deadline))
            }
            Op::Extend { .. } | Op::Revoke { .. } | Op::SetDeadline { .. } | Op::Read { .. } => {
                Ok(None)
            }
        }
    }

    /// For a consume of a message that lands: until when its token is remembered if nothing else
    /// depends on it. No limit is checked: what has landed counts. `is_exact`: the entry is that after
    /// the records before it.
    pub(super) fn remembered(
        &mut self,
        pinned: &Pinned<'_>,
        record: &Record<'_>,
        accounting: &Accounting,
        shared: &Shared,
        (now, is_exact): (UnixMillis, bool),
    ) -> Option<UnixMillis> {
        let Record::Consume { digest, key, .. } = record else { return None };
        let entry = pinned.get(digest)?;
        let quotas = Quotas::default();
        let limits = Limits { memory_max: u64::MAX, accounting, quotas: &quotas };
        let leaves_trace = match is_exact {
            true => self.consume_exactly(&limits, digest, entry, key.as_ref()),
            false => self.consume(&limits, digest, entry, key.as_ref()),
        };
        let leaves_trace = leaves_trace.unwrap_or(false);
        remembered_until(shared, entry, now).filter(|_| leaves_trace)
    }

    /// Called when the frame is applied, or lost.
    pub(super) fn clear(&mut self) {
        self.bytes = 0;
        self.by_namespace.clear();
        if !self.takes.is_empty() {
            self.takes.clear();
            self.keys.clear();
        }
    }

    /// Admits a consume. Returns true if it is the last use of a token that nothing else depends
    /// on.
    fn consume(
        &mut self,
        limits: &Limits<'_>,
        digest: &Digest,
        entry: &Entry,
        key: Option<&ConsumeKey>,
    ) -> Result<bool, Outcome> {
        let is_plain = !entry.is_derived() && entry.keys().is_empty();
        if entry.uses_total() == 1 {
            return Ok(is_plain && key.is_none());
        }
        let takes = self.takes.get(digest).copied().unwrap_or_default();
        let mut taken = Takes { uses: takes.uses + 1, keys: takes.keys };
        // After the other records of the frame this is the last use, or no use is left.
        let is_last = entry.uses_left() <= taken.uses;
        if let Some(key) = key {
            if self.keys.contains(&(*digest, *key)) {
                return Ok(false);
            }
            taken.keys += 1;
            if !is_last {
                let growth = entry.key_growth(taken.keys) - entry.key_growth(takes.keys);
                let more = Holding { tokens: 0, bytes: growth as u64 };
                self.reserve(limits, digest.tag(), more)?;
            }
            self.keys.insert((*digest, *key));
        }
        self.takes.insert(*digest, taken);
        Ok(is_last && is_plain && taken.keys == 0)
    }

    /// The same where the entry is that after the records of the frame.
    fn consume_exactly(
        &mut self,
        limits: &Limits<'_>,
        digest: &Digest,
        entry: &Entry,
        key: Option<&ConsumeKey>,
    ) -> Result<bool, Outcome> {
        let is_last = entry.uses_left() <= 1;
        if key.is_some() && !is_last {
            let more = Holding { tokens: 0, bytes: entry.key_growth(1) as u64 };
            self.reserve(limits, digest.tag(), more)?;
        }
        Ok(is_last && key.is_none() && !entry.is_derived() && entry.keys().is_empty())
    }

    /// Reserves the memory of a record.
    fn reserve(
        &mut self,
        limits: &Limits<'_>,
        tag: NamespaceTag,
        more: Holding,
    ) -> Result<(), Outcome> {
        if more == Holding::default() {
            return Ok(());
        }
        let taken = self.bytes + more.bytes;
        if limits.accounting.memory_bytes().saturating_add(taken) > limits.memory_max {
            return Err(Outcome::MemoryFull);
        }
        let held = &limits.accounting.totals.holdings;
        if !self.by_namespace.take(limits.quotas, held, tag, more) {
            return Err(Outcome::QuotaFull);
        }
        self.bytes = taken;
        Ok(())
    }
}

/// What an entry needs besides the one whose place it takes.
fn growth(put: &Put, before: Option<&Entry>) -> Holding {
    let bytes = Entry::footprint(put.payload.len(), put.uses) as u64;
    let held_bytes = before.map_or(0, |entry| entry.memory_bytes() as u64);
    let held_tokens = before.map_or(0, |entry| u64::from(!entry.is_consumed()));
    Holding { tokens: 1 - held_tokens, bytes: bytes.saturating_sub(held_bytes) }
}

/// Until when a token that is consumed now is remembered, if nothing else depends on it.
fn remembered_until(shared: &Shared, entry: &Entry, now: UnixMillis) -> Option<UnixMillis> {
    let until = now.plus(shared.config.remember_consumed).min(entry.deadline());
    (until > now).then_some(until)
}
