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

use super::state::{Accounting, Position, apply, put};

/// Bytes of copied and new entries at which a frame with an overlay is committed, if its operations
/// allow that.
const LEN_GOOD: usize = 4 << 20;

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
            // A put needs the entry before only if that stays.
            let is_needed = |entry: &&Entry| {
                !matches!(record, Record::Issue { replaces: true, .. }) || entry.is_derived()
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
