//! The history of a log up to positions that were durable once.

use std::path::Path;
use std::sync::Arc;

use crate::wal::storage::disk::lock_to_read;
use crate::wal::{Lsn, Shelf, Storage, survey};

use super::error::OpenError;

/// For each of these positions, which ascend, reads the tag of the last frame that ends there or before
/// it, in the log of a directory that no server uses; `None` if that part of the log was released. The
/// tags of another history differ. They are not verified here: [`verify`](super::verify) does that.
///
/// # Errors
/// As for [`verify`](super::verify).
pub fn tags_at(dir: &Path, lsns: &[u64]) -> Result<Vec<Option<[u8; 16]>>, OpenError> {
    let _lock = lock_to_read(dir)?;
    let storage: Arc<dyn Storage> = Arc::new(Shelf::new(dir));
    let Some(survey) = survey(&storage)? else {
        return Err(OpenError::NoLog { dir: dir.to_owned() });
    };
    let lsns: Vec<_> = lsns.iter().copied().map(Lsn).collect();
    Ok(survey.tags_at(&lsns)?.into_iter().map(|tag| tag.map(|tag| tag.0)).collect())
}
