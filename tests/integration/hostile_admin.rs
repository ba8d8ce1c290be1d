//! P8: the admin listener under clients that occupy its places. Probes are always answered.

use std::io::Read;
use std::time::{Duration, Instant};

use crate::hostile_watch::pour;
use crate::raw::{Conn, request};
use crate::server::{HEADER_TIMEOUT, Server};
use crate::volume;

/// More than the listener has places.
const CROWD: usize = 80;
/// A probe gives up after this long.
const PROBE_PATIENCE: Duration = Duration::from_secs(20);
const PROBES: u64 = 6;

/// How many of [`PROBES`] have no answer, each on a connection of its own.
fn probes_lost(server: &Server) -> u64 {
    let probe = |path| {
        let mut conn = Conn::open(server.admin)?;
        conn.stream().set_read_timeout(Some(PROBE_PATIENCE))?;
        conn.send(&request("GET", path, &[], b""))?;
        conn.response()
    };
    let is_lost = |n: &u64| {
        let path = if n.is_multiple_of(2) { "/healthz" } else { "/readyz" };
        !probe(path).is_ok_and(|answer| answer.status == 200)
    };
    (0..PROBES).filter(|n| is_lost(n)).count() as u64
}

fn crowd(server: &Server, count: usize, bytes: &[u8]) -> Vec<Conn> {
    let opened = (0..count).map(|_| {
        let mut conn = Conn::open(server.admin).expect("connects");
        let _ = conn.send(bytes);
        conn
    });
    opened.collect()
}

/// Whether the server ends each of these within `limit`.
fn all_end(conns: &mut [Conn], limit: Duration) -> bool {
    let begun = Instant::now();
    conns.iter_mut().all(|conn| {
        let left = limit.saturating_sub(begun.elapsed()).max(Duration::from_millis(1));
        conn.stream().set_read_timeout(Some(left)).expect("a time limit");
        let mut buf = [0; 16 * 1024];
        loop {
            match conn.stream().read(&mut buf) {
                Ok(1..) => (),
                Ok(0) => return true,
                Err(error) => return crate::hostile_watch::is_end(&error),
            }
        }
    })
}

fn tell(name: &str, lost: u64) {
    volume::tell(name, &[("probes_lost", lost), ("of", PROBES)]);
    assert_eq!(lost, 0, "of {PROBES} probes");
}

#[test]
fn p8_silent_clients_do_not_blind_the_probes() {
    let server = Server::fresh();
    let _silent = crowd(&server, CROWD, b"");
    tell("admin_silent", probes_lost(&server));
}

#[test]
fn p8_slow_heads_do_not_blind_the_probes() {
    let server = Server::fresh();
    let _slow = crowd(&server, CROWD, b"GET /metrics HTTP/1.1\r\nHost: localh");
    tell("admin_slow_heads", probes_lost(&server));
}

/// Clients that send one request and keep the connection.
#[test]
fn p8_idle_clients_do_not_blind_the_probes() {
    let server = Server::fresh();
    let mut idle = crowd(&server, CROWD, &request("GET", "/healthz", &[], b""));
    for conn in &mut idle {
        conn.stream().set_read_timeout(Some(Duration::from_millis(20))).expect("a time limit");
        let _ = conn.response();
    }
    tell("admin_idle", probes_lost(&server));
}

/// Clients that pipeline requests with large answers and read none.
#[test]
fn p8_clients_that_never_read_do_not_blind_the_probes() {
    let server = Server::fresh_with(|launch| launch.flag("--write-timeout", "1s"));
    let block = request("GET", "/openapi.json", &[], b"").repeat(20);
    let mut stalled = crowd(&server, CROWD, b"");
    std::thread::scope(|scope| {
        for conn in &stalled {
            let (mut writer, block) = (conn.writer().expect("a second handle"), &block);
            scope.spawn(move || pour(&mut writer, block, 100));
        }
    });
    let lost = probes_lost(&server);
    // A client that reads now makes progress and continues.
    std::thread::sleep(Duration::from_secs(3));
    assert!(all_end(&mut stalled, Duration::from_secs(30)), "one outlived --write-timeout");
    tell("admin_never_read", lost);
}

/// The limits of the data listener apply here too.
#[test]
fn p8_the_limits_of_connections_hold_on_the_admin_listener() {
    let server =
        Server::fresh_with(|launch| launch.flag(HEADER_TIMEOUT, "1s").flag("--idle-timeout", "2s"));
    let begun = Instant::now();
    let mut slow = crowd(&server, 5, b"GET /metrics HTTP/1.1\r\n");
    assert!(all_end(&mut slow, Duration::from_secs(15)), "a head without end");
    let slow_ms = begun.elapsed().as_millis() as u64;
    let mut silent = crowd(&server, 5, b"");
    let mut idle = crowd(&server, 5, &request("GET", "/healthz", &[], b""));
    assert!(all_end(&mut silent, Duration::from_secs(15)), "a connection without a byte");
    assert!(all_end(&mut idle, Duration::from_secs(15)), "a connection that asked once");
    let all_ms = begun.elapsed().as_millis() as u64;
    volume::tell("admin_limits", &[("slow_heads_ms", slow_ms), ("all_ms", all_ms)]);
}
