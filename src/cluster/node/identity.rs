//! The files of a node in its data directory, which no backup includes: its id, and the marker that
//! keeps a node from starting after it has left its cluster.
//!
//! `node.id` has 16 hexadecimal digits and a line break. `node.left` has the reason, as a sentence.
//! Both are written completely or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::model::cluster::NodeId;
use crate::permissions::{FILE_MODE, Strictness};
use crate::wal::{Disk, DiskError};

/// Name of the file with the node's id.
pub const ID_FILE: &str = "node.id";
/// Name of the marker.
pub const MARKER_FILE: &str = "node.left";
/// Maximum bytes that are read of either file.
const LEN_MAX: usize = 4 << 10;

/// Why a node cannot be identified.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The data directory cannot be used, or another process uses it.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A file cannot be read or written.
    #[error("{}: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file with the id has something else in it.
    #[error("{} must have 16 hexadecimal digits, not all of them 0", .0.display())]
    Malformed(PathBuf),
    /// The operating system returned no random bytes.
    #[error("no random bytes for the id of the node")]
    NoRandom,
    /// There is nothing to rejoin with.
    #[error("{} has no {ID_FILE}: it is not the data directory of a node", .0.display())]
    NoNode(PathBuf),
    /// The log of the node cannot be continued.
    #[error(
        "{} has a log whose content differs from that of the other nodes, so it cannot be \
         continued: run jeton cluster join into a new directory, and start the node there",
        .0.display()
    )]
    Spoiled(PathBuf),
}

/// What a marker says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    /// Whether the log differs from those of the other nodes.
    pub is_spoiled: bool,
    /// Why the node has left its cluster, as a sentence.
    pub reason: String,
}

/// First word of a marker of a log that differs.
const SPOILED: &str = "diverged: ";
/// First word of any other.
const LEFT: &str = "left: ";

/// The id of the node with this data directory; a new one, if it has none. The directory is made if
/// it is missing.
///
/// # Errors
/// The directory or the file cannot be used, or another process uses the directory.
pub fn load_or_create(dir: &Path, permissions: Strictness) -> Result<NodeId, IdentityError> {
    // Held meanwhile, so that no other process makes an id too.
    let _lock = Disk::open_with(dir, permissions)?;
    match read(dir, ID_FILE)? {
        Some(text) => parse(&text).ok_or_else(|| IdentityError::Malformed(dir.join(ID_FILE))),
        None => create(dir),
    }
}

/// The marker in this data directory, if the node has left its cluster.
///
/// # Errors
/// The file cannot be read.
pub fn marker(dir: &Path) -> Result<Option<Marker>, IdentityError> {
    let text = read(dir, MARKER_FILE)?;
    Ok(text.map(|text| {
        let (is_spoiled, reason) = match text.strip_prefix(SPOILED) {
            Some(reason) => (true, reason),
            None => (false, text.strip_prefix(LEFT).unwrap_or(&text)),
        };
        Marker { is_spoiled, reason: reason.trim_end().to_owned() }
    }))
}

/// Leaves a marker. An older one stays: its reason came first.
///
/// # Errors
/// The file cannot be written.
pub fn leave(dir: &Path, marker: &Marker) -> Result<(), IdentityError> {
    if read(dir, MARKER_FILE)?.is_some() {
        return Ok(());
    }
    let word = if marker.is_spoiled { SPOILED } else { LEFT };
    write(dir, MARKER_FILE, &format!("{word}{}\n", marker.reason))
}

/// The ids of a node before and after [`rejoin`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejoined {
    /// The id before; `None` if the file had none.
    pub old: Option<NodeId>,
    /// The new one.
    pub new: NodeId,
}

