//! P8: hostile clients are limited, and other clients are not affected.

use std::io::{ErrorKind, Write};
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::client::{Client, expect};
use crate::hostile_watch::{Bounds, patient, under_attack};
use crate::raw::{Conn, request};
use crate::server::Server;

/// Maximum growth of a server under any one of these clients.
const GROWTH_KIB_MAX: u64 = 64 * 1024;

/// Fails as soon as the server exceeds the limit, before it affects the machine.
fn assert_flat(server: &Server, before_kib: u64, what: &str) {
    let grown = server.resident_kib().saturating_sub(before_kib);
    assert!(grown <= GROWTH_KIB_MAX, "{what}: the server grew by {grown} KiB");
}

/// Writes `bytes` repeatedly, up to `times`, until the server accepts no more. Returns the number
/// of complete writes.
fn flood(server: &Server, conn: &Conn, bytes: &[u8], times: usize, before_kib: u64) -> usize {
    let mut writer = conn.writer().expect("a second handle");
    writer.set_write_timeout(Some(Duration::from_millis(1500))).expect("a time limit");
    for sent in 0..times {
        match writer.write_all(bytes) {
            Ok(()) => assert_flat(server, before_kib, "a client that never reads"),
            Err(error) => {
                let stalled = [ErrorKind::WouldBlock, ErrorKind::TimedOut];
                let closed = [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset];
                let expected = stalled.contains(&error.kind()) || closed.contains(&error.kind());
                assert!(expected, "{error}");
                return sent;
            }
        }
    }
    times
}

/// A million pipelined requests from a client that never reads, while another is served.
fn never_reads(name: &str, bytes_per_request: &[u8], server: &Server) {
    const PER_WRITE: usize = 1000;
    let block = bytes_per_request.repeat(PER_WRITE);
    let before_kib = server.resident_kib();
    under_attack(name, server, Bounds::of(1, GROWTH_KIB_MAX / 1024), || {
        let conn = Conn::open(server.data).expect("connects");
        let sent = flood(server, &conn, &block, 1_000_000 / PER_WRITE, before_kib);
        ((), vec![("requests_taken", (sent * PER_WRITE) as u64)])
    });
}

#[test]
fn p8_a_million_pipelined_resolves_and_nobody_reads() {
    let server = Server::fresh();
    let large = format!("{{\"payload\":\"{}\"}}", "x".repeat(16 * 1024));
    let mut client = Client::of(&server);
    let token = client.issued(&large).token;
    let get = request("GET", &format!("/v1/tokens/{token}"), &[], b"");
    never_reads("pipelined_resolves", &get, &server);
}

#[test]
fn p8_a_million_pipelined_misses_and_nobody_reads() {
    let server = Server::fresh();
    let get = request("GET", "/v1/tokens/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", &[], b"");
    never_reads("pipelined_misses", &get, &server);
}

#[test]
fn p8_pipelined_batches_and_nobody_reads() {
    let server = Server::fresh();
    let mut client = Client::of(&server);
    let large = format!("{{\"payload\":\"{}\"}}", "y".repeat(8 * 1024));
    let token = client.issued(&large).token;
    let body = json!({ "tokens": vec![token.as_str(); 100] }).to_string();
    let headers = [("Content-Type", "application/json")];
    let post = request("POST", "/v1/resolve", &headers, body.as_bytes());
    let before_kib = server.resident_kib();
    let conn = Conn::open(server.data).expect("connects");
    flood(&server, &conn, &post, 10_000, before_kib);
    assert_flat(&server, before_kib, "batches that nobody reads");
    expect(&client.resolve(&token), 200);
}

#[test]
fn p8_many_stalled_clients_at_once() {
    let server = Server::fresh();
    let large = format!("{{\"payload\":\"{}\"}}", "z".repeat(4 * 1024));
    let mut client = Client::of(&server);
    let token = client.issued(&large).token;
    let block = request("GET", &format!("/v1/tokens/{token}"), &[], b"").repeat(1000);
    let before_kib = server.resident_kib();
    thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                let conn = Conn::open(server.data).expect("connects");
                flood(&server, &conn, &block, 1000, before_kib);
            });
        }
    });
    assert_flat(&server, before_kib, "twenty clients that never read");
    expect(&client.resolve(&token), 200);
}

