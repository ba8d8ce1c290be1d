//! What the log does with a disk in memory: the calls of its names and of its files.

use std::io;
use std::sync::Arc;

use super::crash::{Naming, Node, surviving_names};
use super::fault::{Call, Fault};
use super::{Inner, Memory};
use crate::wal::segment::SECTOR_LEN;
use crate::wal::storage::{File, Listed, NotDurable, Storage};

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

/// A file of a disk; it stays open if its name is removed.
struct MemoryFile {
    disk: Memory,
    node: usize,
}

impl MemoryFile {
    fn sync_as(&self, sync: impl FnOnce(&mut Node)) -> Result<(), Fault> {
        let mut inner = self.disk.lock();
        if let Some(happens) = &inner.at_sync {
            happens();
        }
        let struck = inner.call(Call::Sync);
        let loses_all = struck.is_none() && inner.failing_syncs;
        let fault = struck.or(loses_all.then_some(Fault::FailedSync));
        let Inner { nodes, random, .. } = &mut *inner;
        let node = &mut nodes[self.node];
        match fault {
            None => sync(node),
            // A power cut interrupts the sync: the crash decides about pending writes.
            Some(Fault::PowerCut) => {}
            Some(_) if loses_all => node.lose_sync(),
            Some(_) => node.fail_sync(random),
        }
        fault.map_or(Ok(()), Err)
    }
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
        inner.note_nonce(self.node, bytes, offset);
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
        self.sync_as(Node::sync).map_err(Fault::error)
    }

    fn write_durably_at(&self, bytes: &[u8], offset: u64) -> Result<(), NotDurable> {
        self.write_at(bytes, offset).map_err(NotDurable::Written)?;
        let from = offset as usize;
        let synced = self.sync_as(|node| node.sync_range(from..from + bytes.len()));
        // A real disk does both in one call. If that finds no space, the log takes the frame back.
        synced.map_err(|fault| match fault {
            Fault::NoSpace => NotDurable::Written(fault.error()),
            _ => NotDurable::Synced(fault.error()),
        })
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
