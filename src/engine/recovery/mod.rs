//! Recovery and other offline readings of a log.
//!
//! `open` starts an engine on an existing log or on a new one. `replay` reads the log in order,
//! `rebuild` makes entries from its records. `census` counts live tokens (`jeton verify`), `shift`
//! shifts the times of a log that is ahead of the clock (`jeton shift-time`), `stopped` reads where the
//! log of a cluster's node ends (`jeton cluster reseed`).

mod census;
mod error;
mod open;
mod progress;
mod rebuild;
mod replay;
mod secret;
mod shift;
mod since;
mod stopped;
mod verified;

pub(super) use census::log_key;
pub use census::{verify, verify_on};
pub use error::OpenError;
#[cfg(feature = "testkit")]
pub(super) use open::with_storage;
pub(super) use open::{Recovered, Role, open};
pub use progress::{NoProgress, Progress};
pub use secret::{SECRET_FILE_NAME, SecretError, read as read_secret};
pub use shift::{ShiftError, Shifted, shift_on, shift_time};
pub use since::tags_at;
pub use stopped::{StoppedNode, stopped_node};
pub use verified::{Verified, VerifiedNode};

#[cfg(test)]
pub(super) use {
    census::take,
    rebuild::{Rebuilt, rebuild, rebuild_plainly},
};
