//! Whether the objectives were kept, and the search for the highest rate that keeps them.

use serde::{Deserialize, Serialize};

/// Whether an objective was kept.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ObjectiveReport {
    /// As it was written, such as `p99=2ms`.
    pub objective: String,
    /// Microseconds.
    pub measured_us: f64,
    /// Whether it was kept.
    pub kept: Kept,
}

/// Whether a limit was kept.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kept {
    /// It was.
    Yes,
    /// It was missed, and the server did it.
    No,
    /// Too little was measured, or the harness itself may have caused a miss.
    #[default]
    Undecided,
}

impl Kept {
    /// For a column.
    pub fn text(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Undecided => "undecided",
        }
    }
}

/// The search for the highest rate that keeps the objectives.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Search {
    /// Requests a second: the highest rate that was kept for the whole time; none where there was
    /// none.
    pub rate: Option<f64>,
    /// Reason to doubt the rate, if any.
    pub doubt: Option<String>,
    /// Every rate that was tried, in order.
    pub steps: Vec<Step>,
}

/// One rate of the search.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Step {
    /// Requests a second that were offered.
    pub rate: f64,
    /// That were answered.
    pub achieved: f64,
    /// The worst of the objectives' percentiles relative to its limit: 1.0 is just kept.
    pub worst: f64,
    /// Seconds it was measured.
    pub length_s: f64,
    /// CPU seconds of everything else on the machine, where that is known.
    pub others_cpu_s: Option<f64>,
    /// Whether all were kept, the rate was reached and nothing went wrong.
    pub kept: Kept,
}
