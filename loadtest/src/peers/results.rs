//! The results, as peers.json holds them.

use serde::Serialize;

use super::works::Metric;
use crate::outcome::Outcome;
use crate::report::model::{Harness, Machine};
use crate::stats::Interval;

/// All that was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Peers {
    /// The harness that made it.
    pub harness: Harness,
    /// The machine it was made on.
    pub machine: Machine,
    /// The command line.
    pub command: Vec<String>,
    /// Rounds of each work.
    pub rounds: usize,
    /// Seconds each server was measured in a round.
    pub duration_s: f64,
    /// In the order of the works.
    pub works: Vec<WorkResult>,
    /// Servers that were not measured, and why.
    pub not_run: Vec<String>,
    /// A signal ended it before all rounds were measured.
    pub interrupted: bool,
}

/// One work.
#[derive(Clone, Debug, Serialize)]
pub struct WorkResult {
    /// Its name.
    pub name: String,
    /// What was asked.
    pub description: String,
    /// What the figure is.
    pub metric: Metric,
    /// Servers that can't do it, and why.
    pub left_out: Vec<String>,
    /// One for each server.
    pub rows: Vec<Row>,
}

/// One server in one work.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The server, as tables name it.
    pub side: String,
    /// Its version.
    pub version: Option<String>,
    /// Why it was not measured in all rounds, or did not end in order: the server died or did not
    /// start.
    pub failed: Option<String>,
    /// The figure of each round, up to the one in which it failed.
    pub figures: Vec<f64>,
    /// Tokens a second, the median of the rounds.
    pub tokens_per_s: f64,
    /// Microseconds, the medians of the rounds.
    pub p50_us: f64,
    /// Microseconds, the medians of the rounds.
    pub p999_us: f64,
    /// This figure divided by that of each other server, by its name.
    pub ratios: Vec<(String, Option<Interval>)>,
    /// Errors of all kinds; a figure with errors is worth nothing.
    pub errors: u64,
}

impl Peers {
    /// Whether every answer of every server was right, and all that was asked for was measured.
    pub fn outcome(&self) -> Outcome {
        let mut rows = self.works.iter().flat_map(|work| &work.rows);
        match rows.any(|row| row.errors > 0 || row.failed.is_some()) {
            true => Outcome::Failed,
            false if self.interrupted => Outcome::Undecided,
            false => Outcome::Passed,
        }
    }
}
