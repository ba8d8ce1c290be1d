//! The file of the audit log: opened, rotated at its maximum size, and reopened when another
//! program has moved it away.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};

use super::chain::LogKind;
use super::resume::{self, Resumed};
use super::signing::PublicKey;
use crate::model::time::UnixMillis;
use crate::permissions::{self, FILE_MODE, GROUP_FILE_MODE, Strictness, TooWide};

/// Why the audit log cannot be opened or rotated.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The operating system refused.
    #[error("{flag} {}: {source}", .file.display())]
    File {
        /// The flag that names the file.
        flag: &'static str,
        /// The file.
        file: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The path is a directory, a device or a pipe.
    #[error("{flag} {file}: is not a regular file", flag = .0, file = .1.display())]
    NoFile(&'static str, PathBuf),
    /// Two servers cannot share a file.
    #[error("{flag} {file}: is in use by another server", flag = .0, file = .1.display())]
    InUse(&'static str, PathBuf),
    /// Other users may read or write the file, and `--strict-permissions` is set.
    #[error("{0} {1}")]
    TooWide(&'static str, TooWide),
}

/// Where the path of the file leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// To the file.
    Same,
    /// To another file or to none: another program has moved it.
    Moved,
    /// To the file, which another program has made shorter.
    Truncated,
}

/// The file that lines are appended to.
pub(super) struct AuditFile {
    /// The flag that names it, for messages.
    flag: &'static str,
    path: PathBuf,
    file: File,
    /// Identity of the file: another file may appear under the same path.
    identity: (u64, u64),
    len: u64,
    /// Mode of the file and of its successors: only the owner may read it, and a group if the owner
    /// has granted that.
    mode: u32,
    permissions: Strictness,
    size_max_bytes: u64,
    files_kept: usize,
    /// The time in the name of the last rotated file, so that names stay in the order of files.
    aside_at: UnixMillis,
}

impl AuditFile {
    pub(super) fn open(
        flag: &'static str,
        path: &Path,
        size_max_bytes: u64,
        files_kept: usize,
        permissions: Strictness,
    ) -> Result<Self, AuditError> {
        let Opened { file, identity, len, mode } = open(flag, path, FILE_MODE, permissions)?;
        let (path, aside_at) = (path.to_owned(), UnixMillis::default());
        Ok(Self {
            flag,
            path,
            file,
            identity,
            len,
            mode,
            permissions,
            size_max_bytes,
            files_kept,
            aside_at,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn mode(&self) -> u32 {
        self.mode
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Finds the end of the chain in it.
    pub(super) fn resume(
        &mut self,
        log: LogKind,
        key: &PublicKey,
    ) -> Result<Option<Resumed>, AuditError> {
        let (flag, path) = (self.flag, self.path.clone());
        resume::in_file(&mut self.file, self.len, log, key).map_err(|source| AuditError::File {
            flag,
            file: path,
            source,
        })
    }

    /// Writes as much as the system accepts in one call.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = self.file.write(bytes)?;
        self.len += len as u64;
        if len == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(len) }
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Free bytes of its disk, for this process, and the size of the disk in bytes.
    pub(super) fn disk(&self) -> io::Result<(u64, u64)> {
        let disk = rustix::fs::fstatvfs(&self.file)?;
        let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
        Ok((bytes(disk.f_bavail), bytes(disk.f_blocks)))
    }

    /// Whether `more` bytes would exceed the maximum size.
    pub(super) fn is_full(&self, more: usize) -> bool {
        self.len > 0 && self.len + more as u64 > self.size_max_bytes
    }

    /// Renames the file to a name with the time, and starts a new one.
    pub(super) fn rotate(&mut self, now: UnixMillis) -> Result<(), AuditError> {
        let (flag, path) = (self.flag, self.path.clone());
        let failed = |source| AuditError::File { flag, file: path.clone(), source };
        // The path may name another program's file by now, which must not be renamed.
        if self.follow()? {
            return Ok(());
        }
        self.sync().map_err(failed)?;
        let aside = self.aside(now);
        fs::rename(&self.path, &aside).map_err(failed)?;
        self.reopen()?;
        self.sync_folder().map_err(failed)?;
        self.forget_oldest();
        Ok(())
    }

    /// An unused name for the rotated file.
    fn aside(&mut self, now: UnixMillis) -> PathBuf {
        self.aside_at.0 = now.0.max(self.aside_at.0 + 1);
        loop {
            let time = self.aside_at.to_string().replace(['-', ':'], "");
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{time}"));
            if fs::symlink_metadata(&name).is_err() {
                return name.into();
            }
            self.aside_at.0 += 1;
        }
    }

    /// Looks where its path leads. A file that was made shorter has its new length from now on.
    pub(super) fn look(&mut self) -> Look {
        match fs::symlink_metadata(&self.path) {
            Ok(found) if (found.dev(), found.ino()) == self.identity => {
                let is_shorter = found.len() < self.len;
                self.len = self.len.min(found.len());
                if is_shorter { Look::Truncated } else { Look::Same }
            }
            _ => Look::Moved,
        }
    }

    /// Whether no folder has the file any more: it was removed, not renamed.
    pub(super) fn is_removed(&self) -> bool {
        self.file.metadata().is_ok_and(|found| found.nlink() == 0)
    }

    /// Reopens the file if its path names another file or none, because a program such as logrotate
    /// has moved it. Returns whether it was reopened.
    pub(super) fn follow(&mut self) -> Result<bool, AuditError> {
        let is_moved = self.look() == Look::Moved;
        if is_moved {
            // No more lines go to the old file.
            let (flag, file) = (self.flag, self.path.clone());
            self.sync().map_err(|source| AuditError::File { flag, file, source })?;
            self.reopen()?;
        }
        Ok(is_moved)
    }

    fn reopen(&mut self) -> Result<(), AuditError> {
        let opened = open(self.flag, &self.path, self.mode, self.permissions)?;
        (self.file, self.identity) = (opened.file, opened.identity);
        (self.len, self.mode) = (opened.len, opened.mode);
        Ok(())
    }

    fn sync_folder(&self) -> io::Result<()> {
        File::open(folder(&self.path))?.sync_all()
    }

    /// Removes the oldest rotated files, if there are more than the maximum.
    fn forget_oldest(&self) {
        if self.files_kept == 0 {
            return;
        }
        let mut aside = self.all_aside();
        aside.sort();
        let surplus = aside.len().saturating_sub(self.files_kept);
        for old in &aside[..surplus] {
            if let Err(error) = fs::remove_file(old) {
                tracing::warn!(%error, file = %old.display(), "can't remove an old audit log");
            }
        }
    }

    /// The rotated files, in no order. Files that other programs renamed are left alone.
    fn all_aside(&self) -> Vec<PathBuf> {
        let Some(name) = self.path.file_name().and_then(|name| name.to_str()) else {
            return Vec::new();
        };
        let Ok(entries) = fs::read_dir(folder(&self.path)) else {
            return Vec::new();
        };
        let is_ours = |entry: &fs::DirEntry| {
            let found = entry.file_name();
            let time = found.to_str().and_then(|found| found.strip_prefix(name)?.strip_prefix('.'));
            time.is_some_and(is_basic_time)
        };
        entries.flatten().filter(is_ours).map(|entry| entry.path()).collect()
    }
}

/// Whether a text has the form `20260131T120000.000Z`.
fn is_basic_time(text: &str) -> bool {
    const FORM: &[u8] = b"00000000T000000.000Z";
    text.len() == FORM.len()
        && text.bytes().zip(FORM).all(|(byte, form)| match form {
            b'0' => byte.is_ascii_digit(),
            other => byte == *other,
        })
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// A file as it was opened.
struct Opened {
    file: File,
    identity: (u64, u64),
    len: u64,
    mode: u32,
}

/// Opens a file for appending, at the beginning of a line. A new file gets `mode`. A link is never
/// followed: it would redirect the lines to another place.
fn open(
    flag: &'static str,
    path: &Path,
    mode: u32,
    permissions: Strictness,
) -> Result<Opened, AuditError> {
    let failed = |source| AuditError::File { flag, file: path.to_owned(), source };
    // The type is checked before the file is opened: opening a pipe would wait for its other end.
    if fs::symlink_metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(AuditError::NoFile(flag, path.to_owned()));
    }
    let mut options = OpenOptions::new();
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    options.read(true).append(true).custom_flags(flags);
    let mut file = match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let made = options.create_new(true).mode(mode).open(path).map_err(failed)?;
            permissions::set_new(&made, mode);
            made
        }
        opened => opened.map_err(failed)?,
    };
    let found = file.metadata().map_err(failed)?;
    if !found.is_file() {
        return Err(AuditError::NoFile(flag, path.to_owned()));
    }
    flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
        rustix::io::Errno::WOULDBLOCK => AuditError::InUse(flag, path.to_owned()),
        other => failed(other.into()),
    })?;
    permissions::guard(&file, path, FILE_MODE, permissions)
        .map_err(|wide| AuditError::TooWide(flag, wide))?;
    let len = end_line(&mut file, found.len()).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.mode() & GROUP_FILE_MODE | FILE_MODE;
    Ok(Opened { file, identity: (found.dev(), found.ino()), len, mode })
}

/// Ends a half-written last line, which a crash may have left, so that the next line starts on its
/// own. Returns the file's length.
fn end_line(file: &mut File, len: u64) -> io::Result<u64> {
    if len == 0 {
        return Ok(0);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    if last == *b"\n" {
        return Ok(len);
    }
    file.write_all(b"\n")?;
    Ok(len + 1)
}

#[cfg(test)]
mod tests;
