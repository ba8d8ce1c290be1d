//! Where the chain of an existing audit log continues.
//!
//! The state of a chain is in its last checkpoint and the lines after it. If another program has
//! moved the file away while no server ran, it is in a small file beside the log, `FILE.chain`, which
//! holds the newest checkpoint. That file also shows, at the next start, that the log has lost lines
//! which it had.

use std::cmp::Ordering;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use serde::Deserialize;

use super::chain::{Chain, ChainHash, LogKind};
use super::checkpoint::{self, Found};
use super::signing::PublicKey;

/// The last checkpoint is searched in this many bytes at the end of the log: many times what is
/// written between two checkpoints.
const SEARCHED_MAX_BYTES: u64 = 64 << 20;
/// The first part that is searched.
const SEARCHED_MIN_BYTES: u64 = 64 << 10;
/// Maximum numbers that a line without a signature may be ahead of the line before it.
const SKIPPED_MAX: u64 = 1 << 32;
/// Maximum length of the file beside the log that is read.
const STATE_LEN_MAX: u64 = 2 * checkpoint::LINE_LEN_MAX as u64;

/// A chain, and the number of lines at its end that no checkpoint covers.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Resumed {
    pub(super) chain: Chain,
    pub(super) unsigned: u64,
    /// The chain after its last checkpoint, and its hashes after those just before it that have the
    /// same number.
    pub(super) signed: Chain,
    pub(super) signed_before: Vec<ChainHash>,
}

impl Resumed {
    /// Whether the log had the checkpoint with this chain after it, and has it no more. A crash can
    /// leave an older one beside the log, and never a newer one.
    pub(super) fn has_lost(&self, stated: &Chain) -> bool {
        let signed = &self.signed;
        if stated.id != signed.id {
            return false;
        }
        match (stated.file, stated.seq).cmp(&(signed.file, signed.seq)) {
            Ordering::Less => false,
            Ordering::Greater => true,
            Ordering::Equal => {
                stated.hash != signed.hash && !self.signed_before.contains(&stated.hash)
            }
        }
    }
}

/// The numbers in a line.
#[derive(Deserialize)]
pub(super) struct Numbered {
    /// Of the event, or of the last one before a checkpoint.
    pub(super) seq: u64,
    /// Of the file, in a checkpoint.
    pub(super) file: Option<u64>,
}

/// Finds the end of the chain in a log of `len` bytes, all of whose lines are whole; `None` if no
/// checkpoint of this key is near its end.
pub(super) fn in_file(
    file: &mut File,
    len: u64,
    log: LogKind,
    key: &PublicKey,
) -> io::Result<Option<Resumed>> {
    let mut searched = SEARCHED_MIN_BYTES;
    loop {
        let from = len.saturating_sub(searched);
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.by_ref().take(len - from).read_to_end(&mut bytes)?;
        if let Some(found) = in_bytes(&bytes, log, key) {
            return Ok(Some(found));
        }
        if from == 0 || searched >= SEARCHED_MAX_BYTES {
            return Ok(None);
        }
        searched *= 4;
    }
}

fn in_bytes(bytes: &[u8], log: LogKind, key: &PublicKey) -> Option<Resumed> {
    let bytes = bytes.strip_suffix(b"\n")?;
    // Not collected: a text that somebody has made of line breaks would take memory for each.
    let mut backwards = bytes.rsplit(|byte| *byte == b'\n');
    let mut end = bytes.len();
    let signed = backwards.find_map(|line| match in_line(line, log, key) {
        Some(signed) => Some(signed),
        None => {
            end = end.saturating_sub(line.len() + 1);
            None
        }
    })?;
    let same = |chain: &Chain| (chain.file, chain.seq) == (signed.file, signed.seq);
    let before = backwards.map_while(|line| in_line(line, log, key).filter(same));
    let signed_before = before.map(|chain| chain.hash).collect();
    let (mut chain, mut unsigned) = (signed.clone(), 0);
    for line in bytes[end..].split(|byte| *byte == b'\n').skip(1) {
        unsigned += 1;
        chain.hash.take_line(line);
        if let Ok(Numbered { seq, .. }) = serde_json::from_slice(line) {
            // A server never skips more numbers than `SKIPPED_MAX`. Somebody else has written such a line.
            let is_plausible = seq.saturating_sub(chain.seq) <= SKIPPED_MAX;
            chain.seq = if is_plausible { chain.seq.max(seq) } else { chain.seq };
        }
    }
    Some(Resumed { chain, unsigned, signed, signed_before })
}

/// The chain after the checkpoint in `line`, if it is one of this log and key.
fn in_line(line: &[u8], log: LogKind, key: &PublicKey) -> Option<Chain> {
    match checkpoint::read(line, key) {
        Found::Checkpoint(found) if found.log == log => found.chain_after(line),
        _ => None,
    }
}

/// The file beside the log with the newest checkpoint.
pub(super) struct State {
    file: File,
}

/// Path of the file beside the audit log at `path` that holds its newest checkpoint.
#[must_use]
pub fn state_path(path: &Path) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(".chain");
    name.into()
}

impl State {
    /// Opens it, or makes it with this mode. A link is not followed.
    pub(super) fn open(log: &Path, mode: u32) -> io::Result<Self> {
        let path = state_path(log);
        if fs::symlink_metadata(&path).is_ok_and(|found| !found.is_file()) {
            return Err(io::Error::other("is not a regular file"));
        }
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(mode);
        Ok(Self { file: options.custom_flags(flags).open(path)? })
    }

    /// The chain after the checkpoint that it holds; `None` if it holds none of this log and key.
    pub(super) fn read(&mut self, log: LogKind, key: &PublicKey) -> io::Result<Option<Chain>> {
        let mut bytes = Vec::new();
        self.file.seek(SeekFrom::Start(0))?;
        self.file.by_ref().take(STATE_LEN_MAX).read_to_end(&mut bytes)?;
        let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        Ok(in_line(line, log, key))
    }

    /// Replaces the checkpoint by a newer one, which ends with a line break.
    pub(super) fn write(&self, line: &[u8]) -> io::Result<()> {
        self.file.write_all_at(line, 0)?;
        self.file.set_len(line.len() as u64)
    }
}
