//! Two runs side by side: by how much they differ, how sure that is, and when it is noise.
//!
//! Each figure is the ratio B / A. Its interval comes from the slices of the two runs, drawn in
//! blocks with repetition (see [`crate::stats::series_ratio`]): it says how far the ratio could be
//! off if the same two servers had gone on for as long again. What differs from one start of a
//! server to the next it cannot see; the gate, which makes several pairs, can.

mod series;

use crate::report::html::{self, Badge, Cell, Page, Part, Section};
use crate::report::model::{Report, Verdict as RunVerdict};
use crate::report::{describe, table, units};
use crate::stats::Interval;
use series::Run;

/// Of each interval. Six of them are looked at at once: all six hold what they must with 99 %
/// (Bonferroni). With 95 % each, every third comparison of a run with its like would find
/// something.
pub const CONFIDENCE: f64 = 0.998;

/// Differences below this are noise whatever their interval says: slices keep their latencies to a
/// hundredth, and two starts of one and the same server differ by more.
pub const SMALLEST_DIFFERENCE: f64 = 0.02;

/// Answers that must be slower than a percentile for it to have an interval: of fewer, each draw
/// sees the same handful, and is too sure.
const BEYOND_MIN: f64 = 50.0;

/// Two reports, compared.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// What A and B are, for the head of the table.
    pub runs: [String; 2],
    /// What makes the two hard to compare; empty where nothing does.
    pub warnings: Vec<String>,
    /// Each figure.
    pub rows: Vec<Row>,
    /// Whether B gave wrong answers, errors or missed an objective, and A did not.
    pub newly_failed: bool,
}

/// One figure of both runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Such as `p99`.
    pub figure: &'static str,
    /// Of A and B, in the unit of the figure; none where it is unknown.
    pub values: [Option<f64>; 2],
    /// B / A, where both are known and above 0.
    pub ratio: Option<f64>,
    /// Of the ratio; none where the reports do not hold enough to tell.
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
            Verdict::Better => "better",
            Verdict::Worse => "worse",
            Verdict::Noise => "noise",
            Verdict::Unknown => "no interval",
        }
    }

    fn of(ratio: Option<f64>, interval: Option<Interval>, unit: Unit) -> Verdict {
        let (Some(ratio), Some(interval)) = (ratio, interval) else { return Verdict::Unknown };
        if interval.contains(1.0) || ratio.ln().abs() < SMALLEST_DIFFERENCE.ln_1p() {
            Verdict::Noise
        } else if (ratio > 1.0) == (unit == Unit::PerSecond) {
            Verdict::Better
        } else {
            Verdict::Worse
        }
    }
}

impl Unit {
    fn text(self, value: Option<f64>) -> String {
        match (self, value) {
            (_, None) => "–".to_owned(),
            (Unit::PerSecond, Some(value)) => units::rate(value),
            (Unit::Micros, Some(value)) => units::latency(value),
            (Unit::Bytes, Some(value)) => units::bytes(value as u64),
        }
    }
}

/// Compares B with A.
pub fn compare(a: &Report, b: &Report) -> Comparison {
    let runs = [Run::new(a), Run::new(b)];
    let reports = [a, b];
    let mut rows = vec![row("requests/s", Unit::PerSecond, throughputs(reports), |_| {
        series::throughput(&runs)
    })];
    for (at, (figure, share, _)) in a.latency.percentiles().into_iter().enumerate() {
        if figure == "p99.99" {
            continue;
        }
        let values = reports.map(|report| {
            let us = report.latency.percentiles()[at].2;
            report.latency.supports(share).then_some(us)
        });
        let beyond = |report: &Report| report.latency.count as f64 * (1.0 - share);
        let enough = reports.iter().all(|report| beyond(report) >= BEYOND_MIN);
        rows.push(row(figure, Unit::Micros, values, |ratio| {
            if enough { series::percentile(&runs, share, ratio) } else { None }
        }));
    }
    let cpu = reports.map(|report| report.server.as_ref().map(|usage| usage.cpu_us_per_request));
    rows.push(row("server CPU per request", Unit::Micros, cpu, |_| series::cpu(&runs)));
    let memory =
        reports.map(|report| report.server.as_ref().map(|usage| usage.memory_bytes as f64));
    rows.push(row("server memory", Unit::Bytes, memory, |_| None));
    Comparison {
        runs: reports.map(name),
        warnings: warnings(a, b),
        rows,
        newly_failed: a.verdict() == RunVerdict::Passed && b.verdict() != RunVerdict::Passed,
    }
}

