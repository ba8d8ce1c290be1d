//! The tables of a comparison, in markdown for a README and as a page.

use std::fmt::Write;

use crate::peers::{Metric, Peers, Row, WorkResult};
use crate::report::html::{Cell, Page, Part, Section, Table};
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
            let _ = writeln!(text, "| {} |", row.join(" | "));
        }
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
        for row in rows {
            table.rows.push(row.into_iter().map(Cell::from).collect());
        }
        let text = Part::Text(described(work));
        Section::new(&work.name, [text, Part::Table(table)])
    });
    Page {
        title: "jeton and its peers".to_owned(),
        lead: vec![setting(peers)],
        notes: peers.not_run.iter().map(|what| format!("Not run: {what}.")).collect(),
        sections: sections.collect(),
        footer: INTERVALS.to_owned(),
        ..Page::default()
    }
    .html()
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

/// Headings and rows, as text.
fn cells(work: &WorkResult) -> (Vec<String>, Vec<Vec<String>>) {
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
        let mut cells = vec![row.side.clone(), figure(row, work.metric)];
        cells.extend(row.ratios.iter().map(|(name, interval)| match interval {
            _ if *name == row.side => "1".to_owned(),
            Some(interval) => ratio(interval),
            None => "–".to_owned(),
        }));
        if work.metric == Metric::CpuUsPerToken {
            cells.push(units::rate(row.tokens_per_s));
        }
        if work.metric != Metric::BytesPerToken {
            cells.extend([units::latency(row.p50_us), units::latency(row.p999_us)]);
        }
        if row.errors > 0 {
            cells[0] = format!("{} ({} errors)", row.side, row.errors);
        }
        cells
    });
    (headings, rows.collect())
}

fn figure(row: &Row, metric: Metric) -> String {
    let write = |value: f64| match metric {
        Metric::CpuUsPerToken => format!("{value:.2}"),
        Metric::TokensPerS => units::rate(value),
        Metric::BytesPerToken => format!("{value:.1}"),
    };
    let middle = write(median(&row.figures).unwrap_or(0.0));
    if row.figures.len() < 2 {
        return middle;
    }
    let least = row.figures.iter().copied().fold(f64::INFINITY, f64::min);
    let most = row.figures.iter().copied().fold(0.0, f64::max);
    format!("{middle} ({}..{})", write(least), write(most))
}

fn ratio(interval: &Interval) -> String {
    if interval.is_bounded() {
        format!("{:.2} ({:.2}..{:.2})", interval.estimate, interval.low, interval.high)
    } else {
        format!("{:.2}", interval.estimate)
    }
}
