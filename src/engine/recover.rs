//! Recovery: the log is read in order and applied by the same `apply` as live changes.
//!
//! A few segments at a time, in two steps, each on all threads. First every thread reads and checks
//! a segment of its own and sorts the places of its records by partition of the digest space; then
//! every thread applies the records of its own partition, segment by segment. Order matters only
//! among the records of one digest, and those are all in one partition.

use std::io;
use std::num::NonZero;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, RwLock};
use std::thread;

use crate::entry::SegmentSlot;
use crate::failpoint;
use crate::record::{Record, RecordError};
use crate::store::{SHARDS, Store};
use crate::time::{Clock, EngineTime, UnixMillis};
use crate::token::{Digester, RandomError, Secret};
use crate::wal::{
    self, Disk, DiskError, LogId, ReadError, SegmentFrames, Storage, Survey, SurveyedSegment, Wal,
    survey,
};
use crate::wheel::TICK_MS;

use super::Shared;
use super::apply::{Ledger, Position, apply, expire};
use super::config::Config;
use super::secret::{self, SecretError};

/// Why an engine cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The configuration has mistakes; all of them.
    #[error("{}", .0.join("; "))]
    Config(Vec<String>),
    /// The data directory cannot be used.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The secret is missing or wrong.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The log cannot be read.
    #[error("the log can't be read: {0}")]
    Read(#[from] ReadError),
    /// A frame holds what is not a record, though its checksum is right.
    #[error("{file} is damaged at offset {offset}: {source}")]
    Record {
        /// Name of the file, within the data directory.
        file: String,
        /// Offset of the frame in the file, in bytes.
        offset: u64,
        /// What is wrong with the record.
        source: RecordError,
    },
    /// The log cannot be written.
    #[error("the log can't be opened: {0}")]
    Wal(#[from] wal::OpenError),
    /// No random bytes.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// No thread.
    #[error("the committer's thread can't be started: {0}")]
    Thread(io::Error),
}

/// Somebody who wants to know how far the log has been read.
pub trait Progress: Sync {
    /// `done` of `all` bytes have been read.
    fn advance(&self, done: u64, all: u64);
}

/// Nobody wants to know.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn advance(&self, _done: u64, _all: u64) {}
}

/// What the committer begins with.
pub(super) struct Recovered {
    pub(super) shared: Arc<Shared>,
    pub(super) ledger: Ledger,
    pub(super) wal: Option<Wal>,
    /// The latest deadline that came while the engine was down: the log does not know that time.
    pub(super) expired_until: UnixMillis,
}

/// Reads what is there, or begins anew.
pub(super) fn open(
    config: Config,
    clock: Arc<dyn Clock>,
    progress: &dyn Progress,
) -> Result<Recovered, OpenError> {
    let mut mistakes = Vec::new();
    config.validate(&mut mistakes);
    if !mistakes.is_empty() {
        return Err(OpenError::Config(mistakes));
    }
    let Some(dir) = config.data_dir.clone() else {
        let secret = match &config.secret_file {
            Some(file) => secret::read(file)?,
            None => Secret::random()?,
        };
        let digester = Digester::new(&secret, &config.namespace);
        let time = EngineTime::new(clock, UnixMillis(0), config.clock_rules());
        let ledger = Ledger::new(time.now());
        let shared = Arc::new(Shared::new(config, digester, Store::new(), time));
        return Ok(Recovered { shared, ledger, wal: None, expired_until: UnixMillis(0) });
    };
    let storage: Arc<dyn Storage> = Arc::new(Disk::open(&dir)?);
    open_log(config, &dir, storage, clock, progress)
}

fn open_log(
    config: Config,
    dir: &Path,
    storage: Arc<dyn Storage>,
    clock: Arc<dyn Clock>,
    progress: &dyn Progress,
) -> Result<Recovered, OpenError> {
    let survey = survey(&storage)?;
    let given = config.secret_file.as_deref();
    let (secret, file) = secret::load_or_create(dir, given, survey.is_some())?;
    let digester = Digester::new(&secret, &config.namespace);
    // The log's id is made of the secret, so that a log is never read under another one.
    let log_id = LogId(digester.secret_check());
    if survey.as_ref().is_some_and(|survey| survey.log_id != log_id) {
        return Err(SecretError::Wrong { dir: dir.to_owned(), file }.into());
    }
    with_storage(config, storage, survey, digester, clock, progress)
}

