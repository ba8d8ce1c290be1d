//! Whether a file is another than when it was last looked at.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::SystemTime;

/// What shows that a file is another than before; nothing where it is not there.
pub(super) type Seen = Option<(SystemTime, u64, u64)>;

/// How a file looks now; links are followed, as tools that renew certificates leave them.
pub(super) fn seen(file: &Path) -> Seen {
    let found = fs::metadata(file).ok()?;
    Some((found.modified().ok()?, found.ino(), found.len()))
}