/// Takes a new id and removes the marker, so that the node can start again.
///
/// # Errors
/// The directory is not that of a node, is in use, or its log cannot be continued.
pub fn rejoin(dir: &Path, permissions: Strictness) -> Result<Rejoined, IdentityError> {
    // Not created here: `Disk` would make a directory that is missing.
    let Some(old) = read(dir, ID_FILE)? else {
        return Err(IdentityError::NoNode(dir.to_owned()));
    };
    let _lock = Disk::open_with(dir, permissions)?;
    let marker = marker(dir)?;
    if marker.is_some_and(|marker| marker.is_spoiled) {
        return Err(IdentityError::Spoiled(dir.to_owned()));
    }
    // The id first: with the old one and without the marker the node would do harm.
    let new = create(dir)?;
    let file = dir.join(MARKER_FILE);
    match fs::remove_file(&file).and_then(|()| File::open(dir)?.sync_all()) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(IdentityError::Io { file, source })
        }
        _ => Ok(Rejoined { old: parse(&old), new }),
    }
}

fn create(dir: &Path) -> Result<NodeId, IdentityError> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|_| IdentityError::NoRandom)?;
    let node = NodeId(u64::from_le_bytes(bytes).max(1));
    write(dir, ID_FILE, &format!("{node}\n"))?;
    Ok(node)
}

fn parse(text: &str) -> Option<NodeId> {
    text.strip_suffix('\n').unwrap_or(text).parse().ok()
}

fn read(dir: &Path, name: &str) -> Result<Option<String>, IdentityError> {
    let file = dir.join(name);
    match fs::read(&file) {
        Ok(bytes) => {
            let bytes = &bytes[..bytes.len().min(LEN_MAX)];
            Ok(Some(String::from_utf8_lossy(bytes).into_owned()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(IdentityError::Io { file, source }),
    }
}

/// Writes a file under another name first, so that it is whole or as before.
fn write(dir: &Path, name: &str, text: &str) -> Result<(), IdentityError> {
    let (file, draft) = (dir.join(name), dir.join(format!("{name}.new")));
    let written = match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => replace(dir, &draft, &file, text),
    };
    written.map_err(|source| IdentityError::Io { file, source })
}

fn replace(dir: &Path, draft: &Path, file: &Path, text: &str) -> io::Result<()> {
    let mut made = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(draft)?;
    made.write_all(text.as_bytes())?;
    made.sync_all()?;
    fs::rename(draft, file)?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    const WARN: Strictness = Strictness::Warn;

    #[test]
    fn a_node_keeps_its_id_and_nobody_else_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("new");
        let id = load_or_create(&dir, WARN).unwrap();
        assert_eq!(load_or_create(&dir, WARN).unwrap(), id);
        let file = fs::metadata(dir.join(ID_FILE)).unwrap();
        assert_eq!((file.mode() & 0o777, file.len()), (0o600, 17));
        for wrong in ["", "0000000000000000\n", "12\n", "+000000000000001", "00000000000000001"] {
            fs::write(dir.join(ID_FILE), wrong).unwrap();
            let refused = load_or_create(&dir, WARN);
            assert!(matches!(refused, Err(IdentityError::Malformed(_))), "{wrong:?}: {refused:?}");
        }
    }

    #[test]
    fn only_rejoin_removes_a_marker_and_it_takes_another_id() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        assert!(matches!(rejoin(dir, WARN), Err(IdentityError::NoNode(_))));
        let id = load_or_create(dir, WARN).unwrap();
        assert_eq!(marker(dir).unwrap(), None);
        let first = Marker { is_spoiled: false, reason: "another process".to_owned() };
        leave(dir, &first).unwrap();
        leave(dir, &Marker { is_spoiled: true, reason: "later".to_owned() }).unwrap();
        assert_eq!(marker(dir).unwrap(), Some(first));
        assert_eq!(load_or_create(dir, WARN).unwrap(), id);
        let Rejoined { old, new } = rejoin(dir, WARN).unwrap();
        assert_eq!(old, Some(id));
        assert_ne!(new, id);
        assert_eq!((marker(dir).unwrap(), load_or_create(dir, WARN).unwrap()), (None, new));
    }

    #[test]
    fn a_log_that_differs_is_not_continued() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let id = load_or_create(dir, WARN).unwrap();
        leave(dir, &Marker { is_spoiled: true, reason: "differs".to_owned() }).unwrap();
        assert!(matches!(rejoin(dir, WARN), Err(IdentityError::Spoiled(_))));
        assert!(marker(dir).unwrap().unwrap().is_spoiled);
        assert_eq!(load_or_create(dir, WARN).unwrap(), id);
    }
}
