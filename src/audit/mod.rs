//! The audit log: who did what to which token, when, and with what outcome.
//!
//! [`Audit`] is what the threads that serve hold: they hand [`Event`]s to it and wait for nothing.
//! `writer` is the one thread that makes lines of them (`line`) and keeps the file (`file`). Between
//! them there are at most [`EVENTS_MAX`] events, some 20 MiB: who hands one over takes a place
//! first, and the place is free again when the line was written (promise P8).
//!
//! Where there is no place, the event is dropped and counted, and the next line says how many are
//! missing. Where the audit is required, a place is taken before anything else is done, and where
//! none is to be had, or lines cannot be written at the moment, the request is refused instead.
//! What has a place is kept until it was written.
//!
//! An event holds no token, payload, key or reference, so no line can (promise P9).

mod file;
mod line;
mod writer;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crossbeam::utils::CachePadded;
use crossbeam_channel::{Sender, unbounded};
use tokio::sync::oneshot;

use crate::keys::Access;
use crate::permissions::Strictness;
use crate::time::{Clock, UnixMillis};
use crate::token::Digest;

pub use file::AuditError;
pub use line::{By, Event};

/// The most events that wait for their line to be written; each takes at most 160 bytes.
pub const EVENTS_MAX: usize = 1 << 17;
const _: () = assert!(size_of::<Message>() <= 160);

/// The smallest file that can be asked for, in bytes: several batches of lines.
pub const SIZE_MIN_BYTES: u64 = 1 << 20;

/// How the audit log is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The file; none where only replays are warned of.
    pub file: Option<PathBuf>,
    /// What cannot be audited is refused.
    pub is_required: bool,
    /// A file that would become longer is put aside, in bytes; at least [`SIZE_MIN_BYTES`].
    pub size_max_bytes: u64,
    /// Files put aside that are kept; 0: all.
    pub files_kept: usize,
    /// What is done about a file that others may read or write.
    pub permissions: Strictness,
    /// A replay of a consumed token is logged as a warning.
    pub warns_of_replays: bool,
}

/// Why an event has no place. In words for those who are refused for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Too many wait.
    #[error("the audit log is required, and too many of its lines wait to be written")]
    Full,
    /// Lines cannot be written.
    #[error("the audit log is required, and cannot be written at the moment")]
    Failing,
}

/// What is counted about the audit log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Lines written.
    pub lines: u64,
    /// Events without a line.
    pub dropped: u64,
    /// Lines cannot be written at the moment.
    pub is_failing: bool,
}

/// The audit log of a server. Clones share it.
#[derive(Clone)]
pub struct Audit(Arc<Inner>);

struct Inner {
    sink: Option<Sink>,
    replays: Option<Replays>,
}

/// The way to the writer.
struct Sink {
    messages: Sender<Message>,
    shared: Arc<Shared>,
    is_required: bool,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the writer and those who hand events to it share.
#[derive(Default)]
struct Shared {
    /// Places taken: events between the threads that serve and the file.
    places: CachePadded<AtomicUsize>,
    lines: AtomicU64,
    dropped: AtomicU64,
    /// Dropped events that no line has told of yet.
    missing: AtomicU64,
    is_failing: AtomicBool,
}

/// What is sent to the writer.
enum Message {
    Event(Event),
    /// To be answered when everything before it was written, or cannot be.
    Written(oneshot::Sender<()>),
    Close,
}

/// Places for events; those that are not used are free again when dropped.
#[derive(Default)]
pub struct Permit {
    shared: Option<Arc<Shared>>,
    places: usize,
}

impl Audit {
    /// Opens the file and starts the writer.
    ///
    /// # Errors
    /// The file cannot be opened, is no regular file, or another server writes it.
    pub fn start(config: &Config, clock: Arc<dyn Clock>) -> Result<Audit, AuditError> {
        let replays = config.warns_of_replays.then(Replays::default);
        let Some(path) = &config.file else {
            return Ok(Audit(Arc::new(Inner { sink: None, replays })));
        };
        let file = file::AuditFile::open(
            path,
            config.size_max_bytes,
            config.files_kept,
            config.permissions,
        )?;
        // Bounded by the places: an event is sent only with one.
        let (messages, inbox) = unbounded();
        let shared = Arc::<Shared>::default();
        let writer = writer::Writer::new(file, inbox, shared.clone(), clock);
        let thread = std::thread::Builder::new()
            .name("jeton-audit".to_owned())
            .spawn(move || writer.run())
            .map_err(|source| AuditError::File { file: path.clone(), source })?;
        let thread = Mutex::new(Some(thread));
        let sink = Sink { messages, shared, is_required: config.is_required, thread };
        Ok(Audit(Arc::new(Inner { sink: Some(sink), replays })))
    }

