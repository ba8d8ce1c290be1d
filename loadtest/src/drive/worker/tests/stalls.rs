//! Pauses of the harness itself, in each part of a turn of the loop: nothing of them is blamed on the
//! server, which answers at once.

use super::*;
use crate::traffic::arrivals::{Arrivals, Share};
use crate::traffic::plan::Tokens;

/// Requests a second, at equal distances.
const RATE: f64 = 200.0;

fn setting(timeout_ms: u64, duration_ms: u64, stall: Option<Arc<Stall>>) -> Setting {
    Setting {
        connections: 4,
        timeout_ms,
        rate: Some(RATE),
        connect: Connect::Once,
        population: 1,
        duration_ms,
        slow: Duration::ZERO,
        stall,
    }
}

/// Answers each line; where connections are to be made anew, the first one ends after some.
fn server_for(place: Place) -> SocketAddr {
    server(move |number, stream| {
        let mut to = &stream;
        let lines = BufReader::new(&stream).lines().map_while(std::io::Result::ok);
        let ends = number == 0 && place == Place::Connect;
        for _ in lines.take(if ends { 10 } else { usize::MAX }) {
            if to.write_all(b"answer\n").is_err() {
                return;
            }
        }
    })
}

/// In the middle of the load, for [`RATE`] and four connections.
fn place_in_mid_run(place: Place, length: Duration) -> Option<Arc<Stall>> {
    let at = match place {
        Place::Request | Place::Answer => 60,
        // The first four are the first connections.
        Place::Connect => 5,
    };
    Stall::new(place, at, length)
}

/// What the server is blamed for. That its answers hold no payload of the floor does not matter here.
fn blamed(record: &Record) -> Vec<String> {
    let of_payload = |kind| matches!(kind, Kind::WrongPayload);
    let errors = record.errors.iter().filter(|(kind, ..)| !of_payload(*kind));
    errors.map(|(kind, count, example)| format!("{count} {}: {example}", kind.name())).collect()
}

#[test]
fn a_pause_in_any_part_of_a_turn_is_the_harnesss_own() {
    const STALL: Duration = Duration::from_millis(300);
    for place in [Place::Request, Place::Answer, Place::Connect] {
        let setting = setting(10_000, 1_000, place_in_mid_run(place, STALL));
        let (_, record) = setting.run(server_for(place));
        let stall = Duration::from_nanos(record.stall_max_ns);
        assert!(stall >= STALL, "{place:?}: {stall:?} of the pause were noticed");
        // Of those that were due in it, none says anything of the server.
        let held_up = (RATE * STALL.as_secs_f64()) as u64;
        let disturbed = record.disturbed_ns.len();
        assert!(disturbed >= held_up - 5, "{place:?}: {disturbed} of {held_up} are marked");
        let marked_ns: u64 = record.slices.iter().map(|slice| slice.disturbed_ns).sum();
        assert!(u128::from(marked_ns) >= STALL.as_nanos(), "{place:?}: {marked_ns} ns are marked");
    }
}

#[test]
fn a_thread_that_wakes_after_the_begin_of_a_phase_was_paused_until_then() {
    const LATE_NS: u64 = 300_000_000;
    let setting = setting(10_000, 1_000, None);
    let workload = setting.workload();
    let endpoint = setting.endpoint(server(|_, stream| answer_all(&stream)));
    let payloads = Arc::new(Payloads::new(&workload.payload, 1).unwrap());
    let (share, tokens) = (Share { thread: 0, threads: 1 }, Tokens::default());
    let plan = Plan::new(&workload, endpoint.protocol, payloads, share, tokens).unwrap();
    let shared = Arc::new(Shared::new(Arc::default(), Arc::default()));
    let reach = Reach {
        places: vec![crate::drive::worker::Place {
            address: endpoint.address,
            make_codec: endpoint.make_codec,
            tls: None,
        }],
        first: 0,
        timeout_ns: 10_000_000_000,
    };
    let clock = Clock::start();
    let mut worker = Worker::connect(reach, clock, plan, 4, shared).unwrap();
    clock.sleep_until(2 * LATE_NS);
    let begin_ns = clock.now_ns() - LATE_NS;
    let window = Window { from_ns: begin_ns, to_ns: begin_ns + 2 * LATE_NS };
    let rng = crate::traffic::rng(1, 1);
    let arrivals = Arrivals::new(RATE, workload.load.arrivals, Duration::ZERO, share, rng);
    let phase = Phase {
        pace: Pace::open(arrivals, begin_ns),
        connecting: Connecting::Once,
        depth: 1,
        end_ns: window.to_ns,
        window,
        joining_ns: (begin_ns, begin_ns),
    };
    let record = worker.run(phase).unwrap();
    assert!(record.stall_max_ns >= LATE_NS, "{} ns", record.stall_max_ns);
    assert!(record.disturbed_ns.len() >= 55, "{} answers", record.disturbed_ns.len());
    assert!(record.slices[0].disturbed_ns > 0, "the first slice is marked");
}

#[test]
fn a_pause_longer_than_the_time_limit_makes_no_timeout() {
    for place in [Place::Request, Place::Answer, Place::Connect] {
        let stall = place_in_mid_run(place, Duration::from_millis(1_300));
        let (_, record) = setting(500, 2_000, stall).run(server_for(place));
        assert_eq!(blamed(&record), [""; 0], "{place:?}");
    }
}

#[test]
fn what_a_pause_across_the_end_holds_up_is_still_asked_and_answered() {
    // The first is the issue of the population.
    let stall = Stall::new(Place::Request, 91, Duration::from_millis(1_300));
    let address = server(|_, stream| answer_all(&stream));
    let (_, record) = setting(500, 500, stall).run(address);
    assert_eq!(blamed(&record), [""; 0]);
    assert!(record.requests >= 95 && record.due == record.requests, "{} answers", record.requests);
    assert!(record.stall_max_ns >= 1_300_000_000, "{} ns", record.stall_max_ns);
}

#[test]
fn a_pause_while_the_population_is_issued_does_not_end_the_run() {
    for place in [Place::Request, Place::Answer] {
        // Longer than a server may be silent.
        let stall = Stall::new(place, 5, Duration::from_millis(1_700));
        let setting = Setting { population: 20, connections: 1, ..setting(500, 100, stall) };
        let (load, _) = setting.run(server(|_, stream| answer_all(&stream)));
        assert_eq!(blamed(&load), [""; 0], "{place:?}");
    }
}