/// Opens an engine on any storage.
pub(super) fn with_storage(
    config: Config,
    storage: Arc<dyn Storage>,
    survey: Option<Survey>,
    digester: Digester,
    clock: Arc<dyn Clock>,
    progress: &dyn Progress,
) -> Result<Recovered, OpenError> {
    let floor =
        survey.as_ref().map_or(UnixMillis(0), |survey| UnixMillis(survey.tail.last_time_ms));
    let time = EngineTime::new(clock, floor, config.clock_rules());
    let now = time.now();
    super::clock::say_at_start(&time, floor);
    let store = Store::new();
    let (ledger, wal, expired_until) = match survey {
        None => {
            let log_id = LogId(digester.secret_check());
            (Ledger::new(now), Wal::create(storage, config.wal, log_id)?, UnixMillis(0))
        }
        Some(survey) => {
            failpoint::pass("recovery-surveyed");
            let torn = survey.tail.torn_bytes;
            let Replayed { ledger, expired_until, .. } =
                replay(&survey, &store, now, threads(&config), progress)?;
            if torn > 0 {
                let (segment, offset) = (survey.tail.seq, survey.tail.end_offset);
                tracing::warn!(torn, segment, offset, "cut a torn tail of so many bytes");
            }
            failpoint::pass("recovery-replayed");
            (ledger, Wal::resume(&storage, config.wal, &survey)?, expired_until)
        }
    };
    let (tokens, segments, sync) = (ledger.tally.tokens, wal.segments().len(), config.sync);
    tracing::info!(tokens, segments, ?sync, "the log is open");
    let shared = Arc::new(Shared::new(config, digester, store, time));
    Ok(Recovered { shared, ledger, wal: Some(wal), expired_until })
}

impl Shared {
    pub(super) fn new(
        config: Config,
        digester: Digester,
        store: Store,
        time: EngineTime,
    ) -> Shared {
        Shared {
            config,
            digester,
            store,
            time,
            counters: Default::default(),
            timings: Default::default(),
            gauges: Mutex::default(),
            backups: Default::default(),
            quotas: RwLock::default(),
            holdings: Mutex::default(),
            warnings: Default::default(),
            disk_full: AtomicBool::new(false),
            log_stuck: AtomicBool::new(false),
            stuck_reason: Mutex::default(),
            told_full_ms: AtomicU64::new(0),
            failure: RwLock::new(None),
        }
    }
}

pub(super) fn threads(config: &Config) -> usize {
    match config.recovery_threads {
        0 => thread::available_parallelism().map_or(1, NonZero::get),
        threads => threads,
    }
    .clamp(1, SHARDS)
}

/// Records that are looked up together before they are applied.
const WINDOW_LEN: usize = 64;

/// One segment, read and checked, and where the records of each partition are in it.
struct Sorted {
    frames: SegmentFrames,
    /// By partition: frame, and place in its body.
    records: Vec<Vec<(u32, u32)>>,
    record_count: u64,
}

/// What was read.
pub(super) struct Replayed {
    pub(super) ledger: Ledger,
    expired_until: UnixMillis,
    frames: u64,
    records: u64,
}

