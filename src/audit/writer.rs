//! The thread that writes the audit log.
//!
//! It takes all queued events, formats them as lines and passes many lines to the system in one
//! write. The rest of a partial write is kept and written later, so a disk that was full leaves no
//! half line behind. Once a second the thread signs the new lines with a checkpoint, syncs the file
//! and checks whether the path still names it.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use tokio::sync::oneshot;

use super::chaining::Chaining;
use super::checkpoint::{self, At};
use super::file::{AuditFile, Look};
use super::line::{self, Event};
use super::shared::{Message, Shared, Sign};
use crate::clock::Clock;

/// Lines are written when they reach this many bytes, or when no event is queued.
const BATCH_LEN: usize = 256 * 1024;
/// Interval of syncing and checking the file.
const TICK: Duration = Duration::from_secs(1);
/// Wait after a failed write.
const RETRY: Duration = Duration::from_millis(100);
/// A disk with fewer free bytes, or with less than a tenth free, is nearly full.
const FREE_MIN_BYTES: u64 = 1 << 30;
/// Minimum interval between log messages about dropped events.
const TOLD_PERIOD: Duration = Duration::from_secs(10);

pub(super) struct Writer {
    file: AuditFile,
    inbox: Receiver<Message>,
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
    /// Events received and not yet formatted.
    waiting: VecDeque<Event>,
    /// Formatted lines, of which the first `written` bytes are written.
    buffer: Vec<u8>,
    written: usize,
    /// Number of lines in the buffer.
    lines: usize,
    seq: u64,
    /// The chain over the lines; `None` until there is a key to sign it.
    chaining: Option<Chaining>,
    /// Waiters to notify when everything up to here is written.
    asking: Vec<oneshot::Sender<()>>,
    is_closing: bool,
    /// Whether anything was written since the last sync.
    is_dirty: bool,
    ticked_at: Duration,
    /// A write failed; no retry before this time.
    retry_at: Option<Duration>,
    told_at: Option<Duration>,
    told_dropped: u64,
}

