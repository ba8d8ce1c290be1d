//! Real pairs: both servers are started anew, hold the same tokens, and are loaded by turns.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::pairs::{Binaries, Fault, Measure, Pair, Sample};
use crate::drive::session::{Silent, Spec};
use crate::failure::{Failure, Result};
use crate::report::model::Report;
use crate::run::Bench;
use crate::run::job::Job;
use crate::target::usage::Cpu;
use crate::target::{Address, Kind, Options};
use crate::workload::Workload;

/// Short enough that what a neighbour on the machine does hits both sides alike: measured beside
/// builds on 2 cores, ten seconds of each side in slices of 20 to 60 ms gave the ratio of CPU times
/// to 1 %, in slices of 250 ms to 2 %.
const SLICE: Duration = Duration::from_millis(40);
/// Of an open loop, in which a queue needs time to grow.
const OPEN_SLICE: Duration = Duration::from_millis(500);

/// Starts servers and loads them, each for so long in a pair.
pub struct Live {
    /// Of each side, in slices.
    pub duration: Duration,
}

impl Measure for Live {
    fn pair(
        &mut self,
        binaries: &Binaries,
        workload: &Workload,
        base_first: bool,
    ) -> std::result::Result<Pair, Fault> {
        // Who is started first is drawn too. A head that does not start is at fault only where the
        // base does.
        let start_head = || Server::start(&binaries.head, workload);
        let early = (!base_first).then(start_head);
        let mut base = Server::start(&binaries.base, workload).map_err(Fault::Base)?;
        let mut head = early.unwrap_or_else(start_head).map_err(Fault::Head)?;
        // The first slice of each meets cold caches; it is measured and forgotten.
        base.slice().map_err(Fault::Base)?;
        head.slice().map_err(Fault::Head)?;
        (base.tally, head.tally) = (Tally::new(), Tally::new());
        for is_base in turns(self.slices(workload.load.rate), base_first) {
            if is_base {
                base.slice().map_err(Fault::Base)?;
            } else {
                head.slice().map_err(Fault::Head)?;
            }
        }
        let base = base.finish().map_err(Fault::Base)?;
        Ok(Pair { base, head: head.finish().map_err(Fault::Head)? })
    }
}

impl Live {
    fn slices(&self, rate: Option<f64>) -> usize {
        self.duration.div_duration_f64(slice(rate)).round().max(1.0) as usize
    }
}

fn slice(rate: Option<f64>) -> Duration {
    if rate.is_some() { OPEN_SLICE } else { SLICE }
}

/// The order of turns with `slices` for each side: base, head, head, base if the base goes first,
/// else the opposite.
fn turns(slices: usize, base_first: bool) -> impl Iterator<Item = bool> {
    (0..2 * slices).map(move |turn| (turn % 4 == 0 || turn % 4 == 3) == base_first)
}

/// One side of a pair.
struct Server {
    binary: PathBuf,
    bench: Bench,
    rate: Option<f64>,
    tally: Tally,
}

/// The results of all slices of a side.
struct Tally {
    cpu_s: f64,
    elapsed_s: f64,
    requests: u64,
    latencies: Histogram<u64>,
}

impl Tally {
    fn new() -> Self {
        let latencies = crate::drive::histogram::coarse_latencies();
        Self { cpu_s: 0.0, elapsed_s: 0.0, requests: 0, latencies }
    }
}

impl Server {
    fn start(binary: &Path, workload: &Workload) -> Result<Self> {
        let job = Job {
            workload: workload.clone(),
            address: Address::Start(Kind::Jeton),
            options: Options { server_bin: Some(binary.to_owned()), ..Options::default() },
            server_pid: None,
            command: Vec::new(),
            stop: Arc::new(AtomicBool::new(false)),
            start_at: None,
        };
        Ok(Self {
            binary: binary.to_owned(),
            bench: Bench::set_up(&job, &mut Silent)?,
            rate: workload.load.rate,
            tally: Tally::new(),
        })
    }

