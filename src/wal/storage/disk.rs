//! A real directory, held with a lock.

use std::fs::{self, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;
use thiserror::Error;

use super::{File, Listed, NotDurable, Storage, is_no_space};
use crate::permissions::{self, FILE_MODE, Look, Strictness, TooWide};

/// Name of the lock file, which keeps a second process out of a directory.
pub const LOCK_NAME: &str = "lock";

/// Why a directory can't be used.
#[derive(Debug, Error)]
pub enum DiskError {
    /// Another process uses the directory.
    #[error("the data directory {} is in use by another jeton", dir.display())]
    Locked {
        /// The directory.
        dir: PathBuf,
    },
    /// The operating system refused.
    #[error("the data directory {} can't be used: {source}", dir.display())]
    Io {
        /// The directory.
        dir: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The lock file is a link, a pipe or a directory.
    #[error("{} is not a regular file", file.display())]
    NoFile {
        /// The lock file.
        file: PathBuf,
    },
    /// Other users may read or write the directory or a file, and `--strict-permissions` is set.
    #[error(transparent)]
    TooWide(#[from] TooWide),
}

/// A real directory, held with an exclusive lock until this value is dropped.
pub struct Disk {
    dir: PathBuf,
    dir_handle: fs::File,
    /// Mode of new files.
    file_mode: u32,
    /// Held only for its lock, which the system releases when the process ends.
    _lock: fs::File,
}

impl Disk {
    /// Like [`Disk::open_with`]; modes that are too wide are logged as warnings.
    ///
    /// # Errors
    /// As for [`Disk::open_with`].
    pub fn open(dir: &Path) -> Result<Self, DiskError> {
        Self::open_with(dir, Strictness::Warn)
    }

    /// Opens `dir`, which is created if missing, and locks it. Modes that are too wide are narrowed
    /// if this process may do so ([`permissions`]).
    ///
    /// # Errors
    /// [`DiskError::Locked`] while another process (or another value in this one) holds the lock;
    /// [`DiskError::TooWide`] if other users may read or write it and `strictness` refuses that;
    /// [`DiskError::Io`] if the operating system refuses.
    pub fn open_with(dir: &Path, strictness: Strictness) -> Result<Self, DiskError> {
        let refused = |source| DiskError::Io { dir: dir.to_owned(), source };
        create_durably(dir).map_err(refused)?;
        let dir_handle = fs::File::open(dir).map_err(refused)?;
        permissions::guard(&dir_handle, dir, FILE_MODE, strictness)?;
        let dir_mode = dir_handle.metadata().map_err(refused)?.mode();
        let file_mode = permissions::file_mode_in(dir_mode);
        let lock = open_lock(&dir.join(LOCK_NAME), file_mode).map_err(refused)?;
        if !lock.metadata().map_err(refused)?.is_file() {
            return Err(DiskError::NoFile { file: dir.join(LOCK_NAME) });
        }
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(DiskError::Locked { dir: dir.to_owned() });
            }
            Err(TryLockError::Error(source)) => return Err(refused(source)),
        }
        let disk = Self { dir: dir.to_owned(), dir_handle, file_mode, _lock: lock };
        disk.narrow_files(strictness)?;
        Ok(disk)
    }

    /// Narrows the modes of the lock file and of the log's files. The reader of the secret checks
    /// its mode.
    fn narrow_files(&self, strictness: Strictness) -> Result<(), DiskError> {
        let refused = |source| DiskError::Io { dir: self.dir.clone(), source };
        let (mut narrowed, mut wide) = (0_u64, Vec::new());
        for entry in fs::read_dir(&self.dir).map_err(refused)? {
            let entry = entry.map_err(refused)?;
            let name = entry.file_name();
            let is_ours = name.to_str().is_some_and(|name| {
                name == LOCK_NAME || name.ends_with(".log") || name.ends_with(".tmp")
            });
            // A file that was removed meanwhile does not matter, and a link does not belong to the
            // log.
            let Ok(found) = entry.metadata() else { continue };
            if !is_ours || !found.is_file() || !permissions::is_too_wide(found.mode()) {
                continue;
            }
            let path = entry.path();
            let looked = open_plain(OpenOptions::new().read(true), &path)
                .and_then(|file| permissions::narrow(&file, &path, self.file_mode));
            match looked.map_err(refused)? {
                Look::Fine => {}
                Look::Narrowed(..) => narrowed += 1,
                Look::Wide(file) => wide.push(file),
            }
        }
        if narrowed > 0 {
            let (dir, mode) = (self.dir.display(), self.file_mode);
            tracing::warn!(
                files = narrowed,
                "other users could read the log in {dir}: changed \
                the mode to {mode:o}"
            );
        }
        let count = wide.len();
        let Some(mut first) = wide.into_iter().next() else { return Ok(()) };
        if count > 1 {
            first.remedy = format!("{}, as {} more files of the log", first.remedy, count - 1);
        }
        Ok(first.judge(strictness)?)
    }

    /// The directory, as it was given to [`Disk::open`].
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

/// Locks `dir` until the value is dropped, without creating a file: if there is no lock file, no
/// server has ever used the directory.
///
/// # Errors
/// As for [`Disk::open`].
pub fn lock_to_read(dir: &Path) -> Result<Option<fs::File>, DiskError> {
    let refused = |source| DiskError::Io { dir: dir.to_owned(), source };
    fs::read_dir(dir).map_err(refused)?;
    let lock = match fs::File::open(dir.join(LOCK_NAME)) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(refused(error)),
    };
    match lock.try_lock_shared() {
        Ok(()) => Ok(Some(lock)),
        Err(TryLockError::WouldBlock) => Err(DiskError::Locked { dir: dir.to_owned() }),
        Err(TryLockError::Error(source)) => Err(refused(source)),
    }
}

/// Creates a directory and makes its name durable.
fn create_durably(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new().recursive(true).mode(permissions::DIR_MODE).create(dir)?;
    match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => fs::File::open(parent)?.sync_all(),
        _ => fs::File::open(".")?.sync_all(),
    }
}

