//! `--find-max` against a server whose capacity is known.

use loadtest::report::model::{Kept, Step};

use crate::fake::{Fake, HONEST, Lie, Manner, Speed};
use crate::harness::{command, reported};

const CAPACITY: f64 = 300.0;

/// The rate that a search finds, and all that was said.
fn found() -> (f64, String) {
    let fake = Fake::start(Manner { speed: Speed::Capacity(CAPACITY), ..HONEST });
    let mut command = command(&format!("run resolve --find-max --target http://{}", fake.address));
    // Uniform arrivals: below the capacity nobody waits, above it all wait longer and longer.
    command.args(["--slo", "p50=100ms", "--rate", "200", "--arrivals", "uniform", "-c", "32"]);
    command.args(["--population", "32", "--warm-up", "0s", "--duration", "600ms"]);
    let (ended, report) = reported(&mut command);
    let search = report.search.as_ref().expect("a search");
    // On a machine that disturbs the harness the answer is in doubt, and is the same.
    let code = if search.doubt.is_some() { 3 } else { 0 };
    assert_eq!(ended.code, Some(code), "{}", ended.said());
    let rate = search.rate.expect("it found one");
    for kept in [Kept::Yes, Kept::No] {
        assert!(search.steps.iter().any(|step| step.kept == kept), "{search:?}");
    }
    assert_eq!(report.totals.rate, Some(rate), "the report is of the rate found");
    (rate, ended.said())
}

#[test]
fn the_search_finds_what_the_server_can_do() {
    // A machine that stands still in the wrong moment makes a rate look worse, never better.
    let right = |_| {
        let (rate, said) = found();
        assert!(rate < CAPACITY * 1.25, "found {rate}: {said}");
        rate > CAPACITY * 0.75
    };
    assert!((0..3).any(right), "three times too low");
}

/// One 503 while tokens were issued made every rate one that was not kept.
#[test]
fn a_refusal_before_the_load_is_no_missed_rate() {
    let lie = Lie::FirstIssueRefused;
    let fake = Fake::start(Manner { lie, speed: Speed::Capacity(CAPACITY), ..HONEST });
    let mut command = command(&format!("run resolve --find-max --target http://{}", fake.address));
    command.args(["--slo", "p50=200ms", "--rate", "100", "--arrivals", "uniform", "-c", "32"]);
    command.args(["--population", "32", "--warm-up", "0s", "--duration", "400ms"]);
    let (ended, report) = reported(&mut command);
    let search = report.search.as_ref().expect("a search");
    let rate = search.rate.expect("it found one");
    assert!(report.errors.iter().all(|error| error.count == error.while_issuing));
    assert_eq!(ended.code, Some(if search.doubt.is_some() { 3 } else { 0 }), "{}", ended.said());
    // The answer is in the table, and nothing below it was missed for certain.
    let at = |step: &&Step| step.rate == rate && step.kept == Kept::Yes;
    assert!(search.steps.iter().any(|step| at(&step)), "{search:?}");
    assert!(ended.stdout.contains("highest kept: "), "{}", ended.said());
}

#[test]
fn an_objective_that_nothing_keeps_is_said_to_be_impossible() {
    let fake = Fake::start(HONEST);
    let mut command = command(&format!("run resolve --find-max --target http://{}", fake.address));
    command.args(["--slo", "p50=1us", "--rate", "8", "-c", "4", "--population", "4"]);
    let (ended, report) = reported(command.args(["--warm-up", "0s", "--duration", "250ms"]));
    assert_eq!(ended.code, Some(1), "{}", ended.said());
    let search = report.search.expect("a search");
    assert_eq!(search.rate, None);
    assert!(search.steps.iter().all(|step| step.kept != Kept::Yes));
    assert!(ended.stdout.contains("no rate"), "{}", ended.said());
}
