//! Where the bytes of the stream are, as far as this node has followed it.
//!
//! The stream says how many bytes it has in all, at each check, and nothing else. A node counts the
//! messages that it follows and marks where each share of the bytes ends. What it did not follow
//! since its start counts as evenly distributed.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::cluster::stream::{Bounds, Hint, Message, Next, Promises, Stream, StreamError};

/// Bytes that a message takes in the stream besides its own: the record of it, and its subject.
const OVERHEAD: u64 = 64;
/// Marks that are kept, at most.
const MARKS_MAX: usize = 4_096;
/// Bytes between two marks: so many marks for all that the stream may hold, or the same without a
/// limit.
const MARKS: u64 = MARKS_MAX as u64 / 2;
const MARK_BYTES: u64 = 1 << 20;

/// The bytes of the stream. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Sizes(Arc<Mutex<Marks>>);

#[derive(Default)]
struct Marks {
    /// Bytes of all messages that were followed.
    total: u64,
    last: u64,
    /// Numbers of messages with the bytes up to each, oldest first.
    marks: VecDeque<(u64, u64)>,
    mark_bytes: u64,
    /// The last check: the end of the stream, and its bytes.
    checked: (u64, u64),
    /// Bytes of the messages that were followed behind that end.
    since: u64,
}

/// A message and the bytes up to its end, counted from where this node began.
type Point = (u64, i128);

impl Sizes {
    fn lock(&self) -> MutexGuard<'_, Marks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The stream has been asked for its extent, and afterwards for its bytes.
    pub(super) fn checked(&self, bounds: &Bounds, promises: &Promises) {
        let mut marks = self.lock();
        marks.checked = (bounds.last, promises.bytes);
        marks.since = 0;
        marks.mark_bytes = promises.bytes_max.map_or(MARK_BYTES, |most| (most / MARKS).max(1));
    }

    /// Bytes of the stream now.
    pub(super) fn filled(&self) -> u64 {
        let marks = self.lock();
        marks.checked.1 + marks.since
    }

    fn add(&self, seq: u64, len: usize) {
        let mut marks = self.lock();
        // A message that is read again is not counted again.
        if seq <= marks.last {
            return;
        }
        // What lies between is not known, so what was known before is of no use.
        if seq != marks.last + 1 {
            marks.marks.clear();
        }
        let bytes = len as u64 + OVERHEAD;
        marks.last = seq;
        marks.total += bytes;
        if seq > marks.checked.0 {
            marks.since += bytes;
        }
        let (total, apart) = (marks.total, marks.mark_bytes);
        if marks.marks.back().is_none_or(|(_, at)| total - at >= apart) {
            if marks.marks.len() == MARKS_MAX {
                marks.marks.pop_front();
            }
            marks.marks.push_back((seq, total));
        }
    }

    /// The message up to which the oldest `bytes` of the stream reach, which begins at `first`.
    pub(super) fn oldest(&self, first: u64, bytes: u64) -> Option<u64> {
        let marks = self.lock();
        let (end, filled) = (marks.last, marks.checked.1 + marks.since);
        let begin = i128::from(marks.total) - i128::from(filled);
        let target = begin + i128::from(bytes);
        let known = marks.marks.iter().filter(|(seq, _)| *seq >= first);
        let known = known.map(|(seq, at)| (*seq, i128::from(*at)));
        let ends = [(end, i128::from(marks.total))];
        let (mut below, mut above): (Point, Option<Point>) = ((first - 1, begin), None);
        for point in known.chain(ends) {
            if point.1 > target {
                above = Some(point);
                break;
            }
            below = point;
        }
        let above = above.filter(|above| above.1 > below.1 && above.0 > below.0)?;
        let share = (target - below.1) * i128::from(above.0 - below.0) / (above.1 - below.1);
        Some(below.0 + u64::try_from(share).ok()?)
    }
}

/// A stream whose followed messages are counted.
pub(super) struct Counted {
    stream: Box<dyn Stream>,
    sizes: Sizes,
}

impl Counted {
    pub(super) fn new(stream: Box<dyn Stream>, sizes: Sizes) -> Self {
        Self { stream, sizes }
    }
}

impl Stream for Counted {
    fn propose(&mut self, message: &[u8]) -> Result<(), Hint> {
        self.stream.propose(message)
    }

