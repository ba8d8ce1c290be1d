//! The log, the only format on disk: frames of opaque bytes in a ring of
//! segments. It knows nothing of tokens and entries.
//!
//! Reading order: [`storage`] (the door to the disk), [`segment`] and [`frame`]
//! (the format, byte by byte), `writer` and `ring` (writing), `prepare`
//! (segments ahead of need), [`table`] and `cleaning` (what lives where, and
//! what is released), [`cleaner`], and [`reader`] with `walk`, [`pieces`] and
//! [`tail`] (what a start finds).
//!
//! One thread writes: [`Wal::append`] puts a frame behind the last one,
//! [`Wal::sync`] makes it durable. What must hold:
//!
//! - Only the current segment ever has bytes that are not durable: a segment
//!   is sealed and synced before the next one gets its first frame.
//! - A frame is written whole with one write. If that fails for want of space
//!   nothing has changed, and the same place is written again later.
//! - After any other failed write, and any failed sync, the log takes nothing
//!   more: [`Failure`], for good. A failed sync is never tried again (P6).
//! - A segment is released oldest first, and only when what was carried out of
//!   it is durable (P7). Its file loses its name only when a durable frame says
//!   that the log does not need it, so that no other loss looks like a release
//!   (P5).
//! - Before the writer waits for the next segment it syncs what it has written:
//!   the preparer can't lengthen the time for which frames are not durable.
//!
//! Time is an argument everywhere here; latencies are for the caller to measure.

pub mod cleaner;
mod cleaning;
pub mod config;
pub mod error;
pub mod frame;
pub mod pieces;
mod prepare;
pub mod reader;
mod ring;
pub mod segment;
mod shelf;
pub mod storage;
pub mod table;
pub mod tail;
#[cfg(test)]
mod tests;
mod walk;
mod writer;

pub use cleaner::{Cleaner, Step};
pub use cleaning::Extent;
pub use config::{Config, Preparing};
pub use error::{AppendError, Damage, DamageKind, Failure, OpenError, ReadError};
pub use frame::{FRAME_HEADER_LEN, Frame, FrameBuffer, Frames};
pub use pieces::Pieces;
pub use reader::{SegmentFrames, Survey, SurveyedSegment, survey};
pub use ring::{Clean, Counters};
pub use segment::{LogId, Lsn, SegmentHeader, log_id_in};
pub use shelf::Shelf;
pub use storage::{Disk, DiskError, File, Listed, Storage};
pub use table::Segment;
pub use tail::Tail;
pub use writer::{Appended, BODY_LEN_MAX, Wal};
