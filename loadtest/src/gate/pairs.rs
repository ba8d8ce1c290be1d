//! Interleaved pairs: the same load against both servers, in turn, until every workload is decided.
//!
//! A pair is two servers, one of each revision, started anew and up at the same time, and measured
//! in short slices by turns (base, head, head, base). What drifts on the machine within a second hits
//! both; what differs from one start of a server to the next differs from pair to pair, so that it
//! is in the interval. Who goes first is drawn, and the pairs of all workloads take turns, so that
//! none of them has the machine at a better hour.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::Serialize;

use super::bounds::Band;
use super::decide::Plan;
use super::verdict::Verdict;
use crate::failure::{Failure, Result};
use crate::stats::{Interval, paired_ratio};
use crate::workload::Workload;

/// The measurement of one server of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Sample {
    /// CPU time of the server by requests, in microseconds.
    pub cpu_us_per_request: f64,
    /// Answers a second.
    pub requests_per_s: f64,
    /// 99 of 100 requests were faster, in microseconds.
    pub p99_us: f64,
}

/// Both servers of a pair.
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    /// Of the base.
    pub base: Sample,
    /// Of the head.
    pub head: Sample,
}

/// Whose fault it is that a pair could not be measured.
#[derive(Debug)]
pub enum Fault {
    /// Nothing can be said about the head.
    Base(Failure),
    /// The head does not start, or does not answer rightly, where the base does.
    Head(Failure),
}

/// A pair, or the side that made it fail.
pub type Measured = std::result::Result<Pair, Fault>;

/// Makes one pair: starts both servers, loads them by turns, stops them.
pub trait Measure {
    /// Puts `workload` on both.
    ///
    /// # Errors
    /// A server does not start or answers wrongly, or what it used is not known.
    fn pair(&mut self, both: &Binaries, workload: &Workload, base_first: bool) -> Measured;
}

/// Which ratios head / base are allowed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Of CPU per request.
    pub cpu: Band,
    /// Of time per request.
    pub time: Band,
    /// Of the p99 latency.
    pub latency: Band,
}

/// How the pairs are measured and judged.
#[derive(Clone, Copy)]
pub struct Rule<'a> {
    /// When to look.
    pub plan: &'a Plan,
    /// What is allowed.
    pub limits: Limits,
    /// Whether to go on after a regression.
    pub all: bool,
    /// Whether no further pair may begin.
    pub time_is_up: &'a dyn Fn() -> bool,
}

/// The results of the pairs.
#[derive(Debug, Default)]
pub struct Ran {
    /// One for each workload and metric; none of a workload without a pair.
    pub comparisons: Vec<Comparison>,
    /// What the head did wrong, which ended it.
    pub fault: Option<String>,
}

/// The two servers.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// Of the base.
    pub base: std::path::PathBuf,
    /// Of the head.
    pub head: std::path::PathBuf,
}

/// Metrics that are compared; all are costs, lower is better.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub enum Metric {
    /// Decides: the server's CPU time by requests, which neighbours on the machine disturb least.
    #[serde(rename = "CPU per request")]
    Cpu,
    /// Decides in a closed loop: the reciprocal of the throughput.
    #[serde(rename = "time per request")]
    Time,
    /// Decides in an open loop, where the throughput is given.
    #[serde(rename = "p99 latency")]
    P99,
}

impl Metric {
    const ALL: [Self; 3] = [Self::Cpu, Self::Time, Self::P99];

