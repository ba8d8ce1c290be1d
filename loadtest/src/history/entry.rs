//! One line of a history: the figures of one commit, measured once.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Result, at, io};
use crate::gate::findings::Findings;
use crate::report::model::Report;
use crate::report::verdict::Verdict;
use crate::stats::median;

/// The version of this format; a line of another is refused.
const FORMAT: u32 = 1;

/// The figures of one commit.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Entry {
    /// Version of the form of this line.
    pub format: u32,
    /// RFC 3339: when it was measured.
    pub at: String,
    /// The revision, as git names it.
    pub commit: String,
    /// `run` or `gate`.
    pub source: String,
    /// How it ended.
    pub verdict: String,
    /// By name, such as `resolve: p99 latency`. Empty where the server answered wrongly: how fast it
    /// does that is of no interest.
    pub figures: BTreeMap<String, Figure>,
}

/// One figure; the less the better.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Figure {
    /// Above 0.
    pub value: f64,
    /// `µs`, `bytes` or `instructions`.
    pub unit: String,
}

impl Entry {
    /// Of a run.
    ///
    /// # Errors
    /// Its commit is not known.
    pub fn of_run(report: &Report, commit: Option<&str>) -> Result<Self> {
        let commit = commit.or(report.harness.commit.as_deref()).ok_or_else(|| {
            Failure::Input("--history: --commit must say which revision was measured".to_owned())
        })?;
        let mut figures = Figures::new(&report.workload.name);
        let verdict = report.verdict();
        if matches!(verdict, Verdict::Passed | Verdict::ObjectiveMissed) {
            if report.totals.rate.is_none() {
                figures.add("time per request", 1e6 / report.totals.requests_per_s, "µs");
            }
            for (name, share, us) in report.latency.percentiles() {
                if ["p50", "p99", "p99.9"].contains(&name) && report.latency.supports(share) {
                    figures.add(&format!("{name} latency"), us, "µs");
                }
            }
            if let Some(server) = &report.server {
                figures.add("server CPU per request", server.cpu_us_per_request, "µs");
                figures.add("server memory", server.memory_bytes as f64, "bytes");
            }
        }
        Ok(Self::new(report.started_at.clone(), commit, "run", verdict.text(), figures))
    }

    /// Of the head of a gate.
    pub fn of_gate(findings: &Findings, at: String) -> Self {
        let mut figures = Figures::new("gate");
        for function in findings.functions() {
            if let Some(head) = function.head {
                figures.add(&function.function, head, "instructions");
            }
        }
        for comparison in &findings.comparisons {
            let name = format!("{}, {}", comparison.workload, comparison.metric.name());
            if let Some(head) = median(&comparison.head_us) {
                figures.add(&name, head, "µs");
            }
        }
        let verdict = findings.outcome().name();
        Self::new(at, &findings.head.commit, "gate", verdict, figures)
    }

    fn new(at: String, commit: &str, source: &str, verdict: &str, figures: Figures) -> Self {
        Self {
            format: FORMAT,
            at,
            commit: commit.to_owned(),
            source: source.to_owned(),
            verdict: verdict.to_owned(),
            figures: figures.all,
        }
    }

    /// Adds it to a file as one line, in one write; the file is made where it is missing.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn append(&self, path: &Path) -> Result<()> {
        let what = || format!("cannot add to the history {}", path.display());
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path)
            .map_err(io(what()))?;
        let mut line = String::new();
        // A line that was cut when a disk was full stays one damaged line.
        let mut last = [b'\n'];
        if file.metadata().map_err(io(what()))?.len() > 0 {
            file.seek(SeekFrom::End(-1)).map_err(io(what()))?;
            file.read_exact(&mut last).map_err(io(what()))?;
        }
        if last != *b"\n" {
            line.push('\n');
        }
        line += &serde_json::to_string(self).map_err(io(what()))?;
        line.push('\n');
        file.write_all(line.as_bytes()).map_err(io(what()))
    }
}

struct Figures {
    of: String,
    all: BTreeMap<String, Figure>,
}

impl Figures {
    fn new(of: &str) -> Self {
        Self { of: of.to_owned(), all: BTreeMap::new() }
    }

    /// What is not above 0 is no figure.
    fn add(&mut self, name: &str, value: f64, unit: &str) {
        if value.is_finite() && value > 0.0 {
            let figure = Figure { value, unit: unit.to_owned() };
            self.all.insert(format!("{}: {name}", self.of), figure);
        }
    }
}

/// Reads a whole file, in its order.
///
/// # Errors
/// It cannot be read, or a line is none of a history; names the line.
pub fn read(path: &Path) -> Result<Vec<Entry>> {
    let text = std::fs::read_to_string(path).map_err(at(path))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let entry = |(number, line): (usize, &str)| {
        let bad = |problem: String| {
            Failure::Input(format!("{}:{}: {problem}", path.display(), number + 1))
        };
        let entry: Entry = serde_json::from_str(line)
            .map_err(|error| bad(format!("not a line of a history: {error}")))?;
        if entry.format != FORMAT {
            return Err(bad(format!("format {}, this harness reads {FORMAT}", entry.format)));
        }
        Ok(entry)
    };
    lines.map(entry).collect()
}
