//! What the service manager is told: the protocol of systemd's `sd_notify`.
//!
//! A service of `Type=notify` counts as started when the server is ready, and as reloading while
//! files are read again. With `WatchdogSec=` the manager restarts a server that no longer works: the
//! sign of life is sent only while the committer and every worker go on. Without `NOTIFY_SOCKET`
//! nothing is sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sd_notify::NotifyState;

/// How long recovery may go on after each message about it. The limit of the service manager counts
/// for a start that sends none.
const LONGER: Duration = Duration::from_secs(60);
/// Interval of messages about recovery.
pub(super) const RECOVERY_PERIOD: Duration = Duration::from_secs(5);

/// Sends a message. Nobody waits for its effect, so a failure is only logged.
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager can't be notified");
    }
}

fn longer(time: Duration) -> NotifyState<'static> {
    NotifyState::ExtendTimeoutUsec(u32::try_from(time.as_micros()).unwrap_or(u32::MAX))
}

/// The server is not ready yet; `status` says why. To be repeated each [`RECOVERY_PERIOD`].
pub(super) fn starting(status: &str) {
    tell(&[NotifyState::Status(status), longer(LONGER)]);
}

/// The server is ready.
pub(super) fn ready() {
    tell(&[NotifyState::Ready, NotifyState::Status("ready")]);
}

/// Files are read again. To be followed by [`ready`].
pub(super) fn reloading() {
    // Before version 253 the time is not needed.
    let now = NotifyState::monotonic_usec_now();
    let states = [Some(NotifyState::Reloading), now.ok()];
    tell(&states.into_iter().flatten().collect::<Vec<_>>());
}

/// The server is stopping, and still serves for `delay`.
pub(super) fn stopping(delay: Duration) {
    let status = "draining: the server is shutting down";
    tell(&[NotifyState::Stopping, NotifyState::Status(status), longer(delay + LONGER)]);
}

/// Threads of a server that must go on.
pub(super) struct Vitals<C, W> {
    /// A number that the committer changes.
    pub(super) committer: C,
    /// A number for each worker, which it changes.
    pub(super) workers: W,
    /// Whether the workers end.
    pub(super) is_stopping: Arc<AtomicBool>,
}

impl<C: Fn() -> u64, W: Fn() -> Vec<u64>> Vitals<C, W> {
    fn read(&self) -> Vec<u64> {
        let workers =
            if self.is_stopping.load(Ordering::Acquire) { Vec::new() } else { (self.workers)() };
        std::iter::once((self.committer)()).chain(workers).collect()
    }

    /// Sends signs of life while all threads go on, if the service manager waits for them.
    pub(super) async fn watch(self) {
        let Some(limit) = sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero()) else {
            return;
        };
        let mut pulse = Pulse(self.read());
        loop {
            tokio::time::sleep(limit / 4).await;
            if pulse.is_felt(self.read()) {
                tell(&[NotifyState::Watchdog]);
            } else {
                tracing::debug!("the committer or a worker has not moved: no sign of life is sent");
            }
        }
    }
}

/// The numbers of all threads when all of them had last changed.
struct Pulse(Vec<u64>);

impl Pulse {
    /// Whether all threads have moved since this was last so. Threads that have ended do not count.
    fn is_felt(&mut self, now: Vec<u64>) -> bool {
        let is_felt = self.0.iter().zip(&now).all(|(before, now)| before != now);
        if is_felt {
            self.0 = now;
        }
        is_felt
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p8_one_thread_that_stands_still_is_enough() {
        let mut pulse = Pulse(vec![0, 0, 0]);
        assert!(pulse.is_felt(vec![1, 1, 1]));
        assert!(!pulse.is_felt(vec![2, 1, 2]), "a worker");
        assert!(!pulse.is_felt(vec![2, 1, 3]));
        assert!(pulse.is_felt(vec![2, 2, 3]), "it moves again");
        assert!(!pulse.is_felt(vec![2, 3, 4]), "the committer");
    }

    /// The interval may be shorter than that in which a thread moves.
    #[test]
    fn threads_that_move_at_different_times_move() {
        let mut pulse = Pulse(vec![0, 0]);
        assert!(!pulse.is_felt(vec![1, 0]));
        assert!(pulse.is_felt(vec![1, 1]));
    }

    #[test]
    fn while_the_workers_end_the_committer_alone_counts() {
        let is_stopping = Arc::new(AtomicBool::new(false));
        let vitals =
            Vitals { committer: || 1, workers: || vec![2, 3], is_stopping: is_stopping.clone() };
        assert_eq!(vitals.read(), [1, 2, 3]);
        is_stopping.store(true, Ordering::Release);
        assert_eq!(vitals.read(), [1]);
        assert!(Pulse(vec![0, 2, 3]).is_felt(vitals.read()));
    }
}
