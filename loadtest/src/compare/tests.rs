//! Whether equal runs are called noise, different ones different, and doubts are named.

use super::*;
use crate::report::model::ErrorReport;
use crate::report::sample::{HOSTILE, Sample};

fn sample(seed: u64) -> Sample {
    Sample { seed, slices: 30, requests: 400, ..Sample::default() }
}

fn row<'a>(comparison: &'a Comparison, figure: &str) -> &'a Row {
    comparison.rows.iter().find(|row| row.figure == figure).unwrap()
}

fn without_histograms(mut report: Report) -> Report {
    report.slices.iter_mut().for_each(|slice| slice.histogram.clear());
    report
}

#[test]
fn two_runs_of_the_same_are_noise() {
    const PAIRS: u64 = 8;
    // What is promised is 99 of 100 pairs, not all.
    let found: Vec<String> = (0..PAIRS)
        .map(|pair| compare(&sample(2 * pair + 1).report(), &sample(2 * pair + 2).report()))
        .filter(|comparison| !comparison.summary().starts_with("noise"))
        .map(|comparison| comparison.render(false))
        .collect();
    assert!(found.len() <= 1, "{} of {PAIRS} pairs:\n{}", found.len(), found.join("\n"));
}

#[test]
fn a_slower_server_is_worse_and_the_other_way_round_better() {
    let slow = Sample { median_us: 216.0, cpu_us: 10.8, requests: 320, ..sample(2) };
    let (a, b) = (sample(1).report(), slow.report());
    let (there, back) = (compare(&a, &b), compare(&b, &a));
    assert!(there.regressed() && !back.regressed());
    for figure in ["requests/s", "p50", "p90", "p99", "server CPU per request"] {
        let (worse, better) = (row(&there, figure), row(&back, figure));
        assert_eq!(worse.verdict, Verdict::Worse, "{}", there.render(false));
        assert_eq!(better.verdict, Verdict::Better, "{}", back.render(false));
        let truth = if figure == "requests/s" { 0.8 } else { 1.2 };
        let interval = worse.interval.unwrap();
        assert!(interval.contains(truth), "{figure}: {interval:?}");
        assert!(interval.contains(worse.ratio.unwrap()));
    }
    assert!(there.summary().starts_with("worse: requests/s, p50"), "{}", there.summary());
}

#[test]
fn a_run_compared_with_itself_has_ratios_of_one() {
    let report = sample(1).report();
    for row in compare(&report, &report).rows {
        assert_eq!(row.ratio, Some(1.0), "{}", row.figure);
        assert!(row.interval.is_none_or(|interval| interval.contains(1.0)));
    }
}

#[test]
fn what_few_answers_stand_behind_has_no_interval() {
    let comparison = compare(&sample(1).report(), &sample(2).report());
    // Of 12,000 answers, 12 are slower than the p99.9.
    for figure in ["max", "server memory", "p99.9"] {
        let row = row(&comparison, figure);
        assert_eq!((row.interval, row.verdict), (None, Verdict::Unknown));
        assert!(row.ratio.is_some());
    }
}

#[test]
fn without_histograms_of_slices_only_the_median_and_the_99th_have_intervals() {
    let slow = Sample { median_us: 240.0, ..sample(2) };
    let a = without_histograms(sample(1).report());
    let comparison = compare(&a, &without_histograms(slow.report()));
    for figure in ["p50", "p99"] {
        assert_eq!(row(&comparison, figure).verdict, Verdict::Worse);
    }
    for figure in ["p90", "p99.9"] {
        assert_eq!(row(&comparison, figure).verdict, Verdict::Unknown);
    }
    let same = compare(&a, &without_histograms(sample(3).report()));
    assert!(!same.regressed(), "{}", same.render(false));
}

#[test]
fn a_stall_widens_what_it_disturbs_and_shows_in_the_max() {
    let calm = Sample { requests: 2_000, ..sample(1) };
    let stalled = Sample { stall: true, seed: 2, ..calm.clone() };
    let comparison = compare(&calm.report(), &stalled.report());
    assert!(row(&comparison, "max").ratio.unwrap() > 20.0);
    // One slice of thirty: the high percentile is far off, and nobody can say by how much.
    let high = row(&comparison, "p99.9");
    assert!(high.ratio.unwrap() > 20.0 && high.verdict == Verdict::Noise, "{high:?}");
    assert_eq!(row(&comparison, "p50").verdict, Verdict::Noise);
}

