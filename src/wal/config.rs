//! Sizes of segments and of the log.

use super::frame::FRAME_OVERHEAD_MAX;
use super::segment::SECTOR_LEN;
pub use super::segment::SEGMENT_SIZE_MAX;
use crate::model::setting::SettingError;
use crate::model::text::size_text;

/// Minimum size of a segment, in bytes.
pub const SEGMENT_SIZE_MIN: u64 = 1 << 20;
/// Minimum number of segments in a log: one being filled, one being prepared, one being cleaned,
/// and one for its live entries.
pub const LOG_SEGMENTS_MIN: u64 = 4;
/// Maximum number of segments: an entry stores 16 bits of the seq of its segment.
pub const LOG_SEGMENTS_MAX: u64 = 65_535;
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
    /// The thread that prepares the next segment.
    pub preparing: Preparing,
}

impl Default for Config {
    fn default() -> Self {
        Self { segment_size: 64 << 20, log_min_size: 1 << 30, preparing: Preparing::Thread }
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
        mistakes.extend(limit.map(|(text, limit)| {
            let limit = format!(", {limit} bytes, not {got}");
            SettingError::new("log-min-size", text).name("segment-size").text(limit)
        }));
        mistakes
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
        Config { segment_size, log_min_size, preparing: Preparing::Inline }.mistakes()
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
