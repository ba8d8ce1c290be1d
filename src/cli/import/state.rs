//! The state file: which keys were put, and how far the scan has come.
//!
//! It holds digests, no keys: HMAC-SHA-256 with a random key at the head of the file, cut to some
//! bytes. Who has the file can check a guess of a key, so its mode is 0600.
//!
//! ```text
//! head    "jeton import 1\n", key (32), scope (8): the digest of --strip and the database
//! frame   length (u32), CRC32C of the payload (u32), payload: items one after the other
//! item    1 Put        name (12), key (4), value (8)   about to be put, or replaced
//!         2 Settled    name (12)                       it was put and confirmed, or something lived
//!         3 Withdrawn  name (12)                       it was certainly not put
//!         4 Cursor     scan (8), cursor (u64), is_over (u8), counts (u64 each)
//!         5 PassEnd
//!         6 Replacing  name (12), before (8), value (8)   the first is about to be replaced
//! ```
//!
//! All numbers are little-endian. A frame is valid if it is whole and its checksum is right; the
//! first that is not ends the file, and it is cut there. A put is on the disk before it is sent.

use std::collections::{BTreeSet, HashMap};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use hmac::{Hmac, KeyInit, Mac};
use rustix::fs::{FlockOperation, flock};
use sha2::Sha256;

use super::counts::{Counts, KINDS};
use crate::permissions::FILE_MODE;

const MAGIC: &[u8; 15] = b"jeton import 1\n";
const HEAD_LEN: usize = MAGIC.len() + 32 + 8;
/// Maximum length of a frame that is read.
const FRAME_LEN_MAX: usize = 1 << 20;

/// Digest of a name.
pub(super) type Name = [u8; 12];
/// Digest of a value.
pub(super) type Value = [u8; 8];
/// Digest of what a cursor belongs to: the run id of a server, and what is asked of it.
pub(super) type Scan = [u8; 8];

/// Why a state file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum StateError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it is not a state file of jeton import: name another one")]
    Foreign,
    #[error("another jeton import is using it")]
    Locked,
    #[error(
        "it belongs to an import with another --strip or from another database: name another \
         state file"
    )]
    Scope,
}

/// What is known of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Digest of the source's key, which tells two keys with the same name apart.
    pub(super) key: [u8; 4],
    /// What import put, or would have put.
    pub(super) value: Value,
    /// What it was about to replace; jeton may still have that.
    pub(super) before: Option<Value>,
    pub(super) is_settled: bool,
    /// Whether this run has dealt with it: SCAN may repeat a key.
    pub(super) is_seen: bool,
}

impl Record {
    fn new(key: [u8; 4], value: Value) -> Self {
        Self { key, value, before: None, is_settled: false, is_seen: false }
    }

    fn settle(&mut self) {
        (self.before, self.is_settled) = (None, true);
    }

    fn replace(&mut self, before: Value, value: Value) {
        (self.before, self.value, self.is_settled) = (Some(before), value, false);
    }
}

/// How far the scan of a server has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) cursor: u64,
    pub(super) is_over: bool,
    pub(super) counts: Counts,
}

/// The state of an import.
pub(super) struct State {
    file: File,
    mac: Hmac<Sha256>,
    records: HashMap<Name, Record>,
    progress: HashMap<Scan, Progress>,
    /// Items that are not written yet.
    items: Vec<u8>,
}

