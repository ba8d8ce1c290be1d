//! Configuration of an engine.

use std::path::PathBuf;
use std::time::Duration;

use crate::clock::ClockRules;
use crate::model::entry::{PAYLOAD_LEN_MAX, USES_MAX};
use crate::model::record::carry_len;
use crate::model::setting::SettingError;
use crate::model::text::duration_text;
use crate::model::token::Secret;
use crate::permissions::Strictness;
use crate::wal;

/// When changes are made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncMode {
    /// Before they are acknowledged: they survive a power cut (promise P1).
    Always,
    /// At most this long after they are acknowledged: a power cut loses at most the changes of that
    /// time. A killed process loses nothing.
    Every(Duration),
    /// When a segment is full, when the engine is closed, and when the operating system writes
    /// them.
    Never,
}

/// Configuration of an engine.
#[derive(Clone, Debug)]
pub struct Config {
    /// Directory of the log and the secret; `None`: the engine writes nothing to disk.
    pub data_dir: Option<PathBuf>,
    /// File of the secret, instead of `secret.key` in the data directory. It must exist.
    pub secret_file: Option<PathBuf>,
    /// The secret, if the caller has it, for example from another program. It takes the place of a
    /// file, and none is made.
    pub secret: Option<Secret>,
    /// Whether to refuse a data directory, a log or a secret that other users may read or write.
    pub permissions: Strictness,
    /// Tokens and references of one namespace are unknown in every other.
    pub namespace: String,
    /// When changes are made durable.
    pub sync: SyncMode,
    /// Maximum memory of entries, in bytes. Issues, and consumes with a key that leave their token
    /// alive, are refused beyond it; no token is ever evicted. The key of a last use is always
    /// kept: 32 bytes more, rounded up to the allocator's size class. `None`: no limit.
    pub max_memory_bytes: Option<u64>,
    /// Time for which a consumed token is remembered that was issued without a reference or key and
    /// consumed without a key, so that presenting it again counts as a replay. It is never
    /// remembered beyond its deadline, or after the log segment with its consume is freed. 0 to ten
    /// years.
    pub remember_consumed: Duration,
    /// Maximum lifetime of a token from its issue, extensions included.
    pub max_ttl: Duration,
    /// Forward steps of the wall clock up to this are followed at once; 100 ms to 1 h.
    pub max_clock_step: Duration,
    /// Time for which a larger step must persist before it is followed; 0 to 24 h.
    pub clock_hold: Duration,
    /// The operator states that the wall clock is right: every plausible step is followed at once.
    pub believe_clock: bool,
    /// Maximum calls that wait for the committer; more are refused. 1 to 1,048,576.
    pub queue_len: usize,
    /// Threads that read the log at the start. 0: one per core.
    pub recovery_threads: usize,
    /// Makes the allocator return memory to the system. The committer calls it after every 50,000
    /// freed entries, while calls wait, and a separate thread calls it once after recovery. `None`:
    /// the allocator decides when to return memory.
    pub give_memory_back: Option<fn()>,
    /// Sizes of the log.
    pub wal: wal::Config,
}

/// Maximum of `max_ttl`: ten years of 365 days.
pub const MAX_TTL_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3_600);
/// Range of `max_clock_step`: with a lower value, a slewed clock would look like a stepped one.
pub const CLOCK_STEP_LIMITS: (Duration, Duration) =
    (Duration::from_millis(100), Duration::from_secs(3_600));
/// Maximum of `clock_hold`.
pub const CLOCK_HOLD_MAX: Duration = Duration::from_secs(24 * 3_600);
/// Maximum of `queue_len`.
pub const QUEUE_LEN_MAX: usize = 1 << 20;
/// Maximum length of a namespace's name, in bytes.
pub const NAMESPACE_LEN_MAX: usize = 64;

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: None,
            secret_file: None,
            secret: None,
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
    /// Configuration of an engine that writes nothing to disk.
    #[must_use]
    pub fn memory_only() -> Self {
        Self::default()
    }

    /// Configuration of an engine with its log in `data_dir`.
    #[must_use]
    pub fn at(data_dir: impl Into<PathBuf>) -> Self {
        Self { data_dir: Some(data_dir.into()), ..Self::default() }
    }

    /// The rules for following the wall clock.
    pub(crate) fn clock_rules(&self) -> ClockRules {
        ClockRules {
            max_step: self.max_clock_step,
            hold: self.clock_hold,
            max_ttl: self.max_ttl,
            believes_wall: self.believe_clock,
        }
    }

    /// Maximum payload, in bytes: an entry must fit in a frame of the log even when it is relocated
    /// with an idempotency key for each of its uses.
    #[must_use]
    pub fn payload_len_max(&self) -> usize {
        // Segments below the configurable minimum are for tests, whose payloads fit.
        if self.data_dir.is_none() || self.wal.segment_size < wal::config::SEGMENT_SIZE_MIN {
            return PAYLOAD_LEN_MAX;
        }
        let body_max = self.wal.frame_body_max();
        body_max.saturating_sub(carry_len(0, USES_MAX as usize)).min(PAYLOAD_LEN_MAX)
    }

    /// All mistakes in the configuration, each with its limits.
    #[must_use]
    pub fn mistakes(&self) -> Vec<SettingError> {
        let mut mistakes = Vec::new();
        let mut unless = |is_right: bool, setting: &'static str, text: String| {
            if !is_right {
                mistakes.push(SettingError::new(setting, text));
            }
        };
        let within = |least, most| {
            format!("must be from {} to {}", duration_text(least), duration_text(most))
        };
        let least = Duration::from_millis(1);
        let ttl_is_right = (least..=MAX_TTL_MAX).contains(&self.max_ttl);
        unless(ttl_is_right, "max-ttl", within(least, MAX_TTL_MAX));
        let is_remembered = self.remember_consumed <= MAX_TTL_MAX;
        unless(is_remembered, "remember-consumed", within(Duration::ZERO, MAX_TTL_MAX));
        let (least, most) = CLOCK_STEP_LIMITS;
        let step_is_right = (least..=most).contains(&self.max_clock_step);
        unless(step_is_right, "max-clock-step", within(least, most));
        let hold_is_right = self.clock_hold <= CLOCK_HOLD_MAX;
        unless(hold_is_right, "clock-hold", within(Duration::ZERO, CLOCK_HOLD_MAX));
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
