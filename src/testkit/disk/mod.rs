//! A disk in memory for tests: it loses unsynced data, runs full, fails, and can be switched off at
//! any call.
//!
//! For each file and for the directory it keeps durable data apart from unsynced data, and it
//! promises exactly what [`crate::wal::storage`] documents. A seed decides the effects of a crash
//! (see `crash`) and of a failed call (see `fault`): the same run on a disk with the same seed is
//! reproducible.

mod crash;
mod fault;
mod random;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::wal::segment::SECTOR_LEN;
use crate::wal::storage::{File, Listed, Storage};

pub use fault::{Call, Fault, Planned};
pub use random::Random;

use crash::{Naming, Node, Way, surviving_names};

/// The part of unsynced bytes and names that survives a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Nothing.
    Synced,
    /// Everything: the process died, the machine did not.
    Everything,
    /// A part, decided by the seed: torn, in any order, garbled, files grown without their bytes,
    /// some of the names.
    Some(u64),
}

#[derive(Default)]
struct Inner {
    nodes: Vec<Node>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    pending_names: Vec<Naming>,
    random: Random,
    /// Calls so far that change something or sync.
    calls: u64,
    /// All calls so far.
    asked: Vec<Call>,
    /// Writes so far.
    writes: u64,
    off_at_call: Option<u64>,
    is_off: bool,
    planned: Option<Planned>,
    struck: BTreeMap<Fault, u64>,
    space_left: Option<u64>,
    failing_syncs: bool,
    /// Whether even names cannot be changed, because some file systems need space for that.
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

    /// An empty disk; this seed decides the effects of failed calls.
    pub fn seeded(seed: u64) -> Self {
        let disk = Self::default();
        disk.lock().random = Random::new(seed);
        disk
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The storage interface of this disk.
    pub fn storage(&self) -> Arc<dyn Storage> {
        Arc::new(self.clone())
    }

    /// Number of calls so far that a crash could interrupt.
    pub fn calls(&self) -> u64 {
        self.lock().calls
    }

    /// Number of all calls so far, including reads.
    pub fn asked(&self) -> u64 {
        self.lock().asked.len() as u64
    }

    /// These calls, in order.
    pub fn history(&self) -> Vec<Call> {
        self.lock().asked.clone()
    }

    /// Switches the disk off at this call: a write is cut in half, and every later call fails.
    pub fn switch_off_at(&self, call: u64) {
        self.lock().off_at_call = Some(call);
    }

    /// Whether it was switched off.
    pub fn is_off(&self) -> bool {
        self.lock().is_off
    }

    /// Plans a fault, replacing an earlier plan.
    pub fn plan(&self, planned: Planned) {
        self.lock().planned = Some(planned);
    }

    /// Ends all faults, except those of a switched-off disk.
    pub fn mend(&self) {
        self.lock().planned = None;
    }

    /// How often each fault occurred, including a full disk.
    pub fn struck(&self) -> BTreeMap<Fault, u64> {
        self.lock().struck.clone()
    }

    /// Sets how many bytes can still be written; `None`: no limit. All bytes count, as on a disk
    /// that never overwrites in place.
    pub fn set_space_left(&self, bytes: Option<u64>) {
        self.lock().space_left = bytes;
    }

    /// Sets whether names cannot be changed because the disk is full.
    pub fn set_full_names(&self, full: bool) {
        self.lock().full_names = full;
    }

    /// Sets whether every sync of a file fails without any effect.
    pub fn set_failing_syncs(&self, failing: bool) {
        self.lock().failing_syncs = failing;
    }

    /// Sets whether every write fails.
    pub fn set_failing_writes(&self, failing: bool) {
        self.lock().failing_writes = failing;
    }

    /// A new disk with the data that survives a crash.
    pub fn crash(&self, keep: Keep) -> Self {
        let inner = self.lock();
        let seed = if let Keep::Some(seed) = keep { seed } else { 0 };
        let mut random = Random::new(seed);
        let numbers = || inner.nodes.iter().flat_map(|node| &node.pending).map(|w| w.number);
        let writes = (numbers().min().unwrap_or(0), numbers().max().unwrap_or(0));
        let (way, names) = match keep {
            Keep::Synced => (Way::Nothing, inner.durable_names.clone()),
            Keep::Everything => (Way::Everything, inner.names.clone()),
            Keep::Some(_) => {
                let way = Way::of(&mut random, writes);
                (way, surviving_names(&inner.durable_names, &inner.pending_names, &mut random))
            }
        };
        let mut left = Inner { random, ..Inner::default() };
        for (name, node) in names {
            let bytes = inner.nodes[node].survivor(way, &mut left.random);
            left.names.insert(name, left.nodes.len());
            left.nodes.push(Node { cache: bytes.clone(), device: bytes, pending: Vec::new() });
        }
        left.durable_names = left.names.clone();
        Self(Arc::new(Mutex::new(left)))
    }

    /// Changes the bytes of a file behind the log's back, durably.
    pub fn edit(&self, name: &str, edit: impl FnOnce(&mut Vec<u8>)) {
        let mut inner = self.lock();
        let node = inner.names[name];
        let node = &mut inner.nodes[node];
        edit(&mut node.cache);
        node.device = node.cache.clone();
        node.pending.clear();
    }

    /// Current content of a file.
    pub fn bytes(&self, name: &str) -> Vec<u8> {
        let inner = self.lock();
        inner.nodes[inner.names[name]].cache.clone()
    }

    /// The names of all files.
    pub fn names(&self) -> Vec<String> {
        self.lock().names.keys().cloned().collect()
    }
}

impl Inner {
    /// Counts a call, and returns the fault that hits it, if any.
    fn call(&mut self, call: Call) -> Option<Fault> {
        self.asked.push(call);
        let number = self.asked.len() as u64;
        self.calls += u64::from(call.is_change());
        if self.is_off {
            return Some(Fault::PowerCut);
        }
        let is_cut = call.is_change() && self.off_at_call.is_some_and(|at| self.calls >= at);
        let planned = self.planned.filter(|planned| planned.strikes(call, number));
        let fault = match (is_cut, planned) {
            (true, _) => Some(Fault::PowerCut),
            (false, planned) => planned.map(|planned| planned.fault),
        }?;
        self.is_off = fault == Fault::PowerCut;
        *self.struck.entry(fault).or_default() += 1;
        Some(fault)
    }