/// All names in `dir`; links are not followed.
pub(in crate::wal) fn list_dir(dir: &Path) -> io::Result<Vec<Listed>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        // A name that is not UTF-8 is not one of the log.
        if let Ok(name) = entry.file_name().into_string() {
            files.push(Listed { name, len: metadata.len(), is_regular: metadata.is_file() });
        }
    }
    Ok(files)
}

/// Options for opening files of a log: never follows a link, and does not wait for the other end of
/// a pipe.
pub(in crate::wal) fn own_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32);
    options
}

/// Opens a file that exists; a link, or a pipe that waits for its other end, is refused.
fn open_plain(options: &mut OpenOptions, path: &Path) -> io::Result<fs::File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
    options.custom_flags(flags.cast_signed()).open(path)
}

/// Creates a new file: an existing file or link of that name is removed first, and never followed
/// or written.
fn create_new(path: &Path, mode: u32) -> io::Result<fs::File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(mode);
    let file = match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(path)?;
            options.open(path)?
        }
        opened => opened?,
    };
    if mode != FILE_MODE {
        permissions::set_new(&file, mode);
    }
    Ok(file)
}

/// Opens the lock file, which is created if missing; a link is never followed.
fn open_lock(path: &Path, mode: u32) -> io::Result<fs::File> {
    match open_plain(OpenOptions::new().write(true), path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        opened => return opened,
    }
    match OpenOptions::new().write(true).create_new(true).mode(mode).open(path) {
        // Another process was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            open_plain(OpenOptions::new().write(true), path)
        }
        made => made,
    }
}

impl Storage for Disk {
    fn create(&self, name: &str, reserve_len: u64) -> io::Result<Arc<dyn File>> {
        let file = create_new(&self.dir.join(name), self.file_mode)?;
        reserve(&file, reserve_len)?;
        Ok(Arc::new(DiskFile(file)))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let file = own_file().write(true).open(self.dir.join(name))?;
        Ok(Arc::new(DiskFile(file)))
    }

    fn list(&self) -> io::Result<Vec<Listed>> {
        list_dir(&self.dir)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.dir.join(from), self.dir.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.dir.join(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.dir_handle.sync_all()
    }
}

/// Reserves space without changing the length; file systems that can't do that report a full disk
/// when the zeros are written.
fn reserve(file: &fs::File, len: u64) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    if len == 0 {
        return Ok(());
    }
    match fallocate(file, FallocateFlags::KEEP_SIZE, 0, len) {
        Ok(()) => Ok(()),
        Err(error) => match io::Error::from(error) {
            refused if is_no_space(&refused) => Err(refused),
            _ => Ok(()),
        },
    }
}

