//! The flags of the gate.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::bounds::{Band, Pairs, Undecided};
use super::decide::Plan;
use super::pairs::Limits;
use crate::failure::{Failure, Result};
use crate::history::args::HistoryArgs;
use crate::quantity::{Percent, Span};
use crate::workload::flags::check;
use crate::workload::{Workload, named};

/// Tokens of a server, at most: every pair issues them anew on both sides.
pub const POPULATION_MAX: u64 = 4_000;

/// Compares two revisions and fails on a regression.
#[derive(Args, Clone, Debug)]
pub struct GateArgs {
    /// The revision to compare with, such as origin/main or a commit.
    #[arg(long, value_name = "REV")]
    pub base: String,
    /// The revision to judge. What is not committed is not measured.
    #[arg(long, value_name = "REV", default_value = "HEAD")]
    pub head: String,
    /// Allowed increase of the CPU time of a request: certainly above LOW fails, certainly below HIGH
    /// passes.
    #[arg(long, value_name = "LOW..HIGH", default_value = "1%..5%")]
    pub max_cpu: Band,
    /// The same for the time per request, in a closed loop.
    #[arg(long, value_name = "LOW..HIGH", default_value = "2%..10%")]
    pub max_regression: Band,
    /// The same for the p99 latency, in an open loop.
    #[arg(long, value_name = "LOW..HIGH", default_value = "5%..40%")]
    pub max_latency: Band,
    /// Allowed increase of the instructions of a hot function.
    #[arg(long, value_name = "PERCENT", default_value = "1%")]
    pub max_instructions: Percent,
    /// Pairs of servers for each workload: MIN before the first decision, MAX at most.
    #[arg(long, value_name = "MIN..MAX", default_value = "12..27")]
    pub pairs: Pairs,
    /// Time limit of all pairs together, without builds: 1s to 1d. A workload that is not decided
    /// by then stays undecided.
    #[arg(long, value_name = "TIME", default_value = "7m")]
    pub time_limit: Span,
    /// Measures everything, also after the first regression was found.
    #[arg(long)]
    pub all: bool,
    /// A function of the exact part that the head may lack; `*` for all. May be given several times.
    #[arg(long, value_name = "FUNCTION")]
    pub allow_missing: Vec<String>,
    /// What a workload counts as that is still undecided after the last pair.
    #[arg(long, value_enum, default_value = "pass")]
    pub undecided: Undecided,
    /// One of the two parts alone.
    #[arg(long, value_enum)]
    pub only: Option<Only>,
    /// Workloads of the pairs, by name or file.
    #[arg(long = "workload", value_name = "NAME", num_args = 1..,
          default_values = ["resolve", "batch", "issue"])]
    pub workloads: Vec<String>,
    /// How long each server of a pair is measured, in short slices by turns: 500ms to 1h.
    #[arg(long, value_name = "TIME", default_value = "2s")]
    pub duration: Span,
    /// Where gate.json, gate.md, gate.junit.xml, gate.bmf.json and gate.smaller-is-better.json go;
    /// without it gate/report in the target directory.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Where the figures of the head are kept.
    #[command(flatten)]
    pub history: HistoryArgs,
    /// Removes what earlier gates have built, before it begins.
    #[arg(long)]
    pub clean: bool,
}

/// One part of the gate.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Only {
    /// The exact part: no server, no load; needs valgrind.
    Instructions,
    /// The load, in pairs.
    Pairs,
}

impl GateArgs {
    /// The workloads of the pairs, with the length of their runs.
    ///
    /// # Errors
    /// One is not known, or its file is wrong.
    pub fn workloads(&self) -> Result<Vec<Workload>> {
        let load = |name: &String| {
            let mut workload = named::find_or_load(name)?;
            workload.time.warm_up = Span::default();
            workload.time.ramp = Span::default();
            workload.time.duration = self.duration;
            // Whether a workload keeps its objectives is for `run` to say.
            workload.objectives.clear();
            // Each run issues them anew; more would take longer than what is measured.
            workload.keys.population = workload.keys.population.min(POPULATION_MAX);
            check(&workload)?;
            Ok(workload)
        };
        self.workloads.iter().map(load).collect()
    }

    /// When the pairs of this number of workloads are looked at, and how.
    ///
    /// # Errors
    /// Even the most pairs could decide nothing.
    pub fn plan(&self, workloads: usize) -> Result<Plan> {
        Plan::new(workloads, self.pairs)
    }

    /// The greatest ratios allowed.
    pub fn limits(&self) -> Limits {
        Limits { cpu: self.max_cpu, time: self.max_regression, latency: self.max_latency }
    }

    /// Finds mistakes before anything is built.
    ///
    /// # Errors
    /// As [`GateArgs::plan`], or there is no workload.
    pub fn check(&self, workloads: usize) -> Result<()> {
        if self.only == Some(Only::Instructions) {
            return Ok(());
        }
        if workloads == 0 {
            return Err(Failure::Input("--workload: at least one is needed".to_owned()));
        }
        let range = |flag: &str, span: Span, min: u64, max: u64, text: &str| {
            let (min, max) = (Duration::from_millis(min), Duration::from_secs(max));
            if (min..=max).contains(&span.0) {
                return Ok(());
            }
            Err(Failure::Input(format!("{flag}: is {span}, must be {text}")))
        };
        range("--duration", self.duration, 500, 3_600, "500ms to 1h")?;
        range("--time-limit", self.time_limit, 1_000, 86_400, "1s to 1d")?;
        self.plan(workloads).map(|_| ())
    }
}