impl Writer {
    pub(super) fn new(
        file: AuditFile,
        inbox: Receiver<Message>,
        shared: Arc<Shared>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            ticked_at: clock.monotonic(),
            file,
            inbox,
            shared,
            clock,
            waiting: VecDeque::new(),
            buffer: Vec::with_capacity(BATCH_LEN),
            written: 0,
            lines: 0,
            seq: 0,
            chaining: None,
            asking: Vec::new(),
            is_closing: false,
            is_dirty: false,
            retry_at: None,
            told_at: None,
            told_dropped: 0,
        }
    }

    pub(super) fn run(mut self) {
        self.look_at_disk();
        while !self.is_closing {
            let wait = if self.retry_at.is_some() { RETRY } else { TICK };
            match self.inbox.recv_timeout(wait) {
                Ok(message) => self.take(message),
                Err(RecvTimeoutError::Timeout) => (),
                Err(RecvTimeoutError::Disconnected) => self.is_closing = true,
            }
            self.turn();
        }
        // One last attempt, even after an earlier failure.
        self.retry_at = None;
        self.take_all();
        self.write();
        self.checkpoint(At::Stop, 0);
        self.write();
        self.sync();
        let lost = self.lines + self.waiting.len();
        if lost > 0 {
            self.shared.dropped.fetch_add(lost as u64, Ordering::Relaxed);
            tracing::error!(events = lost, "the last events could not be written to the audit log");
        }
    }

    fn turn(&mut self) {
        self.take_all();
        let now = self.clock.monotonic();
        if self.retry_at.is_none_or(|at| at <= now) {
            self.write();
        } else {
            // A waiter must not wait for a failing disk.
            self.answer();
        }
        if now.saturating_sub(self.ticked_at) >= TICK {
            self.ticked_at = now;
            self.tick(now);
        }
    }

    fn take_all(&mut self) {
        while self.waiting.len() < self.shared.places_max
            && let Ok(message) = self.inbox.try_recv()
        {
            self.take(message);
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Event(event) => self.waiting.push_back(event),
            Message::Written(told) => self.asking.push(told),
            Message::Sign(sign) => self.sign(*sign),
            Message::Close => self.is_closing = true,
        }
    }

    /// Begins to chain and to sign the lines.
    fn sign(&mut self, sign: Sign) {
        let Sign { log, signing, elsewhere } = sign;
        self.write();
        match Chaining::resume(&mut self.file, log, signing, self.clock.clone(), elsewhere) {
            Ok((chaining, unsigned)) => {
                self.seq = chaining.seq();
                self.chaining = Some(chaining);
                self.checkpoint(At::Start, unsigned);
                self.write();
            }
            Err(error) => {
                tracing::error!(%error, "the audit log has no chain: its lines are not signed");
            }
        }
    }

    /// Adds a checkpoint, if there is a chain and everything before is written.
    fn checkpoint(&mut self, at: At, unsigned: u64) {
        let node = self.shared.node.get().copied();
        if let Some(chaining) = &mut self.chaining
            && self.buffer.is_empty()
        {
            chaining.checkpoint(&mut self.buffer, at, unsigned, node);
        }
    }

    fn answer(&mut self) {
        for told in self.asking.drain(..) {
            // The receiver may have been dropped meanwhile.
            let _ = told.send(());
        }
    }

    /// Writes all queued events, as far as the system accepts them.
    fn write(&mut self) {
        let written = self.write_all();
        match written {
            Ok(()) => self.recovered(),
            Err(error) => self.failed(&error),
        }
        self.answer();
    }

    fn write_all(&mut self) -> io::Result<()> {
        if self.retry_at.is_some() {
            // Whatever failed before (a write, a sync or reopening the file) must succeed first.
            self.follow()?;
            self.file.sync()?;
        }
        loop {
            if self.buffer.is_empty() {
                self.fill();
                if self.buffer.is_empty() {
                    return Ok(());
                }
            }
            if self.written == 0 && self.file.is_full(self.buffer.len() + checkpoint::LINE_LEN_MAX)
            {
                self.end_file()?;
            }
            self.write_until(self.buffer.len())?;
            self.shared.lines.fetch_add(self.lines as u64, Ordering::Relaxed);
            self.shared.give_back(self.lines);
            (self.written, self.lines) = (0, 0);
            if let Some(chaining) = &mut self.chaining {
                chaining.written(&self.buffer);
            }
            self.buffer.clear();
        }
    }

    /// Writes the buffer up to this length.
    fn write_until(&mut self, len: usize) -> io::Result<()> {
        while self.written < len {
            match self.file.write(&self.buffer[self.written..len]) {
                Ok(len) => self.written += len,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
                Err(error) => return Err(error),
            }
            self.is_dirty = true;
        }
        Ok(())
    }

    /// Formats queued events, up to a batch.
    fn fill(&mut self) {
        let node = self.shared.node.get().copied();
        while self.buffer.len() < BATCH_LEN
            && let Some(event) = self.waiting.pop_front()
        {
            // Each missing line leaves a gap in the numbers, so that the loss is visible.
            self.seq = self.seq.saturating_add(event.missing).saturating_add(1);
            let from = self.buffer.len();
            line::write(&mut self.buffer, &event, self.seq, node);
            match &mut self.chaining {
                Some(chaining) => chaining.end_line(&mut self.buffer, from, self.seq),
                None => self.buffer.push(b'\n'),
            }
            self.lines += 1;
        }
        if let Some(chaining) = &mut self.chaining
            && chaining.is_due()
        {
            chaining.checkpoint(&mut self.buffer, At::Second, 0, node);
        }
        if self.waiting.is_empty() {
            // Returns the memory after a burst.
            self.waiting.shrink_to(1_024);
        }
    }

    /// Ends the file with a checkpoint, and goes on in the next one.
    fn end_file(&mut self) -> io::Result<()> {
        self.insert(At::FileEnd);
        let closing = match self.chaining {
            Some(_) => memchr::memchr(b'\n', &self.buffer).map_or(0, |end| end + 1),
            None => 0,
        };
        self.write_until(closing)?;
        match self.file.rotate(self.clock.wall()) {
            Ok(()) => self.insert(At::FileStart),
            Err(error) => tracing::error!(%error, "can't rotate the audit log: it keeps growing"),
        }
        Ok(())
    }

    /// Starts the rest of the buffer anew, after its whole lines that were written, with a
    /// checkpoint.
    fn insert(&mut self, at: At) {
        let node = self.shared.node.get().copied();
        match &mut self.chaining {
            Some(chaining) => {
                self.buffer = chaining.insert(&self.buffer, self.written, at, node);
                self.written = 0;
            }
            // Without a chain a partly written line is written in full.
            None => {
                let whole = memchr::memrchr(b'\n', &self.buffer[..self.written]);
                self.written = whole.map_or(0, |at| at + 1);
            }
        }
    }

    fn failed(&mut self, error: &io::Error) {
        self.retry_at = Some(self.clock.monotonic() + RETRY);
        if !self.shared.is_failing.swap(true, Ordering::AcqRel) {
            tracing::error!(%error, "the audit log cannot be written");
        }
    }

    fn recovered(&mut self) {
        if self.retry_at.take().is_some() {
            self.shared.is_failing.store(false, Ordering::Release);
            tracing::info!("the audit log can be written again");
        }
    }

    fn tick(&mut self, now: Duration) {
        match self.follow() {
            Err(error) => self.failed(&error),
            Ok(()) if self.retry_at.is_none() => {
                if self.chaining.as_ref().is_some_and(Chaining::is_unsigned) {
                    self.checkpoint(At::Second, 0);
                }
                self.write();
            }
            Ok(()) => (),
        }
        self.sync();
        self.look_at_disk();
        let dropped = self.shared.dropped.load(Ordering::Relaxed);
        let is_time = self.told_at.is_none_or(|at| now.saturating_sub(at) >= TOLD_PERIOD);
        if dropped != self.told_dropped && is_time {
            tracing::error!(
                dropped,
                "events were dropped from the audit log, which records how \
                many"
            );
            (self.told_at, self.told_dropped) = (Some(now), dropped);
        }
    }

    /// Records the free bytes of the disk, and logs a warning once when the disk is nearly full.
    fn look_at_disk(&self) {
        let Ok((free_bytes, all_bytes)) = self.file.disk() else { return };
        self.shared.free_bytes.store(free_bytes, Ordering::Relaxed);
        let is_filling = free_bytes < FREE_MIN_BYTES.min(all_bytes / 10);
        if is_filling && !self.shared.is_filling.swap(is_filling, Ordering::Relaxed) {
            tracing::warn!(free_bytes, "the disk of the audit log is nearly full");
        }
        self.shared.is_filling.store(is_filling, Ordering::Relaxed);
    }

    /// Logs that another program has destroyed lines, at the first look after that.
    fn tell_of_loss(&self, look: Look) {
        let done = match look {
            Look::Truncated => "made the audit log shorter",
            Look::Moved if self.file.is_removed() && self.retry_at.is_none() => {
                "removed the audit log"
            }
            Look::Moved | Look::Same => return,
        };
        let (file, seq) = (self.file.path().display(), self.seq);
        tracing::error!(
            %file, seq,
            "another program has {done}: lines up to this seq are lost, unless a copy was kept; a \
             logrotate that compresses needs delaycompress"
        );
    }

    /// Goes on in the file that the path names, if another program has moved or emptied ours.
    fn follow(&mut self) -> io::Result<()> {
        let look = self.file.look();
        self.tell_of_loss(look);
        match look {
            Look::Same => {}
            // Without a chain the next line is written at the new end of the file.
            Look::Truncated if self.chaining.is_none() => {}
            Look::Truncated => self.insert(At::Truncated),
            Look::Moved => {
                // The old file ends with a checkpoint, if its disk takes one.
                self.checkpoint(At::FileEnd, 0);
                if self.retry_at.is_none() && self.chaining.is_some() && self.lines == 0 {
                    let _ = self.write_until(self.buffer.len());
                }
                self.file.follow().map_err(io::Error::other)?;
                self.insert(At::FileStart);
            }
        }
        Ok(())
    }

    fn sync(&mut self) {
        if !std::mem::take(&mut self.is_dirty) {
            return;
        }
        if let Err(error) = self.file.sync() {
            tracing::error!("the audit log's last lines may be lost if the machine stops");
            self.failed(&error);
        }
    }
}
