//! Frames: appended to a log and read back. What the system does for a write is not counted, only
//! that it is asked.

use std::sync::Arc;

use jeton::model::record::issue_len;
use jeton::wal::{Config, Disk, FrameBuffer, Preparing, Storage, Wal, survey};
use tempfile::TempDir;

use crate::support::{self, PAYLOAD_LEN};
use crate::{Fixture, NOW};

/// Operations of a function; all fit in one segment.
const TIMES: usize = 100;
/// Records of a frame.
const RECORDS: usize = 30;
const SEGMENT_LEN: u64 = 1 << 20;
const _: () =
    assert!(((TIMES * RECORDS * (32 + PAYLOAD_LEN)) as u64) < SEGMENT_LEN - (SEGMENT_LEN >> 2));

/// A log in a directory of its own.
pub struct Log {
    wal: Wal,
    storage: Arc<dyn Storage>,
    frame: FrameBuffer,
    appended: usize,
    read: usize,
    _dir: TempDir,
}

impl Log {
    /// Without a frame.
    pub fn empty() -> Self {
        let dir = support::scratch();
        let storage: Arc<dyn Storage> = Arc::new(Disk::open(dir.path()).expect("a directory"));
        let config = Config {
            segment_size: SEGMENT_LEN,
            log_min_size: 4 * SEGMENT_LEN,
            max_age: None,
            preparing: Preparing::Inline,
        };
        let wal =
            Wal::create(Arc::clone(&storage), config, &support::log_key()).expect("a new log");
        let mut frame = FrameBuffer::new();
        frame.writer().extend((0u8..251).cycle().take(RECORDS * issue_len(PAYLOAD_LEN)));
        Self { wal, storage, frame, appended: 0, read: 0, _dir: dir }
    }

    /// With all frames.
    pub fn full() -> Self {
        let mut log = Self::empty();
        log.append();
        log.wal.sync().expect("the disk takes it");
        log
    }

    /// Appends all frames.
    pub fn append(&mut self) {
        for n in 0..TIMES {
            let appended = self.wal.append(NOW.0 + n as u64, &self.frame);
            appended.expect("the disk takes it");
            self.appended += 1;
        }
    }

    /// Reads the log as a start does.
    pub fn read(&mut self) {
        let survey = survey(&self.storage).expect("no damage").expect("a log");
        let survey = survey.with_key(&support::log_key()).expect("its key");
        for segment in &survey.segments {
            let frames = segment.read().expect("no damage");
            self.read += frames.iter().filter(|frame| !frame.body.is_empty()).count();
        }
    }
}

impl Fixture for Log {
    fn check(&mut self) {
        assert_eq!(self.appended, TIMES);
        self.read = 0;
        self.read();
        assert_eq!(self.read, TIMES);
    }
}
