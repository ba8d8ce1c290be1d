//! A server that stands still for half a second. In an open loop everybody who would have come in
//! that time waits, and the report must say so; a closed loop stops asking and hides it.

use std::time::Duration;

use loadtest::report::model::{Kept, Report};
use rustix::process::{Signal, kill_process};

use crate::fake::{Fake, HONEST, Manner, Speed};
use crate::harness::{Jeton, Out, Running, command, wait_for};

const STALL: Duration = Duration::from_millis(500);

/// Puts load on a jeton, stops it once in the middle, and gives how long that really took.
fn stalled(words: &str) -> (Report, f64) {
    let (jeton, out) = (Jeton::start(), Out::new());
    let mut command = command(&format!(
        "run resolve --target http://{} --population 500 --warm-up 0s --duration 3s {words}",
        jeton.data
    ));
    let running = Running::start(command.arg("--out").arg(out.path()));
    // Resolves begin with the measured part, as there is no warm-up.
    wait_for("the load to begin", || jeton.resolves() > 100);
    let stall_s = jeton.stand_still(STALL).as_secs_f64();
    let ended = running.end();
    assert_eq!(ended.code, Some(0), "{}", ended.said());
    (out.report(), stall_s)
}

/// Requests that took longer than this.
fn slower_than(report: &Report, limit_s: f64) -> f64 {
    let histogram = report.latency.to_histogram().expect("a histogram");
    let limit_ns = (limit_s * 1e9) as u64;
    let slow = histogram.iter_recorded().filter(|value| value.value_iterated_to() > limit_ns);
    slow.map(|value| value.count_at_value()).sum::<u64>() as f64
}

/// Whether the line that latencies fall in is the one of this stall alone. It must at least hold
/// everybody whom the stall held up.
fn shows_one_stall() -> bool {
    const RATE: f64 = 500.0;
    const TOLERANCE: f64 = RATE * 0.06;
    // Fewer connections than requests that become due in the stall: most can't even be sent.
    let (report, stall_s) = stalled(&format!("--rate {RATE} --arrivals uniform --connections 32"));
    assert!(report.latency.max_us >= 450_000.0, "max {} µs", report.latency.max_us);
    let due = report.totals.requests as f64;
    assert!((due - RATE * 3.0).abs() <= 2.0, "{due} requests in 3 s");
    // Who came x s after its begin waited for what was left of it.
    [0.1, 0.2, 0.25, 0.3, 0.4].into_iter().all(|limit_s| {
        let expected = RATE * (stall_s - limit_s);
        let found = slower_than(&report, limit_s);
        assert!(
            found >= expected - TOLERANCE,
            "slower than {limit_s} s: {found}, not {expected}: it stood still for {stall_s} s"
        );
        found <= expected + TOLERANCE
    })
}

#[test]
fn an_open_loop_shows_a_stall_to_everybody_it_held_up() {
    // A machine that stands still by itself adds stalls of its own.
    assert!((0..3).any(|_| shows_one_stall()), "three times more than the stall");
}

/// The harness itself stands still for a second: "objective missed" would blame the server.
#[test]
fn a_stall_of_the_harness_is_not_the_servers() {
    let (fake, out) = (Fake::start(HONEST), Out::new());
    let mut command = command(&format!(
        "run resolve --target http://{} --population 200 --warm-up 0s --duration 5s --rate 200 \
         --arrivals uniform -c 16 --slo p99=400ms --slo p50=4s",
        fake.address
    ));
    let running = Running::start(command.arg("--out").arg(out.path()));
    wait_for("the load to begin", || fake.answers() > 400);
    kill_process(running.pid(), Signal::STOP).expect("it runs");
    std::thread::sleep(2 * STALL);
    kill_process(running.pid(), Signal::CONT).expect("it is there");
    let ended = running.end();
    let report = out.report();
    assert!(report.latency.max_us >= 900_000.0, "requests that were due waited: {}", ended.said());
    assert_eq!(ended.code, Some(3), "{}", ended.said());
    let kept: Vec<Kept> = report.objectives.iter().map(|one| one.kept).collect();
    assert_eq!(kept, [Kept::Undecided, Kept::Yes], "{}", ended.said());
    let generator = &report.generator;
    assert!(generator.stall_max_s >= 0.9 && generator.late_max_us >= 900_000.0, "{generator:?}");
    assert!(generator.disturbed_s >= 1.5 && generator.disturbed_requests >= 300, "{generator:?}");
    assert!(ended.stdout.contains("The harness itself was disturbed for"), "{}", ended.said());
    assert!(!ended.stdout.contains("overloaded"), "{}", ended.said());
    let marked = report.slices.iter().filter(|slice| slice.disturbed_s > 0.0).count();
    assert!((10..report.slices.len()).contains(&marked), "{marked} slices are marked");
    assert!(out.page().contains("harness disturbed"));
}

/// A stop wakes the loop without any event, and the answers that came meanwhile are read after that.
#[test]
fn a_stop_of_the_harness_beyond_the_time_limit_makes_no_timeout() {
    let slow = Manner { speed: Speed::Delay(Duration::from_millis(100)), ..HONEST };
    let (fake, out) = (Fake::start(slow), Out::new());
    let mut command = command(&format!(
        "run resolve --target http://{} --population 100 --warm-up 0s --duration 3s --rate 200 \
         --arrivals uniform -c 64 --timeout 600ms",
        fake.address
    ));
    let running = Running::start(command.arg("--out").arg(out.path()));
    wait_for("the load to begin", || fake.answers() > 200);
    kill_process(running.pid(), Signal::STOP).expect("it runs");
    std::thread::sleep(3 * STALL);
    kill_process(running.pid(), Signal::CONT).expect("it is there");
    let ended = running.end();
    assert_eq!(ended.code, Some(0), "{}", ended.said());
    let report = out.report();
    assert!(report.errors.is_empty(), "{}", ended.said());
    assert!(report.generator.stall_max_s >= 1.4, "{:?}", report.generator);
}

#[test]
fn a_closed_loop_hides_a_stall_from_all_but_its_connections() {
    let (report, _) = stalled("--connections 8");
    assert!(report.latency.max_us >= 450_000.0, "max {} µs", report.latency.max_us);
    let slow = slower_than(&report, 0.25);
    // One request for each connection, and no trace of those that were not even asked. The machine
    // may add a few stalls of its own.
    assert!((1.0..=40.0).contains(&slow), "{slow} slow requests of 8 connections");
}