pub(super) fn replay(
    survey: &Survey,
    store: &Store,
    now: UnixMillis,
    threads: usize,
    progress: &dyn Progress,
) -> Result<Replayed, OpenError> {
    let start = UnixMillis(survey.tail.last_time_ms);
    let mut ledgers: Vec<Ledger> = (0..threads).map(|_| Ledger::new(start)).collect();
    let mut buffers = vec![Vec::new(); threads];
    let (mut done, all, mut before_ms) = (0, survey.total_bytes(), 0);
    let (mut frames, mut records) = (0, 0);
    progress.advance(done, all);
    for segments in survey.segments.chunks(threads) {
        let sorted = sort_all(segments, &mut buffers, store, threads)?;
        for segment in &sorted {
            segment.frames.check_follows(before_ms).map_err(ReadError::from)?;
            before_ms = segment.frames.last_time_ms().unwrap_or(before_ms);
            frames += segment.frames.iter().count() as u64;
            records += segment.record_count;
        }
        if done == 0 {
            reserve(survey, &sorted, store);
        }
        thread::scope(|scope| {
            for (partition, ledger) in ledgers.iter_mut().enumerate() {
                let sorted = &sorted;
                scope.spawn(move || apply_partition(sorted, partition, store, ledger));
            }
        });
        failpoint::pass("recovery-mid-replay");
        buffers = sorted.into_iter().map(|segment| segment.frames.into_buffer()).collect();
        done += segments.iter().map(|segment| segment.header.size).sum::<u64>();
        progress.advance(done, all);
    }
    let expired_until = thread::scope(|scope| {
        let free = |ledger| scope.spawn(move || free_expired(store, ledger, now));
        let freeing: Vec<_> = ledgers.iter_mut().map(free).collect();
        let freed = freeing
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        freed.max()
    });
    let expired_until = expired_until.unwrap_or_default();
    // All wheels stand where the last free_expired has left them.
    let whole = ledgers.into_iter().reduce(|mut whole, ledger| {
        whole.merge(ledger);
        whole
    });
    let ledger = whole.unwrap_or_else(|| Ledger::new(start));
    Ok(Replayed { ledger, expired_until, frames, records })
}

/// Makes room for the entries to come, judged by the first segments and by the rule that half of a
/// long log is dead.
fn reserve(survey: &Survey, first: &[Sorted], store: &Store) {
    let segments = first.len() as u64;
    let records: u64 =
        first.iter().flat_map(|sorted| &sorted.records).map(|r| r.len() as u64).sum();
    if segments > 0 && survey.segments.len() as u64 > segments {
        store.reserve((records / segments * survey.segments.len() as u64 / 2) as usize);
    }
}

