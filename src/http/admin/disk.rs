//! Space on the disk of the log.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// What is known of the disk.
#[derive(Debug, Default)]
pub(super) struct Disk {
    folder: OnceLock<PathBuf>,
    free_bytes: AtomicU64,
    bytes: AtomicU64,
}

impl Disk {
    /// It is the disk of this folder; of none with `None`.
    pub(super) fn is_of(&self, folder: Option<PathBuf>) {
        if let Some(folder) = folder {
            // Set once; a second call has no effect.
            let _ = self.folder.set(folder);
        }
    }

    /// Looks at the disk. What cannot be read stays as it was.
    pub(super) fn look(&self) {
        // The folder may not be there yet; then it will be made on the disk of its parent.
        let folders = self.folder.get().into_iter().flat_map(|folder| folder.ancestors());
        let folders = folders.map(|folder| match folder.as_os_str().is_empty() {
            true => Path::new("."),
            false => folder,
        });
        let Some(found) = folders.filter_map(|folder| rustix::fs::statvfs(folder).ok()).next()
        else {
            return;
        };
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        self.free_bytes.store(bytes(found.f_bavail), Ordering::Relaxed);
        self.bytes.store(bytes(found.f_blocks), Ordering::Relaxed);
    }

    /// Free bytes as of the last look, for a process without privileges, and all bytes; `None`
    /// before it.
    pub(super) fn space(&self) -> Option<(u64, u64)> {
        let bytes = self.bytes.load(Ordering::Relaxed);
        (bytes > 0).then(|| (self.free_bytes.load(Ordering::Relaxed), bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn space_is_known_once_it_was_looked_at() {
        let disk = Disk::default();
        disk.look();
        assert_eq!(disk.space(), None, "no folder");
        let dir = tempfile::tempdir().unwrap();
        disk.is_of(Some(dir.path().join("not").join("there")));
        assert_eq!(disk.space(), None);
        disk.look();
        let (free, all) = disk.space().unwrap();
        assert!(free <= all && all > 0);
    }
}
