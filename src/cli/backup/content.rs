//! What the files of a backup contain.

use std::path::Path;
use std::sync::Arc;

use super::failure::BackupFailure;
use crate::engine::{BackupHead, Progress, verify_on};
use crate::model::time::UnixMillis;
use crate::model::token::Secret;
use crate::wal::{Shelf, Storage, survey};

/// The result of reading all frames of a directory.
pub(super) struct Content {
    pub log_id: String,
    pub lsn: u64,
    pub tag: String,
    pub time: String,
    /// `None` without the secret.
    pub tokens: Option<u64>,
}

impl Content {
    /// Whether this is what the head of a backup describes. The server also counts tokens that have
    /// just expired.
    pub(super) fn is_of(&self, head: &BackupHead) -> bool {
        let time = UnixMillis(head.time_ms).to_string();
        (&self.log_id, self.lsn, &self.tag, &self.time)
            == (&head.log_id, head.lsn, &head.tag, &time)
            && self.tokens.is_none_or(|tokens| tokens <= head.tokens)
    }
}

/// Reads every frame in `dir` as recovery does at a start, as far as that is possible without the
/// secret.
pub(super) fn read_content(
    dir: &Path,
    secret: Option<&Secret>,
    progress: &dyn Progress,
) -> Result<Content, BackupFailure> {
    let storage: Arc<dyn Storage> = Arc::new(Shelf::new(dir));
    let unreadable = |error: &dyn std::fmt::Display| BackupFailure::Log {
        dir: dir.to_owned(),
        reason: error.to_string(),
    };
    let found = survey(&storage).map_err(|error| unreadable(&error))?;
    let log_id = found.map(|survey| const_hex::encode(survey.log_id.0));
    let log_id = log_id.ok_or_else(|| unreadable(&"there is no log"))?;
    let found = verify_on(storage, secret, progress).map_err(|error| unreadable(&error))?;
    if found.torn_bytes > 0 {
        return Err(unreadable(&"it does not end cleanly"));
    }
    let (time, tokens) = (UnixMillis(found.last_time_ms).to_string(), found.tokens);
    Ok(Content { log_id, lsn: found.lsn, tag: const_hex::encode(found.last_tag), time, tokens })
}
