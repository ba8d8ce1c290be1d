//! Interleaved pairs: the same load against both servers, in turn, until every workload is decided.
//!
//! What drifts on a machine drifts for both: within a pair the two runs follow each other, who goes
//! first alternates in blocks of base, head, head, base, and the pairs of all workloads take turns,
//! so that none of them has the machine at a better hour.

use std::path::Path;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::Serialize;

use super::decide::Plan;
use super::verdict::Verdict;
use crate::failure::{Failure, Result};
use crate::stats::{Interval, paired_ratio};
use crate::workload::Workload;

/// What one run came to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Sample {
    /// CPU time of the server by requests, in microseconds.
    pub cpu_us_per_request: f64,
    /// Answers a second.
    pub requests_per_s: f64,
    /// 99 of 100 requests were faster, in microseconds.
    pub p99_us: f64,
}

/// Makes one run: starts the server, loads it, stops it.
pub trait Measure {
    /// Runs `workload` against a server that `binary` starts, and gives what it came to.
    ///
    /// # Errors
    /// The server does not start or answers wrongly, or what it used is not known.
    fn measure(&mut self, binary: &Path, workload: &Workload) -> Result<Sample>;
}

/// The two servers.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// Of the base.
    pub base: std::path::PathBuf,
    /// Of the head.
    pub head: std::path::PathBuf,
}

/// What is compared of two runs; all are costs, the less the better.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub enum Metric {
    /// Decides: the server's CPU time by requests, which neighbours on the machine disturb least.
    #[serde(rename = "CPU per request")]
    Cpu,
    /// Decides: the reciprocal of the throughput.
    #[serde(rename = "time per request")]
    Time,
    /// For information.
    #[serde(rename = "p99 latency")]
    P99,
}

impl Metric {
    const ALL: [Metric; 3] = [Metric::Cpu, Metric::Time, Metric::P99];

    /// As reports show it.
    pub fn name(self) -> &'static str {
        match self {
            Metric::Cpu => "CPU per request",
            Metric::Time => "time per request",
            Metric::P99 => "p99 latency",
        }
    }

    fn decides(self) -> bool {
        self != Metric::P99
    }

    /// In microseconds.
    fn cost(self, sample: &Sample) -> f64 {
        match self {
            Metric::Cpu => sample.cpu_us_per_request,
            Metric::Time => 1e6 / sample.requests_per_s,
            Metric::P99 => sample.p99_us,
        }
    }
}

/// One workload's metric, compared.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// Name of the workload.
    pub workload: String,
    /// What was compared.
    pub metric: Metric,
    /// Head / base, above 1 is worse; none where a figure was missing.
    pub ratio: Option<Interval>,
    /// The greatest ratio allowed; none where it is for information.
    pub limit: Option<f64>,
    /// None where it is for information.
    pub verdict: Option<Verdict>,
    /// Pairs it rests on.
    pub pairs: usize,
    /// The base's figures, in microseconds, in the order they were measured.
    pub base_us: Vec<f64>,
    /// The head's, each of the pair with the same place.
    pub head_us: Vec<f64>,
}

/// The pairs of one workload so far.
struct Series<'a> {
    workload: &'a Workload,
    base: Vec<Sample>,
    head: Vec<Sample>,
    /// Of each deciding metric, once it has one: the first decision stands.
    decided: Vec<Comparison>,
}

/// Measures pair after pair, as the plan says; one comparison for each workload and metric. `tell`
/// is told how far it is.
///
/// # Errors
/// A run could not be made, or gave a figure that cannot be compared.
pub fn run(
    plan: &Plan,
    workloads: &[Workload],
    binaries: &Binaries,
    measure: &mut dyn Measure,
    tell: &mut dyn FnMut(&str),
) -> Result<Vec<Comparison>> {
    let mut series: Vec<Series<'_>> = workloads.iter().map(Series::new).collect();
    let mut order = StdRng::seed_from_u64(1);
    let most = plan.looks().last().copied().unwrap_or(0);
    let mut base_first = order.random::<bool>();
    for pair in 1..=most {
        // Blocks of base, head, head, base; which half comes first is drawn for each block.
        base_first = if pair % 2 == 1 { order.random() } else { !base_first };
        for series in series.iter_mut().filter(|series| !series.is_decided()) {
            series.measure(binaries, base_first, measure)?;
            if plan.looks().contains(&pair) {
                series.look(plan, pair == most)?;
                tell(&format!("{pair} pairs of {}: {}", series.workload.name, series.state()));
            }
        }
        if series.iter().all(Series::is_decided) {
            break;
        }
    }
    series
        .into_iter()
        .map(|series| series.finish(plan))
        .collect::<Result<Vec<_>>>()
        .map(|all| all.into_iter().flatten().collect())
}

