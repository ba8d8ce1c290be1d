//! The id of a log, which names its secret.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::engine::Config;
use crate::model::token::{Digester, Secret};
use crate::wal::log_id_in;

/// Why the id of a log could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum LogIdError {
    #[error("{}: can't list: {source}", dir.display())]
    List { dir: PathBuf, source: io::Error },
    #[error("the log in {} is incomplete or damaged: {reason}", dir.display())]
    Damaged { dir: PathBuf, reason: String },
}

/// Reads the log's id from any segment; `None` without a log. No lock is needed: a file has the name
/// of a segment only while its header is complete.
pub(super) fn log_id_of(data: &Path) -> Result<Option<String>, LogIdError> {
    let unlisted = |source| LogIdError::List { dir: data.to_owned(), source };
    let mut reason = None;
    for entry in fs::read_dir(data).map_err(unlisted)? {
        let entry = entry.map_err(unlisted)?;
        if !entry.file_name().to_string_lossy().starts_with("segment-") {
            continue;
        }
        let mut header = Vec::new();
        let read = fs::File::open(entry.path()).and_then(|file| {
            file.take(crate::wal::segment::HEADER_BLOCK_LEN).read_to_end(&mut header)
        });
        match read {
            // The segment was released and removed meanwhile.
            Err(error) => reason = Some(error.to_string()),
            Ok(_) => match log_id_in(&header) {
                Some(id) => return Ok(Some(const_hex::encode(id.0))),
                None => reason = Some("a segment's header is damaged".to_owned()),
            },
        }
    }
    let damaged = |reason| LogIdError::Damaged { dir: data.to_owned(), reason };
    reason.map_or(Ok(None), |reason| Err(damaged(reason)))
}

/// Whether the log with this id was written with this secret.
pub(super) fn is_secret_of(log_id: &str, secret: &Secret) -> bool {
    let digester = Digester::new(secret, &Config::default().namespace);
    const_hex::encode(digester.secret_check()) == log_id
}
