//! The engine: the only place where memory and disk meet.
//!
//! Any thread reads the store directly. Changes go through a bounded queue to the committer, which
//! writes them to the log, makes them durable, applies them in log order and wakes the waiters.
//!
//! # Reading order
//!
//! | module | what |
//! |---|---|
//! | `op`, `config`, `stats` | operations, configuration, statistics |
//! | [`state`] | the effects of records: the only `apply`, and the accounting of all entries |
//! | `handle`, `read`, `caller`, `limits` | the engine's interface for callers; what a call may have |
//! | `mailbox`, `batch`, `job` | the path of calls to the committer and of outcomes back |
//! | `committer`, `seat` | the committer's loop; who has its state |
//! | `admission`, `frame`, `sequencer`, `journal` | admission to a frame; the frame; its way into the log |
//! | `overlay`, `groups`, `together` | the state after the frame's records; operations performed together |
//! | `clustered`, `replicated` | the committer of a cluster's node; what all nodes know alike |
//! | `maintenance`, `expiry`, `cleaning`, `clocks`, `gauges`, `detail` | the work between frames |
//! | `refusal` | what changes nothing |
//! | `health`, `quota`, `shared` | state that all threads read |
//! | `backup` | the log at one moment, read while it is written |
//! | `recovery` | the start of an engine, and other readers of a log |

mod admission;
mod applying;
mod backup;
mod batch;
mod caller;
mod cleaning;
mod clocks;
#[doc(hidden)]
pub mod clustered;
mod committer;
mod config;
mod detail;
mod expiry;
mod frame;
mod gauges;
mod groups;
mod handle;
mod health;
mod job;
mod journal;
mod limits;
mod mailbox;
mod maintenance;
mod op;
mod overlay;
mod quota;
mod read;
mod recovery;
mod refusal;
#[doc(hidden)]
pub mod replicated;
mod seat;
mod sequencer;
mod shared;
#[doc(hidden)]
pub mod state;
mod stats;
#[cfg(feature = "testkit")]
#[doc(hidden)]
pub mod stepped;
#[cfg(test)]
mod tests;
mod together;

pub use backup::{Backup, BackupError, BackupFile, BackupHead, STALLED_AFTER};
pub use caller::Caller;
pub use config::{CLOCK_HOLD_MAX, CLOCK_STEP_LIMITS, Config, MAX_TTL_MAX, QUEUE_LEN_MAX, SyncMode};
pub use detail::{Detail, LogPart};
pub use handle::Engine;
pub use health::NotReady;
pub use job::CloseError;
#[cfg(feature = "server")]
pub(crate) use job::Here;
pub use mailbox::Pending;
pub use op::{DeadlineWhen, Op, Outcome, Put, Rejected, When};
pub use quota::{Quota, Quotas};
pub use read::{Existing, Introspected, Status};
pub use recovery::{
    NoProgress, OpenError, Progress, SECRET_FILE_NAME, SecretError, ShiftError, Shifted,
    StoppedNode, Verified, VerifiedNode, read_secret, shift_on, shift_time, stopped_node, tags_at,
    verify, verify_on,
};
pub use state::Holding;
pub use stats::{LogStats, Stats};
