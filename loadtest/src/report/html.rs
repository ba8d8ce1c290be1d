//! One self-contained page: no script, nothing from the network, good to read in light and dark, on
//! a phone and on paper. All text is escaped by the template; only drawings are put in as they are.

use askama::Template;

use super::chart::{Chart, Line};
use super::figures;
use super::model::{Kept, Report, Search};
use super::ratios::Ratios;
use super::table::latency_row;
use super::verdict::Verdict;
use super::{connections, describe, units};

/// A page, from top to bottom.
#[derive(Clone, Debug, Default, Template)]
#[template(path = "page.html")]
pub struct Page {
    /// The heading.
    pub title: String,
    /// Beside the heading.
    pub badge: Option<Badge>,
    /// Below the heading: what was asked of whom.
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
    let class = format!("c{}", line.colour % super::chart::COLOURS.len());
    Key { class, name: line.name.clone() }
}

/// The page of one run.
pub fn page(report: &Report) -> String {
    let verdict = report.verdict();
    let mut sections = vec![
        Section::new("Latency by percentile", [Part::Figure(figures::operations_curve(report))]),
        Section::new("Latency", [Part::Table(latencies(report))]),
        Section::new("Over time", figures::over_time(report).into_iter().map(Part::Figure)),
    ];
    if !report.connections.is_empty() {
        let mut table = Table::new(&connections::HEADINGS);
        report.connections.iter().for_each(|one| table.plain(connections::row(one)));
        let text = Part::Text(connections::EXPLAINED.to_owned());
        sections.insert(0, Section::new("Connections", [text, Part::Table(table)]));
    }
    if !report.errors.is_empty() {
        sections.insert(0, Section::new("Errors", [Part::Table(errors(report))]));
    }
    if !report.objectives.is_empty() {
        sections.insert(0, Section::new("Objectives", [Part::Table(objectives(report))]));
    }
    if let Some(search) = &report.search {
        let parts = [
            Part::Text(describe::found(search)),
            Part::Figure(figures::search(search)),
            Part::Table(steps(search)),
        ];
        sections.push(Section::new("Search for the highest rate", parts));
    }
    sections.push(Section::new("CPU and memory", [Part::Table(usage(report))]));
    sections.push(repeat(report));
    let page = Page {
        title: report.workload.name.clone(),
        badge: Some(Badge {
            text: report.verdict_text().to_owned(),
            good: verdict == Verdict::Passed,
        }),
        lead: lead(report),
        notes: describe::doubts(report),
        tiles: tiles(report),
        sections,
        footer: footer(report),
    };
    page.html()
}

/// A page of several runs: what the caller says of them, their curves laid over each other, and
/// one table side by side.
pub fn several(mut page: Page, reports: &[(String, &Report)]) -> String {
    let curves = Part::Figure(figures::curves(reports));
    page.sections.push(Section::new("Latency by percentile", [curves]));
    page.sections.push(Section::new("Side by side", [Part::Table(side_by_side(reports))]));
    page.html()
}

fn lead(report: &Report) -> Vec<String> {
    let lines = [
        report.workload.description.clone(),
        describe::target(report),
        describe::load(&report.workload),
        report.tls.as_ref().map(tls).unwrap_or_default(),
        format!("{}; harness on {}", report.started_at, describe::machine(report)),
    ];
    lines.into_iter().filter(|line| !line.is_empty()).collect()
}

fn tls(tls: &super::model::Tls) -> String {
    format!("TLS {}", connections::tls(tls))
}

fn tiles(report: &Report) -> Vec<Tile> {
    let tile = |label: &str, value, more| Tile { label: label.to_owned(), value, more };
    let totals = &report.totals;
    let rate = describe::of_rate(totals).unwrap_or_default();
    let mut tiles = vec![tile("requests/s", units::rate(totals.requests_per_s), rate)];
    if totals.tokens != totals.requests {
        tiles.push(tile("tokens/s", units::rate(totals.tokens_per_s), String::new()));
    }
    for (name, share, us) in report.latency.percentiles() {
        if name != "p90" && report.latency.supports(share) {
            tiles.push(tile(name, units::latency(us), String::new()));
        }
    }
    let errors = report.errors.iter().map(|error| error.count).sum();
    let answers = format!("of {} answers", units::count(totals.requests));
    tiles.push(tile("errors", units::count(errors), answers));
    if let Some(server) = &report.server {
        let memory = format!("memory {}", units::bytes(server.memory_bytes));
        let cpu = units::latency(server.cpu_us_per_request);
        tiles.push(tile("server CPU per request", cpu, memory));
    }
    tiles
}

