//! A disk that loses unsynced data: one folder of files in memory, with durable data kept apart
//! from unsynced data.
//!
//! A sync of a file makes its bytes and length durable; a sync of the folder makes its names
//! durable; nothing else does. [`ForgetfulDisk::cut`] freezes the disk: from then on every
//! operation fails, and the surviving image contains the durable data and a part of the unsynced
//! data, chosen by a seed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::support::Rng;

/// A file, by a number that names it for as long as it lives.
pub type Node = u64;

/// One unsynced change to the bytes of a file.
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

#[derive(Default)]
struct Bytes {
    now: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
}

/// One unsynced change to the names in the folder.
enum Naming {
    Create(String, Node),
    Rename(String, String),
    Remove(String),
}

type Names = BTreeMap<String, Node>;

/// Performs one operation; a frozen disk fails it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    Frozen,
    NotFound,
}

#[derive(Default)]
struct State {
    files: BTreeMap<Node, Bytes>,
    names: Names,
    durable_names: Names,
    unsynced_names: Vec<Naming>,
    last_node: Node,
    is_frozen: bool,
    /// Number of further changes and syncs before it freezes by itself.
    left: Option<usize>,
    file_syncs: u64,
    folder_syncs: u64,
}

/// A disk that is shared between its mount and the test that cuts its power.
#[derive(Clone, Default)]
pub struct ForgetfulDisk(Arc<Mutex<State>>);

/// The files that survived a cut, by name.
pub type Image = BTreeMap<String, Vec<u8>>;

/// The effects of a cut.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cut {
    /// Unsynced writes and changes of names, and how many of those are lost or torn.
    pub unsynced: u64,
    pub forgotten: u64,
    pub file_syncs: u64,
    pub folder_syncs: u64,
}

/// The part of unsynced data that survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mercy {
    Nothing,
    Everything,
    /// Changes in their order, up to some point.
    Prefix,
    /// Each piece of this many bytes independently, in no order.
    Pieces(usize),
}

impl Mercy {
    fn pick(rng: &mut Rng) -> Self {
        match rng.below(6) {
            0 => Self::Nothing,
            1 => Self::Everything,
            2 => Self::Prefix,
            3 => Self::Pieces(4096),
            _ => Self::Pieces(512),
        }
    }
}

impl ForgetfulDisk {
    /// A disk with the surviving data, all of it durable.
    pub fn holding(image: Image) -> Self {
        let mut state = State::default();
        for (name, bytes) in image {
            state.last_node += 1;
            state.names.insert(name, state.last_node);
            let file = Bytes { now: bytes.clone(), durable: bytes, unsynced: Vec::new() };
            state.files.insert(state.last_node, file);
        }
        state.durable_names = state.names.clone();
        Self(Arc::new(Mutex::new(state)))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn running(&self) -> Result<MutexGuard<'_, State>, Refusal> {
        let state = self.lock();
        if state.is_frozen { Err(Refusal::Frozen) } else { Ok(state) }
    }

    pub fn look_up(&self, name: &str) -> Result<Node, Refusal> {
        self.running()?.names.get(name).copied().ok_or(Refusal::NotFound)
    }

    /// All names with their nodes.
    pub fn names(&self) -> Result<Vec<(String, Node)>, Refusal> {
        Ok(self.running()?.names.iter().map(|(name, node)| (name.clone(), *node)).collect())
    }

    pub fn len(&self, node: Node) -> Result<u64, Refusal> {
        let state = self.running()?;
        state.files.get(&node).map(|file| file.now.len() as u64).ok_or(Refusal::NotFound)
    }

    pub fn create(&self, name: &str) -> Result<Node, Refusal> {
        let mut state = self.running()?;
        if let Some(node) = state.names.get(name) {
            return Ok(*node);
        }
        state.last_node += 1;
        let node = state.last_node;
        state.files.insert(node, Bytes::default());
        state.name(Naming::Create(name.to_owned(), node));
        Ok(node)
    }