#[test]
fn long_runs_are_compared_as_short_ones() {
    let long = |seed| Sample { slices: 450, requests: 40, ..sample(seed) }.report();
    let comparison = compare(&long(1), &long(2));
    assert_eq!(row(&comparison, "p99").verdict, Verdict::Noise, "{}", comparison.render(false));
    assert!(row(&comparison, "p99").interval.unwrap().is_bounded());
}

#[test]
fn too_short_runs_are_undecided_and_say_so() {
    let short = |seed| Sample { slices: 5, ..sample(seed) }.report();
    let comparison = compare(&short(1), &short(2));
    assert!(comparison.rows.iter().all(|row| row.verdict == Verdict::Unknown));
    assert!(comparison.summary().starts_with("undecided"));
    assert_eq!(comparison.warnings.iter().filter(|text| text.contains("too few")).count(), 2);
}

#[test]
fn what_differs_beside_the_figures_is_named() {
    let a = sample(1).report();
    type Change = fn(&mut Report);
    let changes: [(&str, Change); 9] = [
        ("Machines differ", |report| report.machine.cores = 8),
        ("Servers differ", |report| report.target.version = None),
        ("Servers differ", |report| report.target.kind = "redis".to_owned()),
        ("Versions of the harness differ", |report| report.harness.commit = None),
        ("Workloads differ in keys, mix", |report| {
            report.workload.keys.population = 5;
            report.workload.mix.miss = 1.0;
        }),
        ("Durations differ: A 30.0 s, B 60.0 s", |report| report.totals.elapsed_s *= 2.0),
        ("B did not pass: objective missed", |report| report.objectives[0].met = false),
        ("B: The harness itself was busy", |report| report.client.user_s = 30.0),
        ("B: 900/s were asked for", |report| report.totals.rate = Some(900.0)),
    ];
    let usual = compare(&a, &a).warnings;
    for (warning, change) in changes {
        let mut b = a.clone();
        change(&mut b);
        let warnings = compare(&a, &b).warnings;
        assert!(warnings.iter().any(|text| text.starts_with(warning)), "{warning}: {warnings:?}");
        assert!(!usual.iter().any(|text| text.starts_with(warning)), "{warning}");
    }
}

#[test]
fn a_run_that_fails_where_the_other_passed_is_a_regression() {
    let mut a = sample(1).report();
    a.objectives.clear();
    let mut b = a.clone();
    b.errors.push(ErrorReport {
        kind: "lost".to_owned(),
        count: 1,
        wrong: true,
        example: String::new(),
    });
    assert!(compare(&a, &b).regressed());
    assert!(!compare(&b, &a).regressed() && !compare(&b, &b).regressed());
    assert!(compare(&a, &b).summary().starts_with("B failed where A passed"));
}

#[test]
fn the_table_fits_and_the_page_is_harmless() {
    let a = sample(1).report();
    let mut b = Sample { median_us: 300.0, ..sample(2) }.report();
    HOSTILE.clone_into(&mut b.target.kind);
    let comparison = compare(&a, &b);
    let text = comparison.render(false);
    let from = text.find(" figure").unwrap();
    for line in text[from..].lines() {
        assert!(line.chars().count() <= usize::from(table::WIDTH), "too long: {line}");
    }
    assert!(!text.contains('\x1b') && comparison.render(true).contains("\x1b[1;31mworse"));
    let page = comparison.html(&a, &b);
    assert!(!page.contains("<script") && !page.contains("<img"));
    assert!(page.contains("<td class=\"bad\">worse</td>") && page.contains("noise"));
    assert_eq!(page.matches("<svg ").count(), 2);
    if let Some(directory) = std::env::var_os("LOADTEST_PAGES") {
        let directory = std::path::PathBuf::from(directory);
        std::fs::write(directory.join("compare.html"), page).unwrap();
        std::fs::write(directory.join("compare.txt"), text).unwrap();
    }
}
