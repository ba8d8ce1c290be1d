//! What was measured is what the report says: nothing of the caller's reaches the server, and too
//! little is no pass.

use loadtest::report::model::Kept;
use loadtest::report::verdict::Verdict;

use std::time::Duration;

use crate::fake::{Fake, HONEST, Lie, Manner, Speed};
use crate::harness::{BRIEF, Out, command, error, jeton_bin, reported};

/// With `JETON_SYNC=1s` a server issues three times as many a second.
#[test]
fn the_callers_environment_does_not_reach_the_server() {
    let folder = Out::new();
    let audit = folder.path().join("audit.log");
    let mut command = command("run issue -c 2");
    command.args(BRIEF).arg("--server-bin").arg(jeton_bin());
    command.env("JETON_SYNC", "1s").env("JETON_AUDIT", &audit).env("JETON_MAX_TTL", "1s");
    let (ended, report) = reported(&mut command);
    assert_eq!((ended.code, report.verdict()), (Some(0), Verdict::Passed), "{}", ended.said());
    assert!(!audit.exists(), "the caller's audit log was written");
    let config = report.target.config.expect("jeton states its configuration");
    assert_eq!((config["sync"].as_str(), config["memory-only"].as_str()), ("always", "false"));
    assert_eq!((config["audit"].as_str(), config["max-ttl"].as_str()), ("not set", "30d"));
}

#[test]
fn a_variable_that_is_asked_for_reaches_the_server_and_the_report() {
    let mut command = command("run issue -c 2 --server-env JETON_SYNC=1s");
    command.args(BRIEF).arg("--server-bin").arg(jeton_bin());
    let (_, report) = reported(&mut command);
    assert_eq!(report.target.config.expect("it states it")["sync"], "1s");
    let words = report.target.command.expect("it was started here");
    assert_eq!(words[..2], ["env", "JETON_SYNC=1s"]);
}

/// At a small rate chance decides how many arrivals there are.
#[test]
fn the_rate_that_was_really_asked_is_in_the_report_and_on_the_page() {
    let fake = Fake::start(HONEST);
    let out = Out::new();
    let words = "run resolve -c 4 --rate 30 --arrivals poisson --seed 2 --population 200";
    let mut command = command(&format!("{words} --target http://{}", fake.address));
    let command = command.args(["--warm-up", "0s", "--duration", "1s", "--out"]).arg(out.path());
    let ended = crate::harness::run(command);
    let totals = out.report().totals;
    let due = totals.due_per_s.expect("an open loop") * totals.elapsed_s;
    // All that were due were answered.
    assert_eq!(due.round() as u64, totals.requests, "{}", ended.said());
    assert_ne!(totals.requests, 30, "this seed draws another number");
    for text in [&ended.stdout, &out.page()] {
        assert!(text.contains("/s asked for (arrivals of 30.0/s)"), "{}", ended.said());
    }
}

#[test]
fn too_little_is_no_pass() {
    for (words, verdict, code) in [
        // 20 requests have no p99.99.
        ("--rate 40 --arrivals uniform --slo p99.99=10s", Verdict::Undecided, 3),
        ("--rate 40 --arrivals uniform --slo p50=10s", Verdict::Passed, 0),
        // The first request is due after the end.
        ("--rate 0.1 --arrivals poisson --seed 1", Verdict::Undecided, 3),
    ] {
        let fake = Fake::start(HONEST);
        let target = format!("run resolve --target http://{} -c 4 {words}", fake.address);
        let (ended, report) = reported(command(&target).args(BRIEF));
        assert_eq!((report.verdict(), ended.code), (verdict, Some(code)), "{}", ended.said());
        assert!(ended.stdout.contains(verdict.text()), "{}", ended.said());
        let no_objective = report.objectives.is_empty();
        let undecided = report.objectives.iter().any(|one| one.kept == Kept::Undecided);
        assert!(no_objective || undecided == (code == 3), "{:?}", report.objectives);
    }
}

/// Limits were looked at ten times a second, so that half of the answers that were up to 100 ms late
/// counted as in time.
#[test]
fn no_answer_after_its_time_limit_counts() {
    let speed = Speed::SlowResolve(Duration::from_millis(250));
    for depth in [1, 4] {
        let fake = Fake::start(Manner { speed, ..HONEST });
        let words = format!(
            "run resolve --target http://{} --rate 60 --arrivals uniform -c 16 --depth {depth} \
             --timeout 200ms",
            fake.address
        );
        let (ended, report) = reported(command(&words).args(BRIEF));
        assert_eq!(ended.code, Some(1), "{}", ended.said());
        assert_eq!((report.totals.requests, report.errors.len()), (0, 1), "{}", ended.said());
        let timeouts = error(&report, "timeout");
        assert_eq!(timeouts.count - timeouts.while_issuing, 30, "{}", ended.said());
    }
}

/// Also on a machine that is so busy that the harness is disturbed most of the time: the slow server
/// falls behind by far more than that, and the fast one has connections to spare.
#[test]
fn overloaded_is_who_lets_a_queue_grow() {
    for (capacity, connections, overloaded) in [(20.0, 8, true), (10_000.0, 128, false)] {
        let speed = Speed::Capacity(capacity);
        let fake = Fake::start(Manner { speed, ..HONEST });
        let words = format!(
            "run resolve --target http://{} --rate 400 --arrivals uniform -c {connections} \
             --warm-up 0s --duration 1s --timeout 2s --population {connections}",
            fake.address
        );
        let (ended, report) = reported(&mut command(&words));
        assert_eq!(report.totals.queue_grew, overloaded, "{}", ended.said());
        assert_eq!(ended.stdout.contains("an overloaded server"), overloaded, "{}", ended.said());
    }
}

/// A population of 100,000 was offered for hours to a server that takes connections and is silent.
#[test]
fn a_server_that_answers_nothing_is_given_up() {
    for lie in [Lie::AlwaysSilent, Lie::AcceptAndClose] {
        let fake = Fake::start(Manner { lie, ..HONEST });
        let words = format!("run resolve --target http://{} -c 8 --timeout 100ms", fake.address);
        let ended = crate::harness::run(&mut command(&words));
        ended.refused(&["accepts connections, but gave no answer for 300 ms"]);
        assert!(fake.connections() < 150, "{} connections in 0.3 s", fake.connections());
    }
}