impl<'a> Series<'a> {
    fn new(workload: &'a Workload) -> Series<'a> {
        Series { workload, base: Vec::new(), head: Vec::new(), decided: Vec::new() }
    }

    fn is_decided(&self) -> bool {
        self.decided.len() == Metric::ALL.iter().filter(|metric| metric.decides()).count()
    }

    fn measure(
        &mut self,
        binaries: &Binaries,
        base_first: bool,
        measure: &mut dyn Measure,
    ) -> Result<()> {
        let mut run = |binary: &Path| -> Result<Sample> {
            let sample = measure.measure(binary, self.workload)?;
            sample.check(&self.workload.name)?;
            Ok(sample)
        };
        let (base, head);
        if base_first {
            base = run(&binaries.base)?;
            head = run(&binaries.head)?;
        } else {
            head = run(&binaries.head)?;
            base = run(&binaries.base)?;
        }
        self.base.push(base);
        self.head.push(head);
        Ok(())
    }

    /// Decides what can be decided; at the last look also what cannot.
    fn look(&mut self, plan: &Plan, is_last: bool) -> Result<()> {
        for metric in Metric::ALL.into_iter().filter(|metric| metric.decides()) {
            if self.decided.iter().any(|done| done.metric == metric) {
                continue;
            }
            let comparison = self.comparison(metric, plan)?;
            if comparison.verdict != Some(Verdict::Undecided) || is_last {
                self.decided.push(comparison);
            }
        }
        Ok(())
    }

    fn comparison(&self, metric: Metric, plan: &Plan) -> Result<Comparison> {
        let costs = |samples: &[Sample]| -> Vec<f64> {
            samples.iter().map(|sample| metric.cost(sample)).collect()
        };
        let (base_us, head_us) = (costs(&self.base), costs(&self.head));
        let (ratio, limit, verdict) = if metric.decides() {
            let (ratio, verdict) = plan.look(&base_us, &head_us).ok_or_else(|| {
                Failure::Input(format!("{}: {} has no ratio", self.workload.name, metric.name()))
            })?;
            (Some(ratio), Some(plan.limit()), Some(verdict))
        } else {
            (paired_ratio(&base_us, &head_us, plan.confidence()), None, None)
        };
        let (workload, pairs) = (self.workload.name.clone(), self.base.len());
        Ok(Comparison { workload, metric, ratio, limit, verdict, pairs, base_us, head_us })
    }

    fn state(&self) -> String {
        let open = Metric::ALL.into_iter().filter(|metric| metric.decides());
        let of = |metric: Metric| {
            let done = self.decided.iter().find(|done| done.metric == metric);
            let verdict = done.and_then(|done| done.verdict).unwrap_or(Verdict::Undecided);
            format!("{} {}", metric.name(), verdict.name())
        };
        open.map(of).collect::<Vec<_>>().join(", ")
    }

    fn finish(mut self, plan: &Plan) -> Result<Vec<Comparison>> {
        let p99 = self.comparison(Metric::P99, plan)?;
        self.decided.push(p99);
        self.decided
            .sort_by_key(|done| Metric::ALL.iter().position(|metric| *metric == done.metric));
        Ok(self.decided)
    }
}

impl Sample {
    /// A figure of nothing cannot be compared: better no answer than a false one.
    fn check(&self, workload: &str) -> Result<()> {
        let is_cost = |value: f64| value.is_finite() && value > 0.0;
        for (name, value) in [
            ("CPU time of the server", self.cpu_us_per_request),
            ("throughput", self.requests_per_s),
        ] {
            if !is_cost(value) {
                let problem = format!("the run of {workload} has no {name}: {value}");
                return Err(Failure::Input(problem));
            }
        }
        Ok(())
    }
}
