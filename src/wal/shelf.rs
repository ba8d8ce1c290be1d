//! A read-only directory: a backup, possibly on a read-only medium. Unlike [`super::Disk`] it
//! creates no lock file and takes no lock.

use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::storage::disk::{list_dir, own_file};
use super::storage::{File, Listed, Storage};

/// A read-only directory.
pub struct Shelf(PathBuf);

impl Shelf {
    /// The directory `dir`.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self(dir.to_owned())
    }
}

fn refused<T>() -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::ReadOnlyFilesystem, "this directory is read-only"))
}

impl Storage for Shelf {
    fn create(&self, _name: &str, _reserve_len: u64) -> io::Result<Arc<dyn File>> {
        refused()
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(ShelfFile(own_file().open(self.0.join(name))?)))
    }

    fn list(&self) -> io::Result<Vec<Listed>> {
        list_dir(&self.0)
    }

    fn rename(&self, _from: &str, _to: &str) -> io::Result<()> {
        refused()
    }

    fn remove(&self, _name: &str) -> io::Result<()> {
        refused()
    }

    /// Nothing was changed, so there is nothing to sync.
    fn sync_dir(&self) -> io::Result<()> {
        Ok(())
    }
}

struct ShelfFile(fs::File);

impl File for ShelfFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buf, offset)
    }

    fn write_at(&self, _bytes: &[u8], _offset: u64) -> io::Result<()> {
        refused()
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn forget_cache(&self) -> io::Result<()> {
        Ok(())
    }

    fn set_len(&self, _len: u64) -> io::Result<()> {
        refused()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_and_nothing_is_written() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a"), b"hello").unwrap();
        let shelf = Shelf::new(dir.path());
        let file = shelf.open("a").unwrap();
        let mut back = [0; 3];
        file.read_at(&mut back, 2).unwrap();
        assert_eq!((&back, file.len().unwrap()), (b"llo", 5));
        assert!(file.write_at(b"x", 0).is_err() && file.set_len(0).is_err());
        assert!(shelf.create("b", 0).is_err() && shelf.rename("a", "b").is_err());
        assert!(shelf.remove("a").is_err());
        let listed = Listed { name: "a".to_owned(), len: 5, is_regular: true };
        assert_eq!(shelf.list().unwrap(), [listed]);
    }
}
