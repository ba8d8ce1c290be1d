//! Handshakes that end well, badly, late or never, as a server of the test makes them.

use std::ffi::OsStr;
use std::process::Command;

use crate::fake::{Fake, HONEST, Lie, Manner};
use crate::harness::{Out, Running, error, not_checked, reported, secret_file, wait_for};
use crate::tls::{Ca, GOOD, Wanted, counts, towards};

#[test]
fn answers_that_come_with_an_alert_are_answers() {
    let folder = Out::new();
    let ca = Ca::new(folder.path());
    let alerts = Manner { lie: Lie::AnswerThenAlert, every: 10, ..HONEST };
    let fake = Fake::by_tls(alerts, ca.server(&GOOD));
    let (ended, report) = reported(&mut towards("run resolve -c 2", &fake, &ca));
    assert_eq!(report.errors, [], "{}", ended.said());
    assert!(fake.lies() > 0 && report.totals.reconnects > 0, "{}", ended.said());
    assert_eq!(ended.code, Some(0), "{}", ended.said());
}

/// A search measures in several phases, and connections are made again in each.
#[test]
fn a_search_counts_the_handshakes_of_all_its_phases() {
    let folder = Out::new();
    let ca = Ca::new(folder.path());
    let alerts = Manner { lie: Lie::AnswerThenAlert, every: 4, ..HONEST };
    let fake = Fake::by_tls(alerts, ca.server(&GOOD));
    let words = "run resolve -c 4 --rate 8 --slo p50=10us --find-max --warm-up 0s";
    let (ended, report) = reported(&mut towards(words, &fake, &ca));
    let (full, resumed) = counts(&report);
    assert!(report.search.is_some_and(|search| search.steps.len() > 2), "{}", ended.said());
    assert!(full + resumed > 8, "{}", ended.said());
    wait_for("the server's count", || fake.handshakes() == (full, resumed));
}

#[test]
fn the_first_connections_are_made_together() {
    let folder = Out::new();
    let ca = Ca::new(folder.path());
    let together = Manner { lie: Lie::HandshakesTogether(4), ..HONEST };
    let fake = Fake::by_tls(together, ca.server(&GOOD));
    let (ended, report) = reported(&mut towards("run resolve -c 4", &fake, &ca));
    assert_eq!((ended.code, counts(&report).0), (Some(0), 4), "{}", ended.said());
}

/// Each of its bytes comes in time.
#[test]
fn a_first_handshake_that_drips_is_given_up_after_its_limit() {
    let folder = Out::new();
    let ca = Ca::new(folder.path());
    let drips = Manner { lie: Lie::DripHandshake, ..HONEST };
    let fake = Fake::by_tls(drips, ca.server(&GOOD));
    let ended = Running::start(&mut towards("run resolve -c 2", &fake, &ca)).end();
    ended.refused(&["connection 1: the TLS handshake did not finish within 5 s"]);
}

#[test]
fn a_signal_is_heard_while_the_first_connections_are_made() {
    let folder = Out::new();
    let ca = Ca::new(folder.path());
    let drips = Manner { lie: Lie::DripHandshake, ..HONEST };
    let fake = Fake::by_tls(drips, ca.server(&GOOD));
    let running = Running::start(&mut towards("run resolve -c 2", &fake, &ca));
    wait_for("a handshake", || fake.shaking() > 0);
    running.interrupt();
    running.end().refused(&["stopped before anything was measured"]);
}

