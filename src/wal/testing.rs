//! A disk for tests, in memory: it forgets what was not synced, runs full,
//! refuses, and can be switched off at any call.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::segment::SECTOR_LEN;
use super::storage::{File, Storage};

/// What of the bytes and names that were not synced survives a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Nothing.
    Synced,
    /// All of it: the process died, the machine did not.
    Everything,
    /// Some sectors, some lengths, and maybe the names, as the seed decides;
    /// other sectors are garbled.
    Some(u64),
}

#[derive(Clone, Default)]
struct Node {
    now: Vec<u8>,
    synced: Vec<u8>,
}

#[derive(Default)]
struct Inner {
    nodes: Vec<Node>,
    names: BTreeMap<String, usize>,
    synced_names: BTreeMap<String, usize>,
    /// Calls so far that change something or sync.
    calls: u64,
    off_at_call: Option<u64>,
    space_left: Option<u64>,
    failing_syncs: bool,
    /// Not even a name can be changed: some file systems need room for that.
    full_names: bool,
    failing_writes: bool,
}

/// A disk in memory. Clones are the same disk.
#[derive(Clone, Default)]
pub struct Memory(Arc<Mutex<Inner>>);

impl Memory {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The door to it.
    pub fn storage(&self) -> Arc<dyn Storage> {
        Arc::new(self.clone())
    }

    /// The calls so far that a crash could come in between of.
    pub fn calls(&self) -> u64 {
        self.lock().calls
    }

    /// From this call on everything fails; a write is cut in half by it.
    pub fn switch_off_at(&self, call: u64) {
        self.lock().off_at_call = Some(call);
    }

    /// So many bytes can still be written; `None` for no limit.
    pub fn set_space_left(&self, bytes: Option<u64>) {
        self.lock().space_left = bytes;
    }

    /// Whether names cannot be changed for want of space.
    pub fn set_full_names(&self, full: bool) {
        self.lock().full_names = full;
    }

    /// Whether every sync of a file fails.
    pub fn set_failing_syncs(&self, failing: bool) {
        self.lock().failing_syncs = failing;
    }

    /// Whether every write fails.
    pub fn set_failing_writes(&self, failing: bool) {
        self.lock().failing_writes = failing;
    }

    /// A new disk with what is left after a crash.
    pub fn crash(&self, keep: Keep) -> Memory {
        let inner = self.lock();
        let names = match keep {
            Keep::Synced => &inner.synced_names,
            Keep::Everything => &inner.names,
            Keep::Some(seed) if seed % 2 == 0 => &inner.synced_names,
            Keep::Some(_) => &inner.names,
        };
        let nodes: Vec<Node> = inner
            .nodes
            .iter()
            .enumerate()
            .map(|(at, node)| {
                let left = survivor(node, keep, at);
                Node { synced: left.clone(), now: left }
            })
            .collect();
        Memory(Arc::new(Mutex::new(Inner {
            nodes,
            names: names.clone(),
            synced_names: names.clone(),
            ..Inner::default()
        })))
    }

    /// Changes the bytes of a file behind the log's back, durably.
    pub fn edit(&self, name: &str, edit: impl FnOnce(&mut Vec<u8>)) {
        let mut inner = self.lock();
        let node = inner.names[name];
        let node = &mut inner.nodes[node];
        edit(&mut node.now);
        node.synced = node.now.clone();
    }

    /// What a file holds now.
    pub fn bytes(&self, name: &str) -> Vec<u8> {
        let inner = self.lock();
        inner.nodes[inner.names[name]].now.clone()
    }

    /// The names of all files.
    pub fn names(&self) -> Vec<String> {
        self.lock().names.keys().cloned().collect()
    }
}

fn survivor(node: &Node, keep: Keep, at: usize) -> Vec<u8> {
    let seed = match keep {
        Keep::Synced => return node.synced.clone(),
        Keep::Everything => return node.now.clone(),
        Keep::Some(seed) => seed,
    };
    let chance = |what: usize| {
        let mut hasher = DefaultHasher::new();
        (seed, at, what).hash(&mut hasher);
        hasher.finish() % 5
    };
    let mut left = node.synced.clone();
    if chance(usize::MAX) < 3 {
        left.resize(node.now.len(), 0);
    }
    let sector_len = SECTOR_LEN as usize;
    let sectors = left.chunks_mut(sector_len).zip(node.now.chunks(sector_len));
    for (sector, (old, new)) in sectors.enumerate() {
        let len = old.len().min(new.len());
        match chance(sector) {
            _ if old == new => {}
            0 | 1 => old[..len].copy_from_slice(&new[..len]),
            // Neither the old nor the new.
            2 => old.iter_mut().for_each(|byte| *byte = !*byte),
            _ => {}
        }
    }
    left
}

