//! Reads the log in order and passes each record to its partition of the digest space.
//!
//! One thread reads and checks the log piece by piece and finds the records; each partition has a
//! thread that processes its records of one piece after the other. Order matters only among the
//! records of one digest, which are all in one partition, so partitions do not wait for each other.
//! At most [`PIECES_MAX`] pieces are in memory, whatever the number of threads and the size of
//! segments.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::engine::replicated::Replicated;
use crate::engine::state::Position;
use crate::failpoint;
use crate::model::entry::JournalPart;
use crate::model::record::Record;
use crate::model::record::replication::Verdict;
use crate::model::time::UnixMillis;
use crate::model::token::Prefix;
use crate::wal::{
    Continuity, Frame, Frames, Pieces, ReadError, SegmentFrames, Survey, SurveyedSegment,
};

use super::error::OpenError;
use super::progress::Progress;

/// Pieces in memory at once: one being read, one waiting, one being processed.
const PIECES_MAX: usize = 3;

/// Positions of each partition's records in some frames: the frame, and the offset in its body.
type Places = Vec<Vec<(u32, u32)>>;

/// Processes the records of a partition.
pub(in crate::engine) trait Partition: Send {
    /// Processes the records of the next piece. Returns false to end the replay.
    fn take(&mut self, piece: &Piece, own: Records<'_>) -> bool;
}

/// Decides which partition gets a record, if any.
pub(in crate::engine) trait Sorting: Sync {
    /// The partition of a record about this digest; `None` where the record is not wanted.
    fn partition_of(&self, digest: Prefix) -> Option<usize>;
}

impl<F: Fn(Prefix) -> Option<usize> + Sync> Sorting for F {
    fn partition_of(&self, digest: Prefix) -> Option<usize> {
        self(digest)
    }
}

/// Result of the replay.
#[derive(Clone, Debug, Default)]
pub(in crate::engine) struct Counts {
    pub(in crate::engine) frames: u64,
    pub(in crate::engine) records: u64,
    /// Messages of a cluster that frames were made from.
    pub(in crate::engine) messages: u64,
    /// The position in the cluster's stream, if the log is that of a node and not empty.
    pub(in crate::engine) replicated: Option<Replicated>,
}

impl Counts {
    /// Takes a record that concerns no entry, from a frame of this time. Returns false if it does
    /// not continue the stream that was read so far.
    fn note(&mut self, record: &Record<'_>, log_time: UnixMillis) -> bool {
        match record {
            Record::Origin(origin) => {
                let origin = origin.fields();
                // Nothing is known before the oldest segment that the log still has.
                if self.replicated.as_ref().is_some_and(|read| !read.goes_on_with(&origin)) {
                    return false;
                }
                self.messages += u64::from(origin.verdict != Verdict::Restated);
                self.replicated.get_or_insert_default().replay_origin(&origin, log_time);
            }
            Record::Member(member) => {
                self.replicated.get_or_insert_default().replay_member(member.fields());
            }
            Record::Ended(ended) => {
                self.replicated.get_or_insert_default().replay_ended(ended.fields());
            }
            _ => {}
        }
        true
    }
}

/// Some checked frames and their records.
pub(in crate::engine) struct Piece {
    frames: SegmentFrames,
    places: Places,
    /// Bytes of the log up to the end of the piece.
    pub(in crate::engine) done_bytes: u64,
    /// Bytes of the whole log.
    pub(in crate::engine) all_bytes: u64,
}

impl Piece {
    /// Log time of the first frame.
    pub(in crate::engine) fn begins_at(&self) -> Option<UnixMillis> {
        self.frames.iter().next().map(|frame| UnixMillis(frame.log_time_ms))
    }

    /// The records of a partition, in their order.
    pub(in crate::engine) fn records(&self, partition: usize) -> Records<'_> {
        Records {
            frames: self.frames.iter(),
            seq: self.frames.seq,
            frame: None,
            places: self.places[partition].iter(),
        }
    }
}

/// A record and its position.
#[derive(Clone, Copy)]
pub(in crate::engine) struct Placed<'p> {
    pub(in crate::engine) record: Record<'p>,
    pub(in crate::engine) position: Position,
    /// Index of its frame in the piece.
    pub(in crate::engine) frame: u32,
}

/// The records of one partition in a piece.
pub(in crate::engine) struct Records<'p> {
    frames: Frames<'p>,
    seq: u64,
    /// The last frame, and its index.
    frame: Option<(u32, Frame<'p>)>,
    places: std::slice::Iter<'p, (u32, u32)>,
}

impl<'p> Iterator for Records<'p> {
    type Item = Placed<'p>;

    fn next(&mut self) -> Option<Placed<'p>> {
        let (index, at) = *self.places.next()?;
        while self.frame.as_ref().is_none_or(|(taken, _)| *taken < index) {
            let next = self.frame.as_ref().map_or(0, |(taken, _)| taken + 1);
            self.frame = Some((next, self.frames.next()?));
        }
        let (_, frame) = self.frame.as_ref()?;
        // It was decoded before, when the records were sorted.
        let (record, _) = Record::decode(frame.body, at as usize).ok()?;
        let (time, segment) = (UnixMillis(frame.log_time_ms), JournalPart(self.seq as u16));
        Some(Placed { record, position: Position { time, segment }, frame: index })
    }
}

