//! Runs side by side: whether B still answers rightly, by how much it differs from A, and how sure
//! that is.
//!
//! Errors and wrong answers come first: a refusal is fast, so the figures of a run with errors say
//! nothing. Then each figure is the ratio B / A. Of several runs of each side, in pairs, its
//! interval comes from the spread between the pairs ([`crate::stats::paired_ratio_t`]), which holds
//! everything that differs from one start of a server to the next. Of a single pair it comes from
//! the slices within the two runs ([`crate::stats::series_ratio`]), where that spread cannot show;
//! therefore a single pair calls nothing better or worse.

mod comparable;
mod names;
mod render;
mod series;

use crate::outcome::Outcome;
use crate::report::describe;
use crate::report::model::{Kept, Report};
use crate::report::units;
use crate::report::verdict::Verdict as RunVerdict;
use crate::stats::{self, Interval};
use series::{CONFIDENCE, Run};

pub use comparable::obstacles;

/// Differences below this are noise whatever their interval says: slices keep their latencies to a
/// hundredth.
pub const SMALLEST_DIFFERENCE: f64 = 0.02;

/// Answers that must be slower than a percentile for it to have an interval: of fewer, each draw
/// sees the same handful, and is too sure.
const BEYOND_MIN: f64 = 50.0;

/// Share of requests with errors up to which the figures of the others are still compared.
const TAINTED_SHARE: f64 = 0.001;

/// The runs of two sides, compared.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// What A and B are, one line for each run, for the head of the table.
    pub runs: [Vec<String>; 2],
    /// What makes the two hard to compare; empty where nothing does.
    pub warnings: Vec<String>,
    /// What B did wrong, whatever its figures: errors, wrong answers, missed objectives.
    pub failures: Vec<String>,
    /// Why nothing can be decided; empty if it can.
    pub doubts: Vec<String>,
    /// Each figure.
    pub rows: Vec<Row>,
}

/// One figure of both sides.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Such as `p99`.
    pub figure: &'static str,
    /// Of A and B, in the unit of the figure, the median of several runs; none where it is unknown.
    pub values: [Option<f64>; 2],
    /// B / A, where both are known and above 0.
    pub ratio: Option<f64>,
    /// Of the ratio; none where the reports hold too little for one.
    pub interval: Option<Interval>,
    /// What follows.
    pub verdict: Verdict,
    unit: Unit,
}

/// What a difference means.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// B is better, and that is no noise.
    Better,
    /// B is worse, and that is no noise.
    Worse,
    /// The interval holds 1, or the difference is below [`SMALLEST_DIFFERENCE`].
    Noise,
    /// The two runs differ; whether the two programs do, one pair cannot say.
    Undecided,
    /// The figure was given (the rate of an open loop), or belongs to a run with errors.
    NotJudged,
    /// There is no interval to decide on.
    Unknown,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Unit {
    PerSecond,
    Micros,
    Bytes,
}

impl Verdict {
    /// For a column.
    pub fn text(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::Noise => "noise",
            Self::Undecided => "undecided",
            Self::NotJudged => "not judged",
            Self::Unknown => "no interval",
        }
    }

    fn of(ratio: Option<f64>, interval: Option<Interval>, unit: Unit, is_single: bool) -> Self {
        let (Some(ratio), Some(interval)) = (ratio, interval) else { return Self::Unknown };
        if interval.contains(1.0) || ratio.ln().abs() < SMALLEST_DIFFERENCE.ln_1p() {
            Self::Noise
        } else if is_single {
            Self::Undecided
        } else if (ratio > 1.0) == (unit == Unit::PerSecond) {
            Self::Better
        } else {
            Self::Worse
        }
    }
}

/// Compares the runs of B with those of A: as many of each, of which those at the same place are a
/// pair.
pub fn compare(a: &[Report], b: &[Report]) -> Comparison {
    debug_assert!(!a.is_empty() && a.len() == b.len(), "pairs");
    let sides = [a, b];
    let mut rows = rows(sides);
    let is_open = a.iter().chain(b).any(|report| report.totals.rate.is_some());
    let tainted = a.iter().chain(b).any(|report| error_share(report) > TAINTED_SHARE);
    for row in &mut rows {
        if tainted || is_open && row.unit == Unit::PerSecond {
            row.verdict = Verdict::NotJudged;
        }
    }
    let mut failures = failures(a, b);
    failures.dedup();
    Comparison {
        runs: sides.map(|side| side.iter().map(name).collect()),
        warnings: warnings(a, b),
        failures,
        doubts: doubts(a, b, tainted),
        rows,
    }
}