struct DiskFile(fs::File);

impl File for DiskFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buf, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    #[cfg(target_os = "linux")]
    fn write_durably_at(&self, mut bytes: &[u8], mut offset: u64) -> Result<(), NotDurable> {
        use rustix::io::{Errno, ReadWriteFlags, pwritev2};
        while !bytes.is_empty() {
            let slices = [io::IoSlice::new(bytes)];
            match pwritev2(&self.0, &slices, offset, ReadWriteFlags::DSYNC) {
                Ok(0) => return Err(NotDurable::Synced(io::ErrorKind::WriteZero.into())),
                Ok(len) => {
                    bytes = &bytes[len..];
                    offset += len as u64;
                }
                Err(Errno::INTR) => {}
                // Not on every file system.
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
                    self.write_at(bytes, offset).map_err(NotDurable::Written)?;
                    return self.sync().map_err(NotDurable::Synced);
                }
                // The log writes zeros at the same place and syncs those. That is no retry of a failed
                // sync (P6), which would rely on pages that the system may have marked clean.
                Err(error) => {
                    let error = io::Error::from(error);
                    let is_no_space = is_no_space(&error);
                    let what = if is_no_space { NotDurable::Written } else { NotDurable::Synced };
                    return Err(what(error));
                }
            }
        }
        Ok(())
    }

    fn forget_cache(&self) -> io::Result<()> {
        use rustix::fs::{Advice, fadvise};
        Ok(fadvise(&self.0, 0, None, Advice::DontNeed)?)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_opener_is_refused_by_name_until_the_first_is_gone() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("made").join("here");
        let first = Disk::open(&dir).unwrap();
        let refusal = Disk::open(&dir).err().expect("the lock is held");
        assert!(matches!(refusal, DiskError::Locked { .. }));
        assert!(refusal.to_string().contains(dir.to_str().unwrap()));
        drop(first);
        Disk::open(&dir).unwrap();
    }

    #[test]
    fn files_are_made_read_renamed_and_removed() {
        let home = tempfile::tempdir().unwrap();
        let disk = Disk::open(home.path()).unwrap();
        let file = disk.create("a", 8192).unwrap();
        assert_eq!(file.len().unwrap(), 0);
        file.write_durably_at(b"hello", 3).unwrap();
        file.sync().unwrap();
        file.forget_cache().unwrap();
        disk.rename("a", "b").unwrap();
        disk.sync_dir().unwrap();
        let mut back = [9; 8];
        disk.open("b").unwrap().read_at(&mut back, 0).unwrap();
        assert_eq!(&back, b"\0\0\0hello");
        assert!(disk.open("b").unwrap().read_at(&mut back, 1).is_err());
        let mut names = disk.list().unwrap();
        names.sort();
        let listed = |name: &str, len| Listed { name: name.to_owned(), len, is_regular: true };
        assert_eq!(names, [listed("b", 8), listed("lock", 0)]);
        disk.remove("b").unwrap();
        assert!(disk.open("b").is_err());
    }

    #[test]
    fn p5_links_are_listed_as_such_and_never_followed() {
        let home = tempfile::tempdir().unwrap();
        let (dir, elsewhere) = (home.path().join("data"), home.path().join("elsewhere"));
        fs::write(&elsewhere, b"whole").unwrap();
        let disk = Disk::open(&dir).unwrap();
        std::os::unix::fs::symlink(&elsewhere, dir.join("a")).unwrap();
        let listed = disk.list().unwrap();
        assert!(listed.iter().any(|listed| listed.name == "a" && !listed.is_regular));
        assert!(disk.open("a").is_err());
        disk.create("a", 0).unwrap().write_at(b"new", 0).unwrap();
        assert_eq!(fs::read(&elsewhere).unwrap(), b"whole", "the link was replaced");
        // The directory itself may be a link.
        drop(disk);
        std::os::unix::fs::symlink(&dir, home.path().join("link")).unwrap();
        assert_eq!(Disk::open(&home.path().join("link")).unwrap().list().unwrap().len(), 2);
    }
}
