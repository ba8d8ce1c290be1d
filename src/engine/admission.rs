//! Admission: which operations go into the frame, and what they may take.
//!
//! Decided by the committer as things stand, with what the frame holds already. Whatever makes
//! memory grow is held against `--max-memory` and the quota of its namespace here: an issue, and a
//! consume with a key that leaves its token alive. The last use is never refused: what it keeps
//! beyond the token itself is one key, until the deadline; so a full engine can always be emptied.

use std::collections::{HashMap, HashSet};

use ahash::RandomState;

use crate::model::entry::Entry;
use crate::model::namespace::NamespaceTag;
use crate::model::time::UnixMillis;
use crate::model::token::{ConsumeKey, Digest};

use super::op::{Op, Outcome};
use super::quota::{Quotas, Reserved};
use super::shared::{Shared, refuse};
use super::state::{Accounting, Holding};

/// What the records of the current frame will do when they are applied.
#[derive(Default)]
pub(super) struct Admitted {
    /// Memory that they will take, in bytes.
    bytes: u64,
    /// The same, by namespace.
    by_namespace: Reserved,
    /// Uses that they will take of tokens with several.
    takes: HashMap<Digest, Takes, RandomState>,
    /// The keys that they will take those with.
    keys: HashSet<(Digest, ConsumeKey), RandomState>,
}

/// Uses that the frame will take of one token.
#[derive(Clone, Copy, Default)]
struct Takes {
    uses: u32,
    keys: usize,
}

/// The limits, and what counts against them.
struct Limits<'a> {
    memory_max: u64,
    accounting: &'a Accounting,
    quotas: &'a Quotas,
}

/// How things stand as an operation is looked at.
pub(super) struct Conditions<'a> {
    pub(super) shared: &'a Shared,
    pub(super) accounting: &'a Accounting,
    /// As of the begin of the turn.
    pub(super) quotas: &'a Quotas,
    /// Log time of the frame.
    pub(super) now: UnixMillis,
    /// Why no record is taken at all, if none is.
    pub(super) refusal: Option<Outcome>,
}

impl Admitted {
    /// Admits an operation to the frame; for a consume, until when it is remembered where nothing
    /// else depends on its token. Two rivals of one frame both pass here: `apply` decides between
    /// them.
    ///
    /// # Errors
    /// The outcome, where it needs no record in the log.
    pub(super) fn admit(
        &mut self,
        op: &Op,
        conditions: Conditions<'_>,
    ) -> Result<Option<UnixMillis>, Outcome> {
        let Conditions { shared, accounting, quotas, now, refusal } = conditions;
        let pinned = shared.store.pin();
        if let Some(refused) = refuse(&pinned, op, now) {
            return Err(shared.refusal(&refused));
        }
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
                let leaves_trace = self.consume(&limits, digest, entry, key.as_ref())?;
                let until = now.plus(shared.config.remember_consumed).min(entry.deadline());
                Ok((leaves_trace && until > now).then_some(until))
            }
            Op::Extend { .. } | Op::Revoke { .. } => Ok(None),
        }
    }

    /// The frame is applied, or lost.
    pub(super) fn clear(&mut self) {
        self.bytes = 0;
        self.by_namespace.clear();
        if !self.takes.is_empty() {
            self.takes.clear();
            self.keys.clear();
        }
    }

    /// Admits a consume; true where it takes the last use of a token that nothing depends on then.
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
        // Behind the other records of the frame: the last use, or none is left for it.
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

    /// Reserves what a record will take.
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
