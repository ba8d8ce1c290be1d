//! P8: more clients than the server has places, descriptors or memory for.

use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, prlimit, setrlimit};

use crate::client::{Client, expect};
use crate::hostile_watch::{Bounds, asked, crowd, patient, under_attack};
use crate::raw::{Conn, request};
use crate::server::{HEADER_TIMEOUT, Server};
use crate::support::{eventually, not_run};
use crate::volume;

/// Limit of descriptors for a server that should run out of them.
const FEW: u64 = 64;

/// Raises this process's limit of descriptors; returns false if that is not allowed.
fn may_open(descriptors: u64) -> bool {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= descriptors) {
        return true;
    }
    let raised = Rlimit { current: Some(descriptors), maximum: limit.maximum };
    limit.maximum.is_none_or(|maximum| maximum >= descriptors)
        && setrlimit(Resource::Nofile, raised).is_ok()
}

/// Every other connection has sent a request, so that all its state is allocated.
#[test]
fn p8_ten_thousand_idle_connections() {
    let count = volume::volume("idle_connections", 10_000);
    if !may_open(count + 1000) {
        return not_run("p8, idle connections", "the hard limit of descriptors is too low");
    }
    let places = (count + 100).to_string();
    let server = Server::fresh_with(|launch| {
        // None may end while others are still being opened.
        let launch = launch.flag(HEADER_TIMEOUT, "1h").flag("--idle-timeout", "1h");
        launch.flag("--max-connections", &places)
    });
    let count = usize::try_from(count).expect("a number of connections");
    under_attack("idle_connections", &server, Bounds::of(count, 160), || {
        let silent = || Conn::open(server.data).expect("connects");
        let conns: Vec<_> =
            (0..count).map(|n| if n % 2 == 0 { asked(&server) } else { silent() }).collect();
        eventually("all connections are held", || server.descriptors() >= count);
        // The connections are idle for a while, and other clients are served.
        std::thread::sleep(Duration::from_secs(1));
        drop(conns);
        ((), vec![("connections", count as u64)])
    });
}

/// Failures to accept according to `/metrics`, over an existing connection.
fn accept_errors(admin: &mut Conn) -> u64 {
    admin.send(&request("GET", "/metrics", &[], b"")).expect("sends");
    let metrics = admin.response().expect("the admin listener answers");
    let mut lines = metrics.text().lines();
    let count = lines.find_map(|line| line.strip_prefix("jeton_http_accept_errors_total "));
    count.and_then(|count| count.parse().ok()).expect("a count")
}

/// The limit falls below the open descriptors, so that no connection can be accepted: the server
/// pauses instead of spinning, connected clients are served, and accepting resumes when descriptors
/// are free again.
#[test]
fn p8_without_descriptors_accepting_rests() {
    /// Failures of a worker before its pauses, which double from 50 ms, reach one second.
    const FIRST_ERRORS: u64 = 7;
    const WORKERS: u64 = 2;
    let server = patient();
    let mut admin = Conn::open(server.admin).expect("the admin listener is there");
    assert_eq!(accept_errors(&mut admin), 0);
    let open = server.descriptors() as u64 + 8;
    let limit = Rlimit { current: Some(open), maximum: Some(open) };
    prlimit(Some(server.pid()), Resource::Nofile, limit).expect("a child of ours");
    let bounds = Bounds { growth_mib: 16, descriptors: 8, takes_new: false };
    under_attack("no_descriptors", &server, bounds, || {
        let begun = Instant::now();
        let conns = crowd(&server, 200);
        eventually("descriptors run out", || accept_errors(&mut admin) > 0);
        std::thread::sleep(Duration::from_secs(3));
        let errors = accept_errors(&mut admin);
        let errors_max = WORKERS * (FIRST_ERRORS + begun.elapsed().as_secs());
        assert!(errors <= errors_max, "{errors} failures, {errors_max} if it rested: it spins");
        drop(conns);
        eventually("new connections are accepted again", || {
            Client::of(&server).try_send("GET", "/v1/nothing", &[], "").is_ok()
        });
        ((), vec![("connections", 200), ("accept_errors", errors)])
    });
    assert!(server.stderr().contains("cannot accept connections"), "nothing was said");
}

/// Started with few descriptors, a server has fewer places for clients: the log and the admin
/// listener keep theirs, and a client without a place gets 503.
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
            // Segments of the log can be opened although all places are taken.
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
