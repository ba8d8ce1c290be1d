//! The results of a run, on a terminal or in a log: within 100 columns, colours only on a terminal.

use std::fmt::Write as _;
use std::io::IsTerminal;

use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table};

use super::model::{Latency, NodeReport, Nodes, Report, Search, Usage};
use super::verdict::Verdict;
use super::{connections, describe, nodes, units};

/// Columns that everything fits into.
pub const WIDTH: u16 = 100;

/// Whether standard output should have colours: it is a terminal, and `NO_COLOR` is not set
/// (<https://no-color.org>).
pub fn colours() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty())
}

/// The whole table of one run, with a line end.
pub fn render(report: &Report, colours: bool) -> String {
    let mut text = String::new();
    heading(&mut text, report, colours);
    figures(&mut text, report);
    if !report.connections.is_empty() {
        push(&mut text, &made(report));
    }
    if let Some(all) = &report.nodes {
        push(&mut text, &of_nodes(all));
    }
    push(&mut text, &latencies(report));
    if !report.objectives.is_empty() {
        push(&mut text, &objectives(report));
    }
    if let Some(search) = &report.search {
        push(&mut text, &steps(search));
        let _ = writeln!(text, "\n{}", wrap(&describe::found(search)));
    }
    if !report.errors.is_empty() {
        push(&mut text, &errors(report));
    }
    text
}

/// An empty table of this harness: a rule under the heading, the first column to the left and the
/// others to the right.
pub fn table(headings: &[&str]) -> Table {
    let mut table = Table::new();
    let rule = LineStyle::none().fill('─').junction('─');
    table.load_style(comfy_table::presets::NOTHING.header_separator(rule));
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH);
    table.set_header(headings.iter().map(ToString::to_string));
    for (at, column) in table.column_iter_mut().enumerate() {
        let side = if at == 0 { CellAlignment::Left } else { CellAlignment::Right };
        column.set_cell_alignment(side);
    }
    table
}

/// Appends a table, without the spaces at the ends of its lines.
pub fn push(text: &mut String, table: &Table) {
    text.push('\n');
    text.push_str(&table.trim_fmt());
    text.push('\n');
}

/// Text in the colour of good or bad news, where colours are wanted.
pub fn paint(text: &str, good: bool, colours: bool) -> String {
    match (colours, good) {
        (false, _) => text.to_owned(),
        (true, true) => format!("\x1b[1;32m{text}\x1b[0m"),
        (true, false) => format!("\x1b[1;31m{text}\x1b[0m"),
    }
}

/// One line of a server's text that can be shown on a terminal: no control characters, which could
/// move the cursor or change its colours.
pub fn harmless(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { '\u{fffd}' } else { char }).collect()
}

fn heading(text: &mut String, report: &Report, colours: bool) {
    let verdict = report.verdict();
    let painted = paint(report.verdict_text(), verdict == Verdict::Passed, colours);
    let _ = writeln!(text, "\n{}: {painted}", harmless(&report.workload.name));
    let _ = writeln!(text, "{}", harmless(&describe::target(report)));
    let _ = writeln!(text, "harness on {}", harmless(&describe::machine(report)));
    let _ = writeln!(text, "{}", describe::load(&report.workload));
}

fn figures(text: &mut String, report: &Report) {
    let totals = &report.totals;
    let mut rate = format!("{} requests/s", units::rate(totals.requests_per_s));
    if totals.tokens > totals.requests {
        let _ = write!(rate, ", {} tokens/s", units::rate(totals.tokens_per_s));
    }
    let _ = writeln!(
        text,
        "\nThroughput  {rate} ({} answers in {})",
        units::count(totals.requests),
        units::seconds(totals.elapsed_s),
    );
    if let Some(share) = describe::of_rate(totals) {
        let _ = writeln!(text, "Rate        {share}");
    }
    if let Some(tls) = &report.tls {
        // The blanks of the column stand in for themselves while lines are broken.
        let line = wrap(&format!("TLS........ {}", harmless(&connections::tls(tls))));
        let _ = writeln!(text, "{}", line.replacen("TLS........", "TLS        ", 1));
        let _ = writeln!(text, "Bytes       {}", connections::bytes(totals, tls));
    }
    match &report.server {
        Some(server) => usage(text, "Server", server),
        None => {
            let why = report.server_unknown.as_deref().unwrap_or("no process id");
            let _ = writeln!(text, "Server      CPU and memory unknown: {why}");
        }
    }
    usage(text, "Harness", &report.client);
    if describe::is_config_unknown(report) {
        let _ = writeln!(text, "\n{}", wrap(describe::CONFIG_UNKNOWN));
    }
    for doubt in describe::doubts(report) {
        let _ = writeln!(text, "\n{}", wrap(&format!("Note: {doubt}")));
    }
}

/// Breaks lines between words so that they fit.
pub fn wrap(text: &str) -> String {
    let mut wrapped = String::new();
    let mut column = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > usize::from(WIDTH) {
            wrapped.push('\n');
            column = 0;
        } else if column > 0 {
            wrapped.push(' ');
            column += 1;
        }
        wrapped.push_str(word);
        column += length;
    }
    wrapped
}

fn usage(text: &mut String, who: &str, usage: &Usage) {
    let mut cpu = format!("{} CPU per request", units::latency(usage.cpu_us_per_request));
    // Without batches the two are one.
    if usage.cpu_us_per_token < usage.cpu_us_per_request {
        let _ = write!(cpu, ", {} per token", units::latency(usage.cpu_us_per_token));
    }
    let _ = writeln!(
        text,
        "{who:<11} {cpu}; memory {}, at most {}",
        units::bytes(usage.memory_bytes),
        units::bytes(usage.memory_peak_bytes),
    );
}

