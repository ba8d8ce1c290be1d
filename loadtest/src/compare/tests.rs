//! Whether equal runs are called noise, different ones different, and doubts are named.

use super::*;
use crate::report::model::{ErrorReport, Kept};
use crate::report::sample::{HOSTILE, Sample};
use crate::report::table;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// One run of each side.
fn compare(a: &Report, b: &Report) -> Comparison {
    super::compare(std::slice::from_ref(a), std::slice::from_ref(b))
}

/// Runs of one server, each started anew: what differs from start to start is `spread`.
fn starts(runs: u64, seed: u64, median_us: f64, spread: f64) -> Vec<Report> {
    let of = |run: u64| {
        let mut random = StdRng::seed_from_u64(1_000 * seed + run);
        let start = (spread * (random.random::<f64>() - 0.5) * 12_f64.sqrt()).exp();
        closed(&Sample {
            median_us: median_us * start,
            cpu_us: 9.0 * median_us / 180.0 * start,
            requests: (400.0 * 180.0 / median_us / start) as u64,
            ..sample(1_000 * seed + run)
        })
    };
    (0..runs).map(of).collect()
}

/// A closed loop, whose throughput is its own.
fn closed(sample: &Sample) -> Report {
    let mut report = sample.report();
    report.totals.rate = None;
    report.workload.load.rate = None;
    report
}

fn with_errors(report: &Report, kind: &str, count: u64, wrong: bool) -> Report {
    let mut report = report.clone();
    report.errors.push(ErrorReport {
        kind: kind.to_owned(),
        count,
        while_issuing: 0,
        wrong,
        example: String::new(),
    });
    report
}

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
fn a_single_pair_of_one_and_the_same_program_is_never_called_worse() {
    // As two starts of one binary were measured: a tenth apart, and steady within each run.
    for pair in 0..8 {
        let a = starts(1, pair, 180.0, 0.0).remove(0);
        let b = starts(1, 100 + pair, 180.0 * 1.1, 0.0).remove(0);
        let comparison = compare(&a, &b);
        assert_eq!(comparison.outcome(), Outcome::Undecided, "{}", comparison.render(false));
        let verdicts = comparison.rows.iter().map(|row| row.verdict);
        let sure = |verdict| matches!(verdict, Verdict::Better | Verdict::Worse);
        assert!(verdicts.clone().all(|verdict| !sure(verdict)), "{}", comparison.render(false));
        let text = comparison.render(false);
        assert!(text.contains("One run of each side") && text.contains("undecided"), "{text}");
    }
}

#[test]
fn several_pairs_decide_on_the_spread_between_runs() {
    // Starts differ by 5 %: of 20 comparisons of a program with itself none is a verdict.
    for seed in 0..20 {
        let (a, b) = (starts(4, 2 * seed, 180.0, 0.05), starts(4, 2 * seed + 1, 180.0, 0.05));
        let comparison = super::compare(&a, &b);
        assert_ne!(comparison.outcome(), Outcome::Failed, "{}", comparison.render(false));
    }
    let (a, slow) = (starts(5, 1, 180.0, 0.01), starts(5, 2, 216.0, 0.01));
    let (there, back) = (super::compare(&a, &slow), super::compare(&slow, &a));
    assert_eq!((there.outcome(), back.outcome()), (Outcome::Failed, Outcome::Passed));
    for figure in ["requests/s", "p50", "p90", "p99", "server CPU per request"] {
        let (worse, better) = (row(&there, figure), row(&back, figure));
        assert_eq!(worse.verdict, Verdict::Worse, "{}", there.render(false));
        assert_eq!(better.verdict, Verdict::Better, "{}", back.render(false));
        let truth = if figure == "requests/s" { 1.0 / 1.2 } else { 1.2 };
        assert!(worse.interval.unwrap().contains(truth), "{figure}: {worse:?}");
    }
    assert!(there.summary().starts_with("worse: requests/s, p50"), "{}", there.summary());
    assert!(!there.render(false).contains("One run of each side"));
}