fn rows(sides: [&[Report]; 2]) -> Vec<Row> {
    let throughput = |report: &Report| Some(report.totals.requests_per_s);
    let mut rows = vec![row("requests/s", Unit::PerSecond, sides, throughput, |runs, _| {
        series::throughput(runs)
    })];
    let percentiles = sides[0][0].latency.percentiles();
    for (at, (figure, share, _)) in percentiles.into_iter().enumerate() {
        if figure == "p99.99" {
            continue;
        }
        let value = |report: &Report| {
            let us = report.latency.percentiles()[at].2;
            report.latency.supports(share).then_some(us)
        };
        let beyond = |report: &Report| report.latency.count as f64 * (1.0 - share);
        let enough =
            sides.iter().all(|side| side.iter().all(|report| beyond(report) >= BEYOND_MIN));
        rows.push(row(figure, Unit::Micros, sides, value, |runs, ratio| {
            if enough { series::percentile(runs, share, ratio) } else { None }
        }));
    }
    let cpu = |report: &Report| report.server.as_ref().map(|usage| usage.cpu_us_per_request);
    rows.push(row("server CPU per request", Unit::Micros, sides, cpu, |runs, _| series::cpu(runs)));
    let memory = |report: &Report| report.server.as_ref().map(|usage| usage.memory_bytes as f64);
    rows.push(row("server memory", Unit::Bytes, sides, memory, |_, _| None));
    rows
}

/// Puts a row together; `within` gives the interval of a single pair.
fn row(
    figure: &'static str,
    unit: Unit,
    sides: [&[Report]; 2],
    value: impl Fn(&Report) -> Option<f64>,
    within: impl FnOnce(&[Run; 2], f64) -> Option<Interval>,
) -> Row {
    let all = sides.map(|side| side.iter().map(&value).collect::<Option<Vec<f64>>>());
    let values = [&all[0], &all[1]].map(|values| stats::median(values.as_deref()?));
    let is_single = sides[0].len() == 1;
    let (ratio, interval) = match &all {
        [Some(a), Some(b)] if is_single => single(a[0], b[0], |ratio| {
            within(&[Run::new(&sides[0][0]), Run::new(&sides[1][0])], ratio)
        }),
        [Some(a), Some(b)] => {
            let interval = stats::paired_ratio_t(a, b, CONFIDENCE);
            (interval.map(|interval| interval.estimate), interval)
        }
        _ => (None, None),
    };
    let verdict = Verdict::of(ratio, interval, unit, is_single);
    Row { figure, values, ratio, interval, verdict, unit }
}

/// The ratio is that of the figures shown; the interval, which comes from the coarser histograms of
/// slices, is widened where it would not hold it.
fn single(
    a: f64,
    b: f64,
    within: impl FnOnce(f64) -> Option<Interval>,
) -> (Option<f64>, Option<Interval>) {
    if a <= 0.0 || b <= 0.0 {
        return (None, None);
    }
    let ratio = b / a;
    let interval = within(ratio).map(|found| Interval {
        low: found.low.min(ratio),
        estimate: ratio,
        high: found.high.max(ratio),
        confidence: found.confidence,
    });
    (Some(ratio), interval)
}

/// `jeton 0.1.0 at 127.0.0.1:7450, 2026-11-22T21:00:00Z`.
fn name(report: &Report) -> String {
    format!("{}, {}: {}", describe::target(report), report.started_at, report.verdict().text())
}

fn errors(report: &Report) -> u64 {
    report.errors.iter().map(|error| error.count).sum()
}

/// Of all requests, those that went wrong; 1 where there was not one answer.
fn error_share(report: &Report) -> f64 {
    if report.totals.requests == 0 && report.latency.count == 0 {
        return 1.0;
    }
    errors(report) as f64 / report.totals.requests.max(1) as f64
}

/// What B did wrong. B fails for it even if A did the same.
fn failures(a: &[Report], b: &[Report]) -> Vec<String> {
    let mut failures = Vec::new();
    let kinds = |report: &Report, wrong: bool| {
        let of = report.errors.iter().filter(|error| error.wrong == wrong);
        of.map(|error| format!("{} × {}", units::count(error.count), error.kind))
            .collect::<Vec<_>>()
            .join(", ")
    };
    for report in b {
        let wrong = kinds(report, true);
        if !wrong.is_empty() {
            failures.push(format!("B gave wrong answers: {wrong}"));
        }
    }
    for (at, report) in b.iter().enumerate() {
        let refused = kinds(report, false);
        if !refused.is_empty() {
            let shares = [error_share(&a[at]), error_share(report)].map(units::percent);
            failures.push(format!(
                "B failed in {} of requests (A {}): {refused}",
                shares[1], shares[0]
            ));
        }
        if let (RunVerdict::ServerFailed, Some(ended)) = (report.verdict(), &report.ended) {
            failures.push(format!("B's server failed: {}", ended.reason));
        }
        if report.totals.requests == 0 {
            failures.push("B answered no request".to_owned());
        }
    }
    let missed = |side: &[Report], objective: &str| {
        let of = |report: &&Report| {
            report.objectives.iter().any(|one| one.objective == objective && one.kept == Kept::No)
        };
        side.iter().filter(of).count()
    };
    for objective in b.iter().flat_map(|report| &report.objectives).map(|one| &one.objective) {
        if missed(b, objective) > missed(a, objective) {
            failures.push(format!("B missed {objective}, which A kept"));
        }
    }
    failures
}

