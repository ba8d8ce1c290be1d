//! Recovery: opens an engine on an existing log or on a new one.
//!
//! `super::replay` reads the log, `super::rebuild` makes entries from its records.

use std::path::Path;
use std::sync::Arc;

use crate::clock::{Clock, EngineTime};
use crate::engine::clocks;
use crate::engine::config::Config;
use crate::engine::replicated::Replicated;
use crate::engine::shared::Shared;
use crate::engine::state::Accounting;
use crate::failpoint;
use crate::model::time::UnixMillis;
use crate::model::token::{Digester, Secret};
use crate::store::Store;
use crate::wal::{Disk, Features, LogId, LogKey, Storage, Survey, Wal, survey};

use super::error::OpenError;
use super::progress::{Progress, threads};
use super::rebuild::{Rebuilt, rebuild};
use super::secret::{self, SecretError};

/// The initial state of the committer.
pub(in crate::engine) struct Recovered {
    pub(in crate::engine) shared: Arc<Shared>,
    pub(in crate::engine) accounting: Accounting,
    pub(in crate::engine) wal: Option<Wal>,
    /// The latest deadline that passed while the engine was down; the log does not contain that
    /// time.
    pub(in crate::engine) expired_until: UnixMillis,
    /// The position in the cluster's stream; `None` for a single node, and for an empty log.
    pub(in crate::engine) replicated: Option<Replicated>,
}

/// What the engine is opened as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Role {
    /// A single node, whose clocks decide about time.
    Single,
    /// A node of a cluster. The messages decide about time: what has expired at the end of the log
    /// is freed, and nothing that expired since then.
    Node,
}

/// Reads the existing log, or starts a new one.
pub(in crate::engine) fn open(
    role: Role,
    config: Config,
    clock: Arc<dyn Clock>,
    progress: &dyn Progress,
) -> Result<Recovered, OpenError> {
    let mistakes = config.mistakes();
    if !mistakes.is_empty() {
        return Err(OpenError::Config(mistakes));
    }
    let Some(dir) = config.data_dir.clone() else {
        if role == Role::Node {
            return Err(OpenError::NoDirectory);
        }
        let secret = match (&config.secret, &config.secret_file) {
            (Some(secret), _) => secret.clone(),
            (None, Some(file)) => secret::read_guarded(file, config.permissions)?,
            (None, None) => Secret::random()?,
        };
        let digester = Digester::new(&secret, &config.namespace);
        let time = EngineTime::new(clock, UnixMillis(0), config.clock_rules());
        let accounting = Accounting::new(time.now());
        let shared = Arc::new(Shared::new(config, digester, Store::new(), time));
        let expired_until = UnixMillis(0);
        return Ok(Recovered { shared, accounting, wal: None, expired_until, replicated: None });
    };
    let storage: Arc<dyn Storage> = Arc::new(Disk::open_with(&dir, config.permissions)?);
    open_log(role, config, &dir, storage, clock, progress)
}

fn open_log(
    role: Role,
    config: Config,
    dir: &Path,
    storage: Arc<dyn Storage>,
    clock: Arc<dyn Clock>,
    progress: &dyn Progress,
) -> Result<Recovered, OpenError> {
    let survey = survey(&storage)?;
    let (secret, file) = secret::of_config(&config, dir, survey.is_some())?;
    let digester = Digester::new(&secret, &config.namespace);
    // The log's id is derived from the secret, so that another secret is refused before anything is
    // written.
    let log_id = LogId(digester.secret_check());
    if survey.as_ref().is_some_and(|survey| survey.log_id != log_id) {
        return Err(SecretError::Wrong { dir: dir.to_owned(), file }.into());
    }
    with_storage(role, config, storage, survey, digester, clock, progress)
}

/// Opens an engine on any storage.
pub(in crate::engine) fn with_storage(
    role: Role,
    config: Config,
    storage: Arc<dyn Storage>,
    survey: Option<Survey>,
    digester: Digester,
    clock: Arc<dyn Clock>,
    progress: &dyn Progress,
) -> Result<Recovered, OpenError> {
    match (role, &survey) {
        (Role::Single, Some(survey)) if survey.is_of_cluster() => return Err(OpenError::OfCluster),
        (Role::Node, Some(survey)) if !survey.is_of_cluster() => return Err(OpenError::OfSingle),
        _ => {}
    }
    let key = LogKey::new(&digester);
    let survey = survey.map(|survey| survey.with_key(&key)).transpose()?;
    let floor =
        survey.as_ref().map_or(UnixMillis(0), |survey| UnixMillis(survey.tail.last_time_ms));
    let time = EngineTime::new(clock, floor, config.clock_rules());
    let now = match role {
        Role::Single => time.now(),
        Role::Node => floor,
    };
    // A node's log time is that of its cluster, and no command shifts it.
    if role == Role::Single {
        clocks::say_at_start(&time, floor);
    }
    let (rebuilt, wal) = match survey {
        None => {
            let features = match role {
                Role::Single => Features::NONE,
                Role::Node => Features::CLUSTER,
            };
            let wal = Wal::create_with(features, storage, config.wal, &key)?;
            (Rebuilt::nothing(now), wal)
        }
        Some(survey) => {
            failpoint::pass("recovery-surveyed");
            let torn_bytes = survey.tail.torn_bytes;
            let rebuilt = rebuild(&survey, now, threads(&config), progress)?;
            if torn_bytes > 0 {
                let (segment, offset) = (survey.tail.seq, survey.tail.end_offset);
                tracing::warn!(torn_bytes, segment, offset, "truncated a torn tail");
            }
            failpoint::pass("recovery-replayed");
            (rebuilt, Wal::resume(&storage, config.wal, &survey)?)
        }
    };
    let Rebuilt { store, accounting, expired_until, peak_bytes, replicated } = rebuilt;
    let (tokens, segments, sync) = (accounting.totals.tokens, wal.segments().len(), config.sync);
    tracing::info!(tokens, segments, ?sync, peak_bytes, "log opened");
    let mut shared = Shared::new(config, digester, store, time);
    shared.in_cluster = role == Role::Node;
    let shared = Arc::new(shared);
    Ok(Recovered { shared, accounting, wal: Some(wal), expired_until, replicated })
}
