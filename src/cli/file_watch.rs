//! Detects whether a file has changed since the last check.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::SystemTime;

/// The properties of a file that reveal a change; `None` if the file is missing.
pub(super) type Seen = Option<(SystemTime, u64, u64)>;

/// The current properties of a file. Links are followed, because tools that renew certificates
/// replace links.
pub(super) fn seen(file: &Path) -> Seen {
    let found = fs::metadata(file).ok()?;
    Some((found.modified().ok()?, found.ino(), found.len()))
}
