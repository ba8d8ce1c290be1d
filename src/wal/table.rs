//! The segments, oldest first, with their live bytes.
//!
//! The log does not know entries: the engine reports the live bytes of a segment and their latest
//! deadline, from which the table computes the maximum length of the log and when its oldest
//! segment is due.

use std::collections::VecDeque;

use super::segment::SegmentHeader;

/// The cleaning that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clean {
    /// No cleaning.
    Nothing,
    /// Everything in the oldest segment has expired: release it as it is.
    Expired {
        /// Its seq.
        seq: u64,
    },
    /// A record in it is older than allowed, or soon will be: as for [`Clean::Scan`], but also without
    /// writes.
    Aged {
        /// Its seq.
        seq: u64,
    },
    /// The log has reached its limit: relocate the live entries of the oldest segment to the head,
    /// then release it.
    Scan {
        /// Its seq.
        seq: u64,
    },
}

/// One segment.
#[derive(Clone, Debug)]
pub struct Segment {
    /// Its header.
    pub header: SegmentHeader,
    /// Whether it is sealed: nothing is written to it any more.
    pub sealed: bool,
    /// Bytes up to the end of its last frame, header block included; its whole
    /// size once it is sealed.
    pub used_bytes: u64,
    /// Log time of its first frame, Unix milliseconds; `None` if it has none, or it is unknown.
    pub since_ms: Option<u64>,
    /// Whether it may have a frame with records.
    pub has_records: bool,
    /// Bytes of its live entries.
    pub live_bytes: u64,
    /// The latest deadline of the entries in it, Unix milliseconds; 0 for none.
    pub latest_deadline_ms: u64,
}

impl Segment {
    pub(crate) fn new(header: SegmentHeader, used_bytes: u64) -> Self {
        Self {
            header,
            sealed: false,
            used_bytes,
            since_ms: None,
            has_records: false,
            live_bytes: 0,
            latest_deadline_ms: 0,
        }
    }

    pub(crate) fn sealed(header: SegmentHeader) -> Self {
        Self { sealed: true, has_records: true, ..Self::new(header, header.size) }
    }

    /// Notes a frame that was written to it, up to `end`.
    pub(crate) fn note_frame(&mut self, end: u64, log_time_ms: u64, body_len: usize) {
        self.used_bytes = end;
        self.since_ms.get_or_insert(log_time_ms);
        self.has_records |= body_len > 0;
    }

    /// Age of its first frame in milliseconds; one that is unknown is old.
    pub(crate) fn age_ms(&self, now_ms: u64) -> u64 {
        self.since_ms.map_or(u64::MAX, |since_ms| now_ms.saturating_sub(since_ms))
    }
}

/// All segments; the last one is the current one and always exists.
pub(crate) struct Table {
    segments: VecDeque<Segment>,
    total_bytes: u64,
    live_bytes: u64,
}

