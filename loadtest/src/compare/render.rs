//! A comparison as a table for a terminal and as a page.

use super::series::CONFIDENCE;
use super::{Comparison, Row, Unit, Verdict};
use crate::outcome::Outcome;
use crate::report::html;
use crate::report::model::Report;
use crate::report::page::{Badge, Cell, Page, Part, Section, Table};
use crate::report::{table, units};
use crate::stats::Interval;

const HEADINGS: [&str; 6] = ["figure", "A", "B", "B / A", "99.8 % interval", "verdict"];

const _: () = assert!(CONFIDENCE == 0.998, "the heading says so");

const SEVERAL: &str = "Figures are medians of the runs. Each interval comes from the spread between \
     the pairs of runs and holds the true ratio with 99.8 %, all of them together with 99 %.";

/// Said wherever there is one pair.
pub const SINGLE: &str = "One run of each side: two starts of the same program differ too, and by \
     how much is unknown. The intervals hold for these two runs alone, so no figure is called \
     better or worse. Several runs of each, in turn, decide: loadtest compare A1 A2 A3 B1 B2 B3.";

impl Unit {
    fn text(self, value: Option<f64>) -> String {
        match (self, value) {
            (_, None) => "–".to_owned(),
            (Self::PerSecond, Some(value)) => units::rate(value),
            (Self::Micros, Some(value)) => units::latency(value),
            (Self::Bytes, Some(value)) => units::bytes(value as u64),
        }
    }
}

impl Comparison {
    /// The table for a terminal.
    pub fn render(&self, colours: bool) -> String {
        let mut text = String::new();
        for (letter, runs) in ["A", "B"].iter().zip(&self.runs) {
            for run in runs {
                text.push_str(&format!("{letter}  {}\n", table::harmless(run)));
            }
        }
        let notes = self.warnings.iter().map(|note| format!("Note: {}", table::harmless(note)));
        for note in notes {
            text.push_str(&format!("\n{}", table::wrap(&note)));
        }
        if !self.warnings.is_empty() {
            text.push('\n');
        }
        let mut table = table::table(&HEADINGS);
        for row in &self.rows {
            table.add_row(row.cells());
        }
        table::push(&mut text, &table);
        let summary = table::wrap(&table::harmless(&self.summary()));
        let good = self.outcome() == Outcome::Passed;
        text.push_str(&format!("\n{}\n", table::paint(&summary, good, colours)));
        if self.is_single() {
            text.push_str(&format!("{}\n", table::wrap(SINGLE)));
        }
        text
    }

    /// The page: the table, and the curves of both laid over each other; of the first run of each,
    /// where there are several.
    pub fn html(&self, a: &Report, b: &Report) -> String {
        let mut rows = Table::new(&HEADINGS);
        for row in &self.rows {
            let mut cells: Vec<Cell> = row.cells().into_iter().map(Cell::from).collect();
            match row.verdict {
                Verdict::Better => cells[5].class = "good",
                Verdict::Worse => cells[5].class = "bad",
                _ => {}
            }
            rows.rows.push(cells);
        }
        let lead = ["A", "B"].iter().zip(&self.runs);
        let lead =
            lead.flat_map(|(letter, runs)| runs.iter().map(move |run| format!("{letter}: {run}")));
        let limits = if self.is_single() { SINGLE } else { SEVERAL };
        let page = Page {
            title: a.workload.name.clone(),
            badge: Some(self.badge()),
            lead: super::names::names(a, b).into_iter().chain(lead).collect(),
            notes: self.warnings.clone(),
            tiles: Vec::new(),
            sections: vec![Section::new(
                "B against A",
                [Part::Text(self.summary()), Part::Table(rows), Part::Text(limits.to_owned())],
            )],
            footer: format!("loadtest {}", env!("CARGO_PKG_VERSION")),
        };
        let [of_a, of_b] = super::names::names(a, b);
        html::several(page, &[(of_a, a), (of_b, b)])
    }

    fn badge(&self) -> Badge {
        let (text, good) = match self.outcome() {
            Outcome::Passed => ("no regression", true),
            Outcome::Failed => ("worse", false),
            Outcome::Undecided => ("undecided", false),
        };
        Badge { text: text.to_owned(), good }
    }
}

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
