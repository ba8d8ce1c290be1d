//! Shutdown of a server: which signals start it, and which end the delay or the drain early.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::fresh::Fresh;
use super::servers::Servers;
use crate::clock::Clock;

/// Interval between checks whether the keys file or the certificate has changed.
const FRESH_LOOK: Duration = Duration::from_secs(1);
/// A SIGINT within this time after a SIGTERM counts as the same request to stop: some supervisors
/// send both.
const ONE_STOP: Duration = Duration::from_millis(500);

/// The signals that a server handles.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    clock: Arc<dyn Clock>,
    impatience: Impatience,
}

/// Decides whether a signal is a second request to stop. It ends the delay before the drain. The
/// drain itself is ended by a SIGINT alone: some supervisors repeat SIGTERM.
#[derive(Debug, Default)]
struct Impatience {
    terminated_at: Option<Duration>,
}

impl Impatience {
    fn terminate(&mut self, now: Duration) {
        self.terminated_at = Some(now);
    }

    /// Whether a signal is another request to stop than the last SIGTERM.
    fn counts(&self, now: Duration) -> bool {
        self.terminated_at.is_none_or(|at| now.saturating_sub(at) >= ONE_STOP)
    }
}

impl Signals {
    /// Installs the handlers: from now on these signals do not end the process. Must be called
    /// within a runtime.
    pub(super) fn new(clock: Arc<dyn Clock>) -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            clock,
            impatience: Impatience::default(),
        })
    }

    /// Waits for a signal to stop the server, while nothing else is done at signals.
    pub(super) async fn early_stop(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }

    /// Waits for `delay`, or for a second signal to stop the server. Meanwhile changed files are
    /// reloaded.
    pub(super) async fn linger(&mut self, delay: Duration, fresh: &mut Fresh) {
        let mut over = pin!(tokio::time::sleep(delay));
        loop {
            let counts = |impatience: &Impatience| impatience.counts(self.clock.monotonic());
            let signal = tokio::select! {
                () = &mut over => return,
                _ = self.terminate.recv() => {
                    let ends = counts(&self.impatience);
                    self.impatience.terminate(self.clock.monotonic());
                    ends.then_some("SIGTERM")
                }
                _ = self.interrupt.recv() => counts(&self.impatience).then_some("SIGINT"),
                _ = self.hangup.recv() => {
                    fresh.read();
                    None
                }
                () = tokio::time::sleep(FRESH_LOOK) => {
                    fresh.look();
                    None
                }
            };
            if let Some(signal) = signal {
                tracing::info!(signal, "second signal: the delay ends early");
                return;
            }
        }
    }

    /// Waits for a signal to stop the server. Meanwhile changed files are reloaded.
    pub(super) async fn stop(&mut self, fresh: &mut Fresh) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => {
                    self.impatience.terminate(self.clock.monotonic());
                    return "SIGTERM";
                }
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.hangup.recv() => fresh.read(),
                () = tokio::time::sleep(FRESH_LOOK) => fresh.look(),
            }
        }
    }

    /// Stops `servers`: waits until the requests in flight are answered, or for a second SIGINT.
    pub(super) async fn drain(&mut self, servers: Servers) -> io::Result<()> {
        let end_drain = servers.end_drain();
        let mut stopping = tokio::task::spawn_blocking(|| servers.stop());
        loop {
            tokio::select! {
                stopped = &mut stopping => {
                    let panicked = |_| Err(io::Error::other("stopping the workers panicked"));
                    return stopped.unwrap_or_else(panicked);
                }
                _ = self.terminate.recv() => self.impatience.terminate(self.clock.monotonic()),
                _ = self.interrupt.recv() => {
                    if self.impatience.counts(self.clock.monotonic()) {
                        tracing::info!("second SIGINT: the drain ends early");
                        end_drain.end();
                    }
                }
                _ = self.hangup.recv() => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupt_ends_the_drain_but_not_right_behind_a_terminate() {
        let at = Duration::from_millis;
        let mut impatience = Impatience::default();
        assert!(impatience.counts(at(0)), "a second interrupt");
        impatience.terminate(at(1_000));
        assert!(!impatience.counts(at(1_000)));
        assert!(!impatience.counts(at(1_499)));
        assert!(impatience.counts(at(1_500)));
        impatience.terminate(at(2_000));
        assert!(!impatience.counts(at(2_100)), "this interrupt belongs to the second terminate");
    }
}