    pub fn rename(&self, from: &str, to: &str) -> Result<(), Refusal> {
        let mut state = self.running()?;
        state.names.get(from).ok_or(Refusal::NotFound)?;
        state.name(Naming::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    pub fn remove(&self, name: &str) -> Result<(), Refusal> {
        let mut state = self.running()?;
        state.names.get(name).ok_or(Refusal::NotFound)?;
        state.name(Naming::Remove(name.to_owned()));
        Ok(())
    }

    pub fn read(&self, node: Node, offset: u64, len: usize) -> Result<Vec<u8>, Refusal> {
        let state = self.running()?;
        let now = &state.files.get(&node).ok_or(Refusal::NotFound)?.now;
        let from = usize::try_from(offset).expect("a small file").min(now.len());
        Ok(now[from..(from + len).min(now.len())].to_vec())
    }

    pub fn write(&self, node: Node, offset: u64, bytes: &[u8]) -> Result<(), Refusal> {
        let offset = usize::try_from(offset).expect("a small file");
        self.change(node, Change::Write { offset, bytes: bytes.to_vec() })
    }

    pub fn set_len(&self, node: Node, len: u64) -> Result<(), Refusal> {
        self.change(node, Change::Length(usize::try_from(len).expect("a small file")))
    }

    fn change(&self, node: Node, change: Change) -> Result<(), Refusal> {
        let mut state = self.running()?;
        let file = state.files.get_mut(&node).ok_or(Refusal::NotFound)?;
        change.apply(&mut file.now);
        file.unsynced.push(change);
        state.count();
        Ok(())
    }

    pub fn sync(&self, node: Node) -> Result<(), Refusal> {
        let mut state = self.running()?;
        let file = state.files.get_mut(&node).ok_or(Refusal::NotFound)?;
        for change in file.unsynced.drain(..) {
            change.apply(&mut file.durable);
        }
        assert!(file.now == file.durable, "a sync makes durable what is there");
        state.file_syncs += 1;
        state.count();
        Ok(())
    }

    pub fn sync_folder(&self) -> Result<(), Refusal> {
        let mut state = self.running()?;
        state.durable_names = state.names.clone();
        state.unsynced_names.clear();
        state.folder_syncs += 1;
        state.count();
        Ok(())
    }

    /// Plans a power cut after this number of changes and syncs.
    pub fn freeze_after(&self, operations: usize) {
        self.lock().left = Some(operations);
    }

    pub fn is_frozen(&self) -> bool {
        self.lock().is_frozen
    }

    /// Cuts the power: the disk stops working, and its surviving content is returned.
    pub fn cut(&self, rng: &mut Rng) -> (Image, Cut) {
        let mercy = Mercy::pick(rng);
        self.cut_with(mercy, rng)
    }

    /// Cuts the power; no unsynced data survives.
    pub fn cut_without_mercy(&self) -> (Image, Cut) {
        self.cut_with(Mercy::Nothing, &mut Rng::new(0))
    }

    fn cut_with(&self, mercy: Mercy, rng: &mut Rng) -> (Image, Cut) {
        let mut state = self.lock();
        state.is_frozen = true;
        let mut cut = Cut {
            file_syncs: state.file_syncs,
            folder_syncs: state.folder_syncs,
            ..Cut::default()
        };
        let mut names = state.durable_names.clone();
        cut.unsynced += state.unsynced_names.len() as u64;
        for naming in &state.unsynced_names {
            let is_kept =
                mercy == Mercy::Everything || mercy != Mercy::Nothing && rng.below(2) == 0;
            if is_kept {
                naming.apply(&mut names);
            } else {
                cut.forgotten += 1;
            }
        }
        let mut image = Image::new();
        for (name, node) in names {
            let file = &state.files[&node];
            cut.unsynced += file.unsynced.len() as u64;
            let (bytes, forgotten) = file.survive(mercy, rng);
            cut.forgotten += forgotten;
            image.insert(name, bytes);
        }
        (image, cut)
    }
}

impl State {
    /// One more operation was done.
    fn count(&mut self) {
        match &mut self.left {
            Some(0) => self.is_frozen = true,
            Some(left) => *left -= 1,
            None => {}
        }
    }

    fn name(&mut self, naming: Naming) {
        naming.apply(&mut self.names);
        self.unsynced_names.push(naming);
        self.count();
    }
}

impl Naming {
    /// A change of a missing name, because an earlier change was lost, has no effect.
    fn apply(&self, names: &mut Names) {
        match self {
            Self::Create(name, node) => {
                names.insert(name.clone(), *node);
            }
            Self::Rename(from, to) => {
                if let Some(node) = names.remove(from) {
                    names.insert(to.clone(), node);
                }
            }
            Self::Remove(name) => {
                names.remove(name);
            }
        }
    }
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes: written } => put(bytes, *offset, written),
            Self::Length(len) => bytes.resize(*len, 0),
        }
    }
}

