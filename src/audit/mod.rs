//! The audit log: who did what to which token, when, and with what outcome.
//!
//! The worker threads pass [`Event`]s to [`Audit`] and do not wait. `writer` is the one thread that
//! formats them (`line`) and writes the file (`file`). At most [`EVENTS_MAX`] events, some 20 MiB,
//! are queued between them: a worker reserves a place before it passes an event, and the place is
//! free again when the line is written (promise P8: bounded memory).
//!
//! Without a free place the event is dropped and counted, and the next line contains the number of
//! missing events. If the audit log is required, the place is reserved before the operation;
//! without a free place, or while lines cannot be written, the request is refused. An event with a
//! place is kept until it is written.
//!
//! Completed operations have one file, and refused or missed requests have another; each file has
//! its own places. Anyone who can reach the port can cause any number of refusals. Therefore the
//! size and number of their files are bounded, and they use no place of completed operations: a
//! flood of refusals neither deletes evidence nor stops the service.
//!
//! An event holds no token, payload, key or reference, so no line can (promise P9).
//!
//! Nobody changes the log unnoticed: a hash runs over all lines (`chain`), and checkpoints among them
//! sign it (`checkpoint`, `signing`). The writer adds them (`chaining`), continues the chain after a
//! restart (`resume`) and ships checkpoints to another place (`elsewhere`). [`verify`] checks files.

mod chain;
mod chaining;
mod checkpoint;
mod elsewhere;
mod file;
mod line;
mod outcome;
mod replays;
mod resume;
mod shared;
mod signing;
pub mod verify;
mod writer;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crossbeam_channel::{Sender, unbounded};
use tokio::sync::oneshot;

use crate::clock::Clock;
use crate::keys::Access;
use crate::model::cluster::{NodeId, Position};
use crate::model::time::UnixMillis;
use crate::permissions::Strictness;

pub use chain::LogKind;
pub use chaining::Signing;
pub use checkpoint::{At, Checkpoint, LogEnd};
pub use elsewhere::Destination;
pub use file::AuditError;
pub use line::{By, Event};
pub use outcome::EventOutcome;
pub use resume::state_path;
pub use shared::Stats;
pub use signing::{KEY_LEN, KeyError, PublicKey, SigningKey};

use elsewhere::Elsewhere;
use replays::Replays;
use shared::{Message, Shared, Sign};

/// Maximum events that are queued for the writer; each takes at most 160 bytes.
pub const EVENTS_MAX: usize = 1 << 17;
/// The same limit for refused or missed requests.
pub const REFUSED_EVENTS_MAX: usize = 1 << 14;

/// Minimum of the configurable file size, in bytes: several batches of lines.
pub const SIZE_MIN_BYTES: u64 = 1 << 20;

/// Configuration of the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The file; `None` if only replays are logged as warnings.
    pub file: Option<PathBuf>,
    /// Whether requests are refused while they cannot be audited.
    pub is_required: bool,
    /// Size at which the file is rotated, in bytes; at least [`SIZE_MIN_BYTES`].
    pub size_max_bytes: u64,
    /// Number of rotated files to keep; 0: all.
    pub files_kept: usize,
    /// Whether to refuse a file that other users may read or write.
    pub permissions: Strictness,
    /// Size at which the file of refused or missed requests is rotated, in bytes.
    pub refused_size_max_bytes: u64,
    /// Number of rotated files of refused or missed requests to keep; at least 1.
    pub refused_files_kept: usize,
    /// Whether a replay of a consumed token is logged as a warning.
    pub warns_of_replays: bool,
    /// Where checkpoints are shipped to, beside the log.
    pub checkpoints: Option<Destination>,
}

/// Why an event has no place. The text is shown to the client whose request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Too many events are queued.
    #[error("the audit log is required, and too many of its lines wait to be written")]
    Full,
    /// The file cannot be written.
    #[error("the audit log is required, and cannot be written at the moment")]
    Failing,
}

/// The audit log of a server. Clones share it.
#[derive(Clone)]
pub struct Audit(Arc<Inner>);

struct Inner {
    sink: Option<Sink>,
    /// For refused or missed requests.
    refused: Option<Sink>,
    replays: Option<Replays>,
    elsewhere: Option<Elsewhere>,
}

/// The channel to the writer.
struct Sink {
    messages: Sender<Message>,
    shared: Arc<Shared>,
    is_required: bool,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Reserved places for events; dropping it frees the unused ones.
#[derive(Default)]
pub struct Permit {
    shared: Option<Arc<Shared>>,
    places: usize,
}

impl Audit {
    /// Opens the file and starts the writer.
    ///
    /// # Errors
    /// The file cannot be opened, is not a regular file, or is in use by another server.
    pub fn start(config: &Config, clock: Arc<dyn Clock>) -> Result<Self, AuditError> {
        let replays = config.warns_of_replays.then(Replays::default);
        let Some(path) = &config.file else {
            let (sink, refused, elsewhere) = (None, None, None);
            return Ok(Self(Arc::new(Inner { sink, refused, replays, elsewhere })));
        };
        let (permissions, aside) = (config.permissions, refused_path(path));
        let open = |path, size_max_bytes, files_kept| {
            file::AuditFile::open("--audit", path, size_max_bytes, files_kept, permissions)
        };
        let file = open(path, config.size_max_bytes, config.files_kept)?;
        let kept = config.refused_files_kept.max(1);
        let refused = open(&aside, config.refused_size_max_bytes, kept)?;
        let elsewhere = config.checkpoints.as_ref();
        let elsewhere = elsewhere.map(|to| Elsewhere::start(to, permissions)).transpose()?;
        let sink = Sink::start(path, file, EVENTS_MAX, config.is_required, clock.clone())?;
        let refused = Sink::start(&aside, refused, REFUSED_EVENTS_MAX, false, clock)?;
        let (sink, refused) = (Some(sink), Some(refused));
        Ok(Self(Arc::new(Inner { sink, refused, replays, elsewhere })))
    }