/// Connections that were made for one request each.
fn made(report: &Report) -> Table {
    let mut table = table(&connections::HEADINGS);
    for one in &report.connections {
        table.add_row(connections::row(one));
    }
    table
}

/// Each server, where several were asked.
fn of_nodes(all: &Nodes) -> Table {
    let mut table = table(&NodeReport::HEADINGS);
    for row in nodes::rows(all) {
        table.add_row(row);
    }
    table
}

fn latencies(report: &Report) -> Table {
    let mut table = table(&["operation", "count", "p50", "p90", "p99", "p99.9", "p99.99", "max"]);
    table.add_row(latency_row("all", &report.latency));
    for operation in &report.operations {
        table.add_row(latency_row(operation.operation.name(), &operation.latency));
    }
    table
}

/// Name, count and percentiles; a dash for those that too few answers stand behind.
pub fn latency_row(name: &str, latency: &Latency) -> Vec<String> {
    let mut row = vec![name.to_owned(), units::count(latency.count)];
    row.extend(latency.percentiles().map(|(_, share, us)| {
        if latency.supports(share) { units::latency(us) } else { "–".to_owned() }
    }));
    row
}

fn objectives(report: &Report) -> Table {
    let mut table = table(&["objective", "measured", "kept"]);
    for objective in &report.objectives {
        table.add_row([
            objective.objective.clone(),
            units::latency(objective.measured_us),
            objective.kept.text().to_owned(),
        ]);
    }
    table
}

fn steps(search: &Search) -> Table {
    let mut table = table(&["search: rate", "measured", "answered", "of the limit", "kept"]);
    for step in &search.steps {
        table.add_row([
            format!("{}/s", units::rate(step.rate)),
            units::seconds(step.length_s),
            format!("{}/s", units::rate(step.achieved)),
            units::percent(step.worst),
            step.kept.text().to_owned(),
        ]);
    }
    table
}

fn errors(report: &Report) -> Table {
    let mut table = table(&["error", "count", "for example"]);
    if let Some(column) = table.column_mut(2) {
        column.set_cell_alignment(CellAlignment::Left);
    }
    for error in &report.errors {
        let wrong = if error.wrong { " (false answer)" } else { "" };
        table.add_row([
            format!("{}{wrong}", harmless(&error.kind)),
            units::count(error.count),
            harmless(&error.example),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::Sample;

    fn sample(errors: bool) -> Report {
        let (stall, search, connections, nodes) = (errors, errors, errors, errors);
        let sample =
            Sample { slices: 10, errors, stall, search, connections, nodes, ..Sample::default() };
        sample.report()
    }

    #[test]
    fn every_figure_is_there_and_fits() {
        let mut doubtful = sample(false);
        doubtful.totals.rate = Some(1e9);
        doubtful.client.user_s = 1e3;
        for report in [sample(false), sample(true), doubtful] {
            let text = render(&report, false);
            for line in text.lines() {
                assert!(line.chars().count() <= usize::from(WIDTH), "too long: {line}");
                assert_eq!(line, line.trim_end(), "spaces at the end");
            }
            for operation in &report.operations {
                let row = latency_row(operation.operation.name(), &operation.latency);
                let found = text.lines().any(|line| row.iter().all(|cell| line.contains(cell)));
                assert!(found, "no line with {row:?} in\n{text}");
            }
            for one in &report.connections {
                let row = connections::row(one);
                let found = text.lines().any(|line| row.iter().all(|cell| line.contains(cell)));
                assert!(found, "no line with {row:?} in\n{text}");
            }
            for row in report.nodes.iter().flat_map(nodes::rows) {
                let found = text.lines().any(|line| row.iter().all(|cell| line.contains(cell)));
                assert!(found, "no line with {row:?} in\n{text}");
            }
            for objective in &report.objectives {
                assert!(text.contains(&objective.objective));
            }
            for error in &report.errors {
                assert!(text.contains(&error.kind), "{}", error.kind);
            }
            assert!(text.contains(report.verdict().text()));
        }
    }

    #[test]
    fn numbers_stand_below_each_other() {
        let text = latencies(&sample(false)).trim_fmt();
        let rows: Vec<_> = text.lines().filter(|line| line.contains("µs")).collect();
        let end = |line: &str| line.chars().count();
        assert!(rows.len() == 4 && rows.iter().all(|row| end(row) == end(rows[0])), "\n{text}");
    }

    #[test]
    fn colours_are_only_there_when_wanted() {
        let report = sample(true);
        assert!(!render(&report, false).contains('\x1b'));
        let coloured = render(&report, true);
        assert!(coloured.contains("\x1b[1;31mwrong answers\x1b[0m"));
        assert!(render(&sample(false), true).contains("\x1b[1;32mpassed"));
    }

    #[test]
    fn a_servers_text_cannot_drive_the_terminal() {
        let mut report = sample(true);
        report.errors[0].example = "\x1b[2Jgone\r\n\u{9b}31m".to_owned();
        report.target.version = Some("1\x1b]0;title\x07".to_owned());
        let text = render(&report, false);
        assert!(text.chars().all(|char| char == '\n' || !char.is_control()), "{text:?}");
    }

    #[test]
    fn a_run_without_answers_has_a_table_too() {
        let mut report = sample(false);
        report.latency = Latency::default();
        report.operations.clear();
        report.server = None;
        let text = render(&report, false);
        assert!(text.contains("CPU and memory unknown") && !text.contains("NaN"), "{text}");
    }
}
