//! What passes by itself, and for how long it is waited for.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::failure::{ImportError, Side};
use super::link::Reply;
use super::place::Place;
use crate::clock::{Clock, SystemClock};

/// Maximum time in which a server makes no progress.
const WITHIN: Duration = Duration::from_secs(60);
/// Pause before the next try.
const PAUSE: Duration = Duration::from_millis(200);

/// Why something did not work.
pub(super) enum Hitch {
    Io(io::Error),
    /// A code of an error that passes, and the seconds to wait, if it says so.
    Later(String, Option<u64>),
    Fatal(ImportError),
}

impl From<io::Error> for Hitch {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Hitch {
    /// An error of the source. Its text may repeat what was sent, so only its code is shown.
    pub(super) fn check(reply: &Reply, command: &'static str) -> Result<(), Self> {
        let Some(code) = reply.code() else { return Ok(()) };
        if matches!(code, "LOADING" | "MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN" | "BUSY") {
            return Err(Self::Later(code.to_owned(), None));
        }
        let hint = match code {
            "NOAUTH" => "it wants a password: --password-file, or REDISCLI_AUTH",
            "NOPERM" => "its user may not: import needs INFO, SCAN, STRLEN, GET, PTTL, MULTI, EXEC",
            "ERR" => "is it Redis or Valkey?",
            _ => "see its documentation",
        };
        let is_code = code.len() <= 20 && code.bytes().all(|byte| byte.is_ascii_uppercase());
        let code = if is_code { code } else { "an error" }.to_owned();
        Err(Self::Fatal(ImportError::Refused { side: Side::Source, command, code, hint }))
    }

    /// The failure of the first connection.
    pub(super) fn of_connecting(self, place: &Place) -> ImportError {
        let side = Side::Source;
        match self {
            Self::Io(source) => ImportError::Connect { side, place: place.to_string(), source },
            Self::Later(code, _) => {
                let hint = "it is not ready: try again";
                ImportError::Refused { side, command: "INFO", code, hint }
            }
            Self::Fatal(error) => error,
        }
    }
}

/// A clock, and whether the import is to stop.
#[derive(Clone)]
pub(super) struct Patience {
    clock: Arc<SystemClock>,
    is_stopping: Arc<AtomicBool>,
}

impl Patience {
    pub(super) fn new(is_stopping: Arc<AtomicBool>) -> Self {
        Self { clock: Arc::new(SystemClock::new()), is_stopping }
    }

    /// Time that never runs backwards, and goes on while the machine sleeps.
    pub(super) fn now(&self) -> Duration {
        self.clock.forward()
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Relaxed)
    }

    /// Sleeps, unless the import is to stop.
    pub(super) fn sleep(&self, time: Duration) -> Result<(), ImportError> {
        let end = self.now() + time;
        while let Some(left) = end.checked_sub(self.now()).filter(|left| !left.is_zero()) {
            if self.is_stopping() {
                return Err(ImportError::Stopped);
            }
            std::thread::sleep(left.min(PAUSE));
        }
        Ok(())
    }

    /// Begins to try something on one side.
    pub(super) fn begin(&self, side: Side) -> Wait {
        Wait { patience: self.clone(), side, since: None }
    }
}

/// Tries of one thing.
pub(super) struct Wait {
    patience: Patience,
    side: Side,
    /// The first failure since something worked.
    since: Option<Duration>,
}

impl Wait {
    /// Something worked.
    pub(super) fn reset(&mut self) {
        self.since = None;
    }

    /// Waits before the next try.
    ///
    /// # Errors
    /// The failure does not pass, or has not passed in time; or the import is to stop.
    pub(super) fn after(&mut self, hitch: Hitch) -> Result<(), ImportError> {
        let (source, pause) = match hitch {
            Hitch::Fatal(error) => return Err(error),
            Hitch::Io(error) => (error, PAUSE),
            Hitch::Later(code, seconds) => {
                let pause = seconds.map_or(PAUSE, Duration::from_secs).min(WITHIN / 2);
                (io::Error::other(code), pause)
            }
        };
        let now = self.patience.now();
        let since = *self.since.get_or_insert(now);
        if now.saturating_sub(since) >= WITHIN {
            return Err(ImportError::Lost { side: self.side, source, within: WITHIN });
        }
        self.patience.sleep(pause)
    }
}