/// Why no figure decides.
fn doubts(a: &[Report], b: &[Report], tainted: bool) -> Vec<String> {
    let mut doubts = Vec::new();
    for (letter, side) in [("A", a), ("B", b)] {
        if side.iter().any(|report| report.totals.requests == 0) {
            doubts.push(format!("{letter} holds a run without an answer"));
        } else if side.iter().any(|report| report.totals.stopped_early) {
            doubts.push(format!("{letter} holds a run that was ended early"));
        } else if side.iter().any(|report| report.verdict() == RunVerdict::Undecided) {
            doubts.push(format!("{letter} holds a run that is undecided itself"));
        }
    }
    if tainted && doubts.is_empty() {
        let of_a = a.iter().any(|report| error_share(report) > TAINTED_SHARE);
        let side = if of_a { "A" } else { "B" };
        doubts.push(format!("{side} has errors, so its figures are those of other work"));
    }
    doubts
}

/// Everything that differs beside the figures, or makes them doubtful.
fn warnings(a: &[Report], b: &[Report]) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut differ = |what: &str, of: &dyn Fn(&Report) -> String| {
        for (a, b) in a.iter().zip(b).map(|(a, b)| (of(a), of(b))) {
            if a != b {
                warnings.push(format!("{what} differ: A {a}, B {b}."));
            }
        }
    };
    differ("Machines", &describe::machine);
    differ("Servers", &|report: &Report| {
        format!("{} {}", report.target.kind, report.target.version.as_deref().unwrap_or("unknown"))
    });
    differ("Versions of the harness", &|report: &Report| {
        let commit = report.harness.commit.as_deref().unwrap_or("unknown");
        format!("{}, commit {commit}", report.harness.version)
    });
    differ("Seeds", &|report: &Report| report.workload.seed.to_string());
    for (name, report) in a.iter().map(|a| ("A", a)).chain(b.iter().map(|b| ("B", b))) {
        if report.verdict() != RunVerdict::Passed {
            warnings.push(format!("{name} did not pass: {}.", report.verdict().text()));
        }
        warnings
            .extend(describe::doubts(report).into_iter().map(|doubt| format!("{name}: {doubt}")));
        if a.len() == 1 && report.slices.len() < stats::SLICES_MIN {
            warnings.push(format!(
                "{name} has {} slices, too few for intervals: let it run longer.",
                report.slices.len()
            ));
        }
    }
    if a.iter().chain(b).any(|report| report.totals.rate.is_some()) {
        warnings.push("The rate was given: requests/s is not judged, latency is.".to_owned());
    }
    let mut seen = std::collections::HashSet::new();
    warnings.retain(|warning| seen.insert(warning.clone()));
    warnings
}

impl Comparison {
    /// What it comes to. Failures and figures that are worse are a regression; undecided is what
    /// holds too little for a verdict.
    pub fn outcome(&self) -> Outcome {
        let has = |verdict| self.rows.iter().any(|row| row.verdict == verdict);
        if !self.failures.is_empty() || self.doubts.is_empty() && has(Verdict::Worse) {
            Outcome::Failed
        } else if !self.doubts.is_empty() || has(Verdict::Undecided) {
            Outcome::Undecided
        } else if has(Verdict::Noise) || has(Verdict::Better) {
            Outcome::Passed
        } else {
            Outcome::Undecided
        }
    }

    /// Whether each side has one run.
    pub fn is_single(&self) -> bool {
        self.runs[0].len() == 1
    }

    /// The outcome in one line; failures come first.
    pub fn summary(&self) -> String {
        let named = |verdict| {
            let rows = self.rows.iter().filter(|row| row.verdict == verdict);
            rows.map(|row| row.figure).collect::<Vec<_>>().join(", ")
        };
        let mut parts = self.failures.clone();
        parts.extend(self.doubts.iter().map(|doubt| format!("undecided: {doubt}")));
        for verdict in [Verdict::Worse, Verdict::Better] {
            let figures = named(verdict);
            if !figures.is_empty() {
                parts.push(format!("{}: {figures}", verdict.text()));
            }
        }
        let open = named(Verdict::Undecided);
        if !open.is_empty() {
            parts.push(format!("undecided: these two runs differ in {open}"));
        }
        match (parts.is_empty(), named(Verdict::Noise).is_empty()) {
            (false, _) => parts.join("; "),
            (true, false) => "noise: chance explains every difference".to_owned(),
            (true, true) => "undecided: the reports hold too little for intervals".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests;