#[test]
fn errors_and_wrong_answers_come_before_all_figures() {
    let a = closed(&sample(1));
    let fast = closed(&Sample { median_us: 60.0, requests: 1_200, ..sample(2) });
    for (b, said) in [
        (with_errors(&fast, "status 503", 18_000, false), "B failed in 50"),
        (with_errors(&fast, "wrong payload", 1, true), "B gave wrong answers: 1 × wrong payload"),
        (with_errors(&a, "lost", 3, true), "B gave wrong answers: 3 × lost"),
    ] {
        for before in [&a, &b] {
            let comparison = compare(before, &b);
            assert_eq!(comparison.outcome(), Outcome::Failed, "{}", comparison.render(false));
            assert!(comparison.summary().starts_with(said), "{}", comparison.summary());
            let verdicts: Vec<_> = comparison.rows.iter().map(|row| row.verdict).collect();
            assert!(!verdicts.contains(&Verdict::Better), "{}", comparison.render(false));
        }
    }
    let healed = compare(&with_errors(&fast, "status 503", 18_000, false), &a);
    assert_eq!(healed.outcome(), Outcome::Undecided, "{}", healed.render(false));
    assert!(healed.rows.iter().all(|row| row.verdict == Verdict::NotJudged));
}

#[test]
fn no_answer_at_all_is_a_failure_of_b_and_no_base_in_a() {
    let a = closed(&sample(1));
    let mut none = closed(&Sample { requests: 0, ..sample(2) });
    none.totals.requests = 0;
    assert_eq!(compare(&a, &none).outcome(), Outcome::Failed);
    assert!(compare(&a, &none).summary().starts_with("B answered no request"));
    assert_eq!(compare(&none, &a).outcome(), Outcome::Undecided);
    let mut cut = a.clone();
    cut.totals.stopped_early = true;
    assert_eq!(compare(&cut, &a).outcome(), Outcome::Undecided);
}

#[test]
fn an_open_loop_is_judged_by_latency_and_never_by_its_rate() {
    let open = |runs: Vec<Report>| -> Vec<Report> {
        let open = |mut report: Report| {
            report.totals.rate = Some(400.0);
            report
        };
        runs.into_iter().map(open).collect()
    };
    let a = open(starts(5, 1, 180.0, 0.01));
    let mut b = open(starts(5, 2, 180.0, 0.01));
    b.iter_mut().for_each(|report| report.totals.requests_per_s *= 0.5);
    let rates = super::compare(&a, &b);
    assert_eq!(row(&rates, "requests/s").verdict, Verdict::NotJudged);
    assert_eq!(rates.outcome(), Outcome::Passed, "{}", rates.render(false));
    let slow = super::compare(&a, &open(starts(5, 2, 400.0, 0.01)));
    assert_eq!(slow.outcome(), Outcome::Failed, "{}", slow.render(false));
    assert!(slow.summary().contains("p99"), "{}", slow.summary());
}

#[test]
fn runs_that_asked_something_else_are_no_runs_to_compare() {
    let a = sample(1).report();
    let command = |report: &mut Report, words: &[&str]| {
        let base = ["/other/jeton", "serve", "--listen", "127.0.0.1:9", "--data-dir", "/tmp/x"];
        let words = base.iter().chain(words).map(|word| (*word).to_owned());
        report.target.command = Some(words.collect());
    };
    type Change<'a> = &'a dyn Fn(&mut Report);
    let changes: [(&str, Change<'_>); 8] = [
        ("durability: A on disk before the answer, B not", &|b| command(b, &["--memory-only"])),
        ("durability", &|b| command(b, &["--sync=100ms"])),
        ("durability", &|b| command(b, &["--sync", "never"])),
        ("server arguments: A `serve`, B `serve --workers 1`", &|b| {
            command(b, &["--workers", "1"]);
        }),
        ("workload: load, mix differ", &|b| {
            b.workload.load.connections = 5;
            b.workload.mix.miss = 1.0;
        }),
        ("workload: time differ", &|b| b.workload.time.warm_up = crate::quantity::Span::default()),
        ("rate: A 2,000/s, B none (closed loop)", &|b| b.totals.rate = None),
        ("objectives: A p99=20ms max=250ms, B p99=20ms", &|b| drop(b.objectives.pop())),
    ];
    let mut base = a.clone();
    base.totals.rate = Some(2_000.0);
    for (said, change) in changes {
        let mut b = base.clone();
        change(&mut b);
        let found = obstacles(&base, &b);
        assert!(found.iter().any(|text| text.starts_with(said)), "{said}: {found:?}");
    }
    let stated = |sync: &str| {
        let mut report = base.clone();
        let place = ("listen".to_owned(), sync.to_owned());
        report.target.config = Some([("sync".to_owned(), sync.to_owned()), place].into());
        report
    };
    let found = obstacles(&stated("always"), &stated("100ms"));
    assert_eq!(found, ["server setting sync: A always, B 100ms"]);
    let mut same = base.clone();
    command(&mut same, &[]);
    (same.workload.seed, same.machine.cores) = (9, 64);
    assert_eq!(obstacles(&base, &same), [""; 0], "places and seeds are no other question");
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
        assert_eq!(row(&comparison, figure).verdict, Verdict::Undecided);
    }
    for figure in ["p90", "p99.9"] {
        assert_eq!(row(&comparison, figure).verdict, Verdict::Unknown);
    }
    let same = compare(&a, &without_histograms(sample(3).report()));
    assert_ne!(same.outcome(), Outcome::Failed, "{}", same.render(false));
}

