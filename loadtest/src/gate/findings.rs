//! What a gate came to, as `gate.json` holds it.

use serde::Serialize;

use super::args::{GateArgs, Undecided};
use super::counts::FunctionChange;
use super::pairs::Comparison;
use super::revision::Revision;
use super::verdict::Verdict;
use crate::failure::{Failure, Result};

/// The version of this format.
const FORMAT: u32 = 1;

/// A whole gate.
#[derive(Clone, Debug, Serialize)]
pub struct Findings {
    /// 1.
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

impl Findings {
    /// Of a gate that has found nothing yet.
    pub fn new(args: &GateArgs, base: &Revision, head: &Revision) -> Findings {
        Findings {
            format: FORMAT,
            base: base.clone(),
            head: head.clone(),
            passed: false,
            instructions: Instructions::NotRun { reason: "it has not come to that".to_owned() },
            comparisons: Vec::new(),
            confidence: None,
            undecided_fails: args.undecided == Undecided::Fail,
        }
    }

    /// The functions that were compared.
    pub fn functions(&self) -> &[FunctionChange] {
        match &self.instructions {
            Instructions::NotRun { .. } => &[],
            Instructions::Compared { functions, .. } => functions,
        }
    }

    /// Decides whether it passed.
    pub fn conclude(&mut self) {
        let fails = |verdict: Verdict| {
            verdict == Verdict::Fail || self.undecided_fails && verdict == Verdict::Undecided
        };
        let functions = self.functions().iter().map(|change| change.verdict);
        let pairs = self.comparisons.iter().filter_map(|comparison| comparison.verdict);
        self.passed = !functions.chain(pairs).any(fails);
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