impl State {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// It is not a state file, belongs to another import, or is in use.
    pub(super) fn open(path: &Path, scope: &[u8]) -> Result<Self, StateError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(FILE_MODE);
        let mut file = options.open(path)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| StateError::Locked)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        if bytes.is_empty() {
            bytes = new_head(scope)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
            File::open(dir.unwrap_or(Path::new(".")))?.sync_all()?;
        }
        let key = bytes.get(MAGIC.len()..HEAD_LEN - 8).filter(|_| bytes.starts_with(MAGIC));
        let mac = mac_of(key.ok_or(StateError::Foreign)?);
        if bytes[HEAD_LEN - 8..HEAD_LEN] != cut::<8>(&mac, b"scope", scope) {
            return Err(StateError::Scope);
        }
        let (records, progress, items) = (HashMap::new(), HashMap::new(), Vec::new());
        let mut state = Self { file, mac, records, progress, items };
        let valid = HEAD_LEN + state.read(&bytes[HEAD_LEN..]);
        state.file.set_len(valid as u64)?;
        state.file.seek(SeekFrom::End(0))?;
        Ok(state)
    }

    /// Applies all valid frames, and returns their length.
    fn read(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while let Some(payload) = frame(&bytes[at..]) {
            if self.apply(payload).is_none() {
                break;
            }
            at += 8 + payload.len();
        }
        at
    }

    fn apply(&mut self, mut items: &[u8]) -> Option<()> {
        while let Some((tag, rest)) = items.split_first() {
            items = match tag {
                1 => {
                    let (name, rest) = take::<12>(rest)?;
                    let (key, rest) = take::<4>(rest)?;
                    let (value, rest) = take::<8>(rest)?;
                    self.records.insert(name, Record::new(key, value));
                    rest
                }
                2 => {
                    let (name, rest) = take::<12>(rest)?;
                    self.records.get_mut(&name)?.settle();
                    rest
                }
                3 => {
                    let (name, rest) = take::<12>(rest)?;
                    self.records.remove(&name);
                    rest
                }
                4 => {
                    let (scan, rest) = take::<8>(rest)?;
                    let (cursor, rest) = take::<8>(rest)?;
                    let ([is_over], mut rest) = take::<1>(rest)?;
                    let mut counts = Counts::default();
                    for count in &mut counts.0 {
                        let (number, after) = take::<8>(rest)?;
                        *count = u64::from_le_bytes(number);
                        rest = after;
                    }
                    let (cursor, is_over) = (u64::from_le_bytes(cursor), is_over == 1);
                    self.progress.insert(scan, Progress { cursor, is_over, counts });
                    rest
                }
                5 => {
                    self.progress.clear();
                    rest
                }
                6 => {
                    let (name, rest) = take::<12>(rest)?;
                    let (before, rest) = take::<8>(rest)?;
                    let (value, rest) = take::<8>(rest)?;
                    self.records.get_mut(&name)?.replace(before, value);
                    rest
                }
                _ => return None,
            };
        }
        Some(())
    }

    pub(super) fn name(&self, name: &[u8]) -> Name {
        cut(&self.mac, b"name", name)
    }

    pub(super) fn key(&self, key: &[u8]) -> [u8; 4] {
        cut(&self.mac, b"key", key)
    }

    pub(super) fn value(&self, value: &[u8]) -> Value {
        cut(&self.mac, b"value", value)
    }

    pub(super) fn record(&self, name: &Name) -> Option<Record> {
        self.records.get(name).copied()
    }

    /// Number of names that are known.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// Marks a name as dealt with in this run.
    pub(super) fn see(&mut self, name: &Name) {
        if let Some(record) = self.records.get_mut(name) {
            record.is_seen = true;
        }
    }

    /// Notes that `value` is about to be put under a name. [`Self::sync`] comes before the put.
    pub(super) fn intend(&mut self, name: &Name, key: [u8; 4], value: Value) {
        self.items.push(1);
        self.items.extend_from_slice(name);
        self.items.extend_from_slice(&key);
        self.items.extend_from_slice(&value);
        self.records.insert(*name, Record { is_seen: true, ..Record::new(key, value) });
    }

    /// Notes that `value` is about to be put in the place of `before`, as [`Self::intend`] does.
    pub(super) fn intend_instead(&mut self, name: &Name, before: Value, value: Value) {
        self.items.push(6);
        self.items.extend_from_slice(name);
        self.items.extend_from_slice(&before);
        self.items.extend_from_slice(&value);
        if let Some(record) = self.records.get_mut(name) {
            record.replace(before, value);
        }
    }

    pub(super) fn settle(&mut self, name: &Name) {
        self.items.push(2);
        self.items.extend_from_slice(name);
        if let Some(record) = self.records.get_mut(name) {
            record.settle();
        }
    }

    pub(super) fn withdraw(&mut self, name: &Name) {
        self.items.push(3);
        self.items.extend_from_slice(name);
        self.records.remove(name);
    }

    /// The scan of a server since its start, with its slots, for the keys of a pattern. A cursor of
    /// another scan means nothing: after a restart it is another place, the keys of another slot may be
    /// behind it, and another pattern has left out other keys.
    pub(super) fn scan(&self, run_id: &str, slots: &BTreeSet<u16>, pattern: Option<&str>) -> Scan {
        let mut text = Vec::new();
        // With its length, so that no two scans have one text.
        text.extend_from_slice(&(run_id.len() as u64).to_le_bytes());
        text.extend_from_slice(run_id.as_bytes());
        text.extend_from_slice(&(slots.len() as u64).to_le_bytes());
        slots.iter().for_each(|slot| text.extend_from_slice(&slot.to_le_bytes()));
        if let Some(pattern) = pattern {
            text.push(b'=');
            text.extend_from_slice(pattern.as_bytes());
        }
        cut(&self.mac, b"scan", &text)
    }

    /// How far a scan has come.
    pub(super) fn progress(&self, scan: &Scan) -> Progress {
        self.progress.get(scan).copied().unwrap_or_default()
    }

    pub(super) fn advance(&mut self, scan: &Scan, progress: Progress) -> io::Result<()> {
        self.items.push(4);
        self.items.extend_from_slice(scan);
        self.items.extend_from_slice(&progress.cursor.to_le_bytes());
        self.items.push(u8::from(progress.is_over));
        progress.counts.0.iter().for_each(|it| self.items.extend_from_slice(&it.to_le_bytes()));
        self.progress.insert(*scan, progress);
        self.write()
    }

    /// The next run begins a new pass.
    pub(super) fn end_pass(&mut self) -> io::Result<()> {
        self.items.push(5);
        self.progress.clear();
        self.sync()
    }

    /// Writes what is not written yet, and waits until it is on the disk.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.write()?;
        self.file.sync_data()
    }

    fn write(&mut self) -> io::Result<()> {
        if self.items.is_empty() {
            return Ok(());
        }
        let len = u32::try_from(self.items.len()).map_err(|_| ErrorKind::InvalidData)?;
        let mut frame = Vec::with_capacity(8 + self.items.len());
        frame.extend_from_slice(&len.to_le_bytes());
        frame.extend_from_slice(&crc32c::crc32c(&self.items).to_le_bytes());
        frame.append(&mut self.items);
        self.file.write_all(&frame)
    }
}

