//! Every page in a real browser: at the widths of a phone, a tablet and a desk nothing is cut off,
//! each axis has a title, values are shown under the pointer, and text can be read in light and
//! dark. Runs where Debian's `chromium` is installed.

mod browser;

use std::path::PathBuf;

use browser::Browser;
use serde_json::Value;

use crate::history::{Change, History, Series, page};
use crate::peers::{self, Metric, Peers, Row, WorkResult};
use crate::report::html;
use crate::report::model::{Harness, Report};
use crate::report::sample::Sample;
use crate::stats::Interval;

const WIDTHS: [u32; 3] = [360, 768, 1280];
const MEASURE: &str = include_str!("pages/measure.js");

/// With large figures, which need the most room.
fn large() -> Report {
    let (stall, errors, search, connections) = (true, true, true, true);
    let sample = Sample { stall, errors, search, connections, ..Sample::default() };
    let mut report = sample.report();
    let totals = &mut report.totals;
    (totals.requests, totals.tokens) = (123_456_789_012, 1_234_567_890_123);
    (totals.requests_per_s, totals.tokens_per_s) = (12_345_678.0, 1_234_567_890.0);
    totals.rate = Some(12_500_000.0);
    report.errors[0].count = 98_765_432_109;
    report
}

fn comparison() -> String {
    let a = Sample { slices: 20, ..Sample::default() }.report();
    let mut b = Sample { slices: 20, median_us: 90.0, seed: 2, ..Sample::default() }.report();
    b.target.version = Some("0.2.0".to_owned());
    crate::compare::compare(std::slice::from_ref(&a), std::slice::from_ref(&b)).html(&a, &b)
}

fn history() -> String {
    let values: Vec<f64> =
        (0..150).map(|at| 100.0 + f64::from(at % 7) + f64::from(at / 90) * 20.0).collect();
    let series = Series {
        name: "resolve: p99 latency".to_owned(),
        unit: "µs".to_owned(),
        commits: (0..150).map(|at| format!("{:040x}", 0x9_1234_5678_u64 << (at % 24))).collect(),
        values,
        changes: vec![Change { at: 90, before: 103.0, after: 123.0, ratio: 1.194 }],
    };
    page::html(&History { commits: 150, series: vec![series] })
}

/// Six servers, of which one died.
fn of_peers() -> Peers {
    let names = ["floor", "redis", "valkey", "memcached", "pogocache"];
    let sides = ["floor", "jeton, 1 worker", "jeton, 16 workers"];
    let sides = sides.iter().chain(&names[1..]);
    let rows = |metric: Metric| {
        let rows = sides.clone().enumerate().map(|(at, side)| {
            let scale = if metric == Metric::TokensPerS { 43_210.0 } else { 7.5 };
            let estimate = 0.6 + 0.21 * at as f64;
            let (low, high) = (estimate * 0.94, estimate * 1.05);
            let interval = Interval { low, estimate, high, confidence: 0.95 };
            Row {
                side: (*side).to_owned(),
                version: Some("8.1.3".to_owned()),
                failed: (*side == "redis").then(|| "failed in round 3: it has ended".to_owned()),
                figures: (0..8).map(|round| scale * (1.0 + 0.01 * f64::from(round))).collect(),
                tokens_per_s: 1_234_567.0,
                p50_us: 857.0,
                p999_us: 12_300.0,
                ratios: names.map(|name| (name.to_owned(), Some(interval))).into(),
                errors: 0,
            }
        });
        rows.collect()
    };
    let work = |name: &str, metric| WorkResult {
        name: name.to_owned(),
        description: "one token a request, 64 connections, no pipelining".to_owned(),
        metric,
        left_out: Vec::new(),
        rows: rows(metric),
    };
    Peers {
        harness: Harness::default(),
        machine: crate::target::usage::machine(),
        command: Vec::new(),
        rounds: 8,
        duration_s: 2.0,
        works: vec![
            work("resolve", Metric::CpuUsPerToken),
            work("issue", Metric::TokensPerS),
            work("memory", Metric::BytesPerToken),
        ],
        not_run: vec!["dragonfly is not on the PATH".to_owned()],
        interrupted: false,
    }
}

