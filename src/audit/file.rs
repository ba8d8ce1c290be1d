//! The file of the audit log: opened, rotated at its maximum size, and reopened when another
//! program has moved it away.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};

use crate::model::time::UnixMillis;
use crate::permissions::{self, FILE_MODE, GROUP_FILE_MODE, Strictness, TooWide};

/// Why the audit log cannot be opened or rotated.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The operating system refused.
    #[error("--audit {}: {source}", .file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The path is a directory, a device or a pipe.
    #[error("--audit {}: is not a regular file", .0.display())]
    NoFile(PathBuf),
    /// Two servers cannot share a file.
    #[error("--audit {}: is in use by another server", .0.display())]
    InUse(PathBuf),
    /// Other users may read or write the file, and `--strict-permissions` is set.
    #[error("--audit {0}")]
    TooWide(#[from] TooWide),
}

/// The file that lines are appended to.
pub(super) struct AuditFile {
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
        path: &Path,
        size_max_bytes: u64,
        files_kept: usize,
        permissions: Strictness,
    ) -> Result<Self, AuditError> {
        let Opened { file, identity, len, mode } = open(path, FILE_MODE, permissions)?;
        let (path, aside_at) = (path.to_owned(), UnixMillis::default());
        Ok(Self {
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
        let path = self.path.clone();
        let failed = |source| AuditError::File { file: path.clone(), source };
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

    /// Reopens the file if its path names another file or none, because a program such as logrotate
    /// has moved it. Returns whether it was reopened.
    pub(super) fn follow(&mut self) -> Result<bool, AuditError> {
        let found = fs::symlink_metadata(&self.path).map(|found| (found.dev(), found.ino()));
        if found.is_ok_and(|found| found == self.identity) {
            return Ok(false);
        }
        // No more lines go to the old file.
        self.sync().map_err(|source| AuditError::File { file: self.path.clone(), source })?;
        self.reopen()?;
        Ok(true)
    }

    fn reopen(&mut self) -> Result<(), AuditError> {
        let opened = open(&self.path, self.mode, self.permissions)?;
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
fn open(path: &Path, mode: u32, permissions: Strictness) -> Result<Opened, AuditError> {
    let failed = |source| AuditError::File { file: path.to_owned(), source };
    // The type is checked before the file is opened: opening a pipe would wait for its other end.
    if fs::symlink_metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(AuditError::NoFile(path.to_owned()));
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
        return Err(AuditError::NoFile(path.to_owned()));
    }
    flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
        rustix::io::Errno::WOULDBLOCK => AuditError::InUse(path.to_owned()),
        other => failed(other.into()),
    })?;
    permissions::guard(&file, path, FILE_MODE, permissions)?;
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
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_769_860_800_007);
    const WARN: Strictness = Strictness::Warn;

    #[test]
    fn a_full_file_is_put_aside_and_the_oldest_goes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        fs::write(dir.path().join("audit.log.mine"), "kept").unwrap();
        let mut file = AuditFile::open(&path, 10, 2, WARN).unwrap();
        assert!(!file.is_full(100), "an empty file is never rotated");
        for round in 0..4 {
            file.write(b"12345678\n").unwrap();
            assert!(!file.is_full(1) && file.is_full(2), "{round}");
            file.rotate(NOW).unwrap();
        }
        let mut names: Vec<_> =
            fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        let expected = [
            "audit.log",
            "audit.log.20260131T120000.009Z",
            "audit.log.20260131T120000.010Z",
            "audit.log.mine",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn half_a_line_is_ended_and_the_mode_is_ours_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        drop(AuditFile::open(&path, 100, 0, WARN).unwrap());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, FILE_MODE);
        fs::write(&path, "{\"whole\":1}\n{\"ha").unwrap();
        AuditFile::open(&path, 100, 0, WARN).unwrap().write(b"{}\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"whole\":1}\n{\"ha\n{}\n");
    }

    #[test]
    fn one_writer_and_a_regular_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        let open = |path: &Path| AuditFile::open(path, 100, 0, WARN);
        let _first = open(&path).unwrap();
        assert!(matches!(open(&path), Err(AuditError::InUse(_))));
        assert!(matches!(open(dir.path()), Err(AuditError::NoFile(_))));
        let missing = dir.path().join("no/audit.log");
        let error = open(&missing).err().unwrap().to_string();
        assert!(error.starts_with("--audit ") && error.contains("No such file"), "{error}");
    }

    #[test]
    fn p9_a_link_is_not_followed_and_a_group_keeps_what_it_may_read() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let dir = tempfile::tempdir().unwrap();
        let [path, link, elsewhere] =
            ["audit.log", "link.log", "elsewhere"].map(|name| dir.path().join(name));
        symlink(&elsewhere, &link).unwrap();
        assert!(matches!(AuditFile::open(&link, 100, 0, WARN), Err(AuditError::NoFile(_))));
        fs::write(&elsewhere, "mine").unwrap();
        assert!(matches!(AuditFile::open(&link, 100, 0, WARN), Err(AuditError::NoFile(_))));
        assert_eq!(fs::read(&elsewhere).unwrap(), b"mine");
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        let set = |mode| {
            fs::write(&path, "{}\n").unwrap();
            fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        };
        set(0o644);
        drop(AuditFile::open(&path, 100, 0, WARN).unwrap());
        assert_eq!(mode(&path), FILE_MODE, "narrowed");
        set(0o640);
        let mut file = AuditFile::open(&path, 100, 0, WARN).unwrap();
        file.rotate(NOW).unwrap();
        assert_eq!(mode(&path), GROUP_FILE_MODE, "the next file has the same mode");
    }
}
