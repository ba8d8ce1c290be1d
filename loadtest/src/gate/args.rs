//! What the gate is asked, on the command line.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::decide::Plan;
use super::pairs::Limits;
use crate::failure::{Failure, Result};
use crate::history::HistoryArgs;
use crate::quantity::Span;
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
    /// How much more CPU time a request may take: surely above the first fails, surely below the
    /// second passes.
    #[arg(long, value_name = "LOW..HIGH", default_value = "1%..5%")]
    pub max_cpu: Band,
    /// The same for the time by requests, in a closed loop.
    #[arg(long, value_name = "LOW..HIGH", default_value = "2%..10%")]
    pub max_regression: Band,
    /// The same for the p99 latency, in an open loop.
    #[arg(long, value_name = "LOW..HIGH", default_value = "5%..40%")]
    pub max_latency: Band,
    /// How many more instructions a hot function may take.
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
    /// What to make of a workload that the last pair leaves undecided.
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

/// What an undecided workload counts as.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Undecided {
    /// Passed, with a warning.
    Pass,
    /// A regression.
    Fail,
}

/// A share, written `5%` or `5`.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Percent(f64);

impl Percent {
    /// The greatest ratio it allows: 1.05 for 5 %.
    pub fn limit(self) -> f64 {
        1.0 + self.0 / 100.0
    }
}

impl FromStr for Percent {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let number = text.trim().trim_end_matches('%').trim_end();
        number
            .parse::<f64>()
            .ok()
            .filter(|percent| (0.0..=1_000.0).contains(percent))
            .map(Self)
            .ok_or_else(|| format!("`{text}` is not a share from 0% to 1000%, such as 5%"))
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

/// What is surely harmless and what is surely a regression, written `1%..5%`, or `5%` for both.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Band {
    low: Percent,
    high: Percent,
}

impl Band {
    /// The ratio up to which nobody minds.
    pub fn harmless(self) -> f64 {
        self.low.limit()
    }

    /// The ratio from which it is a regression; not below [`Self::harmless`].
    pub fn regression(self) -> f64 {
        self.high.limit()
    }
}

impl FromStr for Band {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (low, high) = text.split_once("..").unwrap_or((text, text));
        let (low, high) = (low.parse::<Percent>()?, high.parse::<Percent>()?);
        if low > high {
            return Err(format!("`{text}`: the first share must not be above the second"));
        }
        Ok(Self { low, high })
    }
}

impl fmt::Display for Band {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.low, self.high)
    }
}

impl serde::Serialize for Band {
    fn serialize<S: serde::Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// How many pairs, at first and at most.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Pairs {
    /// At least 1.
    pub min: usize,
    /// At least `min`, at most 200.
    pub max: usize,
}

impl FromStr for Pairs {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (min, max) = text.split_once("..").unwrap_or((text, text));
        let number = |part: &str| part.trim().parse::<usize>().ok();
        match (number(min), number(max)) {
            (Some(min), Some(max)) if 1 <= min && min <= max && max <= 200 => Ok(Self { min, max }),
            _ => Err(format!("`{text}` is not like 12..27, with 1 to 200 pairs")),
        }
    }
}

impl fmt::Display for Pairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.min, self.max)
    }
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

    /// When the pairs of so many workloads are looked at, and how.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_pairs_are_read_or_refused() {
        assert!((("5%".parse::<Percent>().unwrap()).limit() - 1.05).abs() < 1e-12);
        assert!((("0.5".parse::<Percent>().unwrap()).limit() - 1.005).abs() < 1e-12);
        for wrong in ["", "%", "-1%", "1001%", "five", "nan", "inf"] {
            assert!(wrong.parse::<Percent>().is_err(), "{wrong}");
        }
        let band: Band = "1%..5%".parse().unwrap();
        assert!((band.harmless() - 1.01).abs() < 1e-12 && (band.regression() - 1.05).abs() < 1e-12);
        assert_eq!(band.to_string(), "1%..5%");
        assert_eq!("5".parse::<Band>(), "5%..5%".parse::<Band>());
        for wrong in ["", "5%..1%", "1%..", "..5%", "a..b"] {
            assert!(wrong.parse::<Band>().is_err(), "{wrong}");
        }
        assert_eq!("12..27".parse::<Pairs>().unwrap(), Pairs { min: 12, max: 27 });
        assert_eq!("20".parse::<Pairs>().unwrap(), Pairs { min: 20, max: 20 });
        for wrong in ["", "0..4", "5..4", "1..201", "a..b", "1..2..3"] {
            assert!(wrong.parse::<Pairs>().is_err(), "{wrong}");
        }
    }
}
