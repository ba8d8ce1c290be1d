//! The effects of a crash: a part of the unsynced bytes and names survives, which a seed decides.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::random::Random;
use crate::wal::segment::SECTOR_LEN;

const SECTOR: usize = SECTOR_LEN as usize;
/// The unit of the page cache, and of many devices.
const PAGE: usize = 4096;

/// A file.
#[derive(Clone, Default)]
pub(super) struct Node {
    /// The bytes that a reader sees: the page cache.
    pub cache: Vec<u8>,
    /// The bytes on the device.
    pub device: Vec<u8>,
    /// Writes that were not synced yet, oldest first.
    pub pending: Vec<Write>,
}

#[derive(Clone)]
pub(super) struct Write {
    /// Number of the write, counted over all files of the disk.
    pub number: u64,
    pub offset: usize,
    pub bytes: Vec<u8>,
}

impl Write {
    fn end(&self) -> usize {
        self.offset + self.bytes.len()
    }

    fn touches(&self, from: usize, to: usize) -> bool {
        self.offset < to && from < self.end()
    }

    /// Its parts outside of `from..to`.
    fn outside(self, from: usize, to: usize) -> impl Iterator<Item = Self> {
        let (offset, end, number) = (self.offset, self.end(), self.number);
        let part = move |from: usize, to: usize| {
            let bytes = self.bytes.get(from - offset..to - offset).unwrap_or_default().to_vec();
            Self { number, offset: from, bytes }
        };
        let parts = [(offset, end.min(from)), (offset.max(to), end)];
        parts.into_iter().filter(|(from, to)| from < to).map(move |(from, to)| part(from, to))
    }

    /// Copies its part of `from..to` into `bytes`, as far as they reach.
    fn apply(&self, bytes: &mut [u8], from: usize, to: usize) {
        let (from, to) = (from.max(self.offset), to.min(self.end()).min(bytes.len()));
        if from < to {
            bytes[from..to].copy_from_slice(&self.bytes[from - self.offset..to - self.offset]);
        }
    }
}

/// A change of a name that is not durable yet.
#[derive(Clone)]
pub(super) enum Naming {
    Create { name: String, node: usize },
    Rename { from: String, to: String, node: usize },
    Remove { name: String },
}

impl Naming {
    pub fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Create { name, node } => {
                names.insert(name.clone(), *node);
            }
            Self::Rename { from, to, node } => {
                if names.get(from) == Some(node) {
                    names.remove(from);
                }
                names.insert(to.clone(), *node);
            }
            Self::Remove { name } => {
                names.remove(name);
            }
        }
    }
}

/// How unsynced bytes reach the device.
#[derive(Clone, Copy)]
pub(super) enum Way {
    Nothing,
    Everything,
    /// In the order written, up to this write, which is torn at a multiple of `unit`.
    InOrder {
        until: u64,
        unit: usize,
    },
    /// Each unit independently: as it was before or after any of the writes to it; if garbled,
    /// possibly neither.
    AnyOrder {
        unit: usize,
        garbled: bool,
    },
}

impl Way {
    pub fn of(random: &mut Random, writes: (u64, u64)) -> Self {
        let unit = if random.chance(70) { SECTOR } else { PAGE };
        match random.below(8) {
            0 => Self::Nothing,
            1 => Self::Everything,
            2 | 3 => Self::InOrder { until: random.between(writes.0, writes.1), unit },
            4 | 5 => Self::AnyOrder { unit, garbled: false },
            _ => Self::AnyOrder { unit: SECTOR, garbled: true },
        }
    }
}

impl Node {
    /// Writes to the cache.
    pub fn write(&mut self, number: u64, bytes: &[u8], offset: usize) {
        let end = offset + bytes.len();
        self.cache.resize(self.cache.len().max(end), 0);
        self.cache[offset..end].copy_from_slice(bytes);
        self.pending.push(Write { number, offset, bytes: bytes.to_vec() });
    }

    /// Starts of the units that were written since the last sync.
    fn dirty(&self, unit: usize) -> BTreeSet<usize> {
        let units = |write: &Write| (write.offset / unit * unit..write.end()).step_by(unit);
        self.pending.iter().flat_map(units).collect()
    }

    /// A successful sync: dirty pages go to the device, and no others.
    pub fn sync(&mut self) {
        self.device.resize(self.cache.len(), 0);
        for from in self.dirty(PAGE) {
            let to = (from + PAGE).min(self.cache.len());
            self.device[from..to].copy_from_slice(&self.cache[from..to]);
        }
        self.pending.clear();
    }

