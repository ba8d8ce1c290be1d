//! Runs of the pairs: each starts a server of its own, so that nothing is left of the run before.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::pairs::{Measure, Sample};
use crate::drive::session::Silent;
use crate::failure::{Failure, Result};
use crate::report::model::Report;
use crate::run::{self, Job};
use crate::target::{Address, Kind, Options};
use crate::workload::Workload;

/// Starts servers and loads them.
pub struct Live;

impl Measure for Live {
    fn measure(&mut self, binary: &Path, workload: &Workload) -> Result<Sample> {
        let job = Job {
            workload: workload.clone(),
            address: Address::Start(Kind::Jeton),
            options: Options { server_bin: Some(binary.to_owned()), ..Options::default() },
            server_pid: None,
            command: Vec::new(),
            stop: Arc::new(AtomicBool::new(false)),
        };
        sample(binary, &run::run(&job, &mut Silent)?)
    }
}

/// A server that answers wrongly is not measured: its speed says nothing.
fn sample(binary: &Path, report: &Report) -> Result<Sample> {
    if let Some(error) = report.errors.first() {
        let problem = format!(
            "in the run of {}: {} × {}, such as: {}",
            report.workload.name, error.count, error.kind, error.example
        );
        return Err(Failure::Target { target: binary.display().to_string(), problem });
    }
    let server = report.server.as_ref().ok_or_else(|| Failure::Target {
        target: binary.display().to_string(),
        problem: "what it used of the CPU is not known".to_owned(),
    })?;
    Ok(Sample {
        cpu_us_per_request: server.cpu_us_per_request,
        requests_per_s: report.totals.requests_per_s,
        p99_us: report.latency.p99_us,
    })
}
