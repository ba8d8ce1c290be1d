//! Which requests are sampled: the samplers that OpenTelemetry names.

use super::parent::Parent;

/// Decides which requests are sampled: as their caller decided, if the sampler follows callers;
/// otherwise a share of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampler {
    /// Whether the decision of the caller counts, where there is one.
    pub(super) is_parent_based: bool,
    /// Requests of 2^63 that are sampled.
    share: u64,
}

/// All requests.
const ALL: u64 = 1 << 63;

impl Sampler {
    /// `parentbased_always_on`, the default of OpenTelemetry.
    pub(super) const DEFAULT: Self = Self { is_parent_based: true, share: ALL };

    /// The sampler with a name of `OTEL_TRACES_SAMPLER`; `ratio` is its argument.
    pub(super) fn named(name: &str, ratio: f64) -> Option<Self> {
        let (is_parent_based, name) = match name.strip_prefix("parentbased_") {
            Some(rest) => (true, rest),
            None => (false, name),
        };
        let share = match name {
            "always_on" => ALL,
            "always_off" => 0,
            "traceidratio" => (ratio * ALL as f64) as u64,
            _ => return None,
        };
        Some(Self { is_parent_based, share })
    }

    /// Whether a request is sampled. `draw` gives a random number of 63 bits for one that has no trace
    /// id yet.
    pub(super) fn takes(self, parent: Option<&Parent>, draw: impl FnOnce() -> u64) -> bool {
        match parent {
            Some(parent) if self.is_parent_based => parent.is_sampled,
            // Each participant that decides by the trace id comes to the same decision.
            Some(parent) => number_of(parent) < self.share,
            None if self.share == 0 => false,
            None => self.share == ALL || draw() < self.share,
        }
    }
}

/// The last 63 bits of a trace id.
fn number_of(parent: &Parent) -> u64 {
    let (_, low) = parent.trace_id.split_at(8);
    let mut bytes = [0; 8];
    bytes.copy_from_slice(low);
    u64::from_be_bytes(bytes) >> 1
}
