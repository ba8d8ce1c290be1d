//! From lines to series: each figure over the commits, and where it changed.

use std::collections::BTreeMap;

use super::divisive::{self, Options};
use super::entry::Entry;
use crate::stats::median;

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

impl History {
    /// Of the last commits, `last` at most.
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