    /// A successful sync of the pages with `range`: what was written to others stays unsynced.
    pub fn sync_range(&mut self, range: Range<usize>) {
        let (from, to) = (range.start / PAGE * PAGE, range.end.next_multiple_of(PAGE));
        for page in self.dirty(PAGE).range(from..to) {
            let end = (page + PAGE).min(self.cache.len());
            self.device.resize(self.device.len().max(end), 0);
            self.device[*page..end].copy_from_slice(&self.cache[*page..end]);
        }
        self.pending = self.pending.drain(..).flat_map(|write| write.outside(from, to)).collect();
    }

    /// A failed sync: some pages reach the device, and all of them count as clean.
    pub fn fail_sync(&mut self, random: &mut Random) {
        let numbers = || self.pending.iter().map(|write| write.number);
        let writes = (numbers().min().unwrap_or(0), numbers().max().unwrap_or(0));
        self.device = self.survivor(Way::of(random, writes), random);
        self.pending.clear();
    }

    /// A failed sync: no page reaches the device, and all of them count as clean.
    pub fn lose_sync(&mut self) {
        self.pending.clear();
    }

    /// The clean pages of the cache are read again from the device.
    pub fn forget_cache(&mut self) {
        let dirty = self.dirty(PAGE);
        for from in (0..self.device.len().min(self.cache.len())).step_by(PAGE) {
            if !dirty.contains(&from) {
                let to = (from + PAGE).min(self.cache.len()).min(self.device.len());
                self.cache[from..to].copy_from_slice(&self.device[from..to]);
            }
        }
    }

    /// The bytes on the device after a power cut.
    pub fn survivor(&self, way: Way, random: &mut Random) -> Vec<u8> {
        let unit = match way {
            Way::Nothing => return self.device.clone(),
            Way::Everything => return self.cache.clone(),
            Way::InOrder { unit, .. } | Way::AnyOrder { unit, .. } => unit,
        };
        let mut left = self.device.clone();
        // The length may have reached the device without the bytes, or the other way round.
        if random.chance(70) {
            left.resize(self.cache.len(), 0);
        }
        let torn_at = random.number() as usize;
        for from in self.dirty(unit) {
            let to = from + unit;
            let writes = || self.pending.iter().filter(|write| write.touches(from, to));
            let all = writes().count();
            let kept = match way {
                Way::InOrder { until, .. } => {
                    let is_kept = |write: &&Write| {
                        let torn_at = write.offset + torn_at % write.bytes.len().max(1);
                        write.number < until || write.number == until && to <= torn_at
                    };
                    writes().take_while(is_kept).count()
                }
                _ => random.below(all as u64 + 1) as usize,
            };
            let end = to.min(left.len()).min(self.cache.len());
            if kept == all && from < end {
                left[from..end].copy_from_slice(&self.cache[from..end]);
            } else {
                writes().take(kept).for_each(|write| write.apply(&mut left, from, to));
            }
            if matches!(way, Way::AnyOrder { garbled: true, .. }) && random.chance(25) {
                garble(&mut left, from, to, random);
            }
        }
        left
    }
}

/// Neither the old nor the new bytes, nor by chance an older version: no device would write a lost
/// frame with a valid checksum by chance.
fn garble(bytes: &mut [u8], from: usize, to: usize, random: &mut Random) {
    let (from, to) = (from.min(bytes.len()), to.min(bytes.len()));
    let changes_each = random.chance(50);
    for byte in &mut bytes[from..to] {
        let noise = random.number() as u8;
        *byte = if changes_each { *byte ^ (noise | 1) } else { noise };
    }
}

/// The names after a power cut: a part of the changes survives, either the first few or any.
pub(super) fn surviving_names(
    durable: &BTreeMap<String, usize>,
    pending: &[Naming],
    random: &mut Random,
) -> BTreeMap<String, usize> {
    let mut names = durable.clone();
    if random.chance(50) {
        let kept = random.below(pending.len() as u64 + 1) as usize;
        pending[..kept].iter().for_each(|naming| naming.apply(&mut names));
    } else {
        for naming in pending {
            if random.chance(50) {
                naming.apply(&mut names);
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_of_a_range_leaves_the_pages_beside_it() {
        let mut node = Node::default();
        node.write(1, &[1; 3 * PAGE], 0);
        node.write(2, &[2; 10], PAGE + 100);
        node.sync_range(PAGE + 100..PAGE + 110);
        let left: Vec<_> = node.pending.iter().map(|one| (one.offset, one.end())).collect();
        assert_eq!(left, [(0, PAGE), (2 * PAGE, 3 * PAGE)]);
        assert_eq!((node.device.len(), node.device[0]), (2 * PAGE, 0));
        assert_eq!(node.device[PAGE..], node.cache[PAGE..2 * PAGE]);
    }
}
