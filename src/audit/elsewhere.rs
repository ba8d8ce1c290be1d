//! Ships checkpoints to a place of their own: a file, such as one on a mount of another machine, or
//! standard output. A thread of its own writes them, so that a slow place does not delay the log.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};

use super::file::{AuditError, AuditFile};
use crate::permissions::Strictness;

/// Maximum checkpoints that wait; each takes at most 1 KiB.
const WAITING_MAX: usize = 1_024;
/// Interval of syncing the file and checking its path; also the wait after a failed write.
const TICK: Duration = Duration::from_secs(1);
/// Maximum wait for the last checkpoints when the server stops.
const CLOSE_MAX: Duration = Duration::from_secs(2);

/// The place of the checkpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Standard output.
    Stdout,
    /// A file, which is appended to.
    File(PathBuf),
}

enum Place {
    Stdout,
    File(Box<AuditFile>),
}

/// The channel to the thread. Clones share it.
#[derive(Clone)]
pub(super) struct Elsewhere(Arc<Inner>);

struct Inner {
    lines: Mutex<Option<Sender<Vec<u8>>>>,
    /// Dropped when the thread may begin.
    begin: Mutex<Option<Sender<()>>>,
    ended: Receiver<()>,
    /// Whether checkpoints were dropped since the last one that was queued.
    is_dropping: AtomicBool,
}

impl Elsewhere {
    pub(super) fn start(to: &Destination, permissions: Strictness) -> Result<Self, AuditError> {
        let (place, path) = match to {
            Destination::Stdout => (Place::Stdout, Path::new("-")),
            Destination::File(path) => {
                let flag = "--audit-checkpoints";
                let file = AuditFile::open(flag, path, u64::MAX, 0, permissions)?;
                (Place::File(Box::new(file)), path.as_path())
            }
        };
        let (sender, lines) = bounded(WAITING_MAX);
        let (end, ended) = bounded(0);
        let (begin, may_begin) = bounded::<()>(0);
        std::thread::Builder::new()
            .name("jeton-checkpoints".to_owned())
            .spawn(move || {
                // Only ever disconnected.
                let _ = may_begin.recv();
                run(place, &lines);
                drop(end);
            })
            .map_err(|source| AuditError::File {
                flag: "--audit-checkpoints",
                file: path.to_owned(),
                source,
            })?;
        let (lines, begin) = (Mutex::new(Some(sender)), Mutex::new(Some(begin)));
        Ok(Self(Arc::new(Inner { lines, begin, ended, is_dropping: AtomicBool::new(false) })))
    }

    /// Begins to write what is queued: the first line on standard output is the server's own.
    pub(super) fn begin(&self) {
        drop(self.0.begin.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Queues a checkpoint. If too many wait, it is dropped: the next one covers it.
    pub(super) fn send(&self, line: &[u8]) {
        let lines = self.0.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(lines) = &*lines else { return };
        let is_full = matches!(lines.try_send(line.to_vec()), Err(TrySendError::Full(_)));
        if is_full && !self.0.is_dropping.swap(is_full, Ordering::Relaxed) {
            tracing::error!("checkpoints of the audit log are dropped: their place is too slow");
        }
        self.0.is_dropping.store(is_full, Ordering::Relaxed);
    }

    /// Waits until the queued checkpoints are written, for a short time.
    pub(super) fn close(&self) {
        self.begin();
        if self.0.lines.lock().unwrap_or_else(PoisonError::into_inner).take().is_none() {
            return;
        }
        // The thread ends its half without a message.
        if self.0.ended.recv_timeout(CLOSE_MAX) == Err(RecvTimeoutError::Timeout) {
            tracing::error!("the last checkpoints of the audit log could not be shipped");
        }
    }
}

fn run(mut place: Place, lines: &Receiver<Vec<u8>>) {
    let (mut waiting, mut is_failing) = (Vec::new(), false);
    loop {
        let is_closing = receive(lines, &mut waiting);
        let shipped = place.ship(&mut waiting);
        if let Err(error) = &shipped
            && !is_failing
        {
            tracing::error!(%error, "checkpoints of the audit log cannot be shipped");
        }
        is_failing = shipped.is_err();
        if is_closing {
            return;
        }
    }
}

/// Waits for the next checkpoint. While an earlier one could not be written, none is taken: they
/// wait in the channel, which is bounded. Returns whether there will be no more.
fn receive(lines: &Receiver<Vec<u8>>, waiting: &mut Vec<u8>) -> bool {
    if !waiting.is_empty() {
        std::thread::sleep(TICK);
        return false;
    }
    match lines.recv_timeout(TICK) {
        Ok(line) => {
            *waiting = line;
            false
        }
        Err(RecvTimeoutError::Timeout) => false,
        Err(RecvTimeoutError::Disconnected) => true,
    }
}

impl Place {
    /// Writes what waits, and keeps what could not be written.
    fn ship(&mut self, waiting: &mut Vec<u8>) -> io::Result<()> {
        if let Self::File(file) = self {
            file.follow().map_err(io::Error::other)?;
        }
        let is_news = !waiting.is_empty();
        while !waiting.is_empty() {
            let written = match self {
                Self::Stdout => io::stdout().lock().write(waiting),
                Self::File(file) => file.write(waiting),
            };
            match written {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(len) => drop(waiting.drain(..len)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
                Err(error) => return Err(error),
            }
        }
        match self {
            Self::Stdout => io::stdout().lock().flush(),
            Self::File(file) if is_news => file.sync(),
            Self::File(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p8_checkpoints_that_cannot_be_written_wait_in_the_bounded_channel() {
        let (sender, lines) = bounded(2);
        sender.send(b"one\n".to_vec()).unwrap();
        sender.send(b"two\n".to_vec()).unwrap();
        let mut waiting = Vec::new();
        assert!(!receive(&lines, &mut waiting));
        // The first one could not be written.
        assert!(!receive(&lines, &mut waiting));
        assert_eq!((&*waiting, lines.len()), (&b"one\n"[..], 1));
        waiting.clear();
        assert!(!receive(&lines, &mut waiting));
        assert_eq!(waiting, b"two\n");
        waiting.clear();
        drop(sender);
        assert!(receive(&lines, &mut waiting));
    }
}
