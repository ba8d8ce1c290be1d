//! A history as text for a terminal and as a page: each figure over the commits, with its changes.

use super::series::{Change, History, Series};
use crate::report::chart::{Axis, Chart, Dot, Line, Scale};
use crate::report::page::{Cell, Figure, Page, Part, Section, Table};
use crate::report::{table, units};

const HEADINGS: [&str; 5] = ["figure", "commit", "before", "after", "change"];

/// For a terminal: the changes alone.
pub fn text(history: &History) -> String {
    let mut text = format!("{}\n", summary(history));
    let changes = history
        .series
        .iter()
        .flat_map(|series| series.changes.iter().map(move |change| cells(series, change)));
    let mut table = table::table(&HEADINGS);
    let mut any = false;
    for row in changes {
        any = true;
        table.add_row(row.map(|cell| table::harmless(&cell)));
    }
    if any {
        table::push(&mut text, &table);
    }
    text
}

/// One file, no network needed.
pub fn html(history: &History) -> String {
    let mut changes = Table::new(&HEADINGS);
    for series in &history.series {
        for change in &series.changes {
            let mut row: Vec<Cell> = cells(series, change).map(Cell::from).into();
            row[4] = Cell::judged(&row[4].text, change.ratio < 1.0);
            changes.rows.push(row);
        }
    }
    let mut sections = Vec::new();
    if !changes.rows.is_empty() {
        sections.push(Section::new("Changes", [Part::Table(changes)]));
    }
    for series in &history.series {
        let figure = Part::Figure(Figure::new(&chart(series), &caption(series)));
        sections.push(Section::new(&series.name, [figure]));
    }
    let page = Page {
        title: "History".to_owned(),
        lead: vec![summary(history)],
        sections,
        footer: format!("loadtest {}", env!("CARGO_PKG_VERSION")),
        ..Page::default()
    };
    page.html()
}

fn summary(history: &History) -> String {
    let changes: usize = history.series.iter().map(|series| series.changes.len()).sum();
    format!(
        "{} commits, {} figures, {changes} changes",
        units::count(history.commits as u64),
        history.series.len()
    )
}

fn cells(series: &Series, change: &Change) -> [String; 5] {
    [
        series.name.clone(),
        short(&series.commits[change.at]).to_owned(),
        format!("{} {}", units::short(change.before), series.unit),
        format!("{} {}", units::short(change.after), series.unit),
        format!("{:+.1} %", (change.ratio - 1.0) * 100.0),
    ]
}

fn caption(series: &Series) -> String {
    format!(
        "{}, over {} commits; the less the better. The second line is the median between two changes.",
        series.unit,
        series.values.len()
    )
}

fn chart(series: &Series) -> Chart {
    let values = &series.values;
    let (least, most) = values.iter().fold((f64::INFINITY, 0.0_f64), |(least, most), value| {
        (least.min(*value), most.max(*value))
    });
    // Not from 0: a change of 5 % is to be seen; and never a span of nothing.
    let margin = (0.1 * (most - least)).max(0.02 * most);
    let span = ((least - margin).max(0.0), most + margin);
    let last = values.len().saturating_sub(1);
    let tick = |part: f64| span.0 + (span.1 - span.0) * part;
    let y = [0.0, 0.25, 0.5, 0.75, 1.0].map(|part| (tick(part), units::short(tick(part))));
    let step = last.div_ceil(8).max(1);
    let x = (0..=last).step_by(step).map(|at| (at as f64, short(&series.commits[at]).to_owned()));
    let names = series.commits.iter().map(|commit| short(commit).to_owned());
    let points = values.iter().enumerate().map(|(at, value)| (at as f64, *value)).collect();
    let dots = series
        .changes
        .iter()
        .map(|change| Dot { at: (change.at as f64, values[change.at]), bad: change.ratio > 1.0 });
    Chart {
        label: format!("{} over commits", series.name),
        x: Axis {
            title: "commit".to_owned(),
            scale: Scale::Names(names.collect()),
            span: (0.0, (last as f64).max(1.0)),
            ticks: x.collect(),
        },
        y: Axis { title: series.unit.clone(), scale: Scale::Number, span, ticks: y.into() },
        lines: vec![
            Line { name: "value".to_owned(), colour: 0, points, bold: false },
            Line { name: "median".to_owned(), colour: 1, points: steps(series), bold: false },
        ],
        dots: dots.collect(),
        bands: Vec::new(),
        disturbed: Vec::new(),
        limit: None,
    }
}

/// The median of each stretch between two changes.
fn steps(series: &Series) -> Vec<(f64, f64)> {
    let ends = series.changes.iter().map(|change| change.at);
    let mut from = 0;
    let mut points = Vec::new();
    for to in ends.chain([series.values.len()]) {
        let median = crate::stats::median(&series.values[from..to]).unwrap_or(f64::NAN);
        points.extend([(from as f64, median), (to.saturating_sub(1) as f64, median)]);
        from = to;
    }
    points
}

/// As git shows a commit.
fn short(commit: &str) -> &str {
    commit.get(..9).unwrap_or(commit)
}
