//! The log, the only format on disk: frames of opaque bytes in a ring of
//! segments. It knows nothing of tokens and entries.
//!
//! Reading order: [`storage`] (the interface to the disk), [`segment`] and [`frame`] (the format,
//! byte by byte), [`key`] and [`cipher`] (encryption), `writer`, `state` and `ring` (writing), `prepare`
//! (preparing segments), `sweep` (files that a crash left behind), [`table`] and `cleaning` (live
//! bytes, and the release of segments), [`cleaner`], and [`reader`] with `headers`, `walk`, `checked`,
//! [`pieces`] and [`tail`] (reading at a start).
//!
//! One thread at a time writes: [`Wal::append`] adds a frame after the last one, [`Wal::sync`] makes it
//! durable. Invariants:
//!
//! - Only the current segment has bytes that are not durable: a segment is sealed and synced before
//!   the next one gets its first frame.
//! - A frame is written with a single write. If that fails because the disk is full, its first bytes
//!   are overwritten if they are in the file, and the same position is written again later.
//! - After any other failed write, and after any failed sync, the log accepts no more frames,
//!   permanently: [`Failure`]. A failed sync is never retried (P6).
//! - Segments are released oldest first, and only when the entries relocated from them are durable
//!   (P7). A file loses its name only when a durable frame records that the log does not need it,
//!   so that no other loss of a file looks like a release (P5).
//! - Before the writer waits for the next segment, it syncs the written frames, so that the
//!   preparer can't prolong the time for which frames are not durable.
//!
//! Time is an argument everywhere in this module; the caller measures latencies.

mod checked;
pub mod cipher;
pub mod cleaner;
mod cleaning;
pub mod config;
pub mod error;
pub mod frame;
mod headers;
pub mod key;
pub mod pieces;
mod prepare;
pub mod reader;
mod report;
mod ring;
pub mod segment;
mod shelf;
mod state;
pub mod storage;
mod sweep;
pub mod table;
mod tags;
pub mod tail;
#[cfg(test)]
mod tests;
mod walk;
mod writer;

pub use checked::{Continuity, SegmentFrames};
pub use cipher::Tag;
pub use cleaner::{Cleaner, Step};
pub use cleaning::Extent;
pub use config::{Config, Preparing};
pub use error::{AppendError, Damage, DamageKind, Failure, OpenError, ReadError};
pub use frame::buffer::FrameBuffer;
pub use frame::{FRAME_HEADER_LEN, FRAME_OVERHEAD_MAX, Frame, Frames};
pub use key::{LogKey, MacKind};
pub use pieces::Pieces;
pub use reader::{Survey, SurveyedSegment, survey};
pub use report::{Appended, Counters};
pub use segment::{Features, LogId, Lsn, SegmentHeader, log_id_in};
pub use shelf::Shelf;
pub use storage::disk::{Disk, DiskError, LOCK_NAME};
pub use storage::{File, Listed, NotDurable, Storage};
pub use table::{Clean, Segment};
pub use tail::Tail;
pub use writer::{BODY_LEN_MAX, Wal};
