//! How a server is stopped: which signals begin it, and which one hurries it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::fresh::Fresh;
use crate::clock::Clock;
use crate::http::Server;

/// How often it is looked whether the keys file or the certificate has changed.
const FRESH_LOOK: Duration = Duration::from_secs(1);
/// A SIGINT within this time after a SIGTERM belongs to it: some supervisors send both.
const ONE_STOP: Duration = Duration::from_millis(500);

/// The signals that a server listens to.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    clock: Arc<dyn Clock>,
    impatience: Impatience,
}

/// Decides whether a signal ends the drain: a SIGINT that is not the first signal does. A repeated
/// SIGTERM does not: supervisors send it again and again.
#[derive(Debug, Default)]
struct Impatience {
    terminated_at: Option<Duration>,
}

impl Impatience {
    fn terminate(&mut self, now: Duration) {
        self.terminated_at = Some(now);
    }

    fn interrupt_counts(&self, now: Duration) -> bool {
        self.terminated_at.is_none_or(|at| now.saturating_sub(at) >= ONE_STOP)
    }
}

impl Signals {
    /// From now on the signals do not end the process. Must be called within a runtime.
    pub(super) fn new(clock: Arc<dyn Clock>) -> io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            clock,
            impatience: Impatience::default(),
        })
    }

    /// Waits until a signal stops the server; meanwhile what it has read is kept fresh.
    pub(super) async fn stop(&mut self, mut fresh: Fresh) -> &'static str {
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

    /// Stops `server`: waits until what is in flight is finished, or a second SIGINT.
    pub(super) async fn drain(&mut self, server: Server) -> io::Result<()> {
        let end_drain = server.end_drain();
        let mut stopping = tokio::task::spawn_blocking(|| server.stop());
        loop {
            tokio::select! {
                stopped = &mut stopping => {
                    let panicked = |_| Err(io::Error::other("stopping the workers panicked"));
                    return stopped.unwrap_or_else(panicked);
                }
                _ = self.terminate.recv() => self.impatience.terminate(self.clock.monotonic()),
                _ = self.interrupt.recv() => {
                    if self.impatience.interrupt_counts(self.clock.monotonic()) {
                        tracing::info!("a second SIGINT ends the drain");
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
        assert!(impatience.interrupt_counts(at(0)), "a second interrupt");
        impatience.terminate(at(1_000));
        assert!(!impatience.interrupt_counts(at(1_000)));
        assert!(!impatience.interrupt_counts(at(1_499)));
        assert!(impatience.interrupt_counts(at(1_500)));
        impatience.terminate(at(2_000));
        assert!(
            !impatience.interrupt_counts(at(2_100)),
            "that one belongs to the second terminate"
        );
    }
}
