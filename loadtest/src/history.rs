//! What `run` and `gate` measured of each commit, kept in a file of lines: drawn, searched for
//! changes, and passed on to other tools.
//!
//! In reading order: `entry` (one line), `divisive` (where a series changes), this file (from lines
//! to series), `page` and `export`.

pub mod divisive;
pub mod entry;
pub mod export;
pub(crate) mod page;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;

pub use entry::Entry;

use crate::console::print;
use crate::failure::{Failure, Result};
use crate::gate::args::Percent;
use crate::report::file;
use crate::stats::median;
use divisive::Options;

/// Where a history is kept, for the commands that add to it.
#[derive(Args, Clone, Debug, Default)]
pub struct HistoryArgs {
    /// Adds a line with the figures of this commit to a file, for `loadtest history`
    #[arg(long, value_name = "FILE")]
    pub history: Option<PathBuf>,
}

/// What is read, and what is written.
#[derive(Args, Clone, Debug)]
pub struct ShowArgs {
    /// The file that --history of `run` and `gate` added to
    file: PathBuf,
    /// Writes a page with each figure over the commits
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Writes the figures of the last commit for Bencher (BMF JSON)
    #[arg(long, value_name = "FILE")]
    bmf: Option<PathBuf>,
    /// Writes them for github-action-benchmark (customSmallerIsBetter)
    #[arg(long, value_name = "FILE")]
    smaller_is_better: Option<PathBuf>,
    /// How many commits are looked at, from the last one back: 1 to 2,000
    #[arg(long, value_name = "N", default_value_t = 200)]
    last: usize,
    /// The least change of a median that counts
    #[arg(long, value_name = "PERCENT", default_value = "1%")]
    min_change: Percent,
}

/// A history, ready to be shown.
#[derive(Clone, Debug)]
pub struct History {
    /// Commits with figures.
    pub commits: usize,
    /// In the order of their names.
    pub series: Vec<Series>,
}

/// One figure over the commits.
#[derive(Clone, Debug)]
pub struct Series {
    /// Such as `resolve: p99 latency`.
    pub name: String,
    /// Of the values.
    pub unit: String,
    /// Those that have the figure, in the order in which they were first measured.
    pub commits: Vec<String>,
    /// Of each commit the median of all times it was measured.
    pub values: Vec<f64>,
    /// Where it changed.
    pub changes: Vec<Change>,
}

/// A change point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// The place of the first commit after it.
    pub at: usize,
    /// Median back to the change before.
    pub before: f64,
    /// Median up to the next change.
    pub after: f64,
    /// After / before; above 1 is worse.
    pub ratio: f64,
}

/// Shows a history.
///
/// # Errors
/// The file cannot be read, or holds no figures; a file cannot be written.
pub fn main(args: &ShowArgs) -> Result<()> {
    if !(1..=2_000).contains(&args.last) {
        return Err(Failure::Input(format!("--last: is {}, must be 1 to 2,000", args.last)));
    }
    let entries = entry::read(&args.file)?;
    let options = Options { change_min: args.min_change.limit() - 1.0, ..Options::default() };
    let history = History::new(&entries, args.last, &options);
    let last = entries.iter().rev().find(|entry| !entry.figures.is_empty());
    let last = last.ok_or_else(|| {
        Failure::Input(format!("{}: no commit with figures is in it", args.file.display()))
    })?;
    print(&page::text(&history))?;
    let write = |path: &Option<PathBuf>, content: &dyn Fn() -> String| -> Result<()> {
        let Some(path) = path else { return Ok(()) };
        file::replace(path, content().as_bytes())?;
        print(&format!("written: {}\n", path.display()))
    };
    write(&args.html, &|| page::html(&history))?;
    write(&args.bmf, &|| export::bencher(last).to_string())?;
    write(&args.smaller_is_better, &|| export::smaller_is_better(last).to_string())
}

/// Tries whether a line can be added, so that hours of measuring do not end with a mistake in a path.
///
/// # Errors
/// The file cannot be written.
pub fn prepare(path: &Path) -> Result<()> {
    let opened = std::fs::OpenOptions::new().append(true).create(true).open(path);
    opened.map(drop).map_err(crate::failure::at(path))
}

impl History {
    /// Of the last so many commits.
    pub fn new(entries: &[Entry], last: usize, options: &Options) -> Self {
        let with_figures = entries.iter().filter(|entry| !entry.figures.is_empty());
        let mut order: Vec<&str> = Vec::new();
        for entry in with_figures.clone() {
            if !order.contains(&entry.commit.as_str()) {
                order.push(&entry.commit);
            }
        }
        let order = order.split_off(order.len().saturating_sub(last));
        // By figure, then by the place of the commit.
        let mut found: BTreeMap<(&str, &str), BTreeMap<usize, Vec<f64>>> = BTreeMap::new();
        for entry in with_figures {
            let Some(at) = order.iter().position(|commit| *commit == entry.commit) else {
                continue;
            };
            for (name, figure) in &entry.figures {
                let series = found.entry((name, &figure.unit)).or_default();
                series.entry(at).or_default().push(figure.value);
            }
        }
        let series = found.into_iter().map(|((name, unit), by_commit)| {
            let commits = by_commit.keys().map(|at| order[*at].to_owned()).collect();
            let values = by_commit.values().filter_map(|values| median(values)).collect();
            Series::new(name, unit, commits, values, options)
        });
        Self { commits: order.len(), series: series.collect() }
    }
}

impl Series {
    fn new(
        name: &str,
        unit: &str,
        commits: Vec<String>,
        values: Vec<f64>,
        options: &Options,
    ) -> Self {
        let points = divisive::change_points(&values, options);
        let ends = points.iter().skip(1).copied().chain([values.len()]);
        let mut from = 0;
        let mut changes = Vec::with_capacity(points.len());
        for (at, to) in points.iter().copied().zip(ends) {
            let of = |range: &[f64]| median(range).unwrap_or(f64::NAN);
            let (before, after) = (of(&values[from..at]), of(&values[at..to]));
            changes.push(Change { at, before, after, ratio: after / before });
            from = at;
        }
        Self { name: name.to_owned(), unit: unit.to_owned(), commits, values, changes }
    }
}

#[cfg(test)]
mod tests;
