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
/// A signal within this time after another one counts as the same request to stop, unless both are
/// a SIGINT: some supervisors send both kinds, or repeat SIGTERM.
const ONE_STOP: Duration = Duration::from_millis(500);

/// The signals that a server handles.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    clock: Arc<dyn Clock>,
    impatience: Impatience,
}

/// Decides whether a signal is a further request to stop. Either kind ends the delay before the
/// drain. The drain itself is ended by a SIGINT alone: a supervisor may repeat SIGTERM until the
/// process has ended.
#[derive(Debug, Default)]
struct Impatience {
    terminated_at: Option<Duration>,
    interrupted_at: Option<Duration>,
}

impl Impatience {
    /// A SIGTERM: whether it is another request than each signal before it.
    fn terminate(&mut self, now: Duration) -> bool {
        let counts = is_over(self.terminated_at, now) && is_over(self.interrupted_at, now);
        self.terminated_at = Some(now);
        counts
    }

    /// A SIGINT: whether it is another request than the last SIGTERM.
    fn interrupt(&mut self, now: Duration) -> bool {
        self.interrupted_at = Some(now);
        is_over(self.terminated_at, now)
    }
}

fn is_over(signal_at: Option<Duration>, now: Duration) -> bool {
    signal_at.is_none_or(|at| now.saturating_sub(at) >= ONE_STOP)
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
            let signal = tokio::select! {
                () = &mut over => return,
                _ = self.terminate.recv() => self.terminate(),
                _ = self.interrupt.recv() => self.interrupt(),
                _ = self.hangup.recv() => {
                    fresh.read_quietly();
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
                    self.terminate();
                    return "SIGTERM";
                }
                _ = self.interrupt.recv() => {
                    self.interrupt();
                    return "SIGINT";
                }
                _ = self.hangup.recv() => fresh.read(),
                () = tokio::time::sleep(FRESH_LOOK) => fresh.look(),
            }
        }
    }

    /// Notes a SIGTERM. Returns its name if it is a further request to stop.
    fn terminate(&mut self) -> Option<&'static str> {
        self.impatience.terminate(self.clock.monotonic()).then_some("SIGTERM")
    }

    /// Notes a SIGINT. Returns its name if it is a further request to stop.
    fn interrupt(&mut self) -> Option<&'static str> {
        self.impatience.interrupt(self.clock.monotonic()).then_some("SIGINT")
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
                _ = self.terminate.recv() => {
                    self.terminate();
                }
                _ = self.interrupt.recv() => {
                    if self.interrupt().is_some() {
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
    fn an_interrupt_counts_but_not_right_behind_a_terminate() {
        let at = Duration::from_millis;
        let mut impatience = Impatience::default();
        assert!(impatience.interrupt(at(0)));
        assert!(impatience.interrupt(at(10)), "a second interrupt");
        impatience.terminate(at(1_000));
        assert!(!impatience.interrupt(at(1_000)));
        assert!(!impatience.interrupt(at(1_499)));
        assert!(impatience.interrupt(at(1_500)));
        impatience.terminate(at(2_000));
        assert!(!impatience.interrupt(at(2_100)), "this interrupt belongs to the second terminate");
    }

    #[test]
    fn a_terminate_counts_but_not_right_behind_another_signal() {
        let at = Duration::from_millis;
        let mut impatience = Impatience::default();
        impatience.interrupt(at(1_000));
        assert!(!impatience.terminate(at(1_499)), "it belongs to the interrupt");
        assert!(!impatience.terminate(at(1_600)), "it is repeated");
        assert!(impatience.terminate(at(2_100)));
        impatience.interrupt(at(3_000));
        assert!(impatience.terminate(at(3_500)));
    }
}