    /// As reports show it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "CPU per request",
            Self::Time => "time per request",
            Self::P99 => "p99 latency",
        }
    }

    fn decides(self, workload: &Workload) -> bool {
        match self {
            Self::Cpu => true,
            Self::Time => workload.load.rate.is_none(),
            Self::P99 => workload.load.rate.is_some(),
        }
    }

    fn band(self, limits: &Limits) -> Band {
        match self {
            Self::Cpu => limits.cpu,
            Self::Time => limits.time,
            Self::P99 => limits.latency,
        }
    }

    /// In microseconds.
    fn cost(self, sample: &Sample) -> f64 {
        match self {
            Self::Cpu => sample.cpu_us_per_request,
            Self::Time => 1e6 / sample.requests_per_s,
            Self::P99 => sample.p99_us,
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
    /// What was allowed, such as `1%..5%`; none where it is for information.
    pub limit: Option<Band>,
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

/// Measures pair after pair, as the rule says; one comparison for each workload and metric. `tell`
/// gets the progress.
///
/// # Errors
/// The base could not be measured, or gave a figure that cannot be compared.
pub fn run(
    rule: &Rule<'_>,
    workloads: &[Workload],
    binaries: &Binaries,
    measure: &mut dyn Measure,
    tell: &mut dyn FnMut(&str),
) -> Result<Ran> {
    let mut series: Vec<Series<'_>> = workloads.iter().map(Series::new).collect();
    let mut order = StdRng::seed_from_u64(1);
    let most = rule.plan.looks().last().copied().unwrap_or(0);
    let mut base_first = order.random::<bool>();
    let mut fault = None;
    'pairs: for pair in 1..=most {
        // Which half of a block of two pairs begins with the base is drawn for each block.
        base_first = if pair % 2 == 1 { order.random() } else { !base_first };
        for series in series.iter_mut().filter(|series| !series.is_decided()) {
            if (rule.time_is_up)() {
                tell("the time limit is reached");
                break 'pairs;
            }
            match measure.pair(binaries, series.workload, base_first) {
                Ok(found) => series.add(found)?,
                Err(Fault::Base(failure)) => return Err(failure),
                Err(Fault::Head(failure)) => {
                    fault = Some(format!("head, {}: {failure}", series.workload.name));
                    break 'pairs;
                }
            }
            if rule.plan.looks().contains(&pair) {
                series.look(rule, pair == most)?;
                tell(&format!("{pair} pairs of {}: {}", series.workload.name, series.state()));
                if series.has_failed() && !rule.all {
                    tell("a regression was found: the rest is not measured (--all measures it)");
                    break 'pairs;
                }
            }
        }
        if series.iter().all(Series::is_decided) {
            break;
        }
    }
    let mut comparisons = Vec::new();
    for series in series.into_iter().filter(|series| !series.base.is_empty()) {
        comparisons.extend(series.finish(rule)?);
    }
    Ok(Ran { comparisons, fault })
}

impl<'a> Series<'a> {
    fn new(workload: &'a Workload) -> Self {
        Series { workload, base: Vec::new(), head: Vec::new(), decided: Vec::new() }
    }

    fn deciding(&self) -> impl Iterator<Item = Metric> + use<'a> {
        let workload = self.workload;
        Metric::ALL.into_iter().filter(move |metric| metric.decides(workload))
    }

    fn is_decided(&self) -> bool {
        self.decided.len() == self.deciding().count()
    }

    fn has_failed(&self) -> bool {
        self.decided.iter().any(|done| done.verdict == Some(Verdict::Fail))
    }

    fn add(&mut self, pair: Pair) -> Result<()> {
        pair.base.check(&self.workload.name)?;
        pair.head.check(&self.workload.name)?;
        self.base.push(pair.base);
        self.head.push(pair.head);
        Ok(())
    }

    /// Decides what can be decided; at the last look also what cannot.
    fn look(&mut self, rule: &Rule<'_>, is_last: bool) -> Result<()> {
        for metric in self.deciding() {
            if self.decided.iter().any(|done| done.metric == metric) {
                continue;
            }
            let comparison = self.comparison(metric, rule)?;
            if comparison.verdict != Some(Verdict::Undecided) || is_last {
                self.decided.push(comparison);
            }
        }
        Ok(())
    }

    fn comparison(&self, metric: Metric, rule: &Rule<'_>) -> Result<Comparison> {
        let costs = |samples: &[Sample]| -> Vec<f64> {
            samples.iter().map(|sample| metric.cost(sample)).collect()
        };
        let (base_us, head_us) = (costs(&self.base), costs(&self.head));
        let (ratio, limit, verdict) = if metric.decides(self.workload) {
            let limit = metric.band(&rule.limits);
            let (ratio, verdict) = rule.plan.look(&base_us, &head_us, limit).ok_or_else(|| {
                Failure::Input(format!("{}: {} has no ratio", self.workload.name, metric.name()))
            })?;
            (Some(ratio), Some(limit), Some(verdict))
        } else {
            (paired_ratio(&base_us, &head_us, rule.plan.confidence()), None, None)
        };
        let (workload, pairs) = (self.workload.name.clone(), self.base.len());
        Ok(Comparison { workload, metric, ratio, limit, verdict, pairs, base_us, head_us })
    }

    fn state(&self) -> String {
        let of = |metric: Metric| {
            let done = self.decided.iter().find(|done| done.metric == metric);
            let verdict = done.and_then(|done| done.verdict).unwrap_or(Verdict::Undecided);
            format!("{} {}", metric.name(), verdict.name())
        };
        self.deciding().map(of).collect::<Vec<_>>().join(", ")
    }

    /// The last look, where it has not been, and what is for information.
    fn finish(mut self, rule: &Rule<'_>) -> Result<Vec<Comparison>> {
        self.look(rule, true)?;
        for metric in Metric::ALL.into_iter().filter(|metric| !metric.decides(self.workload)) {
            let comparison = self.comparison(metric, rule)?;
            self.decided.push(comparison);
        }
        self.decided
            .sort_by_key(|done| Metric::ALL.iter().position(|metric| *metric == done.metric));
        Ok(self.decided)
    }
}

impl Sample {
    /// A ratio to zero is undefined: an error is better than a false answer.
    fn check(&self, workload: &str) -> Result<()> {
        let is_cost = |value: f64| value.is_finite() && value > 0.0;
        for (name, value) in [
            ("CPU time of the server", self.cpu_us_per_request),
            ("throughput", self.requests_per_s),
            ("p99 latency", self.p99_us),
        ] {
            if !is_cost(value) {
                let problem = format!("the run of {workload} has no {name}: {value}");
                return Err(Failure::Input(problem));
            }
        }
        Ok(())
    }
}