fn sort_all(
    segments: &[SurveyedSegment],
    buffers: &mut Vec<Vec<u8>>,
    store: &Store,
    partitions: usize,
) -> Result<Vec<Sorted>, OpenError> {
    thread::scope(|scope| {
        let readers: Vec<_> = segments
            .iter()
            .map(|segment| {
                let buffer = buffers.pop().unwrap_or_default();
                scope.spawn(move || sort(segment, buffer, store, partitions))
            })
            .collect();
        readers
            .into_iter()
            .map(|reader| reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}

/// Reads one segment and finds its records.
fn sort(
    segment: &SurveyedSegment,
    buffer: Vec<u8>,
    store: &Store,
    partitions: usize,
) -> Result<Sorted, OpenError> {
    let frames = segment.read_into(buffer)?;
    let (mut records, mut record_count) = (vec![Vec::new(); partitions], 0);
    for (index, frame) in (0u32..).zip(frames.iter()) {
        let mut at = 0;
        while at < frame.body.len() {
            let (record, next) =
                Record::decode(frame.body, at).map_err(|source| OpenError::Record {
                    file: segment.file_name(),
                    offset: segment.header.offset_of(frame.lsn),
                    source,
                })?;
            if let Some(digest) = record.digest() {
                records[store.shard_of(digest.prefix()) % partitions].push((index, at as u32));
            }
            record_count += 1;
            at = next;
        }
    }
    Ok(Sorted { frames, records, record_count })
}

fn apply_partition(sorted: &[Sorted], partition: usize, store: &Store, ledger: &mut Ledger) {
    for Sorted { frames, records, .. } in sorted {
        let segment = SegmentSlot(frames.seq as u16);
        let (mut walk, mut current) = ((0u32..).zip(frames.iter()), None);
        let mut window = Vec::with_capacity(WINDOW_LEN);
        for (index, at) in records[partition].iter().copied() {
            while current.as_ref().is_none_or(|(walked, _)| *walked < index) {
                let Some(next) = walk.next() else { return };
                current = Some(next);
            }
            let Some((_, frame)) = &current else { return };
            let position = Position { time: UnixMillis(frame.log_time_ms), segment };
            // It was decoded before, by `sort`.
            if let Ok((record, _)) = Record::decode(frame.body, at as usize) {
                window.push((record, position));
            }
            if window.len() == WINDOW_LEN {
                apply_window(&mut window, store, ledger);
            }
        }
        apply_window(&mut window, store, ledger);
    }
    store.pin().flush();
}

/// Applies records in order. They are looked up once before, all of them: those look-ups do not
/// depend on each other, so that their cache misses overlap, and `apply` finds what it needs in the
/// cache. A new pin for each window lets what is replaced on the way be freed.
fn apply_window(window: &mut Vec<(Record<'_>, Position)>, store: &Store, ledger: &mut Ledger) {
    let pinned = store.pin();
    let touched = window
        .iter()
        .filter_map(|(record, _)| pinned.get(record.digest()?))
        .fold(0, |touched, entry| touched ^ entry.deadline().0);
    std::hint::black_box(touched);
    for (record, position) in window.drain(..) {
        apply(&pinned, ledger, &record, position);
    }
}

/// Frees what has expired by now, so that the count of living tokens is right from the start: the
/// wheel goes one tick ahead, so that what expired within the present one is asked about too.
/// Returns the latest deadline that had come.
fn free_expired(store: &Store, ledger: &mut Ledger, now: UnixMillis) -> UnixMillis {
    let (Ledger { wheel, tally }, mut latest) = (ledger, UnixMillis(0));
    wheel.advance(UnixMillis(now.0.saturating_add(TICK_MS)), usize::MAX, |timers, verdicts| {
        let pinned = store.pin();
        let deadlines = timers.iter().filter_map(|timer| Some(pinned.find(*timer)?.1.deadline()));
        latest = deadlines.filter(|deadline| *deadline <= now).fold(latest, UnixMillis::max);
        verdicts.extend(timers.iter().map(|timer| expire(&pinned, tally, *timer, now)));
    });
    store.pin().flush();
    latest
}

/// What a log holds, read offline and without the secret.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Verified {
    /// Segments in use.
    pub segments: u64,
    /// Frames in them.
    pub frames: u64,
    /// Records in the frames.
    pub records: u64,
    /// Tokens that have a use left at the log's last time.
    pub tokens: u64,
    /// Bytes of the segment files.
    pub bytes: u64,
    /// Bytes of a torn tail, which the next start would cut.
    pub torn_bytes: u64,
    /// The end of the log.
    pub lsn: u64,
    /// Log time of the last frame, Unix milliseconds.
    pub last_time_ms: u64,
}

/// Reads the log of a directory that no server uses, and changes nothing in it.
///
/// # Errors
/// What an opening would refuse: damage with file and offset, or a directory in use.
pub fn verify(dir: &Path, progress: &dyn Progress) -> Result<Verified, OpenError> {
    verify_on(Arc::new(Disk::open_existing(dir)?), progress)
}

/// As [`verify`], on any storage.
///
/// # Errors
/// As there.
#[expect(clippy::needless_pass_by_value, reason = "a survey keeps the storage")]
pub fn verify_on(
    storage: Arc<dyn Storage>,
    progress: &dyn Progress,
) -> Result<Verified, OpenError> {
    let Some(survey) = survey(&storage)? else {
        return Ok(Verified::default());
    };
    let store = Store::new();
    let config = Config::default();
    let last = UnixMillis(survey.tail.last_time_ms);
    let replayed = replay(&survey, &store, last, threads(&config), progress)?;
    Ok(Verified {
        segments: survey.segments.len() as u64,
        frames: replayed.frames,
        records: replayed.records,
        tokens: replayed.ledger.tally.tokens,
        bytes: survey.total_bytes(),
        torn_bytes: survey.tail.torn_bytes,
        lsn: survey.tail.end_lsn.0,
        last_time_ms: survey.tail.last_time_ms,
    })
}
