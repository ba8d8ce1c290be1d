//! Recovery: its progress, and the signals that end it.
//!
//! The handlers stand before the log is read: without one, the kernel discards a SIGTERM to the
//! first process of a container, which would then go on to serve.

use std::io::{self, IsTerminal};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use indicatif::{HumanBytes, ProgressBar};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use super::node::Running;
use super::progress::bar;
use super::serve_error::ServeError;
use super::settings::ServeConfig;
use super::stop::Signals;
use crate::clock::{Clock, SystemClock};
use crate::cluster::node::NodeView;
use crate::engine::Progress;

/// Interval between progress lines of recovery, without a terminal.
const PROGRESS_PERIOD: Duration = Duration::from_secs(2);

/// The signals of the process, and the runtime that waits for them.
pub(super) struct Watch {
    pub(super) runtime: Runtime,
    pub(super) signals: Signals,
}

impl Watch {
    /// From here on the signals do not end the process by themselves.
    pub(super) fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let clock = Arc::new(SystemClock::new());
        let signals = runtime.block_on(async { Signals::new(clock) })?;
        Ok(Self { runtime, signals })
    }

    /// Waits until the sender of `opened` is gone, or for a signal to stop the server, which it
    /// returns.
    fn until(&mut self, opened: oneshot::Receiver<()>) -> Option<&'static str> {
        let Self { runtime, signals } = self;
        runtime.block_on(async {
            tokio::select! {
                _ = opened => None,
                signal = signals.early_stop() => Some(signal),
            }
        })
    }
}

/// Opens the engine. A signal to stop meanwhile calls `leave`, which ends the process: nothing was
/// acknowledged yet, and recovery may be cut off at any point.
pub(super) fn open(
    config: &ServeConfig,
    view: Option<NodeView>,
    mut watch: Watch,
    leave: impl FnOnce(&'static str) + Send + 'static,
) -> Result<(Running, Watch), ServeError> {
    let (opening, opened) = oneshot::channel();
    let watching = move || {
        if let Some(signal) = watch.until(opened) {
            leave(signal);
        }
        watch
    };
    let watching = thread::Builder::new().name("jeton-signals".to_owned()).spawn(watching)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let progress = Recovery::new(clock.clone());
    let running = Running::start(config, clock, view, &progress);
    progress.finish();
    drop(opening);
    let watch = watching.join().map_err(|_| io::Error::other("the thread of signals panicked"))?;
    Ok((running?, watch))
}

/// Shows the progress of recovery: a bar on a terminal, otherwise a log line per interval.
struct Recovery {
    bar: Option<ProgressBar>,
    clock: Arc<dyn Clock>,
    said: Mutex<Duration>,
}

impl Recovery {
    fn new(clock: Arc<dyn Clock>) -> Self {
        let bar = io::stderr().is_terminal().then(|| bar("recovering"));
        Self { bar, said: Mutex::new(clock.monotonic()), clock }
    }

    fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// True once per [`PROGRESS_PERIOD`].
    fn is_time(&self) -> bool {
        let now = self.clock.monotonic();
        let Ok(mut said) = self.said.lock() else {
            return false;
        };
        let is_time = now.saturating_sub(*said) >= PROGRESS_PERIOD;
        if is_time {
            *said = now;
        }
        is_time
    }
}

impl Progress for Recovery {
    fn advance(&self, done: u64, all: u64) {
        match &self.bar {
            Some(bar) => {
                bar.set_length(all);
                bar.set_position(done);
            }
            None if self.is_time() => {
                tracing::info!(done = %HumanBytes(done), all = %HumanBytes(all), "recovering");
            }
            None => (),
        }
    }
}
