//! The history of a log up to a position that was durable once.

use std::path::Path;
use std::sync::Arc;

use crate::wal::storage::disk::lock_to_read;
use crate::wal::{Lsn, Shelf, Storage, survey};

use super::error::OpenError;

/// Reads the tag of the last frame that ends at `lsn` or before it, in the log of a directory that no
/// server uses; `None` if that part of the log was released. The tag of another history differs.
/// Tags are not verified here: [`verify`](super::verify) does that.
///
/// # Errors
/// As for [`verify`](super::verify).
pub fn tag_at(dir: &Path, lsn: u64) -> Result<Option<[u8; 16]>, OpenError> {
    let _lock = lock_to_read(dir)?;
    let storage: Arc<dyn Storage> = Arc::new(Shelf::new(dir));
    let Some(survey) = survey(&storage)? else {
        return Err(OpenError::NoLog { dir: dir.to_owned() });
    };
    Ok(survey.tag_at(Lsn(lsn))?.map(|tag| tag.0))
}