    /// Takes places for `events` events, before what they tell of is done.
    ///
    /// # Errors
    /// Only where the audit is required: nothing may be done that cannot be audited.
    pub fn reserve(&self, events: usize) -> Result<Permit, Refused> {
        let Some(sink) = &self.0.sink else { return Ok(Permit::default()) };
        if sink.is_required && sink.shared.is_failing.load(Ordering::Acquire) {
            return Err(Refused::Failing);
        }
        match sink.shared.take(events) {
            true => Ok(Permit { shared: Some(sink.shared.clone()), places: events }),
            false if sink.is_required => Err(Refused::Full),
            false => Ok(Permit::default()),
        }
    }

    /// Hands an event over, in a place of `permit` or in one that is free; else it is dropped.
    pub fn tell(&self, permit: &mut Permit, mut event: Event) {
        if let Some(replays) = self.0.replays.as_ref().filter(|_| event.is_replay) {
            replays.warn(&event);
        }
        let Some(sink) = &self.0.sink else { return };
        let shared = &sink.shared;
        if permit.places > 0 {
            permit.places -= 1;
        } else if !shared.take(1) {
            shared.dropped.fetch_add(1, Ordering::Relaxed);
            shared.missing.fetch_add(1, Ordering::Relaxed);
            return;
        }
        if shared.missing.load(Ordering::Relaxed) > 0 {
            event.missing = shared.missing.swap(0, Ordering::Relaxed);
        }
        if sink.messages.send(Message::Event(event)).is_err() {
            // The writer has ended: the server is over.
            shared.give_back(1);
            shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Where the audit is required: resolves as soon as all that was handed over before has been
    /// given to the system, or cannot be at the moment.
    #[must_use]
    pub fn written(&self) -> Option<oneshot::Receiver<()>> {
        let sink = self.0.sink.as_ref().filter(|sink| sink.is_required)?;
        let (told, is_told) = oneshot::channel();
        sink.messages.send(Message::Written(told)).ok().map(|()| is_told)
    }

    /// What is counted.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.0.sink.as_ref().map(|sink| sink.shared.stats()).unwrap_or_default()
    }

    /// Writes what was handed over, syncs the file and ends the writer. Events that come later are
    /// dropped.
    pub fn close(&self) {
        let Some(sink) = &self.0.sink else { return };
        let thread = sink.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else { return };
        if sink.messages.send(Message::Close).is_err() || thread.join().is_err() {
            tracing::error!("the writer of the audit log ended before it was told to");
        }
    }
}

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Audit").field(&self.stats()).finish()
    }
}

impl Shared {
    /// Takes places, all or none.
    fn take(&self, places: usize) -> bool {
        let taken = self.places.fetch_add(places, Ordering::Relaxed);
        let is_room = taken.saturating_add(places) <= EVENTS_MAX;
        if !is_room {
            self.give_back(places);
        }
        is_room
    }

    fn give_back(&self, places: usize) {
        self.places.fetch_sub(places, Ordering::Relaxed);
    }

    fn stats(&self) -> Stats {
        Stats {
            lines: self.lines.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            is_failing: self.is_failing.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(shared) = &self.shared {
            shared.give_back(self.places);
        }
    }
}

/// How often a replay may be warned of, in milliseconds of the events' time.
const WARNING_PERIOD_MS: u64 = 1_000;

/// Warns of replays, once in a second.
#[derive(Default)]
struct Replays {
    warned_at_ms: AtomicU64,
    /// Since the last warning, without one.
    silent: AtomicU64,
}

impl Replays {
    fn warn(&self, event: &Event) {
        let last_ms = self.warned_at_ms.load(Ordering::Relaxed);
        let is_time = event.time.since(UnixMillis(last_ms)) >= WARNING_PERIOD_MS;
        let (load, store) = (Ordering::Relaxed, Ordering::Relaxed);
        if !is_time
            || self.warned_at_ms.compare_exchange(last_ms, event.time.0, store, load).is_err()
        {
            self.silent.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let digest = event.digest.map(line::hex).unwrap_or_default();
        let key = event.access.as_ref().and_then(|access| access.key);
        let key = key.map(|key| key.to_string()).unwrap_or_default();
        let others = self.silent.swap(0, Ordering::Relaxed);
        let (operation, address) = (event.operation, event.address);
        tracing::warn!(digest, key, operation, %address, others, "a consumed token was presented again");
    }
}

/// An event of `access` at `address`.
#[must_use]
pub fn event(
    time: UnixMillis,
    address: SocketAddr,
    access: Option<Arc<Access>>,
    digest: Option<Digest>,
) -> Event {
    Event {
        time,
        address,
        access,
        digest,
        operation: "",
        outcome: "",
        status: None,
        by: None,
        is_anonymous: false,
        is_replay: false,
        is_retry: false,
        missing: 0,
    }
}

#[cfg(test)]
mod tests;