fn put(bytes: &mut Vec<u8>, offset: usize, written: &[u8]) {
    let end = offset + written.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(written);
}

impl Bytes {
    /// The bytes after a cut, and the number of unsynced changes that are incomplete in them.
    fn survive(&self, mercy: Mercy, rng: &mut Rng) -> (Vec<u8>, u64) {
        let mut bytes = self.durable.clone();
        let mut forgotten = 0;
        let kept = match mercy {
            Mercy::Nothing => 0,
            Mercy::Everything => self.unsynced.len(),
            Mercy::Prefix => rng.below(self.unsynced.len() + 1),
            Mercy::Pieces(len) => {
                for change in &self.unsynced {
                    forgotten += u64::from(!change.apply_pieces(&mut bytes, len, rng));
                }
                return (bytes, forgotten);
            }
        };
        self.unsynced[..kept].iter().for_each(|change| change.apply(&mut bytes));
        (bytes, (self.unsynced.len() - kept) as u64)
    }
}

impl Change {
    /// Applies some pieces, split at multiples of `piece_len` in the file: completely, not at all,
    /// or garbled. Returns true if the whole change was applied.
    fn apply_pieces(&self, bytes: &mut Vec<u8>, piece_len: usize, rng: &mut Rng) -> bool {
        let Self::Write { offset, bytes: written } = self else {
            let is_kept = rng.below(2) == 0;
            if is_kept {
                self.apply(bytes);
            }
            return is_kept;
        };
        let (mut from, mut is_whole) = (0, true);
        // Sometimes most of it survives, or little.
        let chance = [2, 6, 9][rng.below(3)];
        while from < written.len() {
            let in_piece = piece_len - (offset + from) % piece_len;
            let until = (from + in_piece).min(written.len());
            match rng.below(10) {
                0 => {
                    let garbage: Vec<u8> = (from..until).map(|_| rng.below(256) as u8).collect();
                    put(bytes, offset + from, &garbage);
                    is_whole = false;
                }
                dice if dice < chance => put(bytes, offset + from, &written[from..until]),
                _ => is_whole = false,
            }
            from = until;
        }
        is_whole
    }
}

#[test]
fn what_was_synced_survives_and_nothing_else_without_mercy() {
    let disk = ForgetfulDisk::default();
    let node = disk.create("a").expect("runs");
    disk.write(node, 0, b"kept").expect("runs");
    disk.sync(node).expect("runs");
    disk.sync_folder().expect("runs");
    disk.write(node, 2, b"lost").expect("runs");
    disk.rename("a", "b").expect("runs");
    disk.create("c").expect("runs");
    assert_eq!(disk.read(node, 0, 99).expect("runs"), b"kelost");
    let (image, cut) = disk.cut_without_mercy();
    assert_eq!(image, Image::from([("a".to_owned(), b"kept".to_vec())]));
    assert_eq!((cut.unsynced, cut.forgotten), (3, 3));
    assert_eq!(disk.write(node, 0, b"x"), Err(Refusal::Frozen));
}

#[test]
fn a_cut_keeps_synced_bytes_whatever_the_seed() {
    let mut forgot = 0;
    for seed in 0..200 {
        let disk = ForgetfulDisk::default();
        let node = disk.create("a").expect("runs");
        disk.write(node, 0, &[7; 5000]).expect("runs");
        disk.sync(node).expect("runs");
        disk.sync_folder().expect("runs");
        disk.write(node, 6000, &[8; 9000]).expect("runs");
        let (image, cut) = disk.cut(&mut Rng::new(seed));
        assert_eq!(image["a"][..5000], [7; 5000]);
        forgot += cut.forgotten;
    }
    assert!((20..200).contains(&forgot), "{forgot} of 200 forgot something");
}