/// Reads the log and lets every partition process its records. With one partition everything runs
/// on the calling thread. It ends early, without an error, when a partition ends it.
pub(in crate::engine) fn read_log<P: Partition>(
    survey: &Survey,
    partitions: &mut [P],
    sorting: &dyn Sorting,
    progress: &dyn Progress,
) -> Result<Counts, OpenError> {
    let mut reader = Reader::new(survey, partitions.len(), sorting, progress);
    if let [partition] = partitions {
        while let Some(piece) = reader.next()? {
            if !partition.take(&piece, piece.records(0)) {
                break;
            }
            reader.give_back(piece);
        }
        return Ok(reader.counts);
    }
    thread::scope(|scope| {
        // One piece waits, at most.
        let (senders, receivers): (Vec<Sender<Arc<Piece>>>, Vec<Receiver<_>>) =
            partitions.iter().map(|_| bounded(1)).unzip();
        for ((number, partition), pieces) in partitions.iter_mut().enumerate().zip(receivers) {
            scope.spawn(move || {
                for piece in pieces {
                    if !partition.take(&piece, piece.records(number)) {
                        break;
                    }
                }
            });
        }
        let mut sent: VecDeque<Arc<Piece>> = VecDeque::with_capacity(PIECES_MAX);
        while let Some(piece) = reader.next()? {
            let piece = Arc::new(piece);
            if senders.iter().any(|sender| sender.send(Arc::clone(&piece)).is_err()) {
                break;
            }
            sent.push_back(piece);
            // A partition with a waiting piece has finished the piece before its current one.
            if sent.len() == PIECES_MAX
                && let Some(oldest) = sent.pop_front()
                && let Some(piece) = Arc::into_inner(oldest)
            {
                reader.give_back(piece);
            }
        }
        Ok(reader.counts)
    })
}

/// Reads the log piece by piece.
struct Reader<'a> {
    segments: std::slice::Iter<'a, SurveyedSegment>,
    current: Option<(&'a SurveyedSegment, Pieces<'a>)>,
    partitions: usize,
    sorting: &'a dyn Sorting,
    progress: &'a dyn Progress,
    /// Bytes of the segments before the current one.
    before_bytes: u64,
    all_bytes: u64,
    continuity: Continuity,
    /// Whether the log is read with its key. Without it, frames are counted but have no records.
    has_key: bool,
    counts: Counts,
    /// Buffers for reuse.
    spare: Option<(Vec<u8>, Places)>,
}

impl<'a> Reader<'a> {
    fn new(
        survey: &'a Survey,
        partitions: usize,
        sorting: &'a dyn Sorting,
        progress: &'a dyn Progress,
    ) -> Self {
        let all_bytes = survey.segments.iter().map(SurveyedSegment::used_bytes).sum();
        progress.advance(0, all_bytes);
        Reader {
            segments: survey.segments.iter(),
            current: None,
            partitions,
            sorting,
            progress,
            before_bytes: 0,
            all_bytes,
            continuity: Continuity::default(),
            has_key: survey.has_key(),
            counts: Counts::default(),
            spare: None,
        }
    }

    fn next(&mut self) -> Result<Option<Piece>, OpenError> {
        loop {
            let Some((segment, pieces)) = &mut self.current else {
                let Some(segment) = self.segments.next() else { return Ok(None) };
                self.current = Some((segment, segment.pieces()?));
                continue;
            };
            let segment = *segment;
            let (buffer, mut places) = self.spare.take().unwrap_or_default();
            let Some(frames) = pieces.next(buffer)? else {
                self.current = None;
                self.before_bytes += segment.used_bytes();
                self.progress.advance(self.before_bytes, self.all_bytes);
                failpoint::pass("recovery-mid-replay");
                continue;
            };
            let done_bytes = self.before_bytes + pieces.offset();
            self.continuity.follow(&frames).map_err(ReadError::from)?;
            places.resize_with(self.partitions, Vec::new);
            places.iter_mut().for_each(Vec::clear);
            self.counts.frames += frames.len() as u64;
            if self.has_key {
                self.sort(segment, &frames, &mut places)?;
            }
            self.progress.advance(done_bytes, self.all_bytes);
            return Ok(Some(Piece { frames, places, done_bytes, all_bytes: self.all_bytes }));
        }
    }

    /// Finds the records and the partition of each.
    fn sort(
        &mut self,
        segment: &SurveyedSegment,
        frames: &SegmentFrames,
        places: &mut [Vec<(u32, u32)>],
    ) -> Result<(), OpenError> {
        for (index, frame) in (0u32..).zip(frames.iter()) {
            let (mut at, offset) = (0, segment.header.offset_of(frame.lsn));
            while at < frame.body.len() {
                let (record, next) = Record::decode(frame.body, at).map_err(|source| {
                    OpenError::Record { file: segment.file_name(), offset, source }
                })?;
                match record.digest() {
                    Some(digest) => {
                        if let Some(to) = self.sorting.partition_of(digest.prefix()) {
                            places[to].push((index, at as u32));
                        }
                    }
                    None if self.counts.note(&record, UnixMillis(frame.log_time_ms)) => {}
                    None => {
                        return Err(OpenError::Discontinuous { file: segment.file_name(), offset });
                    }
                }
                self.counts.records += 1;
                at = next;
            }
        }
        Ok(())
    }

    fn give_back(&mut self, piece: Piece) {
        self.spare = Some((piece.frames.into_buffer(), piece.places));
    }
}