fn new_head(scope: &[u8]) -> io::Result<Vec<u8>> {
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(io::Error::other)?;
    Ok([&MAGIC[..], &key, &cut::<8>(&mac_of(&key), b"scope", scope)].concat())
}

fn mac_of(key: &[u8]) -> Hmac<Sha256> {
    let mut block = [0; 64];
    block[..32].copy_from_slice(&key[..32]);
    Hmac::<Sha256>::new((&block).into())
}

/// The first bytes of the digest of a text of some kind.
fn cut<const LEN: usize>(mac: &Hmac<Sha256>, kind: &[u8], text: &[u8]) -> [u8; LEN] {
    const { assert!(LEN <= 32, "the length of SHA-256") };
    let mut mac = mac.clone();
    mac.update(kind);
    mac.update(&[0]);
    mac.update(text);
    let mut digest = [0; LEN];
    digest.copy_from_slice(&mac.finalize().into_bytes()[..LEN]);
    digest
}

/// The payload of the frame at the start of `bytes`, if it is valid.
fn frame(bytes: &[u8]) -> Option<&[u8]> {
    let (len, rest) = take::<4>(bytes)?;
    let (crc, rest) = take::<4>(rest)?;
    let len = usize::try_from(u32::from_le_bytes(len)).ok()?;
    let payload = rest.get(..len).filter(|_| (1..=FRAME_LEN_MAX).contains(&len))?;
    (crc32c::crc32c(payload) == u32::from_le_bytes(crc)).then_some(payload)
}

fn take<const LEN: usize>(bytes: &[u8]) -> Option<([u8; LEN], &[u8])> {
    let (taken, rest) = bytes.split_first_chunk::<LEN>()?;
    Some((*taken, rest))
}

const _: () = assert!(KINDS.len() * 8 < 1_000, "a cursor fits into a frame with much else");

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
