//! Whether a page holds what it must, whole and harmless.

use super::*;
use crate::report::model::Latency;
use crate::report::sample::{HOSTILE, Sample};

fn sample() -> Report {
    Sample {
        slices: 30,
        requests: 500,
        errors: true,
        stall: true,
        search: true,
        ..Sample::default()
    }
    .report()
}

/// The names of all tags, in order; panics where one is not closed.
fn tags(html: &str) -> Vec<String> {
    html.split('<')
        .skip(1)
        .map(|rest| {
            let (tag, _) = rest.split_once('>').expect("every < opens a tag");
            tag.split_whitespace().next().unwrap_or_default().to_owned()
        })
        .collect()
}

#[test]
fn a_page_holds_every_figure_chart_and_section() {
    let report = sample();
    let html = page(&report);
    for heading in [
        "Objectives",
        "Errors",
        "Latency by percentile",
        "Over time",
        "Search for the highest rate",
        "CPU and memory",
        "To make the same run again",
    ] {
        assert!(html.contains(&format!("<h2>{heading}</h2>")), "{heading}");
    }
    for operation in &report.operations {
        for cell in latency_row(operation.operation.name(), &operation.latency) {
            assert!(html.contains(&format!("<td>{cell}</td>")), "{cell}");
        }
    }
    assert!(html.contains(">wrong answers</span>"));
    assert!(html.contains("p99=20ms") && html.contains("population = 100000"));
    assert!(html.contains("loadtest run checkout --out &#39;it&#39;\\&#39;&#39;s here&#39;"));
    // Percentiles, three over time and the search, each for two screens.
    assert_eq!(html.matches("<svg ").count(), 2 * 5);
    assert!(!html.contains("NaN") && !html.contains("could not be drawn"));
}

#[test]
fn a_page_asks_the_network_for_nothing() {
    let html = page(&sample());
    for word in ["<script", "<link", "<img", "@import", "url(", " src=", " href="] {
        let escaped = html.replace("&#60;", "");
        let lines: Vec<_> = escaped.lines().filter(|line| line.contains(word)).collect();
        // The hostile text of the sample is there as text: its brackets are escaped.
        let asks = lines.iter().filter(|line| !line.contains("onerror")).count();
        assert_eq!(asks, 0, "{word}: {lines:?}");
    }
    let addresses = html.matches("http://").count() - html.matches("www.w3.org/2000/svg").count();
    assert_eq!(addresses, 0);
}

#[test]
fn what_a_hostile_server_says_stays_text() {
    let calm = sample();
    let mut hostile = calm.clone();
    for error in &mut hostile.errors {
        (error.kind, error.example) = (HOSTILE.to_owned(), HOSTILE.to_owned());
    }
    for text in [
        &mut hostile.target.address,
        &mut hostile.target.kind,
        &mut hostile.workload.name,
        &mut hostile.workload.description,
        &mut hostile.machine.cpu,
        &mut hostile.started_at,
        &mut hostile.harness.version,
        &mut hostile.command[1],
        &mut hostile.objectives[0].objective,
    ] {
        HOSTILE.clone_into(text);
    }
    hostile.target.version = Some(HOSTILE.to_owned());
    hostile.harness.commit = Some(HOSTILE.to_owned());
    hostile.target.command = Some(vec![HOSTILE.to_owned()]);
    let calm_page = page(&calm);
    assert_eq!(tags(&page(&hostile)), tags(&calm_page), "not one tag more or less");
    let name = HOSTILE.to_owned();
    // Two, so that there is a legend.
    let reports = [(name.clone(), &hostile), (name.clone(), &hostile)];
    let both = several(Page { title: name, ..Page::default() }, &reports);
    assert!(!both.contains("<script") && !both.contains("<img"));
}

#[test]
fn several_runs_share_one_chart_and_one_table() {
    let (one, other) = (sample(), Sample { slices: 20, ..Sample::default() }.report());
    let reports = [("jeton".to_owned(), &one), ("valkey".to_owned(), &other)];
    let html = several(Page { title: "two".to_owned(), ..Page::default() }, &reports);
    assert_eq!(html.matches("<svg ").count(), 2);
    assert!(html.contains("<td>jeton</td>") && html.contains("<td>valkey</td>"));
    assert!(html.contains("#0072B2\"") && html.contains("#D55E00\""));
}

#[test]
fn a_run_without_answers_has_a_page_too() {
    let mut report = sample();
    report.latency = Latency::default();
    report.operations.clear();
    report.slices.clear();
    report.server = None;
    report.search = None;
    report.objectives.clear();
    let html = page(&report);
    assert!(html.ends_with("</html>\n") || html.ends_with("</html>"));
    assert!(!html.contains("NaN") && !html.contains("inf "));
}

#[test]
#[ignore = "writes pages into LOADTEST_PAGES for a person to look at"]
fn pages_to_look_at() {
    let directory = std::path::PathBuf::from(std::env::var_os("LOADTEST_PAGES").unwrap());
    let stalled = Sample { stall: true, errors: true, search: true, ..Sample::default() }.report();
    let calm = Sample { median_us: 90.0, seed: 2, ..Sample::default() }.report();
    std::fs::write(directory.join("stalled.html"), page(&stalled)).unwrap();
    std::fs::write(directory.join("calm.html"), page(&calm)).unwrap();
    let reports = [("jeton".to_owned(), &calm), ("valkey".to_owned(), &stalled)];
    let both = several(Page { title: "two".to_owned(), ..Page::default() }, &reports);
    std::fs::write(directory.join("several.html"), both).unwrap();
    let table = crate::report::table::render(&stalled, false);
    std::fs::write(directory.join("table.txt"), table).unwrap();
}
