//! The tables of a comparison, in markdown and as a page.

use std::fmt::Write;

use super::results::{Peers, Row, WorkResult};
use super::works::Metric;
use crate::report::page::{Cell, Figure, Page, Part, Section, Table};
use crate::report::ratios::{Ratio, Ratios};
use crate::report::units;
use crate::stats::{Interval, median};

const INTERVALS: &str = "A figure is the median of the rounds, in brackets the least and the \
    greatest. A ratio is the row's figure divided by the column's, both of the same round, with its \
    95 % interval (Hodges and Lehmann's estimate, Wilcoxon's signed ranks).";

/// One table for each work.
pub fn markdown(peers: &Peers) -> String {
    let mut text = format!("{}\n\n{INTERVALS}\n", setting(peers));
    for work in &peers.works {
        let (headings, rows) = cells(work);
        // Writing to a String can't fail.
        let _ = write!(text, "\n**{}**: {}\n\n", work.name, described(work));
        let _ = writeln!(text, "| {} |", headings.join(" | "));
        let _ = writeln!(text, "|{}", "---|".repeat(headings.len()));
        for row in rows {
            let row: Vec<String> = row.iter().map(whole).collect();
            let _ = writeln!(text, "| {} |", row.join(" | "));
        }
        for failure in failures(work) {
            let _ = write!(text, "\n{failure}\n");
        }
    }
    if peers.interrupted {
        let _ = write!(text, "\n{INTERRUPTED}\n");
    }
    if !peers.not_run.is_empty() {
        let _ = write!(text, "\nNot run: {}.\n", peers.not_run.join("; "));
    }
    text
}

/// The same as a page of its own.
pub fn html(peers: &Peers) -> String {
    let sections = peers.works.iter().map(|work| {
        let (headings, rows) = cells(work);
        let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
        let mut table = Table::new(&headings);
        table.rows = rows;
        let mut parts = vec![Part::Text(described(work))];
        let ratios = ratios(work);
        if !ratios.rows.is_empty() {
            parts.push(Part::Figure(Figure::ratios(&ratios, work.metric.better())));
        }
        parts.push(Part::Table(table));
        Section::new(&work.name, parts)
    });
    let interrupted = peers.interrupted.then(|| INTERRUPTED.to_owned());
    let failed = peers.works.iter().flat_map(failures);
    let missing = peers.not_run.iter().map(|what| format!("Not run: {what}."));
    Page {
        title: "jeton and its peers".to_owned(),
        lead: vec![setting(peers)],
        notes: interrupted.into_iter().chain(failed).chain(missing).collect(),
        sections: sections.collect(),
        footer: INTERVALS.to_owned(),
        ..Page::default()
    }
    .html()
}

/// A signal came.
const INTERRUPTED: &str =
    "A signal ended it early: these are the rounds that were whole until then.";

/// Which servers failed in this work, and why.
fn failures(work: &WorkResult) -> impl Iterator<Item = String> {
    let failed = work.rows.iter().filter_map(|row| Some((row, row.failed.as_ref()?)));
    failed.map(|(row, reason)| {
        // A log of several lines stays one paragraph.
        let reason = reason.split_whitespace().collect::<Vec<_>>().join(" ");
        let rounds = row.figures.len();
        format!("{}: {}: {reason}. Whole rounds before: {rounds}.", work.name, row.side)
    })
}

/// Every jeton by every peer.
fn ratios(work: &WorkResult) -> Ratios {
    let own = work.rows.iter().filter(|row| !row.ratios.iter().any(|(name, _)| *name == row.side));
    let rows = own.enumerate().flat_map(|(colour, row)| {
        row.ratios.iter().filter_map(move |(name, interval)| {
            let name = format!("{} ÷ {name}", row.side);
            Some(Ratio { name, colour, interval: (*interval)? })
        })
    });
    Ratios {
        label: format!("{}: ratios of jeton to its peers", work.name),
        title: format!("ratio of {}, logarithmic", work.metric.title()),
        rows: rows.collect(),
    }
}

