//! A server between two starts on the same data: its files can be looked at and dropped from the
//! page cache, and it comes back where it was, so that connections find it again.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, fadvise};

use super::access::Access;
use super::folder::Folder;
use super::kind::Kind;
use crate::failure::{Result, io};
use crate::secret::Words;

/// What is left of a server that was stopped in order.
#[derive(Debug)]
pub struct Halted {
    pub(super) kind: Kind,
    pub(super) address: SocketAddr,
    pub(super) access: Access,
    pub(super) version: Option<String>,
    /// As it was started.
    pub(super) command: Words,
    pub(super) folder: Folder,
}

impl Halted {
    /// What its files take on the disk.
    ///
    /// # Errors
    /// They can't be read.
    pub fn disk_bytes(&self) -> Result<u64> {
        disk_bytes(self.folder.path())
    }

    /// Drops its files from the page cache, so that they are read from the disk again.
    ///
    /// # Errors
    /// They can't be read or synced.
    pub fn forget_cached(&self) -> Result<()> {
        for path in files_below(self.folder.path())? {
            let file = File::open(&path).map_err(io(format!("open {}", path.display())))?;
            file.sync_all().map_err(io(format!("sync {}", path.display())))?;
            fadvise(&file, 0, None, Advice::DontNeed)
                .map_err(io(format!("forget {}", path.display())))?;
        }
        Ok(())
    }
}

/// The arguments with this address in place of the free port that was picked.
pub(super) fn listening(arguments: &[String], address: SocketAddr) -> Vec<String> {
    let mut arguments = arguments.to_vec();
    if let Some(at) = arguments.iter().position(|word| word == "--listen")
        && let Some(word) = arguments.get_mut(at + 1)
    {
        *word = address.to_string();
    }
    arguments
}

/// What the files below a folder take on the disk.
pub(super) fn disk_bytes(folder: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let mut sum = 0;
    for path in files_below(folder)? {
        let file = path.metadata().map_err(io(format!("read {}", path.display())))?;
        sum += file.blocks() * 512;
    }
    Ok(sum)
}

fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let listed = || io(format!("list {}", folder.display()));
    let mut files = Vec::new();
    for item in std::fs::read_dir(folder).map_err(listed())? {
        let path = item.map_err(listed())?.path();
        if path.is_dir() {
            files.extend(files_below(&path)?);
        } else {
            files.push(path);
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_listener_keeps_its_place() {
        let arguments = ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
        let arguments = arguments.map(str::to_owned);
        let again = listening(&arguments, "127.0.0.1:7".parse().expect("an address"));
        assert_eq!(again, ["serve", "--listen", "127.0.0.1:7", "--admin-listen", "127.0.0.1:0"]);
        let store = ["--port".to_owned(), "7".to_owned()];
        assert_eq!(listening(&store, "127.0.0.1:9".parse().expect("an address")), store);
    }

    #[test]
    fn files_count_wherever_they_lie() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(disk_bytes(folder.path()).expect("empty"), 0);
        std::fs::create_dir(folder.path().join("a")).expect("a folder");
        std::fs::write(folder.path().join("a/b"), vec![1; 100_000]).expect("a file");
        File::open(folder.path().join("a/b")).expect("there").sync_all().expect("on the disk");
        assert!(disk_bytes(folder.path()).expect("readable") >= 100_000);
        assert!(disk_bytes(&folder.path().join("none")).is_err());
    }
}
