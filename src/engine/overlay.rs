//! The entries as they will be when the current frame is applied.
//!
//! Most operations are admitted by the state before their frame, and `apply` decides between rivals.
//! That does not suffice for a condition: its outcome must not depend on what a replay still has, so
//! it is decided before the record is written, by the exact state. Operations that are performed
//! together also see what the earlier ones did. So, once a frame needs it, the entries that its
//! records concern are copied into a store of their own, and each record is applied to them by the
//! same `apply`.

use std::collections::HashSet;

use ahash::RandomState;

use crate::model::entry::{Entry, JournalPart};
use crate::model::record::{Record, records};
use crate::model::time::UnixMillis;
use crate::model::token::Digest;
use crate::store::{Pinned, Store};

use super::op::Op;
use super::state::{Accounting, Position, apply, put};

/// Bytes of copied and new entries at which a frame with an overlay is committed, if its operations
/// allow that.
pub(super) const LEN_GOOD: usize = 4 << 20;
/// Maximum bytes of the entries that are copied for operations that are performed together, 64 MiB.
pub(super) const TOGETHER_LEN_MAX: usize = 64 << 20;
/// Why operations that need more are refused.
pub(super) const TOO_MUCH_TOGETHER: &str = "changes together: the tokens that they consume, or whose \
                                            deadlines they move, use more than 64 MiB of memory";

/// The entries that the records of the current frame concern.
#[derive(Default)]
pub(super) struct Overlay {
    /// `None` while no operation of the frame needs the exact state.
    active: Option<Box<Active>>,
    /// An empty store, kept for the next frame.
    spare: Option<Store>,
}

struct Active {
    store: Store,
    accounting: Accounting,
    touched: HashSet<Digest, RandomState>,
    /// Bytes of the entries, replaced ones included.
    len: usize,
}

/// Bytes of the entry that an overlay copies for an operation that changes something; 0 for most.
pub(super) fn copied_len(pinned: &Pinned<'_>, op: &Op) -> usize {
    let is_copied = |entry: &&Entry| match op {
        Op::Put(_) => entry.is_derived(),
        Op::Read { .. } | Op::Revoke { .. } => false,
        Op::Issue { .. } | Op::Consume { .. } | Op::Extend { .. } | Op::SetDeadline { .. } => true,
    };
    pinned.get(op.digest()).filter(is_copied).map_or(0, Entry::memory_bytes)
}

/// The same for operations that are performed together: each entry is copied once.
pub(super) fn copied_len_together<'o>(
    pinned: &Pinned<'_>,
    ops: impl IntoIterator<Item = &'o Op>,
) -> usize {
    let mut seen: HashSet<&Digest, RandomState> = HashSet::default();
    let mut len = 0;
    for op in ops {
        let copied = copied_len(pinned, op);
        if copied > 0 && seen.insert(op.digest()) {
            len += copied;
        }
    }
    len
}

impl Overlay {
    pub(super) fn is_active(&self) -> bool {
        self.active.is_some()
    }

    /// Whether it is better to commit the frame.
    pub(super) fn is_large(&self) -> bool {
        self.active.as_ref().is_some_and(|active| active.len > LEN_GOOD)
    }

    /// Begins, with the records that the frame already has.
    pub(super) fn begin(&mut self, store: &Store, body: &[u8], now: UnixMillis) {
        self.end();
        self.active = Some(Box::new(Active {
            store: self.spare.take().unwrap_or_default(),
            accounting: Accounting::new(now),
            touched: HashSet::default(),
            len: 0,
        }));
        // What was just encoded decodes.
        for record in records(body).flatten() {
            self.note(store, &record, now);
        }
    }

    /// Applies a record of the frame; nothing if no operation needs the exact state.
    pub(super) fn note(&mut self, store: &Store, record: &Record<'_>, now: UnixMillis) {
        let (Some(active), Some(digest)) = (&mut self.active, record.digest()) else { return };
        let at = Position { time: now, segment: JournalPart(0) };
        let pinned = active.store.pin();
        if active.touched.insert(*digest) {
            let outer = store.pin();
            // A put needs the entry before only if that stays, and a revocation if it is consumed.
            let is_needed = |entry: &&Entry| match record {
                Record::Issue { replaces: true, .. } => entry.is_derived(),
                Record::Revoke { .. } => !entry.is_alive(now),
                _ => true,
            };
            if let Some(entry) = outer.get(digest).filter(is_needed) {
                active.len += entry.memory_bytes();
                let copy = Entry::new(&entry.parts(), entry.segment());
                put(&pinned, &mut active.accounting, *digest, copy);
            }
        }
        apply(&pinned, &mut active.accounting, record, at);
        if let Record::Issue { payload, .. } = record {
            active.len += payload.len();
        }
    }

    /// The store that has the entry of `digest` after the records of the frame: this one, or `store`.
    pub(super) fn pin<'s>(&'s self, store: &'s Store, digest: &Digest) -> Pinned<'s> {
        match &self.active {
            Some(active) if active.touched.contains(digest) => active.store.pin(),
            _ => store.pin(),
        }
    }

    /// Ends with the frame.
    pub(super) fn end(&mut self) {
        let Some(active) = self.active.take() else { return };
        let Active { store, touched, .. } = *active;
        {
            let pinned = store.pin();
            for digest in &touched {
                pinned.remove(digest);
            }
            pinned.flush();
        }
        self.spare = Some(store);
    }
}