    /// CPU is read while nothing is under way: before the first request and after the last answer.
    fn slice(&mut self) -> Result<()> {
        let spec = Spec {
            rate: self.rate,
            warm_up: Duration::ZERO,
            duration: slice(self.rate),
            ramp: Duration::ZERO,
        };
        let before = self.cpu()?;
        let report = self.bench.measure_as(spec, &mut Silent)?;
        let used = self.cpu()?.since(before);
        self.check(&report)?;
        let latencies = report.latency.to_histogram();
        let latencies = latencies.map_err(|problem| self.failed(problem.to_string()))?;
        crate::drive::histogram::add(&mut self.tally.latencies, &latencies);
        self.tally.cpu_s += used.total_s();
        self.tally.elapsed_s += report.totals.elapsed_s;
        self.tally.requests += report.totals.requests;
        Ok(())
    }

    fn cpu(&self) -> Result<Cpu> {
        let process = self.bench.server_process();
        let process =
            process.ok_or_else(|| self.failed("its process id is not known".to_owned()))?;
        process.cpu()
    }

    /// A server that answers wrongly is not measured: its speed says nothing.
    fn check(&self, report: &Report) -> Result<()> {
        if let Some(ended) = &report.ended {
            let problem = format!("in the run of {}: {}", report.workload.name, ended.reason);
            return Err(self.failed(problem));
        }
        let Some(error) = report.errors.first() else { return Ok(()) };
        Err(self.failed(format!(
            "in the run of {}: {} × {}, such as: {}",
            report.workload.name, error.count, error.kind, error.example
        )))
    }

    fn failed(&self, problem: String) -> Failure {
        Failure::Target { target: self.binary.display().to_string(), problem }
    }

    fn finish(self) -> Result<Sample> {
        let tally = &self.tally;
        let requests = tally.requests as f64;
        let sample = Sample {
            cpu_us_per_request: tally.cpu_s * 1e6 / requests,
            requests_per_s: requests / tally.elapsed_s,
            p99_us: tally.latencies.value_at_quantile(0.99) as f64 / 1e3,
        };
        self.bench.tear_down()?;
        Ok(sample)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_take_turns_as_base_head_head_base() {
        let order: Vec<bool> = turns(4, true).collect();
        assert_eq!(order, [true, false, false, true, true, false, false, true]);
        assert!(turns(3, false).eq(turns(3, true).map(|is_base| !is_base)));
    }

    /// Two programs beside each other, pair by pair, without git and builds: how far pairs scatter
    /// on this machine. GATE_BASE and GATE_HEAD are paths of jeton, GATE_PAIRS is their number.
    #[test]
    #[ignore = "needs two built servers and minutes"]
    #[expect(clippy::print_stdout, reason = "figures for a person")]
    fn real_pairs() {
        let path = |name: &str| PathBuf::from(std::env::var_os(name).expect(name));
        let binaries = Binaries { base: path("GATE_BASE"), head: path("GATE_HEAD") };
        let pairs = std::env::var("GATE_PAIRS").ok().and_then(|text| text.parse().ok());
        let mut live = Live { duration: Duration::from_secs(2) };
        for name in ["resolve", "batch", "issue"] {
            let mut workload = crate::workload::named::find(name).unwrap();
            workload.keys.population = crate::gate::args::POPULATION_MAX;
            for pair in 0..pairs.unwrap_or(12) {
                let found = live.pair(&binaries, &workload, pair % 2 == 0).expect("both answer");
                let ratio = |of: fn(&Sample) -> f64| of(&found.head) / of(&found.base);
                println!(
                    "{name} cpu {:.4} time {:.4} p99 {:.4} base {:.2} us",
                    ratio(|sample| sample.cpu_us_per_request),
                    ratio(|sample| 1.0 / sample.requests_per_s),
                    ratio(|sample| sample.p99_us),
                    found.base.cpu_us_per_request,
                );
            }
        }
    }
}
