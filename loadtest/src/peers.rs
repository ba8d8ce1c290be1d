//! jeton beside the stores that people use today, and beside the floor, on the same work.
//!
//! For each kind of work every server that is there is started once and given the same tokens; then
//! they are measured in rounds, each once a round and in an order that turns, so that what drifts on
//! the machine drifts for all. Figures are medians of the rounds; a ratio is of the two figures of
//! one round, with the interval that the rounds together allow.

mod page;
mod works;

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

pub use page::{html, markdown};
pub use works::{Metric, Side, Work};

use crate::drive::session::{Length, Observer, Silent, Spec};
use crate::failure::{Failure, Result};
use crate::quantity::Span;
use crate::report::file;
use crate::report::model::{Harness, Machine, Report};
use crate::run::{Bench, Job};
use crate::stats::{Interval, median, paired_ratio};
use crate::target::{self, Address, Kind, Options, probe, usage};

/// How sure an interval is.
const CONFIDENCE: f64 = 0.95;
/// A warm-up before each measurement, so that caches are the measured server's own.
const WARM_UP: Duration = Duration::from_millis(500);

/// Which servers are compared, and how long.
#[derive(Clone, Debug, Args)]
pub struct PeersArgs {
    /// Where peers.md, peers.html and peers.json go
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Rounds, 6 to 50: fewer allow no interval of 95 %
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub rounds: usize,
    /// How long each server is measured in a round
    #[arg(long, value_name = "TIME", default_value = "2s")]
    pub duration: Span,
    /// Tokens, of all works but memory
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub population: u64,
    /// Tokens of the work memory
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    pub memory_population: u64,
    /// Only this work (resolve, pipelined, batch, issue, issue-1, memory); may be given several
    /// times
    #[arg(long, value_name = "NAME")]
    pub work: Vec<String>,
    /// jeton's binary; else it is built where this is its repository, or looked for on the PATH
    #[arg(long, env = "JETON_BIN", value_name = "PATH")]
    pub server_bin: Option<PathBuf>,
    /// Where servers keep their data; a disk, not memory
    #[arg(long, value_name = "DIR")]
    pub scratch: Option<PathBuf>,
}

/// All that was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Peers {
    /// What made it.
    pub harness: Harness,
    /// On what.
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
    /// The figure of each round.
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
    /// Whether every answer of every server was right.
    pub fn passed(&self) -> bool {
        self.works.iter().flat_map(|work| &work.rows).all(|row| row.errors == 0)
    }
}

/// Measures all works, and writes the tables where they are wanted.
///
/// # Errors
/// A limit is broken, jeton does not start, or the tables can't be written.
pub fn run(arguments: &PeersArgs, job: &Job, observer: &mut dyn Observer) -> Result<Peers> {
    if !(6..=50).contains(&arguments.rounds) {
        return Err(Failure::Input(format!("--rounds: is {}, must be 6 to 50", arguments.rounds)));
    }
    if let Some(directory) = &arguments.out {
        file::prepare(directory)?;
    }
    let works = works::chosen(arguments)?;
    let not_run: Vec<String> = [Kind::Redis, Kind::Valkey, Kind::Memcached]
        .into_iter()
        .filter_map(target::missing)
        .collect();
    let mut results = Vec::with_capacity(works.len());
    for work in &works {
        results.push(measure(work, arguments, job, observer)?);
    }
    let peers = Peers {
        harness: probe::harness(),
        machine: usage::machine(),
        command: job.command.clone(),
        rounds: arguments.rounds,
        duration_s: arguments.duration.0.as_secs_f64(),
        works: results,
        not_run,
    };
    if let Some(directory) = &arguments.out {
        let json = serde_json::to_vec_pretty(&peers)
            .map_err(|error| Failure::Input(format!("peers.json: {error}")))?;
        file::replace(&directory.join("peers.json"), &json)?;
        file::replace(&directory.join("peers.md"), markdown(&peers).as_bytes())?;
        file::replace(&directory.join("peers.html"), html(&peers).as_bytes())?;
    }
    Ok(peers)
}

fn measure(
    work: &Work,
    arguments: &PeersArgs,
    job: &Job,
    observer: &mut dyn Observer,
) -> Result<WorkResult> {
    let sides: Vec<&Side> = work.sides.iter().filter(|side| side.is_here()).collect();
    let mut benches = Vec::with_capacity(sides.len());
    for side in &sides {
        observer.phase(&format!("{}: {}: issuing the tokens", work.name, side.name), Length::Open);
        benches.push(set_up(work, side, arguments, job)?);
    }
    let rounds = if work.metric == Metric::BytesPerToken { 1 } else { arguments.rounds };
    let mut reports: Vec<Vec<Report>> = sides.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds {
        for turn in 0..sides.len() {
            if job.stop.load(Ordering::Relaxed) {
                return Err(Failure::Input("stopped before all rounds were measured".to_owned()));
            }
            // The order turns, so that nobody always comes after the same one.
            let side = (turn + round) % sides.len();
            let name =
                format!("{}: round {} of {rounds}: {}", work.name, round + 1, sides[side].name);
            observer.phase(&name, Length::Time(WARM_UP + arguments.duration.0));
            let spec = Spec {
                rate: None,
                warm_up: WARM_UP,
                duration: arguments.duration.0,
                ramp: Duration::ZERO,
            };
            reports[side].push(benches[side].measure_as(spec, &mut Silent)?);
        }
    }
    for bench in benches {
        bench.tear_down()?;
    }
    Ok(WorkResult {
        name: work.name.to_owned(),
        description: work.description.to_owned(),
        metric: work.metric,
        left_out: work.left_out.iter().map(|why| (*why).to_owned()).collect(),
        rows: rows(work, &sides, &reports),
    })
}

fn set_up(work: &Work, side: &Side, arguments: &PeersArgs, job: &Job) -> Result<Bench> {
    let mut job = job.clone();
    job.workload = work.workload.clone();
    job.address = Address::Start(side.kind);
    job.options = Options {
        server_bin: arguments.server_bin.clone(),
        arguments: side.arguments.clone(),
        scratch: arguments.scratch.clone(),
        durable: work.durable,
        ..Options::default()
    };
    Bench::set_up(&job, &mut Silent)
}

fn rows(work: &Work, sides: &[&Side], reports: &[Vec<Report>]) -> Vec<Row> {
    let figures: Vec<Vec<f64>> = reports
        .iter()
        .map(|rounds| rounds.iter().map(|report| work.metric.of(report)).collect())
        .collect();
    let middle = |rounds: &[Report], of: fn(&Report) -> f64| {
        median(&rounds.iter().map(of).collect::<Vec<_>>()).unwrap_or(0.0)
    };
    sides
        .iter()
        .zip(reports)
        .enumerate()
        .map(|(index, (side, rounds))| Row {
            side: side.name.clone(),
            version: rounds.first().and_then(|report| report.target.version.clone()),
            figures: figures[index].clone(),
            tokens_per_s: middle(rounds, |report| report.totals.tokens_per_s),
            p50_us: middle(rounds, |report| report.latency.p50_us),
            p999_us: middle(rounds, |report| report.latency.p999_us),
            ratios: sides
                .iter()
                .zip(&figures)
                .filter(|(other, _)| other.is_peer)
                .map(|(other, theirs)| {
                    (other.name.clone(), paired_ratio(theirs, &figures[index], CONFIDENCE))
                })
                .collect(),
            errors: rounds.iter().flat_map(|report| &report.errors).map(|one| one.count).sum(),
        })
        .collect()
}
