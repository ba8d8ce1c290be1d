//! The part of a session's time that is measured, and its slices.

/// Slices a run is cut into, at most.
const SLICES_MAX: u64 = 120;
/// And none is shorter.
const SLICE_MIN_NS: u64 = 100_000_000;
/// The part of time that is measured.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Its begin, on the session's clock.
    pub from_ns: u64,
    /// Its end.
    pub to_ns: u64,
}

impl Window {
    /// How long a slice of it is.
    pub fn slice_ns(self) -> u64 {
        (self.to_ns - self.from_ns).div_ceil(SLICES_MAX).max(SLICE_MIN_NS)
    }

    /// How many slices it has.
    pub fn slices(self) -> usize {
        usize::try_from((self.to_ns - self.from_ns).div_ceil(self.slice_ns()).max(1))
            .unwrap_or(usize::MAX)
    }

    /// Whether a moment lies in it.
    pub(super) fn contains(self, at_ns: u64) -> bool {
        (self.from_ns..self.to_ns).contains(&at_ns)
    }

    /// The slice in which a moment lies; none outside.
    pub(super) fn slice_at(self, at_ns: u64) -> Option<usize> {
        if !self.contains(at_ns) {
            return None;
        }
        usize::try_from((at_ns - self.from_ns) / self.slice_ns()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn however_long_a_run_is_its_slices_are_few() {
        for (length_ms, slices) in [(1, 1), (100, 1), (1_000, 10), (12_000, 120), (86_400_000, 120)]
        {
            let window = Window { from_ns: 5, to_ns: 5 + length_ms * MS };
            assert_eq!(window.slices(), slices, "{length_ms}");
            assert_eq!(window.slice_at(window.to_ns - 1), Some(slices - 1));
            assert_eq!((window.slice_at(window.to_ns), window.slice_at(4)), (None, None));
        }
    }
}