/// Puts a row together. The ratio is that of the figures shown; the interval, which comes from the
/// coarser histograms of slices, is widened where it would not hold it.
fn row(
    figure: &'static str,
    unit: Unit,
    values: [Option<f64>; 2],
    interval: impl FnOnce(f64) -> Option<Interval>,
) -> Row {
    let ratio = match values {
        [Some(a), Some(b)] if a > 0.0 && b > 0.0 => Some(b / a),
        _ => None,
    };
    let interval = ratio.and_then(|ratio| {
        let found = interval(ratio)?;
        Some(Interval {
            low: found.low.min(ratio),
            estimate: ratio,
            high: found.high.max(ratio),
            confidence: found.confidence,
        })
    });
    Row { figure, values, ratio, interval, verdict: Verdict::of(ratio, interval, unit), unit }
}

fn throughputs(reports: [&Report; 2]) -> [Option<f64>; 2] {
    reports.map(|report| Some(report.totals.requests_per_s))
}

/// `jeton 0.1.0 at 127.0.0.1:7450, 2026-11-22T21:00:00Z`.
fn name(report: &Report) -> String {
    format!("{}, {}: {}", describe::target(report), report.started_at, report.verdict().text())
}

/// Everything that differs beside the figures, or makes them hard to believe.
fn warnings(a: &Report, b: &Report) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut differ = |what: &str, a: String, b: String| {
        if a != b {
            warnings.push(format!("{what} differ: A {a}, B {b}."));
        }
    };
    differ("Machines", describe::machine(a), describe::machine(b));
    let version = |report: &Report| {
        format!("{} {}", report.target.kind, report.target.version.as_deref().unwrap_or("unknown"))
    };
    differ("Servers", version(a), version(b));
    let harness = |report: &Report| {
        let commit = report.harness.commit.as_deref().unwrap_or("unknown");
        format!("{}, commit {commit}", report.harness.version)
    };
    differ("Versions of the harness", harness(a), harness(b));
    let parts = workload_differences(a, b);
    if !parts.is_empty() {
        warnings
            .push(format!("Workloads differ in {}: these are two questions.", parts.join(", ")));
    }
    let lengths = [a.totals.elapsed_s, b.totals.elapsed_s];
    if (lengths[0] - lengths[1]).abs() > 0.05 * lengths[0].max(lengths[1]) {
        let [a, b] = lengths.map(units::seconds);
        warnings
            .push(format!("Durations differ: A {a}, B {b}; the longer run has the higher max."));
    }
    for (name, report) in [("A", a), ("B", b)] {
        if report.verdict() != RunVerdict::Passed {
            warnings.push(format!("{name} did not pass: {}.", report.verdict().text()));
        }
        warnings
            .extend(describe::doubts(report).into_iter().map(|doubt| format!("{name}: {doubt}")));
        if report.slices.len() < crate::stats::SLICES_MIN {
            warnings.push(format!(
                "{name} has {} slices, too few for intervals: let it run longer.",
                report.slices.len()
            ));
        }
    }
    if a.totals.rate.is_some() && b.totals.rate.is_some() {
        warnings.push("Both ran at a rate they were given: requests/s says nothing.".to_owned());
    }
    warnings
}

fn workload_differences(a: &Report, b: &Report) -> Vec<&'static str> {
    let (a, b) = (&a.workload, &b.workload);
    let parts = [
        ("load", a.load == b.load),
        ("time", a.time == b.time),
        ("keys", a.keys == b.keys),
        ("payload", a.payload == b.payload),
        ("ttl", a.ttl == b.ttl),
        ("mix", a.mix == b.mix),
        ("seed", a.seed == b.seed),
    ];
    parts.into_iter().filter(|(_, same)| !same).map(|(part, _)| part).collect()
}

