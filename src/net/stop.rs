//! How the workers of a server are stopped.

use tokio::sync::watch;

/// How far stopping is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    No,
    /// What is in flight is finished first.
    Drained,
    AtOnce,
}

/// Ends the drain of a server that is being stopped.
pub struct EndDrain(pub(crate) watch::Sender<Stop>);

impl EndDrain {
    /// Requests in flight are no longer waited for. Does nothing once the workers have ended.
    pub fn end(&self) {
        self.0.send_replace(Stop::AtOnce);
    }
}

/// Begins a drain. One that was ended before it began stays so.
pub(crate) fn begin_drain(stop: &watch::Sender<Stop>) {
    stop.send_if_modified(|stop| {
        let begins = *stop == Stop::No;
        if begins {
            *stop = Stop::Drained;
        }
        begins
    });
}