impl Inner {
    /// Counts a call. Whether it is the one at which the power goes.
    fn call(&mut self) -> io::Result<bool> {
        self.calls += 1;
        match self.off_at_call {
            Some(at) if self.calls > at => Err(io::Error::other("switched off")),
            Some(at) => Ok(self.calls == at),
            None => Ok(false),
        }
    }

    /// Counts a call that happens not at all when the power goes.
    fn whole_call(&mut self) -> io::Result<()> {
        match self.call()? {
            true => Err(io::Error::other("switched off")),
            false => Ok(()),
        }
    }

    fn check_names(&self) -> io::Result<()> {
        match self.full_names {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    }

    fn node(&self, name: &str) -> io::Result<usize> {
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        self.names.get(name).copied().ok_or_else(missing)
    }
}

impl Storage for Memory {
    fn create(&self, name: &str, reserve_len: u64) -> io::Result<Arc<dyn File>> {
        let mut inner = self.lock();
        inner.whole_call()?;
        if inner.space_left.is_some_and(|left| left < reserve_len) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        inner.nodes.push(Node::default());
        let node = inner.nodes.len() - 1;
        inner.names.insert(name.to_owned(), node);
        Ok(Arc::new(MemoryFile { disk: self.clone(), node }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let node = self.lock().node(name)?;
        Ok(Arc::new(MemoryFile { disk: self.clone(), node }))
    }

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let inner = self.lock();
        let len = |node: usize| inner.nodes[node].now.len() as u64;
        Ok(inner.names.iter().map(|(name, node)| (name.clone(), len(*node))).collect())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut inner = self.lock();
        inner.whole_call()?;
        inner.check_names()?;
        let node = inner.node(from)?;
        inner.names.remove(from);
        inner.names.insert(to.to_owned(), node);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut inner = self.lock();
        inner.whole_call()?;
        inner.check_names()?;
        inner.node(name)?;
        inner.names.remove(name);
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut inner = self.lock();
        inner.whole_call()?;
        inner.synced_names = inner.names.clone();
        Ok(())
    }
}

struct MemoryFile {
    disk: Memory,
    node: usize,
}

impl File for MemoryFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let inner = self.disk.lock();
        let from = offset as usize;
        let bytes = inner.nodes[self.node].now.get(from..from + buf.len());
        buf.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut inner = self.disk.lock();
        let cut = inner.call()?;
        if inner.failing_writes {
            return Err(io::Error::other("input/output error"));
        }
        let mut len = bytes.len();
        if cut {
            len /= 2;
        }
        let mut full = false;
        if let Some(left) = &mut inner.space_left {
            full = *left < len as u64;
            len = len.min(*left as usize);
            *left -= len as u64;
        }
        let now = &mut inner.nodes[self.node].now;
        let end = offset as usize + len;
        now.resize(now.len().max(end), 0);
        now[offset as usize..end].copy_from_slice(&bytes[..len]);
        match (cut, full) {
            (true, _) => Err(io::Error::other("switched off")),
            (_, true) => Err(io::ErrorKind::StorageFull.into()),
            (false, false) => Ok(()),
        }
    }

    fn sync(&self) -> io::Result<()> {
        let mut inner = self.disk.lock();
        inner.whole_call()?;
        if inner.failing_syncs {
            return Err(io::Error::other("sync failed"));
        }
        let node = &mut inner.nodes[self.node];
        node.synced = node.now.clone();
        Ok(())
    }

    fn forget_cache(&self) -> io::Result<()> {
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut inner = self.disk.lock();
        inner.whole_call()?;
        inner.nodes[self.node].now.resize(len as usize, 0);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.lock().nodes[self.node].now.len() as u64)
    }
}
