//! How an engine is set up.

use std::path::PathBuf;
use std::time::Duration;

use crate::clock::ClockRules;
use crate::model::entry::{PAYLOAD_LEN_MAX, USES_MAX};
use crate::model::record::carry_len;
use crate::model::setting::SettingError;
use crate::permissions::Strictness;
use crate::wal;

/// When what was written is made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncMode {
    /// Before it is acknowledged: it survives a power cut (promise P1).
    Always,
    /// At most this long after it was acknowledged: a power cut loses at most that much time.
    /// A killed process loses nothing.
    Every(Duration),
    /// When a segment is full, when the engine is closed, and when the operating system likes.
    Never,
}

/// How an engine is set up.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the log and the secret are; nothing is written to disk without one.
    pub data_dir: Option<PathBuf>,
    /// The secret, in place of `secret.key` in the data directory. It must exist.
    pub secret_file: Option<PathBuf>,
    /// What is done about a data directory, a log or a secret that others may read or write.
    pub permissions: Strictness,
    /// Tokens and references of one namespace are unknown in every other.
    pub namespace: String,
    /// When what was written is made durable.
    pub sync: SyncMode,
    /// Issues, and consumes with a key that leave their token alive, are refused when the entries
    /// take more memory than this, in bytes; nothing is ever evicted. The key of a last use is kept
    /// all the same: 32 bytes more, rounded up to the allocator's size class. No limit without one.
    pub max_memory_bytes: Option<u64>,
    /// How long a consumed token that was issued without reference or key and consumed without key
    /// is remembered, so that it counts as a replay when it is presented again; never beyond its
    /// deadline, or the freeing of the segment of the log that says it was consumed. 0 to ten years.
    pub remember_consumed: Duration,
    /// The longest life of a token from its issue on, extensions included.
    pub max_ttl: Duration,
    /// Forward steps of the wall clock up to this are believed at once; 100 ms to 1 h.
    pub max_clock_step: Duration,
    /// How long a larger step must persist before it is followed; 0 to 24 h.
    pub clock_hold: Duration,
    /// An operator says that the wall clock is right: every possible step is followed at once.
    pub believe_clock: bool,
    /// Calls that may wait for the committer; one more is refused. 1 to 1,048,576.
    pub queue_len: usize,
    /// Threads that read the log at the start. 0: as many as there are cores.
    pub recovery_threads: usize,
    /// Lets the allocator give memory back to the system: called by the committer, which calls wait
    /// for, after every 50,000 entries that it has freed, and once after recovery by a thread of
    /// its own. `None`: the allocator gives it back when it likes.
    pub give_memory_back: Option<fn()>,
    /// Sizes of the log.
    pub wal: wal::Config,
}

/// The longest life that can be allowed: ten years of 365 days.
pub const MAX_TTL_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3_600);
/// What may be set as the largest step of the clock that is believed at once: less would take a
/// slewed clock for a stepped one.
pub const CLOCK_STEP_LIMITS: (Duration, Duration) =
    (Duration::from_millis(100), Duration::from_secs(3_600));
/// The longest that a step of the clock can be held.
pub const CLOCK_HOLD_MAX: Duration = Duration::from_secs(24 * 3_600);
/// The most calls that may be allowed to wait.
pub const QUEUE_LEN_MAX: usize = 1 << 20;
/// The longest name of a namespace, in bytes.
pub const NAMESPACE_LEN_MAX: usize = 64;

impl Default for Config {
    fn default() -> Config {
        Config {
            data_dir: None,
            secret_file: None,
            permissions: Strictness::Warn,
            namespace: "default".to_owned(),
            sync: SyncMode::Always,
            max_memory_bytes: None,
            remember_consumed: Duration::from_secs(15 * 60),
            max_ttl: Duration::from_secs(30 * 24 * 3_600),
            max_clock_step: ClockRules::default().max_step,
            clock_hold: ClockRules::default().hold,
            believe_clock: false,
            queue_len: 8_192,
            recovery_threads: 0,
            give_memory_back: None,
            wal: wal::Config::default(),
        }
    }
}

impl Config {
    /// An engine that keeps nothing on disk.
    #[must_use]
    pub fn memory_only() -> Config {
        Config::default()
    }

    /// An engine with its log in `data_dir`.
    #[must_use]
    pub fn at(data_dir: impl Into<PathBuf>) -> Config {
        Config { data_dir: Some(data_dir.into()), ..Config::default() }
    }

    /// When the wall clock is believed.
    pub(crate) fn clock_rules(&self) -> ClockRules {
        ClockRules {
            max_step: self.max_clock_step,
            hold: self.clock_hold,
            max_ttl: self.max_ttl,
            believes_wall: self.believe_clock,
        }
    }

    /// The longest payload that can be issued, in bytes: an entry must fit in a frame of the log
    /// also when it is carried, with an idempotency key for every use it can have.
    #[must_use]
    pub fn payload_len_max(&self) -> usize {
        // Smaller segments than may be configured are for tests, which issue what fits.
        if self.data_dir.is_none() || self.wal.segment_size < wal::config::SEGMENT_SIZE_MIN {
            return PAYLOAD_LEN_MAX;
        }
        let frame_len_max = self.wal.frame_len_max() as usize - wal::FRAME_HEADER_LEN;
        frame_len_max.saturating_sub(carry_len(0, USES_MAX as usize)).min(PAYLOAD_LEN_MAX)
    }

    /// All mistakes in it, each with its limits; none for a good one.
    #[must_use]
    pub fn mistakes(&self) -> Vec<SettingError> {
        let mut mistakes = Vec::new();
        let mut unless = |is_right: bool, setting: &'static str, text: String| {
            if !is_right {
                mistakes.push(SettingError::new(setting, text));
            }
        };
        let ttl_is_right = (Duration::from_millis(1)..=MAX_TTL_MAX).contains(&self.max_ttl);
        unless(ttl_is_right, "max-ttl", "must be from 1ms to 3650d".to_owned());
        let is_remembered = self.remember_consumed <= MAX_TTL_MAX;
        unless(is_remembered, "remember-consumed", "must be from 0s to 3650d".to_owned());
        let (least, most) = CLOCK_STEP_LIMITS;
        let step_is_right = (least..=most).contains(&self.max_clock_step);
        unless(step_is_right, "max-clock-step", "must be from 100ms to 1h".to_owned());
        let hold_is_right = self.clock_hold <= CLOCK_HOLD_MAX;
        unless(hold_is_right, "clock-hold", "must be from 0s to 24h".to_owned());
        let queue_is_right = (1..=QUEUE_LEN_MAX).contains(&self.queue_len);
        unless(queue_is_right, "queue", format!("must be from 1 to {QUEUE_LEN_MAX}"));
        let sync_is_right =
            !matches!(self.sync, SyncMode::Every(period) if period < Duration::from_millis(1));
        let sync_form = "must be always, never or a duration of at least 1ms";
        unless(sync_is_right, "sync", sync_form.to_owned());
        let namespace = self.namespace.as_bytes();
        let is_named =
            (1..=NAMESPACE_LEN_MAX).contains(&namespace.len()) && !namespace.contains(&0);
        let namespace_form = format!("must have 1 to {NAMESPACE_LEN_MAX} bytes, none zero");
        unless(is_named, "namespace", namespace_form);
        if self.data_dir.is_some() {
            mistakes.extend(self.wal.mistakes());
        }
        mistakes
    }
}