fn pages() -> [(&'static str, String); 5] {
    let small = Sample { slices: 9, requests: 40, median_us: 90.0, ..Sample::default() };
    [
        ("large", html::page(&large())),
        ("small", html::page(&small.report())),
        ("compare", comparison()),
        ("history", history()),
        ("peers", peers::html(&of_peers())),
    ]
}

/// Where the pages are written; `LOADTEST_PAGES` keeps them, with pictures, for a person to look at.
fn folder() -> (Option<tempfile::TempDir>, PathBuf, bool) {
    if let Some(kept) = std::env::var_os("LOADTEST_PAGES") {
        return (None, PathBuf::from(kept), true);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    (Some(folder), path, false)
}

#[expect(clippy::print_stdout, reason = "a check that is not made says so")]
#[test]
fn pages_fit_every_screen_in_light_and_dark() {
    let Some(mut browser) = Browser::start() else {
        println!("not checked: {} is not installed", browser::CHROMIUM);
        return;
    };
    let (_folder, folder, is_kept) = folder();
    let mut problems = Vec::new();
    for (name, html) in pages() {
        let path = folder.join(format!("{name}.html"));
        std::fs::write(&path, html).unwrap();
        for (width, is_dark) in WIDTHS.into_iter().flat_map(|width| [(width, false), (width, true)])
        {
            browser.open(&path, width, is_dark);
            let Value::Array(found) = browser.value(MEASURE) else { panic!("no list") };
            let place = format!("{name} at {width} px{}", if is_dark { ", dark" } else { "" });
            problems.extend(found.iter().map(|problem| format!("{place}: {problem}")));
            if is_kept {
                let dark = if is_dark { "-dark" } else { "" };
                browser.picture(&folder.join(format!("{name}-{width}{dark}.png")));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// Where the pointer goes, and what is shown there: none before, a place and values after.
const POINT_AT: &str = "(() => {
  const hit = [...document.querySelectorAll('svg .hit')].filter(e => e.getClientRects().length);
  const one = hit[Math.floor(hit.length / 3)];
  one.scrollIntoView({block: 'center'});
  const at = one.getBoundingClientRect();
  return [at.x + at.width / 2, at.y + at.height / 2];
})()";
const SHOWN: &str = "[...document.querySelectorAll('.tip')]
  .filter(e => e.getClientRects().length && getComputedStyle(e).visibility === 'visible')
  .map(e => [...e.querySelectorAll('text')].map(t => t.textContent).join(' | '))";

#[test]
fn a_chart_shows_its_values_under_the_pointer() {
    let Some(mut browser) = Browser::start() else { return };
    let (_folder, folder, is_kept) = folder();
    for (name, html) in pages().into_iter().filter(|(name, _)| *name != "peers") {
        let path = folder.join(format!("{name}-pointer.html"));
        std::fs::write(&path, html).unwrap();
        for width in WIDTHS {
            browser.open(&path, width, false);
            assert_eq!(browser.value(SHOWN), Value::Array(Vec::new()), "{name} {width}");
            let at = browser.value(POINT_AT);
            browser.point(at[0].as_f64().unwrap(), at[1].as_f64().unwrap());
            let shown = browser.value(SHOWN);
            assert_eq!(shown.as_array().map(Vec::len), Some(1), "{name} {width}: {shown}");
            let text = shown[0].as_str().unwrap();
            let numbers =
                text.split(" | ").filter(|part| part.contains(|c: char| c.is_ascii_digit()));
            assert!(numbers.count() >= 2, "a place and a value: {text}");
            if is_kept {
                browser.picture(&folder.join(format!("{name}-{width}-pointer.png")));
            }
        }
    }
}