    /// From now on all lines are chained, and checkpoints sign the chain. Call it before the first
    /// event.
    pub fn sign(&self, signing: &Signing) {
        let logs = [(&self.0.sink, LogKind::Operations), (&self.0.refused, LogKind::Refusals)];
        for (sink, log) in logs {
            let Some(sink) = sink else { continue };
            let (signing, elsewhere) = (signing.clone(), self.0.elsewhere.clone());
            let sign = Box::new(Sign { log, signing, elsewhere });
            // The writer ends only when it is closed.
            let _ = sink.messages.send(Message::Sign(sign));
        }
    }

    /// Begins to ship checkpoints; until then they wait. Call it when the server has printed its
    /// ready line.
    pub fn ship(&self) {
        self.0.elsewhere.iter().for_each(Elsewhere::begin);
    }

    /// Reserves places for `events` events, before the operations that they record.
    ///
    /// # Errors
    /// Only if the audit log is required: an operation that cannot be audited must not be
    /// performed.
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

    /// Queues an event in a place of `permit`, or in a free one; without a place the event is
    /// dropped.
    pub fn tell(&self, permit: &mut Permit, mut event: Event) {
        if let Some(replays) = self.0.replays.as_ref().filter(|_| event.is_replay) {
            replays.warn(&event);
        }
        let is_refusal = event.outcome.is_refusal();
        let sink = if is_refusal { &self.0.refused } else { &self.0.sink };
        let Some(sink) = sink else { return };
        let shared = &sink.shared;
        if permit.places > 0 && !is_refusal {
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
            // The writer has ended, because the server is shutting down.
            shared.give_back(1);
            shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// If the audit log is required: a receiver that completes when all events queued before are
    /// written to the file, or when they cannot be written at the moment.
    #[must_use]
    pub fn written(&self) -> Option<oneshot::Receiver<()>> {
        let sink = self.0.sink.as_ref().filter(|sink| sink.is_required)?;
        let (told, is_told) = oneshot::channel();
        sink.messages.send(Message::Written(told)).ok().map(|()| is_told)
    }

    /// From now on each line names this node of a cluster.
    pub fn of_node(&self, node: NodeId) {
        for sink in self.0.sink.iter().chain(&self.0.refused) {
            // Set once; a second call has no effect.
            let _ = sink.shared.node.set(node);
        }
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let of = |sink: &Option<Sink>| sink.as_ref().map(|sink| sink.shared.stats());
        let refused = of(&self.0.refused).unwrap_or_default();
        let done = of(&self.0.sink).unwrap_or_default();
        Stats { refused_lines: refused.lines, refused_dropped: refused.dropped, ..done }
    }

    /// Writes the queued events, syncs the file and ends the writer. Later events are dropped.
    pub fn close(&self) {
        self.0.sink.iter().chain(&self.0.refused).for_each(Sink::close);
        self.0.elsewhere.iter().for_each(Elsewhere::close);
    }
}

/// Path of the file of refused or missed requests, next to the audit log at `path`.
#[must_use]
pub fn refused_path(path: &Path) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(".refused");
    name.into()
}

/// All files that the audit log at `path` writes, but rotated ones and checkpoints elsewhere.
#[must_use]
pub fn files_of(path: &Path) -> [PathBuf; 4] {
    let refused = refused_path(path);
    [path.to_owned(), state_path(path), state_path(&refused), refused]
}

impl Sink {
    fn start(
        path: &Path,
        file: file::AuditFile,
        places_max: usize,
        is_required: bool,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, AuditError> {
        // Bounded by the places: an event is only sent with one.
        let (messages, inbox) = unbounded();
        let shared = Arc::new(Shared::new(places_max));
        let writer = writer::Writer::new(file, inbox, shared.clone(), clock);
        let thread = std::thread::Builder::new()
            .name("jeton-audit".to_owned())
            .spawn(move || writer.run())
            .map_err(|source| AuditError::File {
                flag: "--audit",
                file: path.to_owned(),
                source,
            })?;
        Ok(Self { messages, shared, is_required, thread: Mutex::new(Some(thread)) })
    }

    fn close(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else { return };
        if self.messages.send(Message::Close).is_err() || thread.join().is_err() {
            tracing::error!("the audit log writer ended before it was closed");
        }
    }
}

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Audit").field(&self.stats()).finish()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(shared) = &self.shared {
            shared.give_back(self.places);
        }
    }
}

/// An event of `access` at `address`, without a token.
#[must_use]
pub fn event(
    time: UnixMillis,
    address: SocketAddr,
    access: Option<Arc<Access>>,
    operation: &'static str,
    outcome: EventOutcome,
) -> Event {
    Event {
        time,
        address: Some(address),
        detail: None,
        access,
        digest: None,
        operation,
        outcome,
        status: None,
        by: None,
        is_anonymous: false,
        is_replay: false,
        is_retry: false,
        position: Position::default(),
        missing: 0,
    }
}

/// An event of the server itself, about `detail`.
#[must_use]
pub fn server_event(
    time: UnixMillis,
    operation: &'static str,
    outcome: EventOutcome,
    detail: Option<String>,
) -> Event {
    let nowhere = SocketAddr::from(([0; 4], 0));
    let event = event(time, nowhere, None, operation, outcome);
    Event { address: None, detail: detail.map(String::into_boxed_str), ..event }
}

#[cfg(test)]
mod tests;