impl Comparison {
    /// Whether B is worse in some figure beyond noise, or failed where A passed.
    pub fn regressed(&self) -> bool {
        self.newly_failed || self.rows.iter().any(|row| row.verdict == Verdict::Worse)
    }

    /// What it comes to, in one line.
    pub fn summary(&self) -> String {
        let named = |verdict| {
            let rows = self.rows.iter().filter(|row| row.verdict == verdict);
            rows.map(|row| row.figure).collect::<Vec<_>>().join(", ")
        };
        let mut parts = Vec::new();
        if self.newly_failed {
            parts.push("B failed where A passed".to_owned());
        }
        for verdict in [Verdict::Worse, Verdict::Better] {
            let figures = named(verdict);
            if !figures.is_empty() {
                parts.push(format!("{}: {figures}", verdict.text()));
            }
        }
        match (parts.is_empty(), named(Verdict::Noise).is_empty()) {
            (false, _) => parts.join("; "),
            (true, false) => "noise: no difference can be told from chance".to_owned(),
            (true, true) => "undecided: the reports hold too little for intervals".to_owned(),
        }
    }

    /// The table for a terminal.
    pub fn render(&self, colours: bool) -> String {
        let mut text = String::new();
        for (letter, run) in ["A", "B"].iter().zip(&self.runs) {
            text.push_str(&format!("{letter}  {}\n", table::harmless(run)));
        }
        if !self.warnings.is_empty() {
            text.push('\n');
        }
        for warning in &self.warnings {
            let note = format!("Note: {}", table::harmless(warning));
            text.push_str(&format!("{}\n", table::wrap(&note)));
        }
        let mut table = table::table(&HEADINGS);
        for row in &self.rows {
            table.add_row(row.cells());
        }
        table::push(&mut text, &table);
        let summary = table::wrap(&self.summary());
        text.push_str(&format!("\n{}\n", table::paint(&summary, !self.regressed(), colours)));
        text
    }

    /// The page: the table, and the curves of both laid over each other.
    pub fn html(&self, a: &Report, b: &Report) -> String {
        let mut rows = html::Table::new(&HEADINGS);
        for row in &self.rows {
            let mut cells: Vec<Cell> = row.cells().into_iter().map(Cell::from).collect();
            match row.verdict {
                Verdict::Better => cells[5].class = "good",
                Verdict::Worse => cells[5].class = "bad",
                Verdict::Noise | Verdict::Unknown => {}
            }
            rows.rows.push(cells);
        }
        let page = Page {
            title: format!("{}: A and B", a.workload.name),
            badge: Some(Badge {
                text: if self.regressed() { "worse" } else { "no regression" }.to_owned(),
                good: !self.regressed(),
            }),
            lead: [("A", &self.runs[0]), ("B", &self.runs[1])]
                .map(|(letter, run)| format!("{letter}: {run}"))
                .into(),
            notes: self.warnings.clone(),
            tiles: Vec::new(),
            sections: vec![Section::new(
                "B against A",
                [Part::Text(self.summary()), Part::Table(rows), Part::Text(LIMITS.to_owned())],
            )],
            footer: format!("loadtest {}", env!("CARGO_PKG_VERSION")),
        };
        html::several(page, &[("A".to_owned(), a), ("B".to_owned(), b)])
    }
}

const HEADINGS: [&str; 6] = ["figure", "A", "B", "B / A", "99.8 % interval", "verdict"];

const LIMITS: &str = "Each interval holds the true ratio with 99.8 %, all of them together with \
     99 %. They come from the course of these two runs. What changes from one start of a server to \
     the next, or with the hour, is not in them: several runs of each, in turn, show it.";

const _: () = assert!(CONFIDENCE == 0.998, "the heading says so");

impl Row {
    fn cells(&self) -> Vec<String> {
        let none = || "–".to_owned();
        let bounds = |interval: Interval| {
            format!("{} – {}", units::ratio(interval.low), units::ratio(interval.high))
        };
        vec![
            self.figure.to_owned(),
            self.unit.text(self.values[0]),
            self.unit.text(self.values[1]),
            self.ratio.map_or_else(none, units::ratio),
            self.interval.map_or_else(none, bounds),
            self.verdict.text().to_owned(),
        ]
    }
}

#[cfg(test)]
mod tests;