#[test]
fn a_stall_widens_what_it_disturbs_and_shows_in_the_max() {
    let calm = Sample { requests: 2_000, ..sample(1) };
    let stalled = Sample { stall: true, seed: 2, ..calm.clone() };
    let comparison = compare(&calm.report(), &stalled.report());
    assert!(row(&comparison, "max").ratio.unwrap() > 20.0);
    // One slice of thirty: the high percentile is far off, by an unknown amount.
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
    let is_open = |verdict| matches!(verdict, Verdict::Unknown | Verdict::NotJudged);
    assert!(comparison.rows.iter().all(|row| is_open(row.verdict)));
    assert_eq!(comparison.outcome(), Outcome::Undecided);
    assert!(comparison.summary().starts_with("undecided"));
    assert_eq!(comparison.warnings.iter().filter(|text| text.contains("too few")).count(), 2);
}

#[test]
fn what_differs_beside_the_figures_is_named() {
    let a = sample(1).report();
    type Change = fn(&mut Report);
    let changes: [(&str, Change); 7] = [
        ("Machines differ", |report| report.machine.cores = 8),
        ("Servers differ", |report| report.target.version = None),
        ("Servers differ", |report| report.target.kind = "redis".to_owned()),
        ("Versions of the harness differ", |report| report.harness.commit = None),
        ("Seeds differ: A 1, B 7", |report| report.workload.seed = 7),
        ("B did not pass: objective missed", |report| report.objectives[0].kept = Kept::No),
        ("B: The harness itself was busy", |report| report.client.user_s = 30.0),
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
fn an_objective_that_b_alone_missed_is_a_regression() {
    let a = sample(1).report();
    let mut b = a.clone();
    b.objectives[0].kept = Kept::No;
    assert_eq!(compare(&a, &b).outcome(), Outcome::Failed);
    assert!(compare(&a, &b).summary().starts_with("B missed p99=20ms, which A kept"));
    assert_ne!(compare(&b, &b).outcome(), Outcome::Failed);
}

#[test]
fn the_table_fits_and_the_page_is_harmless() {
    let a = starts(4, 1, 180.0, 0.01);
    let mut b = starts(4, 2, 300.0, 0.01);
    b.iter_mut().for_each(|report| HOSTILE.clone_into(&mut report.target.kind));
    b.iter_mut().for_each(|report| report.target.command = None);
    let comparison = super::compare(&a, &b);
    let text = comparison.render(false);
    let from = text.find(" figure").unwrap();
    for line in text[from..].lines() {
        assert!(line.chars().count() <= usize::from(table::WIDTH), "too long: {line}");
    }
    assert!(!text.contains('\x1b') && comparison.render(true).contains("\x1b[1;31mworse"));
    let page = comparison.html(&a[0], &b[0]);
    assert!(!page.contains("<script") && !page.contains("<img"));
    assert!(page.contains("<td class=\"bad\">worse</td>") && page.contains("noise"));
    assert_eq!(page.matches("<svg ").count(), 2);
    if let Some(directory) = std::env::var_os("LOADTEST_PAGES") {
        let directory = std::path::PathBuf::from(directory);
        std::fs::write(directory.join("compare.html"), page).unwrap();
        std::fs::write(directory.join("compare.txt"), text).unwrap();
    }
}