fn setting(peers: &Peers) -> String {
    let machine = &peers.machine;
    let mut versions: Vec<String> = Vec::new();
    for row in peers.works.iter().flat_map(|work| &work.rows) {
        let name = row.side.split(',').next().unwrap_or(&row.side);
        if let Some(version) = &row.version {
            let named = format!("{name} {version}");
            if !versions.contains(&named) {
                versions.push(named);
            }
        }
    }
    format!(
        "{} cores ({}), {}; {}; {} rounds of {} each in turn, the load generator on the same cores.",
        machine.cores,
        machine.cpu,
        machine.system,
        versions.join(", "),
        peers.rounds,
        units::seconds(peers.duration_s),
    )
}

/// What is asked, and who is not.
fn described(work: &WorkResult) -> String {
    if work.left_out.is_empty() {
        return work.description.clone();
    }
    format!("{} (without {})", work.description, work.left_out.join("; "))
}

/// Headings and rows.
fn cells(work: &WorkResult) -> (Vec<String>, Vec<Vec<Cell>>) {
    let others: Vec<&String> = work
        .rows
        .first()
        .map_or(Vec::new(), |row| row.ratios.iter().map(|(name, _)| name).collect());
    let mut headings = vec!["server".to_owned(), work.metric.title().to_owned()];
    headings.extend(others.iter().map(|name| format!("÷ {name}")));
    if work.metric == Metric::CpuUsPerToken {
        headings.push("tokens/s".to_owned());
    }
    if work.metric != Metric::BytesPerToken {
        headings.extend(["p50".to_owned(), "p99.9".to_owned()]);
    }
    let rows = work.rows.iter().map(|row| {
        let is_measured = !row.figures.is_empty();
        let said = |text: String| Cell::from(if is_measured { text } else { "–".to_owned() });
        let mut cells = vec![Cell::from(row.side.clone()), figure(row, work.metric)];
        cells.extend(row.ratios.iter().map(|(name, interval)| match interval {
            _ if *name == row.side => said("1".to_owned()),
            Some(interval) => ratio(interval),
            None => Cell::from("–".to_owned()),
        }));
        if work.metric == Metric::CpuUsPerToken {
            cells.push(said(units::rate(row.tokens_per_s)));
        }
        if work.metric != Metric::BytesPerToken {
            cells.extend([row.p50_us, row.p999_us].map(|us| said(units::latency(us))));
        }
        let failed = row.failed.as_ref().map(|_| "failed".to_owned());
        let errors = (row.errors > 0).then(|| format!("{} errors", row.errors));
        let problems: Vec<String> = failed.into_iter().chain(errors).collect();
        if !problems.is_empty() {
            cells[0].more = format!("({})", problems.join(", "));
        }
        cells
    });
    (headings, rows.collect())
}

/// Both lines of a cell in one.
fn whole(cell: &Cell) -> String {
    if cell.more.is_empty() { cell.text.clone() } else { format!("{} {}", cell.text, cell.more) }
}

fn figure(row: &Row, metric: Metric) -> Cell {
    let write = |value: f64| match metric {
        Metric::CpuUsPerToken => format!("{value:.2}"),
        Metric::TokensPerS => units::rate(value),
        Metric::BytesPerToken => format!("{value:.1}"),
    };
    let Some(middle) = median(&row.figures) else { return Cell::from("–".to_owned()) };
    let mut cell = Cell::from(write(middle));
    if row.figures.len() > 1 {
        let least = row.figures.iter().copied().fold(f64::INFINITY, f64::min);
        let most = row.figures.iter().copied().fold(0.0, f64::max);
        cell.more = format!("({}..{})", write(least), write(most));
    }
    cell
}

fn ratio(interval: &Interval) -> Cell {
    let mut cell = Cell::from(format!("{:.2}", interval.estimate));
    if interval.is_bounded() {
        cell.more = format!("({:.2}..{:.2})", interval.low, interval.high);
    }
    cell
}
