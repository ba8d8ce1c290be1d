//! What a start does before it serves: the program of the secret, recovery and its progress, and the
//! signals that end either.
//!
//! The handlers stand before both: without one, the kernel discards a SIGTERM to the
//! first process of a container, which would then go on to serve.

use std::io::{self, IsTerminal};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use indicatif::{HumanBytes, ProgressBar};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::time::interval;

use super::node::Running;
use super::progress::bar;
use super::secret_command::SecretCommandError;
use super::serve_error::ServeError;
use super::service_manager;
use super::settings::ServeConfig;
use super::stop::Signals;
use crate::clock::{Clock, SystemClock};
use crate::cluster::node::{NodeView, Word};
use crate::engine::Progress;
use crate::http::admin;

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

    /// Does `work`, while the service manager is told the `status`. If a signal to stop the server comes
    /// meanwhile, another thread calls `leave`.
    fn during<T>(
        mut self,
        status: impl Fn() -> String + Send + 'static,
        leave: impl FnOnce(&'static str) + Send + 'static,
        work: impl FnOnce() -> T,
    ) -> io::Result<(T, Self)> {
        let (working, worked) = oneshot::channel();
        let watching = move || {
            if let Some(signal) = self.until(worked, status) {
                leave(signal);
            }
            self
        };
        let watching = thread::Builder::new().name("jeton-signals".to_owned()).spawn(watching)?;
        let done = work();
        drop(working);
        let watch = watching.join();
        Ok((done, watch.map_err(|_| io::Error::other("the thread of signals panicked"))?))
    }

    /// Waits until the sender of `worked` is gone, or for a signal to stop the server, which it
    /// returns. Meanwhile the service manager is told the `status`.
    fn until(
        &mut self,
        worked: oneshot::Receiver<()>,
        status: impl Fn() -> String,
    ) -> Option<&'static str> {
        let Self { runtime, signals } = self;
        let telling = async {
            let mut times = interval(service_manager::RECOVERY_PERIOD);
            loop {
                times.tick().await;
                service_manager::starting(&status());
            }
        };
        runtime.block_on(async {
            tokio::select! {
                // The first status is sent even if the start ends at once.
                biased;
                () = telling => None,
                signal = signals.early_stop() => Some(signal),
                _ = worked => None,
            }
        })
    }
}

/// Opens the engine. A signal to stop meanwhile calls `leave`, which ends the process: nothing was
/// acknowledged yet, and recovery may be cut off at any point.
pub(super) fn open(
    config: &ServeConfig,
    view: Option<NodeView>,
    recovery: Arc<admin::Recovery>,
    watch: Watch,
    leave: impl FnOnce(&'static str) + Send + 'static,
) -> Result<(Running, Watch), ServeError> {
    let (node, told) = (view.clone(), recovery.clone());
    let status = move || match node.as_ref().map(NodeView::standing) {
        None | Some((Word::Recovering, _)) => format!("recovering: {told}"),
        Some((word, sentence)) => format!("{}: {sentence}", word.name()),
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let progress = Shown::new(clock.clone(), recovery);
    let (running, watch) = watch.during(status, leave, || {
        let running = Running::start(config, clock, view, &progress);
        progress.finish();
        running
    })?;
    Ok((running?, watch))
}

/// Gets the secret of `--secret-command`, if there is one. Returns `None` if a signal to stop came
/// meanwhile; the program is killed then.
pub(super) fn with_secret(
    config: &mut ServeConfig,
    watch: Watch,
) -> Result<Option<Watch>, ServeError> {
    let is_stopped = Arc::new(AtomicBool::new(false));
    if config.secret_command.is_none() {
        // There is nothing to wait for, and nothing to tell.
        config.load_secret(&SystemClock::new(), &is_stopped)?;
        return Ok(Some(watch));
    }
    let stop = is_stopped.clone();
    let status = || "waiting for the secret".to_owned();
    let leave = move |signal| {
        tracing::info!(signal, "stopped before the server was ready");
        stop.store(true, Ordering::Relaxed);
    };
    let (loaded, watch) =
        watch.during(status, leave, || config.load_secret(&SystemClock::new(), &is_stopped))?;
    match loaded {
        Ok(()) => Ok(Some(watch)),
        Err(SecretCommandError::Stopped) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Shows the progress of recovery: a bar on a terminal, otherwise a log line per interval.
struct Shown {
    /// What others see of it.
    recovery: Arc<admin::Recovery>,
    bar: Option<ProgressBar>,
    clock: Arc<dyn Clock>,
    said: Mutex<Duration>,
}

impl Shown {
    fn new(clock: Arc<dyn Clock>, recovery: Arc<admin::Recovery>) -> Self {
        let bar = io::stderr().is_terminal().then(|| bar("recovering"));
        Self { recovery, bar, said: Mutex::new(clock.monotonic()), clock }
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

impl Progress for Shown {
    fn advance(&self, done: u64, all: u64) {
        self.recovery.advance(done, all);
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
