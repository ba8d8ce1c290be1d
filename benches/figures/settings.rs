//! How large a measurement is, and where its files go.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::fs::statfs;

use crate::failure::{Failure, Result, io};

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// Seconds: shows that the program works, its figures mean nothing.
    Smoke,
    /// Minutes: the full number of tokens where that is a million.
    Quick,
    /// What the README lists.
    Full,
}

/// What holds for every figure of a run.
#[derive(Debug)]
pub struct Settings {
    pub size: Size,
    /// How often each server has its turn.
    pub rounds: usize,
    /// Worker counts that jeton is measured with where CPU time per request is the figure.
    pub workers: Vec<usize>,
    scratch: PathBuf,
    folders: AtomicUsize,
}

impl Settings {
    /// Settings with their files below `scratch`.
    pub fn new(size: Size, rounds: Option<usize>, workers: Vec<usize>, scratch: &Path) -> Self {
        Self {
            size,
            rounds: rounds.unwrap_or(size.pick(1, 3, 5)).max(1),
            workers,
            scratch: scratch.to_owned(),
            folders: AtomicUsize::new(0),
        }
    }

    /// How long each server works in each round.
    pub fn window(&self) -> Duration {
        self.size.pick(Duration::from_millis(60), Duration::from_secs(1), Duration::from_secs(3))
    }

    /// A path for a data directory of its own, not there yet.
    pub fn folder(&self, name: &str) -> PathBuf {
        let number = self.folders.fetch_add(1, Ordering::Relaxed);
        self.scratch.join(format!("{number}-{name}"))
    }

    /// Removes the files of the figures that are done.
    pub fn clear(&self) -> Result<()> {
        for item in std::fs::read_dir(&self.scratch).map_err(io("list temporary files"))? {
            let path = item.map_err(io("list temporary files"))?.path();
            let removed = if path.is_dir() {
                std::fs::remove_dir_all(&path)
            } else {
                std::fs::remove_file(&path)
            };
            removed.map_err(io("remove temporary files"))?;
        }
        Ok(())
    }

    /// Refuses to measure fsync where there is no disk behind the files.
    pub fn insist_on_a_disk(&self) -> Result<()> {
        const TMPFS_MAGIC: u64 = 0x0102_1994;
        let found = statfs(&self.scratch).map_err(io("statfs"))?;
        if found.f_type as u64 == TMPFS_MAGIC && self.size != Size::Smoke {
            let why = "the target directory is on tmpfs, where fsync does nothing";
            return Err(Failure::Unusable(why.to_owned()));
        }
        Ok(())
    }
}

impl Size {
    /// The value for this size.
    pub fn pick<T>(self, smoke: T, quick: T, full: T) -> T {
        match self {
            Self::Smoke => smoke,
            Self::Quick => quick,
            Self::Full => full,
        }
    }
}

/// What the files below `folder` take on the disk, in bytes.
pub fn disk_bytes(folder: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let mut sum = 0;
    for file in files_below(folder)? {
        sum += file.metadata().map_err(io("read a file's size"))?.blocks() * 512;
    }
    Ok(sum)
}

/// Drops the files below `folder` from the page cache, so that they are read from the disk again.
pub fn forget_cached(folder: &Path) -> Result<()> {
    for path in files_below(folder)? {
        let file = std::fs::File::open(&path).map_err(io("open a data file"))?;
        file.sync_all().map_err(io("sync a data file"))?;
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).map_err(io("fadvise"))?;
    }
    Ok(())
}

fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for item in std::fs::read_dir(folder).map_err(io("list a data directory"))? {
        let path = item.map_err(io("list a data directory"))?.path();
        if path.is_dir() {
            files.extend(files_below(&path)?);
        } else {
            files.push(path);
        }
    }
    Ok(files)
}
