//! Sizes of segments and of the log.

use std::time::Duration;

use super::frame::FRAME_OVERHEAD_MAX;
use super::segment::SECTOR_LEN;
pub use super::segment::SEGMENT_SIZE_MAX;
use crate::model::setting::SettingError;
use crate::model::text::{duration_text, size_text};

/// Minimum size of a segment, in bytes.
pub const SEGMENT_SIZE_MIN: u64 = 1 << 20;
/// Minimum number of segments in a log: one being filled, one being prepared, one being cleaned,
/// and one for its live entries.
pub const LOG_SEGMENTS_MIN: u64 = 4;
/// Maximum number of segments: an entry stores 16 bits of the seq of its segment.
pub const LOG_SEGMENTS_MAX: u64 = 65_535;
/// Minimum of [`Config::max_age`].
pub const MAX_AGE_MIN: Duration = Duration::from_secs(60);
/// Maximum of [`Config::max_age`].
pub const MAX_AGE_MAX: Duration = Duration::from_secs(366 * 24 * 3_600);
/// Maximum length of a frame, in bytes, whatever the size of segments.
pub const FRAME_LEN_MAX: u64 = 4 << 20;

/// Segment sizes are rounded down to a multiple of this, in bytes.
pub(crate) const SEGMENT_SIZE_STEP: u64 = 4096;
const _: () = assert!(SEGMENT_SIZE_STEP.is_multiple_of(SECTOR_LEN));

/// The thread that prepares the next segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preparing {
    /// On a small thread of its own, so that the committer never waits for it.
    Thread,
    /// On the calling thread, at once; for reproducible tests.
    Inline,
    /// On the calling thread, but only when the committer waits for it; for tests of a disk that is
    /// always too slow.
    Late,
}

/// Sizes of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Size of a segment file in bytes; rounded down to a multiple of 4096.
    pub segment_size: u64,
    /// Size in bytes up to which the log grows before it is cleaned.
    pub log_min_size: u64,
    /// Maximum age of a record on disk. The current segment is sealed at half of it, and the oldest is
    /// cleaned at three quarters, so that a quarter is left for the work. `None`: a segment is cleaned
    /// only for its space.
    pub max_age: Option<Duration>,
    /// The thread that prepares the next segment.
    pub preparing: Preparing,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            segment_size: 64 << 20,
            log_min_size: 1 << 30,
            max_age: None,
            preparing: Preparing::Thread,
        }
    }
}

impl Config {
    /// All mistakes in the configuration.
    pub fn mistakes(&self) -> Vec<SettingError> {
        let mut mistakes = Vec::new();
        let mut valid = *self;
        if !(SEGMENT_SIZE_MIN..=SEGMENT_SIZE_MAX).contains(&self.segment_size) {
            let (least, most) = (size_text(SEGMENT_SIZE_MIN), size_text(SEGMENT_SIZE_MAX));
            let text = format!("must be from {least} to {most}, not {} bytes", self.segment_size);
            mistakes.push(SettingError::new("segment-size", text));
            // The nearest allowed size, so that the other limit is still checked.
            valid.segment_size = self.segment_size.clamp(SEGMENT_SIZE_MIN, SEGMENT_SIZE_MAX);
        }
        let got = self.log_min_size;
        let min = valid.segment_len() * LOG_SEGMENTS_MIN;
        let max = valid.segment_len() * LOG_SEGMENTS_MAX;
        let limit = if got < min {
            Some((format!("must be at least {LOG_SEGMENTS_MIN} times "), min))
        } else if got > max {
            Some((format!("must be at most {LOG_SEGMENTS_MAX} times "), max))
        } else {
            None
        };
        if self.max_age.is_some_and(|age| !(MAX_AGE_MIN..=MAX_AGE_MAX).contains(&age)) {
            let (least, most) = (duration_text(MAX_AGE_MIN), duration_text(MAX_AGE_MAX));
            mistakes.push(SettingError::new("log-max-age", format!("must be {least} to {most}")));
        }
        mistakes.extend(limit.map(|(text, limit)| {
            let limit = format!(", {limit} bytes, not {got}");
            SettingError::new("log-min-size", text).name("segment-size").text(limit)
        }));
        mistakes
    }

    /// Whether a current segment whose first frame has this age is to be sealed.
    pub(crate) fn must_seal(&self, age_ms: u64) -> bool {
        self.max_age_ms().is_some_and(|max_ms| age_ms >= max_ms / 2)
    }

    /// Whether an oldest segment whose first frame has this age is to be cleaned.
    pub(crate) fn must_clean(&self, age_ms: u64) -> bool {
        self.max_age_ms().is_some_and(|max_ms| age_ms >= max_ms / 4 * 3)
    }

    fn max_age_ms(&self) -> Option<u64> {
        self.max_age.map(|age| age.as_millis() as u64)
    }

    /// Length of a new segment file, in bytes.
    pub fn segment_len(&self) -> u64 {
        self.segment_size / SEGMENT_SIZE_STEP * SEGMENT_SIZE_STEP
    }

    /// Maximum length of a frame, header included, in bytes.
    pub fn frame_len_max(&self) -> u64 {
        (self.segment_len() / 4).min(FRAME_LEN_MAX)
    }

    /// Maximum length of the body of a frame, in bytes.
    pub fn frame_body_max(&self) -> usize {
        self.frame_len_max() as usize - FRAME_OVERHEAD_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sized(segment_size: u64, log_min_size: u64) -> Vec<SettingError> {
        Config { segment_size, log_min_size, ..Config::default() }.mistakes()
    }

    #[test]
    fn the_age_of_a_record_has_limits() {
        for (age, is_valid) in
            [(59, false), (60, true), (366 * 86_400, true), (367 * 86_400, false)]
        {
            let config = Config { max_age: Some(Duration::from_secs(age)), ..Config::default() };
            let mistakes = config.mistakes();
            assert_eq!(mistakes.is_empty(), is_valid, "{age}: {mistakes:?}");
        }
        assert!(!Config::default().must_seal(u64::MAX) && !Config::default().must_clean(u64::MAX));
    }

    #[test]
    fn limits_are_exact_and_name_their_flags() {
        assert_eq!(Config::default().mistakes(), []);
        assert_eq!(sized(1 << 20, 4 << 20), []);
        assert_eq!(sized((1 << 20) - 1, 4 << 20).len(), 1);
        assert_eq!(sized((1 << 30) + 1, 8 << 30).len(), 1);
        assert_eq!(sized(1 << 20, 65_535 << 20), []);
        let small = sized(1 << 20, (4 << 20) - 1);
        let large = sized(1 << 20, (65_535 << 20) + 1);
        for mistake in [&small[0], &large[0]] {
            assert_eq!(mistake.settings().collect::<Vec<_>>(), ["log-min-size", "segment-size"]);
        }
    }

    #[test]
    fn odd_sizes_are_rounded_down() {
        let config = Config { segment_size: 100_000_000, ..Config::default() };
        assert_eq!(config.segment_len() % 4096, 0);
        assert!(config.segment_size - config.segment_len() < 4096);
        assert_eq!(config.frame_len_max(), 4 << 20);
    }
}
