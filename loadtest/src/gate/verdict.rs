//! What the gate can say of one thing it compares.

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
    /// The head has no such function any more.
    Gone,
}

impl Verdict {
    /// As reports show it.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Fail => "FAIL",
            Verdict::Undecided => "undecided",
            Verdict::New => "new",
            Verdict::Gone => "gone",
        }
    }
}
