//! The folder of a server that is started here. It is removed with the server, and where the harness
//! was killed by the next one.
//!
//! The file [`OWNER`] in it is locked as long as its harness runs; the kernel unlocks it however that
//! ends. It gets its name when it is locked already: one that can be locked has no owner.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

use crate::failure::Result;

const PREFIX: &str = "loadtest-";
/// Whose lock says that the folder is in use.
const OWNER: &str = "owner";
/// Its name until it is locked.
const OWNER_UNLOCKED: &str = "owner.new";

/// A new folder; dropping it removes it.
#[derive(Debug)]
pub(super) struct Folder {
    // Removed before the lock is given up.
    folder: TempDir,
    /// None where the file system has no locks: then no other harness removes it.
    _owner: Option<File>,
}

impl Folder {
    /// In `base`.
    ///
    /// # Errors
    /// No folder can be made there.
    pub(super) fn new(base: &Path) -> Result<Self> {
        let made = tempfile::Builder::new().prefix(PREFIX).tempdir_in(base);
        let what = format!("create a folder in {}", base.display());
        let folder = made.map_err(crate::failure::io(what))?;
        let _owner = own(folder.path()).ok();
        Ok(Self { folder, _owner })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }
}

fn own(folder: &Path) -> io::Result<File> {
    let unlocked = folder.join(OWNER_UNLOCKED);
    let owner = File::create_new(&unlocked)?;
    flock(&owner, FlockOperation::NonBlockingLockExclusive)?;
    fs::rename(&unlocked, folder.join(OWNER))?;
    Ok(owner)
}

/// Removes the folders in `base` that this user's harnesses left because they were killed. What can't
/// be removed stays.
pub(super) fn remove_abandoned(base: &Path) {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
            // The run does not depend on it.
            let _ = remove_if_abandoned(&entry.path());
        }
    }
}

fn remove_if_abandoned(folder: &Path) -> io::Result<()> {
    // Not through a link, which could lead anywhere.
    let found = fs::symlink_metadata(folder)?;
    if !found.is_dir() || found.uid() != rustix::process::geteuid().as_raw() {
        return Ok(());
    }
    let nofollow = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = nofollow.bits().cast_signed();
    let owner = OpenOptions::new().read(true).custom_flags(flags).open(folder.join(OWNER))?;
    flock(&owner, FlockOperation::NonBlockingLockExclusive)?;
    // The owner last: one that is killed meanwhile leaves what the next one removes.
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name() == OWNER {
            continue;
        }
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    fs::remove_dir_all(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder as a killed harness leaves it.
    fn abandoned(base: &Path, name: &str) -> std::path::PathBuf {
        let folder = base.join(name);
        fs::create_dir_all(folder.join("data")).expect("a folder");
        fs::write(folder.join("data/log"), "x").expect("a file");
        drop(own(&folder).expect("a lock"));
        folder
    }

    #[test]
    fn only_what_is_abandoned_is_removed() {
        let base = tempfile::tempdir().expect("a folder");
        let elsewhere = tempfile::tempdir().expect("a folder");
        let linked = abandoned(elsewhere.path(), "loadtest-linked");
        let link = base.path().join("loadtest-link");
        std::os::unix::fs::symlink(&linked, &link).expect("a link");
        let gone = abandoned(base.path(), "loadtest-a");
        let other_name = abandoned(base.path(), "other");
        let beginning = abandoned(base.path(), "loadtest-b");
        fs::rename(beginning.join(OWNER), beginning.join(OWNER_UNLOCKED)).expect("a file");
        let used = Folder::new(base.path()).expect("a folder");
        remove_abandoned(base.path());
        assert!(!gone.exists());
        for kept in [&linked, &link, &other_name, &beginning, &used.path().to_owned()] {
            assert!(kept.exists(), "{}", kept.display());
        }
        let path = used.path().to_owned();
        drop(used);
        assert!(!path.exists());
    }

    #[expect(clippy::print_stdout, reason = "a check that is not made says so")]
    #[test]
    fn what_another_user_left_stays() {
        if !rustix::process::geteuid().is_root() {
            println!("not checked: only root can give a folder away");
            return;
        }
        let base = tempfile::tempdir().expect("a folder");
        let folder = abandoned(base.path(), "loadtest-a");
        std::os::unix::fs::chown(&folder, Some(12_345), None).expect("it is given away");
        remove_abandoned(base.path());
        assert!(folder.join("data/log").exists());
    }
}
