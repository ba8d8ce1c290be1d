//! P8: more clients than the server has places, descriptors or memory for.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, prlimit, setrlimit};

use crate::client::{Client, expect};
use crate::hostile_watch::{Bounds, crowd, under_attack};
use crate::raw::{Conn, request};
use crate::server::Server;
use crate::support::{eventually, not_run};
use crate::volume;

/// Descriptors that a server may have when they are to run out.
const FEW: u64 = 64;

/// Raises this process's limit of descriptors; false where it may not go so high.
fn may_open(descriptors: u64) -> bool {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= descriptors) {
        return true;
    }
    let raised = Rlimit { current: Some(descriptors), maximum: limit.maximum };
    limit.maximum.is_none_or(|maximum| maximum >= descriptors)
        && setrlimit(Resource::Nofile, raised).is_ok()
}

/// Every other one has asked something, so that all of what serves a connection is there.
#[test]
fn p8_ten_thousand_idle_connections() {
    let count = volume::volume("idle_connections", 10_000);
    if !may_open(count + 1000) {
        return not_run("p8, idle connections", "the hard limit of descriptors is too low");
    }
    let places = (count + 100).to_string();
    let server = Server::fresh_with(|launch| launch.flag("--max-connections", &places));
    let count = usize::try_from(count).expect("a number of connections");
    under_attack("idle_connections", &server, Bounds::of(count, 160), || {
        let mut conns = crowd(&server, count);
        for conn in conns.iter_mut().step_by(2) {
            conn.send(&request("GET", "/v1/nothing", &[], b"")).expect("sends");
            assert_eq!(conn.response().expect("an answer").status, 404);
        }
        assert!(server.descriptors() >= count, "not all connections are held");
        // Nothing happens for a while, and others are served.
        std::thread::sleep(Duration::from_secs(1));
        drop(conns);
        ((), vec![("connections", count as u64)])
    });
}

/// Processor time of the server so far, in ticks of which there are 100 in a second.
fn cpu_ticks(server: &Server) -> u64 {
    let path = format!("/proc/{}/stat", server.pid().as_raw_nonzero());
    let stat = std::fs::read_to_string(path).expect("the server runs");
    // The name stands in parentheses; user and system time are the 12th and 13th behind it.
    let (_, behind) = stat.rsplit_once(") ").expect("a name");
    behind.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number")).sum()
}

/// The limit falls below what is open, so that no connection can be accepted: accepting rests
/// instead of spinning, who is connected is served, and all is well when there is room again.
#[test]
fn p8_without_descriptors_accepting_rests() {
    const SECONDS: u64 = 3;
    let server = Server::fresh();
    let open = server.descriptors() as u64 + 8;
    let limit = Rlimit { current: Some(open), maximum: Some(open) };
    prlimit(Some(server.pid()), Resource::Nofile, limit).expect("a child of ours");
    let bounds = Bounds { growth_mib: 16, descriptors: 8, takes_new: false };
    under_attack("no_descriptors", &server, bounds, || {
        let conns = crowd(&server, 200);
        std::thread::sleep(Duration::from_millis(500));
        let before = cpu_ticks(&server);
        std::thread::sleep(Duration::from_secs(SECONDS));
        // Beside accepting, the witness is served: a thousand resolves a second at most.
        let ticks = cpu_ticks(&server) - before;
        assert!(ticks < 100 * SECONDS, "{ticks} ticks in {SECONDS} s: it spins");
        drop(conns);
        eventually("new connections are accepted again", || {
            Client::of(&server).try_send("GET", "/v1/nothing", &[], "").is_ok()
        });
        ((), vec![("connections", 200), ("ticks", ticks), ("seconds", SECONDS)])
    });
    let warned = server.stderr().matches("cannot accept connections").count();
    assert!((1..100).contains(&warned), "{warned} warnings");
}

/// Started with few descriptors, a server has fewer places for clients: the log and the admin
/// listener keep theirs, and who finds no place is told.
#[test]
fn p8_few_descriptors_are_kept_for_the_log_and_the_admin() {
    let nofile = format!("--nofile={FEW}:{FEW}");
    let server = Server::fresh_with(|launch| launch.under(&["prlimit", &nofile]));
    let bounds = Bounds {
        descriptors: usize::try_from(FEW).expect("small"),
        growth_mib: 32,
        takes_new: false,
    };
    under_attack("few_descriptors", &server, bounds, || {
        let mut client = Client::of(&server);
        let token = client.issued(r#"{"payload":1}"#).token;
        let mut conns = crowd(&server, 200);
        let large = format!("{{\"payload\":\"{}\"}}", "x".repeat(60_000));
        for _ in 0..100 {
            // Segments of the log are opened, although all places are taken.
            let one = client.issued(&large).token;
            expect(&client.revoke(&one), 204);
        }
        expect(&client.resolve(&token), 200);
        let mut admin = Conn::open(server.admin).expect("the admin listener is there");
        admin.send(&request("GET", "/readyz", &[], b"")).expect("sends");
        expect(&admin.response().expect("the admin listener answers"), 200);
        let refused = conns.iter_mut().filter_map(|conn| {
            conn.send(&request("GET", "/v1/nothing", &[], b"")).ok()?;
            conn.response().ok().filter(|response| response.status == 503)
        });
        let refused = refused.count() as u64;
        assert!(refused > 100, "only {refused} of 200 were told that there is no place");
        assert!(!server.stderr().contains("cannot accept"), "descriptors ran out");
        drop(conns);
        ((), vec![("connections", 200), ("refused", refused)])
    });
}
