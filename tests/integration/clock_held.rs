//! The real program with an implausible wall clock: a step forward is held, and an impossible time
//! is never followed. The clock is `clock::Clock`.

use std::process::Output;

use crate::access::run_jeton;
use crate::admin::metrics;
use crate::client::{Client, expect};
use crate::clock::Clock;
use crate::raw::{Conn, Response, request};
use crate::server::Server;
use crate::support::{eventually, millis, not_run};

const DAY_S: i64 = 24 * 3_600;

fn readyz(server: &Server) -> Response {
    let mut admin = Conn::open(server.admin).expect("connects");
    admin.send(&request("GET", "/readyz", &[], b"")).expect("sends");
    admin.response().expect("an answer")
}

#[test]
fn p3_a_step_forward_ends_nothing_before_it_has_stood() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let Some(clock) = Clock::of(dir.path()) else {
        return not_run("a step forward of the clock", "the package faketime is missing");
    };
    let server = clock.launch_plainly(dir.path()).start();
    let mut client = Client::of(&server);
    let first = client.issued(r#"{"payload":1,"ttl":"1h"}"#);
    let token = first.token;
    // A little more, for the line rounds down.
    clock.shift(DAY_S + 10);
    eventually("the step is a warning", || {
        let ready = readyz(&server);
        expect(&ready, 200);
        ready.text().starts_with("ready\nwarning: clock_held: the wall clock is ahead by 1d")
    });
    expect(&client.resolve(&token), 200);
    let next = client.issued(r#"{"payload":2,"ttl":"1h"}"#);
    let apart_ms = millis(&next.expires_at) - millis(&first.expires_at);
    assert!((0..60_000).contains(&apart_ms), "{apart_ms}");
    let shown = metrics(&server);
    assert!(shown.contains("jeton_warning{name=\"clock_held\"} 1\n"), "{shown}");
    assert!(!shown.contains("jeton_clock_held_seconds 0.0\n"), "{shown}");
    clock.shift(0);
    eventually("it is over", || readyz(&server).text() == "ready\n");
    expect(&client.resolve(&token), 200);
    assert!(server.stderr().contains("which the forward clock contradicts"), "no line");
}

#[test]
fn p3_a_clock_that_cannot_be_right_refuses_changes_until_it_is() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let Some(clock) = Clock::of(dir.path()) else {
        return not_run("a clock that cannot be right", "the package faketime is missing");
    };
    let body = r#"{"payload":1,"ttl":"1h"}"#;
    let refused = |server: &Server| {
        let mut client = Client::of(server);
        eventually("changes are refused", || client.issue(body).status == 503);
        let answer = client.issue(body);
        assert!(answer.text().contains("clock"), "{}", answer.text());
        let ready = readyz(server);
        expect(&ready, 503);
        assert!(ready.text().starts_with("the wall clock shows "), "{}", ready.text());
    };
    // A first start in 1970, as on a machine without a battery; then a time server corrects it.
    clock.freeze("1970-01-01 00:00:10");
    let mut server = clock.launch_plainly(dir.path()).start();
    refused(&server);
    clock.shift(0);
    let mut client = Client::of(&server);
    eventually("changes are taken", || client.issue(body).status == 201);
    expect(&readyz(&server), 200);
    let token = client.issued(body).token;
    for wrong in ["1999-01-01 00:00:00", "2250-01-01 00:00:00"] {
        clock.freeze(wrong);
        refused(&server);
        expect(&client.resolve(&token), 200);
        // The same at a start with a log.
        server.kill9();
        server = clock.launch_plainly(dir.path()).start();
        refused(&server);
        client = Client::of(&server);
        expect(&client.resolve(&token), 200);
        clock.shift(0);
        eventually("changes are taken", || client.issue(body).status == 201);
        expect(&client.resolve(&token), 200);
    }
    server.stop_well();
}

/// A log with a wrong year produces deadlines of that year until its times are shifted back.
#[test]
fn p3_a_log_that_is_ahead_says_so_and_is_led_back() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let Some(clock) = Clock::of(dir.path()) else {
        return not_run("a log that is ahead", "the package faketime is missing");
    };
    clock.shift(40 * 365 * DAY_S);
    let server = clock.launch_plainly(dir.path()).start();
    let mut client = Client::of(&server);
    let living = client.issued(r#"{"payload":1,"ttl":"1h"}"#);
    let consumed = client.issued(r#"{"payload":2,"ttl":"1h"}"#).token;
    expect(&client.consume(&consumed), 200);
    server.stop_well();
    clock.shift(0);
    let server = clock.launch_plainly(dir.path()).start();
    let ready = readyz(&server);
    let text = ready.text();
    assert!(text.starts_with("ready\nwarning: log_time_ahead: engine time is ahead"), "{text}");
    assert!(text.contains("jeton shift-time"), "{text}");
    assert!(!metrics(&server).contains("jeton_clock_skew_seconds 0.0\n"));
    let late = Client::of(&server).issued(r#"{"payload":3,"ttl":"1h"}"#);
    assert!(millis(&late.expires_at) >= millis(&living.expires_at));
    server.stop_well();

    let (old, new) = (dir.path().join("data"), dir.path().join("led-back"));
    let to = "2040-01-01T00:00:00Z";
    let shift = |to: &str| {
        let (old, new) = (old.to_str().expect("UTF-8"), new.to_str().expect("UTF-8"));
        run_jeton(&["shift-time", old, "--data", new, "--to", to])
    };
    let stderr = |done: &Output| String::from_utf8_lossy(&done.stderr).into_owned();
    let early = shift("1999-01-01T00:00:00Z");
    assert!(!early.status.success() && stderr(&early).contains("before the date of this build"));
    let done = shift(to);
    assert!(done.status.success(), "{}", stderr(&done));
    let shown = String::from_utf8_lossy(&done.stdout);
    assert!(
        shown.starts_with("tokens    2\n") && shown.contains("is        2040-01-01"),
        "{shown}"
    );
    assert!(stderr(&shift(to)).contains("is not empty"));

    clock.freeze("2040-01-01 00:00:01");
    let server = clock.launch_plainly_on(&new).start();
    // There may also be a warning about the length of the log.
    let ready = readyz(&server).text().to_owned();
    assert!(ready.starts_with("ready\n") && !ready.contains("clock"), "{ready}");
    let mut client = Client::of(&server);
    expect(&client.resolve(&living.token), 200);
    expect(&client.consume(&consumed), 404);
    let next = client.issued(r#"{"payload":4,"ttl":"1h"}"#);
    assert!(next.expires_at.starts_with("2040-01-01T01:"), "{}", next.expires_at);
    server.stop_well();
}