#[test]
fn p8_connections_have_a_limit() {
    const LIMIT: usize = 32;
    /// Each worker may hold one connection that it is about to refuse.
    const WORKERS: usize = 2;
    let server = Server::fresh_with(|launch| launch.flag("--max-connections", &LIMIT.to_string()));
    let mut first = Client::of(&server);
    let token = first.issued(r#"{"payload":1}"#).token;
    let before = server.descriptors();
    let crowd: Vec<_> = (0..300).filter_map(|_| Conn::open(server.data).ok()).collect();
    for _ in 0..50 {
        expect(&first.resolve(&token), 200);
        let open = server.descriptors();
        assert!(open <= before + LIMIT + WORKERS, "{open} descriptors, {before} before the crowd");
        thread::sleep(Duration::from_millis(4));
    }
    drop(crowd);
    crate::support::eventually("a place is free again", || {
        let mut client = Client::of(&server);
        let path = format!("/v1/tokens/{token}");
        client.try_send("GET", &path, &[], "").is_ok_and(|answer| answer.status == 200)
    });
}

#[test]
fn p8_connections_that_come_and_go_leave_nothing() {
    let server = Server::fresh();
    let mut client = Client::of(&server);
    let token = client.issued(r#"{"payload":1}"#).token;
    let before = server.descriptors();
    for n in 0..500 {
        let mut conn = Conn::open(server.data).expect("connects");
        match n % 3 {
            0 => conn.send(b"GET /v1/tok").expect("sends"),
            1 => conn
                .send(
                    b"POST /v1/tokens HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
                      Content-Length: 99\r\n\r\n{",
                )
                .expect("sends"),
            _ => {}
        }
    }
    crate::support::eventually("all descriptors are closed", || server.descriptors() <= before);
    expect(&client.resolve(&token), 200);
}

/// A chunked body has no stated length: the limit must be enforced while it arrives.
#[test]
fn p8_a_body_without_end_is_cut_off() {
    let server = Server::fresh();
    let before_kib = server.resident_kib();
    let mut conn = Conn::open(server.data).expect("connects");
    let head = b"POST /v1/tokens HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
                 Transfer-Encoding: chunked\r\n\r\n";
    conn.send(head).expect("sends");
    let chunk = [b"10000\r\n".to_vec(), vec![b' '; 0x10000], b"\r\n".to_vec()].concat();
    let sent = flood(&server, &conn, &chunk, 16_000, before_kib);
    assert!(sent < 16_000, "a gigabyte of body was taken");
    expect(&conn.response().expect("an answer"), 413);
}

#[test]
fn p8_a_header_without_end_is_cut_off() {
    let server = Server::fresh();
    let before_kib = server.resident_kib();
    let mut conn = Conn::open(server.data).expect("connects");
    conn.send(b"GET /v1/resolve HTTP/1.1\r\nHost: a\r\nX-Endless: ").expect("sends");
    let sent = flood(&server, &conn, &[b'x'; 64 * 1024], 4_000, before_kib);
    assert!(sent < 4_000, "a quarter of a gigabyte of header was taken");
    expect(&conn.response().expect("an answer"), 431);
}

#[test]
fn p8_slow_clients_take_no_place_of_others() {
    // They stay open during the test.
    let server = patient();
    let mut client = Client::of(&server);
    let token = client.issued(r#"{"payload":1}"#).token;
    let mut slow: Vec<_> = (0..100).map(|_| Conn::open(server.data).expect("connects")).collect();
    let bytes = request("GET", &format!("/v1/tokens/{token}"), &[("X-Pad", &"x".repeat(60))], b"");
    for at in 0..40 {
        for conn in &mut slow {
            conn.send(&bytes[at..=at]).expect("sends");
        }
        expect(&client.resolve(&token), 200);
    }
}

/// Guesses must not be logged, so that they cannot fill the disk.
#[test]
fn p8_guessing_tokens_writes_nothing() {
    let server = Server::fresh();
    let mut client = Client::of(&server);
    client.issued(r#"{"payload":1}"#);
    // A mark after the last frame is written as soon as the server is idle.
    let lsn = || crate::admin::stats(&server)["lsn"].clone();
    let issued = lsn();
    crate::support::eventually("the last frame is proven", || lsn() != issued);
    let before = lsn();
    let guess = "E".repeat(32);
    for _ in 0..50 {
        expect(&client.consume(&guess), 404);
        expect(&client.extend(&guess, "5m"), 404);
        expect(&client.consume_keyed("guess", &guess), 404);
        let body = json!({ "tokens": [guess] }).to_string();
        assert_eq!(client.post("/v1/consume", &body).text(), "[null]");
    }
    assert_eq!(lsn(), before);
}
