//! One self-contained page: no script, nothing from the network, good to read in light and dark, on
//! a phone and on paper. All text is escaped by the template; only drawings are put in as they are.

use askama::Template;

use super::chart::{COLOURS, Chart, Line};
use super::ratios::Ratios;

/// A page, from top to bottom.
#[derive(Clone, Debug, Default, Template)]
#[template(path = "page.html")]
pub struct Page {
    /// The heading.
    pub title: String,
    /// Beside the heading.
    pub badge: Option<Badge>,
    /// Below the heading: the load and the server.
    pub lead: Vec<String>,
    /// What a reader must know before believing the rest.
    pub notes: Vec<String>,
    /// The figures that most look for.
    pub tiles: Vec<Tile>,
    /// Everything else.
    pub sections: Vec<Section>,
    /// The last line.
    pub footer: String,
}

/// A verdict.
#[derive(Clone, Debug, Default)]
pub struct Badge {
    /// In a word or two.
    pub text: String,
    /// Its colour.
    pub good: bool,
}

/// One figure, large.
#[derive(Clone, Debug, Default)]
pub struct Tile {
    /// What it is.
    pub label: String,
    /// With its unit.
    pub value: String,
    /// A second line, small.
    pub more: String,
}

/// A heading and what is below it.
#[derive(Clone, Debug, Default)]
pub struct Section {
    /// Its heading.
    pub heading: String,
    /// In order.
    pub parts: Vec<Part>,
}

/// What a section is made of.
#[derive(Clone, Debug)]
pub enum Part {
    /// A paragraph.
    Text(String),
    /// A chart.
    Figure(Figure),
    /// A table.
    Table(Table),
    /// Text as it is, in a fixed width.
    Code(String),
}

/// A chart with its legend and caption.
#[derive(Clone, Debug, Default)]
pub struct Figure {
    /// Nothing where there is but one line.
    pub legend: Vec<Key>,
    /// From [`Chart::svg`] and [`Ratios::svg`] alone: it is not escaped.
    svg: String,
    /// Below it: what the axes are.
    pub caption: String,
}

/// A name in a legend.
#[derive(Clone, Debug, Default)]
pub struct Key {
    /// The class of its colour in the style sheet.
    pub class: String,
    /// Of the line.
    pub name: String,
}

/// A table, its first column to the left, the others to the right.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Of the columns.
    pub headings: Vec<Cell>,
    /// As long as the headings.
    pub rows: Vec<Vec<Cell>>,
}

/// A cell of a table.
#[derive(Clone, Debug, Default)]
pub struct Cell {
    /// What it says.
    pub text: String,
    /// `good`, `bad`, `text` (to the left, may break), `text mono`, or nothing.
    pub class: &'static str,
    /// A second line, small.
    pub more: String,
}

impl Page {
    /// The file.
    pub fn html(&self) -> String {
        // Nothing in the template can fail but writing, and that goes to memory.
        self.render().unwrap_or_else(|error| format!("<!doctype html><pre>{error:?}</pre></html>"))
    }
}

impl Tile {
    /// The class of its value: long ones are written smaller, and no number is broken.
    fn size(&self) -> &'static str {
        match self.value.chars().count() {
            ..=9 => "value",
            10..=12 => "value long",
            _ => "value longer",
        }
    }
}

impl Section {
    /// A section of these parts.
    pub fn new(heading: &str, parts: impl IntoIterator<Item = Part>) -> Self {
        let parts = parts.into_iter().map(|part| match part {
            Part::Table(table) => Part::Table(table.without_empty_columns()),
            other => other,
        });
        Self { heading: heading.to_owned(), parts: parts.collect() }
    }
}

impl Table {
    /// An empty table.
    pub fn new(headings: &[&str]) -> Self {
        let headings = headings.iter().map(|heading| Cell::from((*heading).to_owned()));
        Self { headings: headings.collect(), rows: Vec::new() }
    }

    /// The same without the columns that hold nothing, which on a phone would take the room of the
    /// others; the first one stays.
    fn without_empty_columns(mut self) -> Self {
        let is_kept: Vec<bool> = (0..self.headings.len())
            .map(|at| at == 0 || self.rows.iter().any(|row| row.get(at).is_some_and(Cell::is_said)))
            .collect();
        if !self.rows.is_empty() {
            for row in self.rows.iter_mut().chain([&mut self.headings]) {
                let mut kept = is_kept.iter();
                row.retain(|_| kept.next().copied().unwrap_or(true));
            }
        }
        self
    }

    /// Adds a row of plain cells.
    pub fn plain(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(Cell::from).collect());
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self { text, ..Self::default() }
    }
}

impl Cell {
    fn is_said(&self) -> bool {
        !matches!(self.text.as_str(), "" | "–") || !self.more.is_empty()
    }

    /// In the colour of good or bad news.
    pub fn judged(text: &str, good: bool) -> Self {
        let class = if good { "good" } else { "bad" };
        Self { text: text.to_owned(), class, ..Self::default() }
    }
}

impl Figure {
    /// A drawing with the legend of its lines.
    pub fn new(chart: &Chart, caption: &str) -> Self {
        let mut legend: Vec<Key> = chart.lines.iter().map(key).collect();
        let bands = [
            (!chart.bands.is_empty(), "band", "errors"),
            (!chart.disturbed.is_empty(), "band disturbed", "harness disturbed"),
        ];
        let shown = bands.into_iter().filter(|(shown, ..)| *shown);
        let lines = legend.len();
        legend.extend(shown.map(|(_, class, name)| Key { class: class.into(), name: name.into() }));
        if lines == 1 && legend.len() == 1 {
            legend.clear();
        }
        Self { legend, svg: chart.svg(), caption: caption.to_owned() }
    }

    /// Ratios with their intervals.
    pub fn ratios(ratios: &Ratios, caption: &str) -> Self {
        Self { legend: Vec::new(), svg: ratios.svg(), caption: caption.to_owned() }
    }
}

fn key(line: &Line) -> Key {
    let class = format!("c{}", line.colour % COLOURS.len());
    Key { class, name: line.name.clone() }
}