fn latencies(report: &Report) -> Table {
    let mut table =
        Table::new(&["operation", "count", "p50", "p90", "p99", "p99.9", "p99.99", "max"]);
    table.plain(latency_row("all", &report.latency));
    for operation in &report.operations {
        table.plain(latency_row(operation.operation.name(), &operation.latency));
    }
    table
}

fn errors(report: &Report) -> Table {
    let mut table = Table::new(&["error", "count", "false answer", "for example"]);
    table.headings[3].class = "text";
    for error in &report.errors {
        let text = error.example.clone();
        let example = Cell { text, class: "text mono", ..Cell::default() };
        let wrong = if error.wrong { Cell::judged("yes", false) } else { "no".to_owned().into() };
        let count = units::count(error.count).into();
        table.rows.push(vec![error.kind.clone().into(), count, wrong, example]);
    }
    table
}

fn objectives(report: &Report) -> Table {
    let mut table = Table::new(&["objective", "measured", "kept"]);
    for objective in &report.objectives {
        let kept = Cell::judged(objective.kept.text(), objective.kept == Kept::Yes);
        let measured = units::latency(objective.measured_us).into();
        table.rows.push(vec![objective.objective.clone().into(), measured, kept]);
    }
    table
}

fn steps(search: &Search) -> Table {
    let mut table = Table::new(&["rate", "measured", "answered", "of the limit", "kept"]);
    for step in &search.steps {
        table.rows.push(vec![
            format!("{}/s", units::rate(step.rate)).into(),
            units::seconds(step.length_s).into(),
            format!("{}/s", units::rate(step.achieved)).into(),
            units::percent(step.worst).into(),
            Cell::judged(step.kept.text(), step.kept == Kept::Yes),
        ]);
    }
    table
}

fn usage(report: &Report) -> Table {
    let mut table =
        Table::new(&["process", "user", "system", "per request", "per token", "memory", "at most"]);
    let server = report.server.as_ref().map(|usage| ("server", usage));
    for (name, usage) in server.into_iter().chain([("harness", &report.client)]) {
        table.plain([
            name.to_owned(),
            units::seconds(usage.user_s),
            units::seconds(usage.system_s),
            units::latency(usage.cpu_us_per_request),
            units::latency(usage.cpu_us_per_token),
            units::bytes(usage.memory_bytes),
            units::bytes(usage.memory_peak_bytes),
        ]);
    }
    table
}

fn repeat(report: &Report) -> Section {
    let mut parts = vec![Part::Code(describe::shell(&report.command))];
    if let Some(command) = &report.target.command {
        parts.push(Part::Text("The server was started with".to_owned()));
        parts.push(Part::Code(describe::shell(command)));
    }
    if let Some(config) = &report.target.config {
        parts.push(Part::Text("The server says it is configured so".to_owned()));
        let lines = config.iter().map(|(name, value)| format!("{name} = {value}\n"));
        parts.push(Part::Code(lines.collect()));
    } else if describe::is_config_unknown(report) {
        parts.push(Part::Text(describe::CONFIG_UNKNOWN.to_owned()));
    }
    parts.push(Part::Text("The whole workload, as a file that loadtest run takes:".to_owned()));
    parts.push(Part::Code(describe::toml(&report.workload)));
    Section::new("To make the same run again", parts)
}

fn footer(report: &Report) -> String {
    let commit = report.harness.commit.as_deref().map(|commit| format!(", commit {commit}"));
    format!("loadtest {}{}", report.harness.version, commit.unwrap_or_default())
}

fn side_by_side(reports: &[(String, &Report)]) -> Table {
    let mut table = Table::new(&[
        "run",
        "requests/s",
        "p50",
        "p90",
        "p99",
        "p99.9",
        "p99.99",
        "max",
        "server CPU",
        "memory",
    ]);
    for (name, report) in reports {
        let mut row = latency_row(name, &report.latency);
        row[1] = units::rate(report.totals.requests_per_s);
        row.extend(match &report.server {
            Some(server) => {
                [units::latency(server.cpu_us_per_request), units::bytes(server.memory_bytes)]
            }
            None => ["–".to_owned(), "–".to_owned()],
        });
        table.plain(row);
    }
    table
}

#[cfg(test)]
mod tests;
