//! The log alone: what it costs to append, to make durable, and to read back.
//!
//! On a real directory below the target directory, with segments and a ring as the server has them:
//! written before, zero-filled, used again. Bodies are opaque here; each record is as long as that
//! of an issue with 128 bytes of payload. The log is read back after each bench and its last frame
//! compared. Times are for a frame, rates for its records.
//!
//! A sync costs what the disk makes of it, and other work on the machine disturbs it much: compare
//! only figures of one run. Reading is from the page cache, but for the last segment, which a start
//! reads from the disk.

#![expect(clippy::expect_used, reason = "a bench that cannot go on must stop")]

mod support;

use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput};
use jeton::model::record::issue_len;
use jeton::wal::{Clean, Config, Disk, FrameBuffer, Lsn, Storage, Wal, survey};
use tempfile::TempDir;

use support::PAYLOAD_LEN;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Records in a frame: a lone caller, what gathers behind a sync with 64 callers, a busy server.
const FRAME_RECORDS: [usize; 3] = [1, 30, 250];

/// A log in a directory of its own.
struct Log {
    wal: Wal,
    storage: Arc<dyn Storage>,
    dir: TempDir,
    /// Log time of the next frame: its number, so that no two are alike.
    time_ms: u64,
    frame: FrameBuffer,
}

impl Log {
    /// An empty log. `keeps_all`: no segment of it is ever released.
    fn new(records: usize, keeps_all: bool) -> Self {
        let dir = support::scratch();
        let storage: Arc<dyn Storage> = Arc::new(Disk::open(dir.path()).expect("a directory"));
        let config = Config {
            segment_size: support::sized(1 << 20, 64 << 20),
            log_min_size: if keeps_all { 4 << 30 } else { support::sized(4 << 20, 256 << 20) },
            ..Config::default()
        };
        let wal =
            Wal::create(Arc::clone(&storage), config, &support::log_key()).expect("a new log");
        let mut frame = FrameBuffer::new();
        let bytes = (0u8..251).cycle().take(records * issue_len(PAYLOAD_LEN));
        frame.writer().extend(bytes);
        Self { wal, storage, dir, time_ms: 0, frame }
    }

    /// Appends a frame, and lets the ring turn as the engine does.
    fn append(&mut self) {
        self.time_ms += 1;
        let appended = self.wal.append(self.time_ms, &self.frame);
        let appended = appended.expect("the disk takes it");
        assert_eq!(appended.end_lsn, self.wal.head());
        // Everything counts as alive until the log has its full length.
        self.wal.note_deadline(appended.seq, u64::MAX);
        if let Clean::Scan { seq } | Clean::Expired { seq } = self.wal.cleaning_due(self.time_ms) {
            self.wal.release_oldest(seq, Lsn::ZERO);
            let time_ms = self.wal.last_time_ms();
            self.wal.declare_released(time_ms).expect("a disk with room");
        }
    }

    fn sync(&mut self) {
        let durable = self.wal.sync().expect("the disk takes it");
        assert_eq!(durable, self.wal.durable());
    }

    /// Reads the log as a start does; gives how many frames and bytes of bodies it has.
    fn read(&self) -> (u64, u64) {
        let survey = survey(&self.storage).expect("no damage").expect("a log");
        let survey = survey.with_key(&support::log_key()).expect("its key");
        let (mut frames, mut bytes, mut last_ms) = (0, 0, 0);
        for segment in &survey.segments {
            let read = segment.read().expect("no damage");
            for frame in &read {
                frames += 1;
                bytes += frame.body.len() as u64;
                assert!(frame.log_time_ms > last_ms, "frames in their order");
                last_ms = frame.log_time_ms;
            }
        }
        assert_eq!(last_ms, self.time_ms, "the last frame is there");
        (frames, bytes)
    }

    /// What is there must be what was written.
    fn check(&mut self) {
        self.sync();
        let survey = survey(&self.storage).expect("no damage").expect("a log");
        let survey = survey.with_key(&support::log_key()).expect("its key");
        assert_eq!(survey.tail.end_lsn, self.wal.head());
        let segment = survey.segments.last().expect("a log has a segment");
        let read = segment.read().expect("no damage");
        if let Some(frame) = read.iter().last() {
            assert_eq!(frame.log_time_ms, self.time_ms);
            assert!(frame.body == self.frame.body(), "the last frame's records");
        }
        assert!(self.dir.path().exists());
    }
}

fn append(criterion: &mut Criterion) {
    for (name, syncs) in [("append and sync", true), ("append", false)] {
        let mut group = criterion.benchmark_group(format!("wal/{name}"));
        for records in FRAME_RECORDS {
            group.throughput(Throughput::Elements(records as u64));
            group.bench_function(BenchmarkId::new("records", records), |bencher| {
                let mut log = Log::new(records, false);
                bencher.iter(|| {
                    log.append();
                    if syncs {
                        log.sync();
                    }
                });
                log.check();
            });
        }
    }
}

fn read(criterion: &mut Criterion) {
    let records = FRAME_RECORDS[1];
    let frames = support::sized(1_000, 100_000) as u64;
    let bytes = frames * (records * issue_len(PAYLOAD_LEN)) as u64;
    let mut group = criterion.benchmark_group("wal/read");
    group.sample_size(10).throughput(Throughput::Bytes(bytes));
    group.bench_function(BenchmarkId::new("frames of 30 records", frames), |bencher| {
        let mut log = Log::new(records, true);
        (0..frames).for_each(|_| log.append());
        log.sync();
        bencher.iter(|| assert_eq!(log.read(), (frames, bytes)));
    });
}

fn main() {
    let mut criterion = support::criterion();
    append(&mut criterion);
    read(&mut criterion);
    criterion.final_summary();
}
