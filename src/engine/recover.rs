//! Recovery: an engine is opened, on the log that is there or on a new one.
//!
//! `super::replay` reads the log, `super::rebuild` makes entries of its records.

use std::io;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, RwLock};
use std::thread;

use crate::clock::{Clock, EngineTime};
use crate::failpoint;
use crate::model::record::RecordError;
use crate::model::time::UnixMillis;
use crate::model::token::{Digester, RandomError, Secret};
use crate::store::{SHARDS, Store};
use crate::wal::{self, Disk, DiskError, LogId, ReadError, Storage, Survey, Wal, survey};

use super::Shared;
use super::apply::Ledger;
use super::config::Config;
use super::rebuild::{Rebuilt, rebuild};
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
    /// There is nothing to verify.
    #[error("{} holds no log: no file in it is named segment-….log", dir.display())]
    NoLog {
        /// The directory.
        dir: PathBuf,
    },
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
            Some(file) => secret::read_guarded(file, config.permissions)?,
            None => Secret::random()?,
        };
        let digester = Digester::new(&secret, &config.namespace);
        let time = EngineTime::new(clock, UnixMillis(0), config.clock_rules());
        let ledger = Ledger::new(time.now());
        let shared = Arc::new(Shared::new(config, digester, Store::new(), time));
        return Ok(Recovered { shared, ledger, wal: None, expired_until: UnixMillis(0) });
    };
    let storage: Arc<dyn Storage> = Arc::new(Disk::open_with(&dir, config.permissions)?);
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
    let (secret, file) = secret::load_or_create(dir, given, survey.is_some(), config.permissions)?;
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
    let (rebuilt, wal) = match survey {
        None => {
            let log_id = LogId(digester.secret_check());
            (Rebuilt::nothing(now), Wal::create(storage, config.wal, log_id)?)
        }
        Some(survey) => {
            failpoint::pass("recovery-surveyed");
            let torn = survey.tail.torn_bytes;
            let rebuilt = rebuild(&survey, now, threads(&config), progress)?;
            if torn > 0 {
                let (segment, offset) = (survey.tail.seq, survey.tail.end_offset);
                tracing::warn!(torn, segment, offset, "cut a torn tail of so many bytes");
            }
            failpoint::pass("recovery-replayed");
            (rebuilt, Wal::resume(&storage, config.wal, &survey)?)
        }
    };
    let Rebuilt { store, ledger, expired_until, peak_bytes } = rebuilt;
    let (tokens, segments, sync) = (ledger.tally.tokens, wal.segments().len(), config.sync);
    tracing::info!(tokens, segments, ?sync, peak_bytes, "the log is open");
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

/// Threads that apply what is read.
pub(super) fn threads(config: &Config) -> usize {
    match config.recovery_threads {
        0 => thread::available_parallelism().map_or(1, NonZero::get),
        threads => threads,
    }
    .clamp(1, SHARDS)
}
