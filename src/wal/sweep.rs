//! What a crash left behind in the directory of a log.

use super::error::{OpenError, io_at};
use super::segment::{Named, parse_name};
use super::storage::{Listed, Storage};

/// Removes files that a crash left behind, and spares of a wrong length or in excess. Returns the
/// spares that are kept.
pub(super) fn sweep(
    storage: &dyn Storage,
    segment_len: u64,
    keep: u64,
) -> Result<Vec<String>, OpenError> {
    let mut spares = Vec::new();
    let files = storage.list().map_err(io_at(".", "list"))?;
    for Listed { name, len, .. } in files {
        match parse_name(&name) {
            Named::Spare(_) if len == segment_len && (spares.len() as u64) < keep => {
                spares.push(name);
            }
            Named::Spare(_) | Named::Fresh => storage.remove(&name)?,
            Named::Segment(_) | Named::Malformed | Named::Other => {}
        }
    }
    Ok(spares)
}
