//! The one thread that writes the audit log.
//!
//! It takes all events that wait, makes lines of them and gives many to the system in one write.
//! What a write does not take is kept, and goes on where it stopped; so a disk that was full leaves
//! no half line behind. Once a second the file is synced, and it is looked whether it is still the
//! one under its path.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use tokio::sync::oneshot;

use super::file::AuditFile;
use super::line::{self, Event};
use super::shared::{Message, Shared};
use crate::clock::Clock;

/// Lines are given to the system from this many bytes on, or when no event waits.
const BATCH_LEN: usize = 256 * 1024;
/// How often the file is synced and looked after.
const TICK: Duration = Duration::from_secs(1);
/// How long a disk that refused rests.
const RETRY: Duration = Duration::from_millis(100);
/// A disk with less, or less than a tenth of it, fills up.
const FREE_MIN_BYTES: u64 = 1 << 30;
/// How often it is told that events were dropped.
const TOLD_PERIOD: Duration = Duration::from_secs(10);

pub(super) struct Writer {
    file: AuditFile,
    inbox: Receiver<Message>,
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
    /// Taken from the inbox, without a line yet.
    waiting: VecDeque<Event>,
    /// Lines, of which the first `written` bytes were taken by the system.
    buffer: Vec<u8>,
    written: usize,
    /// Lines in the buffer.
    lines: usize,
    seq: u64,
    /// Who wants to know when what is here was written.
    asking: Vec<oneshot::Sender<()>>,
    is_closing: bool,
    /// Written since the last sync.
    is_dirty: bool,
    ticked_at: Duration,
    /// The system refused; not tried again before.
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
    ) -> Writer {
        Writer {
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
        // One last time, whatever it said before.
        self.retry_at = None;
        self.take_all();
        self.write();
        self.sync();
        let lost = self.lines + self.waiting.len();
        if lost > 0 {
            self.shared.dropped.fetch_add(lost as u64, Ordering::Relaxed);
            tracing::error!(events = lost, "the last events are not in the audit log");
        }
    }

    fn turn(&mut self) {
        self.take_all();
        let now = self.clock.monotonic();
        if self.retry_at.is_none_or(|at| at <= now) {
            self.write();
        } else {
            // Who asks must not wait for a disk.
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
            Message::Close => self.is_closing = true,
        }
    }

    fn answer(&mut self) {
        for told in self.asking.drain(..) {
            // Who has gone meanwhile does not care.
            let _ = told.send(());
        }
    }

    /// Writes all that waits, as far as the system takes it.
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
            // Whatever failed, a write, a sync or another file under the path, must be well again.
            self.follow()?;
            self.file.sync()?;
        }
        loop {
            if self.buffer.is_empty() {
                self.fill();
                if self.buffer.is_empty() {
                    return Ok(());
                }
                if self.file.is_full(self.buffer.len()) {
                    self.rotate();
                }
            }
            while self.written < self.buffer.len() {
                match self.file.write(&self.buffer[self.written..]) {
                    Ok(len) => self.written += len,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
                    Err(error) => return Err(error),
                }
                self.is_dirty = true;
            }
            self.shared.lines.fetch_add(self.lines as u64, Ordering::Relaxed);
            self.shared.give_back(self.lines);
            (self.written, self.lines) = (0, 0);
            self.buffer.clear();
        }
    }

    /// Makes lines of what waits, up to a batch.
    fn fill(&mut self) {
        while self.buffer.len() < BATCH_LEN
            && let Some(event) = self.waiting.pop_front()
        {
            // A gap for each that is missing: what has no line is seen to have none.
            self.seq += 1 + event.missing;
            line::write(&mut self.buffer, &event, self.seq);
            self.lines += 1;
        }
        if self.waiting.is_empty() {
            // After a rush the memory goes back.
            self.waiting.shrink_to(1_024);
        }
    }

    fn rotate(&mut self) {
        if let Err(error) = self.file.rotate(self.clock.wall()) {
            tracing::error!(%error, "the audit log grows on, it cannot be put aside");
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
            tracing::info!("the audit log is written again");
        }
    }

    fn tick(&mut self, now: Duration) {
        if let Err(error) = self.follow() {
            self.failed(&error);
        }
        self.sync();
        self.look_at_disk();
        let dropped = self.shared.dropped.load(Ordering::Relaxed);
        let is_time = self.told_at.is_none_or(|at| now.saturating_sub(at) >= TOLD_PERIOD);
        if dropped != self.told_dropped && is_time {
            tracing::error!(dropped, "events were dropped, the audit log tells how many");
            (self.told_at, self.told_dropped) = (Some(now), dropped);
        }
    }

    /// Notes how much of the disk is free, and says once that it is little.
    fn look_at_disk(&self) {
        let Ok((free_bytes, all_bytes)) = self.file.disk() else { return };
        self.shared.free_bytes.store(free_bytes, Ordering::Relaxed);
        let is_filling = free_bytes < FREE_MIN_BYTES.min(all_bytes / 10);
        if is_filling && !self.shared.is_filling.swap(is_filling, Ordering::Relaxed) {
            tracing::warn!(free_bytes, "the disk of the audit log fills up");
        }
        self.shared.is_filling.store(is_filling, Ordering::Relaxed);
    }

    fn follow(&mut self) -> io::Result<()> {
        if self.file.follow().map_err(io::Error::other)? {
            // What was half written begins again in the new file.
            let whole = self.buffer[..self.written].iter().rposition(|byte| *byte == b'\n');
            self.written = whole.map_or(0, |at| at + 1);
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
