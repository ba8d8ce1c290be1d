//! The pages of one run and of several: which sections they have, and what those hold.

use super::figures;
use super::model::{Kept, NodeReport, Report, Search};
use super::page::{Badge, Cell, Page, Part, Section, Table, Tile};
use super::table::latency_row;
use super::verdict::Verdict;
use super::{connections, describe, nodes, units};

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
    if let Some(all) = &report.nodes {
        let mut table = Table::new(&NodeReport::HEADINGS);
        nodes::rows(all).into_iter().for_each(|row| table.plain(row));
        sections.insert(0, Section::new("Nodes", [Part::Table(table)]));
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
