//! How a command ended, and the exit code that says so.

use std::process::ExitCode;

use crate::report::verdict::Verdict;

/// What a command that could run found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// All is well.
    Passed,
    /// A wrong or missing answer, a missed objective, a regression.
    Failed,
    /// Too little was measured for a verdict.
    Undecided,
}

impl From<Verdict> for Outcome {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Passed => Self::Passed,
            Verdict::Interrupted | Verdict::Undecided => Self::Undecided,
            Verdict::WrongAnswers
            | Verdict::Errors
            | Verdict::ServerFailed
            | Verdict::ObjectiveMissed => Self::Failed,
        }
    }
}

impl Outcome {
    /// Of a question that always has an answer.
    pub fn of(passed: bool) -> Self {
        if passed { Self::Passed } else { Self::Failed }
    }

    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Undecided => "undecided",
        }
    }

    /// 0, 1 and 3; 2 is for what could not run.
    pub fn exit_code(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Passed => 0,
            Self::Failed => 1,
            Self::Undecided => 3,
        })
    }
}
