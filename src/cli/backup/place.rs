//! A directory that appears complete or not at all: it is filled under another name, `DIR.partial`,
//! and renamed when everything in it is durable.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::failure::BackupFailure;
use super::manifest::{MANIFEST_NAME, partial};
use crate::cli::out::tell;
use crate::engine::SECRET_FILE_NAME;

/// The directory being filled. Dropping it before [`Place::finish`] removes it.
pub(super) struct Place {
    dir: PathBuf,
    partial: PathBuf,
    is_done: bool,
}

impl Place {
    /// Prepares the partial directory for `dir`, which must be missing or empty. Files that an
    /// earlier, killed command left behind are removed, as far as they are jeton's.
    pub(super) fn new(dir: &Path) -> Result<Self, BackupFailure> {
        // The path is resolved first: with `..` or links in it, the partial directory could end up
        // elsewhere.
        let parent = match dir.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let parent = parent.canonicalize().map_err(BackupFailure::io("find", parent))?;
        let dir = parent.join(dir.file_name().ok_or(BackupFailure::NoName)?);
        check_free(&dir)?;
        let partial = partial(&dir)?;
        sweep(&partial)?;
        let made = fs::DirBuilder::new().mode(0o700).create(&partial);
        made.map_err(BackupFailure::io("make", &partial))?;
        Ok(Self { dir, partial, is_done: false })
    }

    /// The directory that holds the files now.
    pub(super) fn path(&self) -> &Path {
        &self.partial
    }

    /// Creates a file with mode 0600. The caller syncs it.
    pub(super) fn create(&self, name: &str) -> Result<File, BackupFailure> {
        let path = self.partial.join(name);
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        made.map_err(BackupFailure::io("make", &path))
    }

    /// Creates a file with these bytes and syncs it.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), BackupFailure> {
        let mut file = self.create(name)?;
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        written.map_err(BackupFailure::io("write", &self.partial.join(name)))
    }

    /// Gives the directory its final name.
    pub(super) fn finish(mut self) -> Result<(), BackupFailure> {
        let parent = self.dir.parent().unwrap_or(Path::new("."));
        let named = sync_dir(&self.partial)
            // The rename replaces an empty directory; the system refuses any other.
            .and_then(|()| fs::rename(&self.partial, &self.dir))
            .and_then(|()| sync_dir(parent));
        named.map_err(BackupFailure::io("make", &self.dir))?;
        self.is_done = true;
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.is_done
            && let Err(error) = fs::remove_dir_all(&self.partial)
            && error.kind() != io::ErrorKind::NotFound
        {
            tell!("warning: {} could not be removed: {error}", self.partial.display());
        }
    }
}

/// Checks that `dir` is missing or empty.
pub(super) fn check_free(dir: &Path) -> Result<(), BackupFailure> {
    match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(BackupFailure::io("list", dir)(error)),
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(BackupFailure::NotEmpty(dir.to_owned())),
        },
    }
}

/// Removes files that a killed command left behind.
fn sweep(partial: &Path) -> Result<(), BackupFailure> {
    let entries = match fs::read_dir(partial) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(BackupFailure::io("list", partial))?,
    };
    for entry in entries {
        let name = entry.map_err(BackupFailure::io("list", partial))?.file_name();
        let is_ours = name.to_str().is_some_and(|name| {
            ["segment-", "spare-", "fresh-"].iter().any(|prefix| name.starts_with(prefix))
                || [MANIFEST_NAME, SECRET_FILE_NAME, "lock"].contains(&name)
        });
        if !is_ours {
            return Err(BackupFailure::NotEmpty(partial.to_owned()));
        }
    }
    fs::remove_dir_all(partial).map_err(BackupFailure::io("remove", partial))
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_appears_when_it_is_finished_and_not_before() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("b");
        let names = || {
            let entries = fs::read_dir(home.path()).unwrap();
            entries.map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>()
        };
        let place = Place::new(&dir).unwrap();
        place.write("segment-x", b"x").unwrap();
        assert_eq!(names(), ["b.partial"]);
        drop(place);
        assert!(names().is_empty());
        // A killed command left this file; it is removed.
        fs::create_dir(home.path().join("b.partial")).unwrap();
        fs::write(home.path().join("b.partial/segment-y"), b"y").unwrap();
        let place = Place::new(&dir).unwrap();
        place.write("segment-x", b"x").unwrap();
        place.finish().unwrap();
        assert_eq!(names(), ["b"]);
        assert!(matches!(Place::new(&dir), Err(BackupFailure::NotEmpty(_))));
        fs::create_dir(home.path().join("c.partial")).unwrap();
        fs::write(home.path().join("c.partial/letters"), b"mine").unwrap();
        let refused = Place::new(&home.path().join("c"));
        assert!(matches!(refused, Err(BackupFailure::NotEmpty(_))));
        assert!(home.path().join("c.partial/letters").exists());
    }
}