#[test]
fn a_handshake_that_stands_still_has_a_limit_and_is_one_error() {
    let folder = Out::new();
    let ca = Ca::new(folder.path());
    let stalls = Manner { lie: Lie::StallHandshake, every: 10, ..HONEST };
    let fake = Fake::by_tls(stalls, ca.server(&GOOD));
    let words = "run handshakes -c 2 --connect full --timeout 300ms --duration 2s";
    let (ended, report) = reported(&mut towards(words, &fake, &ca));
    assert_eq!(ended.code, Some(1), "{}", ended.said());
    let late = error(&report, "TLS");
    // On a busy machine an honest handshake may be late too.
    assert!(fake.lies() > 0 && late.count >= fake.lies(), "{}", ended.said());
    assert!(late.example.contains("did not finish within 0.3 s"), "{}", ended.said());
    assert!(!report.errors.iter().any(|error| error.wrong), "{}", ended.said());
    let full = &report.connections[0];
    // What stood still is in no figure of the connections that were answered.
    assert!(full.handshake.max_us <= 300_000.0, "{}", ended.said());
}

#[test]
fn each_request_has_its_own_limit_by_tls_too() {
    let folder = Out::new();
    let ca = Ca::new(folder.path());
    let silent = Manner { lie: Lie::Silence, every: 10, ..HONEST };
    let fake = Fake::by_tls(silent, ca.server(&GOOD));
    let words = "run resolve -c 2 --timeout 200ms --duration 1500ms";
    let (ended, report) = reported(&mut towards(words, &fake, &ca));
    assert_eq!(ended.code, Some(1), "{}", ended.said());
    // On a busy machine an honest answer may be late too.
    assert!(error(&report, "timeout").count >= fake.lies(), "{}", ended.said());
    let wrong = report.errors.iter().find(|error| error.wrong);
    assert_eq!(wrong, None, "{}", ended.said());
}

#[test]
fn a_server_that_resumes_nothing_is_called_so() {
    let folder = Out::new();
    let ca = Ca::new(folder.path());
    let fake = Fake::by_tls(HONEST, ca.server(&Wanted { tickets: false, ..GOOD }));
    let (ended, report) = reported(&mut towards("run handshakes -c 2", &fake, &ca));
    assert_eq!(ended.code, Some(0), "{}", ended.said());
    wait_for("the server's count", || fake.handshakes() == counts(&report));
    assert_eq!(counts(&report).1, 0);
    assert!(ended.stdout.contains("The server resumed no session"), "{}", ended.said());
}

/// The limit of core dumps that a harness has while it shakes hands, where all were allowed before.
fn core_limit(fake: &Fake, ca: &Ca, more: &[&OsStr]) -> String {
    let run = towards("run resolve -c 2", fake, ca);
    let allowed = "ulimit -S -c \"$(ulimit -H -c)\" && exec \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", allowed, "sh"]).arg(run.get_program()).args(run.get_args()).args(more);
    let before = fake.shaking();
    let running = Running::start(&mut command);
    wait_for("a handshake", || fake.shaking() > before);
    let file = format!("/proc/{}/limits", running.pid().as_raw_nonzero());
    let limits = std::fs::read_to_string(file).expect("it is there");
    running.interrupt();
    running.end();
    let line = limits.lines().find(|line| line.starts_with("Max core file size"));
    let soft = line.and_then(|line| line.split_whitespace().nth(4));
    soft.expect("a limit").to_owned()
}

#[test]
fn p9_a_harness_that_holds_a_secret_dumps_no_core() {
    let folder = Out::new();
    let ca = Ca::new(folder.path());
    let drips = Manner { lie: Lie::DripHandshake, ..HONEST };
    let fake = Fake::by_tls(drips, ca.server(&GOOD));
    if core_limit(&fake, &ca, &[]) == "0" {
        return not_checked("core dumps of a harness with a key", "nobody here may dump any");
    }
    let api_key = folder.path().join("api-key");
    secret_file(&api_key, "a-key-of-this-test");
    let (_, _, cert) = ca.issue("me", false);
    let key = cert.with_extension("key");
    let with_key = [OsStr::new("--key-file"), api_key.as_os_str()];
    let with_cert = ["--cert".as_ref(), cert.as_os_str(), "--key".as_ref(), key.as_os_str()];
    for more in [&with_key[..], &with_cert[..]] {
        assert_eq!(core_limit(&fake, &ca, more), "0", "{more:?}");
    }
}
