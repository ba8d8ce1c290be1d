//! A disk in memory for tests: it loses unsynced data, runs full, fails, and can be switched off at
//! any call.
//!
//! For each file and for the directory it keeps durable data apart from unsynced data, and it
//! promises exactly what [`crate::wal::storage`] documents. A seed decides the effects of a crash
//! (see `crash`) and of a failed call (see `fault`): the same run on a disk with the same seed is
//! reproducible.

mod crash;
mod fault;
mod nonces;
mod random;
mod storage;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::wal::segment::SECTOR_LEN;
use crate::wal::storage::Storage;

pub use fault::{Call, Fault, Planned};
pub use random::Random;

use crash::{Naming, Node, Way, surviving_names};
use nonces::Nonces;

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
    planned: Vec<Planned>,
    struck: BTreeMap<Fault, u64>,
    space_left: Option<u64>,
    failing_syncs: bool,
    /// Whether even names cannot be changed, because some file systems need space for that.
    full_names: bool,
    failing_writes: bool,
    at_sync: Option<Box<dyn Fn() + Send>>,
    nonces: Arc<Mutex<Nonces>>,
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

    /// Frames of a log that were written to this disk and its copies, or tried to be; and how many
    /// of them had the key and the nonce of another one, with other bytes. Must be none.
    pub fn nonces(&self) -> (u64, u64) {
        let nonces = Arc::clone(&self.lock().nonces);
        nonces.lock().unwrap_or_else(PoisonError::into_inner).counts()
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
        self.lock().planned = vec![planned];
    }

    /// Another one besides those that are planned.
    pub fn plan_also(&self, planned: Planned) {
        self.lock().planned.push(planned);
    }

    /// Ends all faults, except those of a switched-off disk.
    pub fn mend(&self) {
        self.lock().planned.clear();
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

    /// Sets what happens at every sync of a file.
    pub fn at_each_sync(&self, happens: impl Fn() + Send + 'static) {
        self.lock().at_sync = Some(Box::new(happens));
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
        let nonces = Arc::clone(&inner.nonces);
        let mut left = Inner { random, nonces, ..Inner::default() };
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
        let planned = self.planned.iter().find(|planned| planned.strikes(call, number));
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

    fn note_nonce(&mut self, node: usize, bytes: &[u8], offset: usize) {
        let mut nonces = self.nonces.lock().unwrap_or_else(PoisonError::into_inner);
        nonces.note(&self.nodes[node].cache, bytes, offset);
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
