//! One server in one work: measured in turns until it fails; the rounds before a failure are kept.

use super::args::PeersArgs;
use super::works::{Side, Work};
use crate::drive::session::{Silent, Spec};
use crate::failure::{Failure, Result};
use crate::report::model::Report;
use crate::run::Bench;
use crate::run::job::Job;
use crate::target::{Address, Options};

/// See above.
pub(super) struct Lane<'a> {
    pub side: &'a Side,
    pub version: Option<String>,
    /// Of whole rounds.
    pub reports: Vec<Report>,
    /// Of all rounds, also of the one in which it failed.
    pub errors: u64,
    /// Why it is not measured any more.
    pub failed: Option<String>,
    /// Why it could not be started.
    pub start: Option<Failure>,
    bench: Option<Bench>,
}

impl<'a> Lane<'a> {
    /// Starts the server and gives it the tokens.
    pub fn open(work: &Work, side: &'a Side, arguments: &PeersArgs, job: &Job) -> Self {
        let (reports, errors) = (Vec::new(), 0);
        match set_up(work, side, arguments, job) {
            Ok(bench) => {
                let version = bench.target().version.clone();
                let bench = Some(bench);
                Self { side, version, reports, errors, failed: None, start: None, bench }
            }
            Err(failure) => {
                let failed = Some(format!("it did not start: {failure}"));
                let start = Some(failure);
                Self { side, version: None, reports, errors, failed, start, bench: None }
            }
        }
    }

    /// One round. A part of one, which a signal or the death of the server ended, is no figure.
    pub fn measure(&mut self, spec: Spec, round: usize, job: &Job) {
        let Some(mut bench) = self.bench.take() else { return };
        let measured = bench.measure_as(spec, &mut Silent);
        if job.is_stopped() {
            // Not a figure; but an error that was seen is one.
            self.errors += measured.as_ref().map_or(0, errors_of);
            self.bench = Some(bench);
            return;
        }
        let in_round = |reason: &str| Some(format!("failed in round {}: {reason}", round + 1));
        match measured {
            Err(failure) => self.failed = in_round(&failure.to_string()),
            Ok(mut report) => {
                self.errors += errors_of(&report);
                if report.ended.is_none() && report.server.is_some() {
                    self.reports.push(report);
                    self.bench = Some(bench);
                    return;
                }
                bench.finish(&mut report);
                let reason = report.ended.map(|ended| ended.reason).or(report.server_unknown);
                self.failed = in_round(&reason.unwrap_or_default());
            }
        }
    }

    /// Ends the server; that it does not end in order is a failure too.
    pub fn close(&mut self) {
        if let Some(Err(failure)) = self.bench.take().map(Bench::tear_down) {
            self.failed = Some(failure.to_string());
        }
    }
}

fn errors_of(report: &Report) -> u64 {
    report.errors.iter().map(|error| error.count).sum()
}

fn set_up(work: &Work, side: &Side, arguments: &PeersArgs, job: &Job) -> Result<Bench> {
    let mut job = job.clone();
    job.workload = work.workload.clone();
    job.address = Address::Start(side.kind);
    job.options = Options {
        server_bin: arguments.server_bin.clone(),
        arguments: side.arguments.clone().into(),
        scratch: arguments.scratch.clone(),
        durable: work.durable,
        ..Options::default()
    };
    Bench::set_up(&job, &mut Silent)
}
