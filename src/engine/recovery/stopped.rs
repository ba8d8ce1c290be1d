//! The log of a node that does not run, which a new stream is to continue.

use std::fs::File;
use std::sync::Arc;

use crate::engine::config::Config;
use crate::engine::replicated::Replicated;
use crate::model::token::Digester;
use crate::wal::storage::disk::lock_to_read;
use crate::wal::{LogKey, Shelf, Storage, survey};

use super::census::take;
use super::error::OpenError;
use super::progress::{Progress, threads};
use super::secret::{self, SecretError};

/// A node that does not run, and does not start while this exists.
#[derive(Debug)]
pub struct StoppedNode {
    /// The state at the end of its log, as the next start would find it.
    pub replicated: Replicated,
    _lock: Option<File>,
}

/// Reads the whole log of a node's data directory, and changes nothing.
///
/// # Errors
/// As for [`verify`](super::verify); the log of a single server, and another secret.
pub fn stopped_node(config: &Config, progress: &dyn Progress) -> Result<StoppedNode, OpenError> {
    let Some(dir) = &config.data_dir else { return Err(OpenError::NoDirectory) };
    let lock = lock_to_read(dir)?;
    let storage: Arc<dyn Storage> = Arc::new(Shelf::new(dir));
    let Some(survey) = survey(&storage)? else {
        return Err(OpenError::NoLog { dir: dir.to_owned() });
    };
    if !survey.is_of_cluster() {
        return Err(OpenError::OfSingle);
    }
    let (secret, file) = secret::of_config(config, dir, true)?;
    let digester = Digester::new(&secret, &config.namespace);
    let key = LogKey::new(&digester);
    if survey.log_id != key.id() {
        return Err(SecretError::Wrong { dir: dir.to_owned(), file }.into());
    }
    let survey = survey.with_key(&key)?;
    let taken = take(&survey, threads(config), progress)?;
    let replicated = taken.counts.replicated.unwrap_or_default();
    Ok(StoppedNode { replicated, _lock: lock })
}