    fn answer(&mut self) -> Option<Result<u64, Hint>> {
        self.stream.answer()
    }

    fn next(&mut self, seq: u64, patience: Duration) -> Result<Message, Next> {
        let message = self.stream.next(seq, patience)?;
        self.sizes.add(message.seq, message.bytes.len());
        Ok(message)
    }

    fn bounds(&mut self) -> Result<Bounds, StreamError> {
        self.stream.bounds()
    }

    fn trim(&mut self, seq: u64) -> Result<(), StreamError> {
        self.stream.trim(seq)
    }

    fn promises(&mut self) -> Result<Promises, StreamError> {
        self.stream.promises()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::cluster::stream::StreamId;

    const MIB: u64 = 1 << 20;

    fn check(sizes: &Sizes, last: u64, bytes: u64, bytes_max: u64) {
        let bounds = Bounds { first: 1, last, id: StreamId(1) };
        let promises = Promises { bytes, bytes_max: Some(bytes_max), ..Promises::default() };
        sizes.checked(&bounds, &promises);
    }

    /// Messages of 1 MiB, of which the first `unseen` were there before the node began.
    pub(in crate::cluster::node) fn followed(unseen: u64, count: u64, bytes_max: u64) -> Sizes {
        let sizes = Sizes::default();
        check(&sizes, unseen, unseen * MIB, bytes_max);
        let len = (MIB - OVERHEAD) as usize;
        (unseen.max(1)..=count).for_each(|seq| sizes.add(seq, len));
        check(&sizes, count, count * MIB, bytes_max);
        sizes
    }

    #[test]
    fn bytes_are_found_whether_they_were_followed_or_not() {
        let most = 400 * MIB;
        for unseen in [0, 100, 399] {
            let sizes = followed(unseen, 400, most);
            for mib in [1, 50, 150, 399] {
                let found = sizes.oldest(1, mib * MIB).unwrap();
                assert!(found.abs_diff(mib) <= 1, "{unseen}, {mib}: {found}");
            }
            assert_eq!(sizes.oldest(1, 401 * MIB), None, "more than there are");
        }
        assert_eq!(Sizes::default().oldest(1, 1), None, "nothing is known");
    }

    #[test]
    fn what_was_followed_is_found_exactly_where_messages_differ_in_size() {
        let sizes = Sizes::default();
        check(&sizes, 0, 0, 64 * MIB);
        // Long ones first: by the mean, the oldest half of the bytes would be many messages.
        (1..=32).for_each(|seq| sizes.add(seq, (MIB - OVERHEAD) as usize));
        (33..=10_000).for_each(|seq| sizes.add(seq, 100));
        let filled = 32 * MIB + 9_968 * (100 + OVERHEAD);
        assert_eq!(sizes.filled(), filled);
        check(&sizes, 10_000, filled, 64 * MIB);
        assert_eq!(sizes.oldest(1, 16 * MIB), Some(16));
    }

    #[test]
    fn the_bytes_now_are_those_of_the_last_check_and_what_came_since() {
        let sizes = followed(10, 20, 400 * MIB);
        assert_eq!(sizes.filled(), 20 * MIB);
        sizes.add(20, 1 << 20);
        assert_eq!(sizes.filled(), 20 * MIB, "a message that was read again");
        sizes.add(21, 936);
        assert_eq!(sizes.filled(), 20 * MIB + 1_000);
        check(&sizes, 30, 25 * MIB, 400 * MIB);
        sizes.add(22, 936);
        assert_eq!(sizes.filled(), 25 * MIB, "the check knew it before it was followed");
    }

    #[test]
    fn a_message_that_was_read_far_before_the_others_says_nothing() {
        let sizes = Sizes::default();
        check(&sizes, 1_000, 300 * MIB, 400 * MIB);
        sizes.add(1, 100);
        sizes.add(1_000, 100);
        sizes.add(1_001, 100);
        let found = sizes.oldest(1, 150 * MIB).unwrap();
        assert!(found.abs_diff(500) <= 1, "{found}");
    }

    #[test]
    fn p8_marks_are_bounded() {
        let sizes = Sizes::default();
        check(&sizes, 0, 0, MARKS);
        (1..=3 * MARKS_MAX as u64).for_each(|seq| sizes.add(seq, 1));
        assert_eq!(sizes.lock().marks.len(), MARKS_MAX);
    }
}
