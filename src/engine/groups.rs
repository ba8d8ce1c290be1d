//! Which records of a frame are performed together, and how readers see them.

use std::ops::Range;

use crate::model::entry::Entry;
use crate::model::time::UnixMillis;
use crate::store::{Store, Together};

/// Operations of the current frame that are performed together.
#[derive(Default)]
pub(super) struct Groups {
    /// Their records, as positions behind the relocated ones.
    pub(super) ranges: Vec<Range<usize>>,
    /// The earliest deadline that one of them relied on.
    pub(super) decided_until: Option<UnixMillis>,
}

impl Groups {
    pub(super) fn clear(&mut self) {
        self.ranges.clear();
        self.decided_until = None;
    }

    /// Whether the frame must not have this log time.
    pub(super) fn end_before(&self, log_time: UnixMillis) -> bool {
        self.decided_until.is_some_and(|until| until <= log_time)
    }

    pub(super) fn rely_on(&mut self, entry: Option<&Entry>, now: UnixMillis) {
        let Some(entry) = entry.filter(|entry| entry.is_alive(now)) else { return };
        let until = self.decided_until.unwrap_or(UnixMillis::MAX);
        self.decided_until = Some(entry.deadline().min(until));
    }
}

/// Hides the changes of a group from readers until it is applied as a whole.
pub(super) struct Curtain<'a> {
    groups: std::slice::Iter<'a, Range<usize>>,
    relocated_len: usize,
    current: Option<&'a Range<usize>>,
    closed: Option<Together<'a>>,
}

impl<'a> Curtain<'a> {
    pub(super) fn new(groups: &'a Groups, relocated_len: usize) -> Self {
        let mut groups = groups.ranges.iter();
        let current = groups.next();
        Self { groups, relocated_len, current, closed: None }
    }

    /// To be called before the record at `offset` is applied.
    pub(super) fn before(&mut self, offset: usize, store: &'a Store) {
        if self.current.is_some_and(|range| range.start + self.relocated_len == offset) {
            self.closed = Some(store.change_together());
        }
    }

    /// To be called after the record that ends at `offset` was applied.
    pub(super) fn after(&mut self, offset: usize) {
        if self.current.is_some_and(|range| range.end + self.relocated_len == offset) {
            self.closed = None;
            self.current = self.groups.next();
        }
    }
}