impl Table {
    /// `segments` are in order, without gaps, the current one last.
    pub fn new(segments: VecDeque<Segment>) -> Self {
        assert!(!segments.is_empty(), "a log has a current segment");
        Self {
            total_bytes: segments.iter().map(|segment| segment.header.size).sum(),
            live_bytes: 0,
            segments,
        }
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Segment> {
        self.segments.iter()
    }

    pub fn len(&self) -> u64 {
        self.segments.len() as u64
    }

    /// Bytes of all segment files, filled or not.
    pub fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    pub fn live_bytes(&self) -> u64 {
        self.live_bytes
    }

    pub fn current(&self) -> &Segment {
        &self.segments[self.segments.len() - 1]
    }

    pub fn current_mut(&mut self) -> &mut Segment {
        let last = self.segments.len() - 1;
        &mut self.segments[last]
    }

    /// The oldest segment, unless that is the current one.
    pub fn oldest(&self) -> Option<&Segment> {
        self.segments.front().filter(|segment| segment.sealed)
    }

    /// Seals the current segment and appends the segment of `header`.
    pub fn roll(&mut self, header: SegmentHeader, used_bytes: u64) {
        let current = self.current_mut();
        assert_eq!(header.seq, current.header.seq + 1, "seqs have no gaps");
        current.sealed = true;
        current.used_bytes = current.header.size;
        self.total_bytes += header.size;
        self.segments.push_back(Segment::new(header, used_bytes));
    }

    /// Removes the oldest segment, which must be `seq` and not the current one.
    #[expect(clippy::expect_used, reason = "asserted in the line above")]
    pub fn pop_oldest(&mut self, seq: u64) -> Segment {
        assert_eq!(self.oldest().map(|oldest| oldest.header.seq), Some(seq));
        let segment = self.segments.pop_front().expect("the oldest is there");
        self.total_bytes -= segment.header.size;
        self.live_bytes -= segment.live_bytes;
        segment
    }

    fn get_mut(&mut self, seq: u64) -> Option<&mut Segment> {
        let oldest = self.segments[0].header.seq;
        let at = usize::try_from(seq.checked_sub(oldest)?).ok()?;
        self.segments.get_mut(at)
    }

    /// The seq of the segment whose low 16 bits are `low`.
    pub fn seq_of(&self, low: u16) -> Option<u64> {
        let oldest = self.segments[0].header.seq;
        let ahead = low.wrapping_sub(oldest as u16);
        (u64::from(ahead) < self.len()).then(|| oldest + u64::from(ahead))
    }

    pub fn note_deadline(&mut self, seq: u64, deadline_ms: u64) {
        if let Some(segment) = self.get_mut(seq) {
            segment.latest_deadline_ms = segment.latest_deadline_ms.max(deadline_ms);
        }
    }

    pub fn add_live(&mut self, seq: u64, bytes: u64) {
        if let Some(segment) = self.get_mut(seq) {
            segment.live_bytes += bytes;
            self.live_bytes += bytes;
        }
    }

    pub fn sub_live(&mut self, seq: u64, bytes: u64) {
        if let Some(segment) = self.get_mut(seq) {
            debug_assert!(segment.live_bytes >= bytes, "more dies than lived");
            let dying = bytes.min(segment.live_bytes);
            segment.live_bytes -= dying;
            self.live_bytes -= dying;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wal::segment::{Features, LogId, SALT_LEN};

    fn table(first_seq: u64, count: u64) -> Table {
        let mut header = SegmentHeader::first(Features::NONE, LogId([1; 16]), 8192, [1; SALT_LEN]);
        header.seq = first_seq;
        let mut table = Table::new(VecDeque::from([Segment::new(header, 4096)]));
        for _ in 1..count {
            header = header.next(Features::NONE, 8192, 0, header.base_lsn, [1; SALT_LEN]);
            table.roll(header, 4096);
        }
        table
    }

    #[test]
    fn live_bytes_follow_the_segments() {
        let mut table = table(5, 3);
        table.add_live(5, 100);
        table.add_live(7, 10);
        table.sub_live(5, 40);
        table.add_live(4, 1000);
        table.add_live(8, 1000);
        assert_eq!((table.live_bytes(), table.total_bytes()), (70, 3 * 8192));
        table.note_deadline(5, 9);
        table.note_deadline(5, 3);
        let oldest = table.pop_oldest(5);
        assert_eq!((oldest.latest_deadline_ms, oldest.live_bytes), (9, 60));
        assert_eq!((table.live_bytes(), table.total_bytes()), (10, 2 * 8192));
    }

    #[test]
    fn current_is_never_the_oldest() {
        let table = table(1, 1);
        assert!(table.oldest().is_none());
        assert_eq!(table.current().header.seq, 1);
    }

    #[test]
    fn sixteen_bits_name_a_live_segment_across_the_wrap() {
        let table = table(65_534, 4);
        for seq in 65_534..65_538 {
            assert_eq!(table.seq_of(seq as u16), Some(seq));
        }
        assert_eq!(table.seq_of(2), None);
        assert_eq!(table.seq_of(65_533), None);
    }
}
