//! The verdicts of the gate on one comparison.

use serde::Serialize;

/// One comparison's end.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Not slower than allowed.
    Pass,
    /// Slower than allowed.
    Fail,
    /// Neither can be said with the confidence asked for.
    Undecided,
    /// The base has no such function: nothing to compare with.
    New,
    /// The head has no such function any more: what is not measured cannot be slower, so it fails.
    Gone,
    /// The same, where it was allowed by name.
    Dropped,
}

impl Verdict {
    /// Whether it is a regression, whatever else was found.
    pub fn fails(self) -> bool {
        matches!(self, Self::Fail | Self::Gone)
    }

    /// Whether two figures were compared, and that said something.
    pub fn decides(self) -> bool {
        matches!(self, Self::Fail | Self::Pass)
    }

    /// As reports show it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "FAIL",
            Self::Undecided => "undecided",
            Self::New => "new",
            Self::Gone => "GONE",
            Self::Dropped => "gone, allowed",
        }
    }
}
