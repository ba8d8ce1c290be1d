//! Tests of the log as a whole, on a disk in memory with tiny segments.

mod crash;
mod damage;
mod encryption;
mod model;
mod pieces;
mod ring;
mod since;

use std::sync::Arc;

use super::{
    Config, Continuity, FrameBuffer, LogKey, Lsn, Preparing, ReadError, Storage, Survey, Wal,
};
use crate::model::namespace::DEFAULT_NAMESPACE;
use crate::model::token::{Digester, Secret};
use crate::testkit::disk::Memory;

/// Twelve KiB: two pages of frames after the header.
const TINY: Config = Config {
    segment_size: 12 << 10,
    log_min_size: 48 << 10,
    max_age: None,
    preparing: Preparing::Inline,
};

/// The key of the log of all tests.
fn key() -> LogKey {
    key_of(0x5A)
}

fn key_of(secret: u8) -> LogKey {
    LogKey::new(&Digester::new(&Secret::from_bytes([secret; 32]), DEFAULT_NAMESPACE))
}

fn create(disk: &Memory) -> Wal {
    Wal::create(disk.storage(), TINY, &key()).unwrap()
}

/// The log on the disk, with its key.
fn survey(storage: &Arc<dyn Storage>) -> Result<Option<Survey>, ReadError> {
    super::survey(storage)?.map(|found| found.with_key(&key())).transpose()
}

fn frame(body: &[u8]) -> FrameBuffer {
    let mut frame = FrameBuffer::new();
    frame.writer().extend_from_slice(body);
    frame
}

fn append(wal: &mut Wal, time_ms: u64, body: &[u8]) {
    wal.append(time_ms, &frame(body)).unwrap();
}

/// Releases a segment and its file; the next call reports errors.
fn free(wal: &mut Wal, seq: u64, relocated: Lsn) {
    wal.release_oldest(seq, relocated);
    let time_ms = wal.last_time_ms();
    let _ = wal.declare_released(time_ms);
}

/// One frame as a reader sees it: log time and body.
type Seen = (u64, Vec<u8>);

fn read_all(found: &Survey) -> Result<Vec<Seen>, ReadError> {
    let mut seen = Vec::new();
    let mut continuity = Continuity::default();
    for segment in &found.segments {
        pieces::assert_as_whole(segment);
        let frames = segment.read()?;
        continuity.follow(&frames)?;
        seen.extend(frames.iter().map(|frame| (frame.log_time_ms, frame.body.to_vec())));
    }
    Ok(seen)
}

/// The content of the log without marks, and the number of torn bytes.
fn recover(disk: &Memory) -> Result<(Vec<Seen>, u64), ReadError> {
    let found = survey(&disk.storage())?.expect("there is a log");
    let mut seen = read_all(&found)?;
    seen.retain(|(_, body)| !body.is_empty());
    Ok((seen, found.tail.torn_bytes))
}

fn resume(disk: &Memory) -> Wal {
    let storage: Arc<dyn Storage> = disk.storage();
    let found = survey(&storage).unwrap().expect("there is a log");
    Wal::resume(&storage, TINY, &found).unwrap()
}
