//! The results of a gate, as `gate.json` holds them.

use serde::Serialize;

use super::args::GateArgs;
use super::bounds::Undecided;
use super::counts::FunctionChange;
use super::pairs::Comparison;
use super::revision::Revision;
use super::verdict::Verdict;
use crate::failure::{Failure, Result};
use crate::outcome::Outcome;

/// The version of this format.
const FORMAT: u32 = 2;

/// A whole gate.
#[derive(Clone, Debug, Serialize)]
pub struct Findings {
    /// 2.
    pub format: u32,
    /// What was compared with.
    pub base: Revision,
    /// What was judged.
    pub head: Revision,
    /// Whether no regression was found.
    pub passed: bool,
    /// The exact part.
    pub instructions: Instructions,
    /// The pairs; empty where they were not asked for.
    pub comparisons: Vec<Comparison>,
    /// Of each interval; none where there were no pairs.
    pub confidence: Option<f64>,
    /// What the head did wrong: it does not build, start, or answer rightly.
    pub faults: Vec<String>,
    /// Why a part was not measured, or not to its end.
    pub notes: Vec<String>,
    /// Whether what was left undecided counts as a regression.
    pub undecided_fails: bool,
}

/// The exact part.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Instructions {
    /// Nothing was counted.
    NotRun {
        /// Why.
        reason: String,
    },
    /// The head has no bench, where the base has one, or its bench does not build or run.
    HeadFails {
        /// Why.
        reason: String,
    },
    /// All functions of both.
    Compared {
        /// Version of valgrind.
        valgrind: String,
        /// The greatest ratio allowed.
        limit: f64,
        /// In the order of their names.
        functions: Vec<FunctionChange>,
    },
}

impl Instructions {
    /// Why nothing was compared; empty where something was.
    pub fn reason(&self) -> &str {
        match self {
            Self::NotRun { reason } | Self::HeadFails { reason } => reason,
            Self::Compared { .. } => "",
        }
    }
}

impl Findings {
    /// Of a gate that has found nothing yet.
    pub fn new(args: &GateArgs, base: &Revision, head: &Revision) -> Self {
        Self {
            format: FORMAT,
            base: base.clone(),
            head: head.clone(),
            passed: false,
            instructions: Instructions::NotRun { reason: "the gate ended before it".to_owned() },
            comparisons: Vec::new(),
            confidence: None,
            faults: Vec::new(),
            notes: Vec::new(),
            undecided_fails: args.undecided == Undecided::Fail,
        }
    }

    /// The functions that were compared.
    pub fn functions(&self) -> &[FunctionChange] {
        match &self.instructions {
            Instructions::NotRun { .. } | Instructions::HeadFails { .. } => &[],
            Instructions::Compared { functions, .. } => functions,
        }
    }

    /// The greatest ratio of instruction counts allowed; none where none were compared.
    pub fn limit(&self) -> Option<f64> {
        match &self.instructions {
            Instructions::Compared { limit, .. } => Some(*limit),
            Instructions::NotRun { .. } | Instructions::HeadFails { .. } => None,
        }
    }

    /// How many comparisons said something. A gate without one is no pass: nothing was compared.
    pub fn decided(&self) -> usize {
        self.verdicts().filter(|verdict| verdict.decides()).count()
    }

    /// Whether a regression was found.
    pub fn has_failed(&self) -> bool {
        let fails = |verdict: Verdict| {
            verdict.fails() || self.undecided_fails && verdict == Verdict::Undecided
        };
        !self.faults.is_empty()
            || matches!(self.instructions, Instructions::HeadFails { .. })
            || self.verdicts().any(fails)
    }

    fn verdicts(&self) -> impl Iterator<Item = Verdict> {
        let functions = self.functions().iter().map(|change| change.verdict);
        functions.chain(self.comparisons.iter().filter_map(|comparison| comparison.verdict))
    }

    /// The outcome.
    pub fn outcome(&self) -> Outcome {
        match (self.has_failed(), self.decided()) {
            (true, _) => Outcome::Failed,
            (false, 0) => Outcome::Undecided,
            (false, _) => Outcome::Passed,
        }
    }

    /// Decides whether it passed.
    pub fn conclude(&mut self) {
        self.passed = self.outcome() == Outcome::Passed;
    }

    /// As `gate.json`.
    ///
    /// # Errors
    /// It holds what JSON cannot.
    pub fn to_json(&self) -> Result<String> {
        let json = serde_json::to_string_pretty(self);
        json.map_err(|error| Failure::Input(format!("gate.json: {error}")))
    }
}
