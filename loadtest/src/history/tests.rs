//! Change points in noise, in steps and in published series; lines that are added, read and refused.

use std::collections::BTreeMap;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand_distr::{Distribution, Normal};

use super::divisive::{Options, change_points};
use super::entry::{self, Entry, Figure};
use super::*;

/// Commits whose figure scatters by `noise` about 100, and about `after` from `step` on.
fn commits(seed: u64, count: usize, noise: f64, step: usize, after: f64) -> Vec<f64> {
    let mut random = StdRng::seed_from_u64(seed);
    let normal = Normal::new(0.0, noise).unwrap();
    let mean = |at: usize| if at < step { 100.0 } else { after };
    (0..count).map(|at| mean(at) * normal.sample(&mut random).exp()).collect()
}

#[test]
fn in_200_commits_of_noise_there_is_at_most_one_false_change() {
    let mut false_changes = 0;
    for seed in 0..20 {
        let found = change_points(&commits(seed, 200, 0.02, 0, 100.0), &Options::default());
        assert!(found.len() <= 1, "{found:?}");
        false_changes += found.len();
    }
    assert!(false_changes <= 1, "{false_changes} in 20 histories");
}

#[test]
fn a_step_of_five_percent_is_found_within_five_commits() {
    // Both ways, at the end of a history as it grows: three commits are the fewest that are one.
    for (seed, noise) in [(1, 0.01), (2, 0.01), (3, 0.015)] {
        for after in [105.0, 95.0] {
            let all = commits(seed, 105, noise, 100, after);
            let found = change_points(&all, &Options::default());
            assert!(found.len() == 1 && found[0].abs_diff(100) <= 1, "{found:?}");
        }
    }
}

#[test]
fn a_single_odd_commit_is_no_change_and_a_small_one_does_not_count() {
    let mut all = commits(1, 60, 0.01, 0, 100.0);
    all[30] = 160.0;
    assert_eq!(change_points(&all, &Options::default()), [0; 0]);
    let small = commits(1, 60, 0.0005, 30, 100.5);
    assert_eq!(change_points(&small, &Options::default()), [0; 0]);
    let all_count = Options { change_min: 0.001, ..Options::default() };
    assert_eq!(change_points(&small, &all_count), [30]);
    for few in 0..6 {
        assert_eq!(change_points(&vec![1.0; few], &Options::default()), [0; 0]);
    }
}

/// The series that Apache Otava publishes with its tests (Apache License 2.0), and the places that it
/// finds in them.
#[test]
fn published_series_have_the_published_changes() {
    let sequence =
        [0.3, 2.4, 1.5, -0.9, -0.5, 99.7, 98.3, 99.1, 149.0, 149.7, 149.5, 149.1, 148.8, 150.0];
    let options = Options { p_max: 0.05, ..Options::default() };
    assert_eq!(change_points(&sequence, &options), [5, 8]);
    let first = [1.02, 0.95, 0.99, 1.00, 1.12, 0.90, 0.50, 0.51, 0.48, 0.48, 0.55];
    let second = [2.02, 2.03, 2.01, 2.04, 1.82, 1.85, 1.79, 1.81, 1.80, 1.76, 1.78];
    assert_eq!(change_points(&first, &options), [6]);
    assert_eq!(change_points(&second, &options), [4]);
    let text = include_str!("tigerbeetle.txt");
    let tigerbeetle: Vec<f64> =
        text.split_whitespace().map(|value| value.parse().unwrap()).collect();
    assert_eq!(tigerbeetle.len(), 365);
    // As Otava finds them with a window of 30, p 0.001 and every magnitude.
    let options = Options { p_max: 0.01, permutations: 299, change_min: 0.0 };
    let all = change_points(&tigerbeetle, &options);
    assert_eq!(all, [15, 61, 71, 95, 117, 131, 142, 148, 192, 212, 260]);
    // Of those of more than 5 % it has these two; what is left out here goes to its neighbours.
    let large = change_points(&tigerbeetle, &Options { change_min: 0.05, ..options });
    assert!([15, 71].iter().all(|point| large.contains(point)), "{large:?}");
}

fn entry(commit: &str, value: f64) -> Entry {
    let figure = Figure { value, unit: "µs".to_owned() };
    Entry {
        format: 1,
        at: "2026-11-26T12:00:00Z".to_owned(),
        commit: commit.to_owned(),
        source: "run".to_owned(),
        verdict: "passed".to_owned(),
        figures: BTreeMap::from([("resolve: p99 latency".to_owned(), figure)]),
    }
}

#[test]
fn lines_are_added_and_read_and_what_is_none_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.jsonl");
    let all = [entry("a", 1.0), entry("a", 3.0), entry("b", 2.0)];
    all.iter().for_each(|entry| entry.append(&path).unwrap());
    assert_eq!(entry::read(&path).unwrap(), all);
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 3);
    let history = History::new(&all, 200, &Options::default());
    let series = &history.series[0];
    assert_eq!(
        (&series.values[..], &series.commits[..]),
        (&[2.0, 2.0][..], &["a", "b"].map(str::to_owned)[..])
    );
    assert_eq!(History::new(&all, 1, &Options::default()).series[0].commits, ["b"]);
    // Cut by a full disk: the next line is whole all the same.
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 9]).unwrap();
    entry("c", 1.0).append(&path).unwrap();
    let refused = entry::read(&path).unwrap_err().to_string();
    assert!(refused.contains("history.jsonl:3: not a line of a history"), "{refused}");
    std::fs::write(&path, "{\"format\":1}\n").unwrap();
    assert!(entry::read(&path).unwrap_err().to_string().contains(":1:"));
}

#[test]
fn a_run_with_errors_leaves_a_line_without_figures() {
    use crate::report::sample::Sample;
    let sample = Sample { slices: 9, requests: 900, ..Sample::default() };
    let good = Entry::of_run(&sample.report(), Some("abc")).unwrap();
    assert!(good.figures.contains_key("checkout: p99 latency"), "{good:?}");
    assert!(!good.figures.contains_key("checkout: time per request"), "its rate was given");
    let bad = Entry::of_run(&Sample { errors: true, ..sample }.report(), None).unwrap();
    assert!(bad.figures.is_empty() && bad.verdict == "wrong answers");
    assert_eq!(bad.commit, "3e9e84b+");
}

#[test]
fn other_tools_get_what_they_read() {
    let entry = entry("abc", 1.5);
    assert_eq!(export::bencher(&entry).to_string(), r#"{"resolve":{"p99-latency":{"value":1.5}}}"#);
    assert_eq!(
        export::smaller_is_better(&entry).to_string(),
        r#"[{"extra":"abc","name":"resolve: p99 latency","unit":"µs","value":1.5}]"#
    );
}

#[test]
fn the_page_shows_each_figure_and_its_changes() {
    let values = commits(1, 40, 0.01, 20, 110.0);
    let entries: Vec<Entry> =
        values.iter().enumerate().map(|(at, value)| entry(&format!("c{at}<b>"), *value)).collect();
    let history = History::new(&entries, 200, &Options::default());
    let (text, html) = (page::text(&history), page::html(&history));
    assert!(text.starts_with("40 commits, 1 figures, 1 changes"), "{text}");
    assert!(text.contains("+10.") || text.contains("+9."), "{text}");
    assert!(
        html.contains("<svg") && html.contains("resolve: p99 latency") && !html.contains("<b>")
    );
    assert!(html.trim_end().ends_with("</html>"));
}
