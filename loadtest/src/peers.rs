//! jeton beside the stores that people use today, and beside the floor, on the same work.
//!
//! For each kind of work every installed server is started once and given the same tokens; then
//! they are measured in rounds, each once a round and in an order that turns, so that what drifts on
//! the machine drifts for all. Figures are medians of the rounds; a ratio is of the two figures of
//! one round, with the interval that the rounds together allow.

mod args;
mod lane;
mod page;
mod results;
mod works;

use std::time::Duration;

pub use args::PeersArgs;
pub use page::{html, markdown};
pub use results::{Peers, Row, WorkResult};
pub use works::{Metric, Side, Work};

use crate::drive::session::{Length, Observer, Spec};
use crate::failure::{Failure, Result};
use crate::report::file;
use crate::report::model::Report;
use crate::run::job::Job;
use crate::stats::{Interval, median, paired_ratio};
use crate::target::{self, Kind, probe, usage};
use lane::Lane;

/// How sure an interval is.
const CONFIDENCE: f64 = 0.95;
/// A warm-up before each measurement, so that caches are the measured server's own.
const WARM_UP: Duration = Duration::from_millis(500);

/// The files that are written.
const FILES: [(&str, &str); 3] = [
    ("peers.json", "peers.previous.json"),
    ("peers.md", "peers.previous.md"),
    ("peers.html", "peers.previous.html"),
];

/// Measures all works, and writes the tables where they are wanted.
///
/// What was measured before a server died, or before a signal, is kept with the reason.
///
/// # Errors
/// A limit is broken, a server does not start before anything was measured, or the tables can't be
/// written.
pub fn run(arguments: &PeersArgs, job: &Job, observer: &mut dyn Observer) -> Result<Peers> {
    if !(6..=50).contains(&arguments.rounds) {
        return Err(Failure::Input(format!("--rounds: is {}, must be 6 to 50", arguments.rounds)));
    }
    if let Some(directory) = &arguments.out {
        file::prepare(directory)?;
    }
    let works = works::chosen(arguments)?;
    let not_run: Vec<String> = [Kind::Redis, Kind::Valkey, Kind::Memcached, Kind::Pogocache]
        .into_iter()
        .filter_map(target::missing)
        .collect();
    if let Some(directory) = &arguments.out {
        file::set_aside(directory, &FILES)?;
    }
    let mut results = Vec::with_capacity(works.len());
    for work in &works {
        if job.is_stopped() {
            break;
        }
        results.push(measure(work, arguments, job, observer, results.is_empty())?);
    }
    if results.iter().all(|work| work.rows.iter().all(|row| row.figures.is_empty())) {
        return Err(Failure::Input(nothing(&results)));
    }
    let peers = Peers {
        harness: probe::harness(),
        machine: usage::machine(),
        command: job.command.clone(),
        rounds: arguments.rounds,
        duration_s: arguments.duration.0.as_secs_f64(),
        works: results,
        not_run,
        interrupted: job.is_stopped(),
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

/// Why there is no table.
fn nothing(results: &[WorkResult]) -> String {
    let mut reasons = results
        .iter()
        .flat_map(|work| &work.rows)
        .filter_map(|row| row.failed.as_ref().map(|reason| format!("{}: {reason}", row.side)));
    reasons.next().unwrap_or_else(|| "stopped before anything was measured".to_owned())
}

/// `is_first`: if a server does not start before anything was measured, the error ends the command.
fn measure(
    work: &Work,
    arguments: &PeersArgs,
    job: &Job,
    observer: &mut dyn Observer,
    is_first: bool,
) -> Result<WorkResult> {
    let mut lanes = Vec::with_capacity(work.sides.len());
    for side in work.sides.iter().filter(|side| side.is_here()) {
        observer.phase(&format!("{}: {}: issuing the tokens", work.name, side.name), Length::Open);
        if job.is_stopped() {
            break;
        }
        match Lane::open(work, side, arguments, job) {
            // A signal ended the start: that is no failure of the server.
            Lane { failed: Some(_), .. } if job.is_stopped() => break,
            Lane { failed: Some(_), start: Some(failure), .. } if is_first => return Err(failure),
            lane => lanes.push(lane),
        }
    }
    let rounds = if work.metric == Metric::BytesPerToken { 1 } else { arguments.rounds };
    let spec =
        Spec { rate: None, warm_up: WARM_UP, duration: arguments.duration.0, ramp: Duration::ZERO };
    let turns = (0..rounds).flat_map(|round| (0..lanes.len()).map(move |turn| (round, turn)));
    for (round, turn) in turns.collect::<Vec<_>>() {
        if job.is_stopped() {
            break;
        }
        // The order turns, so that no server always follows the same one.
        let at = (turn + round) % lanes.len();
        let lane = &mut lanes[at];
        let name = format!("{}: round {} of {rounds}: {}", work.name, round + 1, lane.side.name);
        if lane.failed.is_none() {
            observer.phase(&name, Length::Time(WARM_UP + arguments.duration.0));
            lane.measure(spec, round, job);
        }
    }
    lanes.iter_mut().for_each(Lane::close);
    Ok(WorkResult {
        name: work.name.to_owned(),
        description: work.description.to_owned(),
        metric: work.metric,
        left_out: work.left_out.iter().map(|why| (*why).to_owned()).collect(),
        rows: rows(work, &lanes),
    })
}

fn rows(work: &Work, lanes: &[Lane<'_>]) -> Vec<Row> {
    let figures: Vec<Vec<f64>> = lanes
        .iter()
        .map(|lane| lane.reports.iter().map(|report| work.metric.of(report)).collect())
        .collect();
    let middle = |rounds: &[Report], of: fn(&Report) -> f64| {
        median(&rounds.iter().map(of).collect::<Vec<_>>()).unwrap_or(0.0)
    };
    lanes
        .iter()
        .enumerate()
        .map(|(index, lane)| Row {
            side: lane.side.name.clone(),
            version: lane.version.clone(),
            failed: lane.failed.clone(),
            figures: figures[index].clone(),
            tokens_per_s: middle(&lane.reports, |report| report.totals.tokens_per_s),
            p50_us: middle(&lane.reports, |report| report.latency.p50_us),
            p999_us: middle(&lane.reports, |report| report.latency.p999_us),
            ratios: lanes
                .iter()
                .zip(&figures)
                .filter(|(other, _)| other.side.is_peer)
                .map(|(other, theirs)| (other.side.name.clone(), ratio(theirs, &figures[index])))
                .collect(),
            errors: lane.errors,
        })
        .collect()
}

/// Of the rounds in which both were measured: a server that failed has the first of them.
fn ratio(theirs: &[f64], own: &[f64]) -> Option<Interval> {
    let both = theirs.len().min(own.len());
    paired_ratio(&theirs[..both], &own[..both], CONFIDENCE)
}