    /// Counts a call that has no effect if a fault hits it.
    fn whole_call(&mut self, call: Call) -> io::Result<()> {
        self.call(call).map_or(Ok(()), |fault| Err(fault.error()))
    }

    /// Counts a full disk, and returns the error.
    fn full(&mut self) -> io::Error {
        *self.struck.entry(Fault::NoSpace).or_default() += 1;
        Fault::NoSpace.error()
    }

    fn check_names(&mut self) -> io::Result<()> {
        match self.full_names {
            true => Err(self.full()),
            false => Ok(()),
        }
    }

    fn node(&self, name: &str) -> io::Result<usize> {
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        self.names.get(name).copied().ok_or_else(missing)
    }

    fn change_names(&mut self, naming: Naming) {
        naming.apply(&mut self.names);
        self.pending_names.push(naming);
    }

    fn write(&mut self, node: usize, bytes: &[u8], offset: usize) {
        if !bytes.is_empty() {
            self.writes += 1;
            self.nodes[node].write(self.writes, bytes, offset);
        }
    }

    /// The length of an incomplete write: up to any sector.
    fn part(&mut self, offset: usize, len: usize) -> usize {
        let end = offset + self.random.below(len as u64) as usize;
        (end / SECTOR_LEN as usize * SECTOR_LEN as usize).max(offset) - offset
    }
}

impl Storage for Memory {
    fn create(&self, name: &str, reserve_len: u64) -> io::Result<Arc<dyn File>> {
        let mut inner = self.lock();
        inner.whole_call(Call::Create)?;
        if inner.space_left.is_some_and(|left| left < reserve_len) {
            return Err(inner.full());
        }
        inner.nodes.push(Node::default());
        let node = inner.nodes.len() - 1;
        inner.change_names(Naming::Create { name: name.to_owned(), node });
        Ok(Arc::new(MemoryFile { disk: self.clone(), node }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let mut inner = self.lock();
        inner.whole_call(Call::Open)?;
        let node = inner.node(name)?;
        Ok(Arc::new(MemoryFile { disk: self.clone(), node }))
    }

    fn list(&self) -> io::Result<Vec<Listed>> {
        let mut inner = self.lock();
        inner.whole_call(Call::List)?;
        let listed = |(name, node): (&String, &usize)| {
            let len = inner.nodes[*node].cache.len() as u64;
            Listed { name: name.clone(), len, is_regular: true }
        };
        Ok(inner.names.iter().map(listed).collect())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut inner = self.lock();
        inner.whole_call(Call::Rename)?;
        inner.check_names()?;
        let node = inner.node(from)?;
        inner.change_names(Naming::Rename { from: from.to_owned(), to: to.to_owned(), node });
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut inner = self.lock();
        inner.whole_call(Call::Remove)?;
        inner.check_names()?;
        inner.node(name)?;
        inner.change_names(Naming::Remove { name: name.to_owned() });
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut inner = self.lock();
        if let Some(fault) = inner.call(Call::SyncDir) {
            if fault != Fault::PowerCut {
                // Some of the names are durable; the next sync may make all of them durable.
                let Inner { durable_names, pending_names, random, .. } = &mut *inner;
                *durable_names = surviving_names(durable_names, pending_names, random);
            }
            return Err(fault.error());
        }
        let Inner { durable_names, pending_names, .. } = &mut *inner;
        pending_names.drain(..).for_each(|naming| naming.apply(durable_names));
        Ok(())
    }
}

struct MemoryFile {
    disk: Memory,
    node: usize,
}

impl File for MemoryFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let mut inner = self.disk.lock();
        inner.whole_call(Call::Read)?;
        let from = offset as usize;
        let bytes = inner.nodes[self.node].cache.get(from..from + buf.len());
        buf.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut inner = self.disk.lock();
        let offset = offset as usize;
        if let Some(fault) = inner.call(Call::Write) {
            let len = match fault {
                Fault::NoSpace => 0,
                _ => inner.part(offset, bytes.len()),
            };
            inner.write(self.node, &bytes[..len], offset);
            return Err(fault.error());
        }
        if inner.failing_writes {
            return Err(Fault::Io.error());
        }
        let Some(left) = inner.space_left else {
            inner.write(self.node, bytes, offset);
            return Ok(());
        };
        let mut len = bytes.len();
        if left < len as u64 {
            let end = (offset + left as usize) / SECTOR_LEN as usize * SECTOR_LEN as usize;
            len = end.max(offset) - offset;
        }
        inner.write(self.node, &bytes[..len], offset);
        if len < bytes.len() {
            // The same position is written again later: a shorter write may fit.
            return Err(inner.full());
        }
        inner.space_left = Some(left - len as u64);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut inner = self.disk.lock();
        let struck = inner.call(Call::Sync);
        let loses_all = struck.is_none() && inner.failing_syncs;
        let fault = struck.or(loses_all.then_some(Fault::FailedSync));
        let Inner { nodes, random, .. } = &mut *inner;
        let node = &mut nodes[self.node];
        match fault {
            None => node.sync(),
            // A power cut interrupts the sync: the crash decides about pending writes.
            Some(Fault::PowerCut) => {}
            Some(_) if loses_all => node.lose_sync(),
            Some(_) => node.fail_sync(random),
        }
        fault.map_or(Ok(()), |fault| Err(fault.error()))
    }

    fn forget_cache(&self) -> io::Result<()> {
        let mut inner = self.disk.lock();
        inner.whole_call(Call::Forget)?;
        inner.nodes[self.node].forget_cache();
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut inner = self.disk.lock();
        inner.whole_call(Call::SetLen)?;
        inner.nodes[self.node].cache.resize(len as usize, 0);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.lock().nodes[self.node].cache.len() as u64)
    }
}
