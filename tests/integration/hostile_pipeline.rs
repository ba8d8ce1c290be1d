//! P8: clients that pipeline without end get their answers in the order of their requests.

use std::io::Write;
use std::time::Duration;

use serde_json::json;

use crate::client::{Client, expect};
use crate::raw::{Conn, request};
use crate::server::Server;
use crate::volume;

/// Maximum growth of a server under one client that pipelines and reads all answers.
const GROWTH_KIB_MAX: u64 = 16 * 1024;

/// Requests of varying lengths: no read of the server ends at the end of a request, so there is
/// always half a request left, and the memory of answered requests must still be freed.
#[test]
fn p8_pipelining_without_end_leaves_no_trace() {
    const BURST: usize = 2_000;
    let server = Server::fresh();
    let token = Client::of(&server).issued(r#"{"payload":1}"#).token;
    let path = format!("/v1/tokens/{token}");
    let bursts = usize::try_from(volume::volume("pipelining", 60)).expect("a number of bursts");
    let mut burst = Vec::new();
    for n in 0..BURST {
        burst.extend(request("GET", &path, &[("X-Request-Id", &"r".repeat(n * 7 % 900 + 1))], b""));
    }
    let mut conn = Conn::open(server.data).expect("connects");
    let mut writer = conn.writer().expect("a second handle");
    let before_kib = server.resident_kib();
    let begun = &burst[..61];
    let rest = [&burst[61..], begun].concat();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            writer.write_all(begun).expect("sends");
            for _ in 0..bursts {
                writer.write_all(&rest).expect("sends");
            }
        });
        for n in 0..bursts * BURST {
            expect(&conn.response().expect("an answer"), 200);
            if n % BURST == 0 {
                let grown = server.resident_kib().saturating_sub(before_kib);
                assert!(grown <= GROWTH_KIB_MAX, "{grown} KiB after {n} answers");
            }
        }
    });
    let sent_kib = (bursts * burst.len() / 1024) as u64;
    let grown = server.resident_kib().saturating_sub(before_kib);
    volume::tell("pipelining", &[("sent_kib", sent_kib), ("grown_kib", grown)]);
}

/// Answers so large that the output is full while more requests wait: those of the hot path must
/// not overtake.
#[test]
fn p8_large_answers_are_not_overtaken_by_the_hot_path() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    let large = format!("{{\"payload\":\"{}\"}}", "y".repeat(30_000));
    let large = client.issued(&large).token;
    let small = client.issued(r#"{"payload":"small"}"#).token;
    let mut bytes = Vec::new();
    let sizes: Vec<usize> = (0..40).map(|n| n % 13 * 2).collect();
    for size in &sizes {
        let body = json!({ "tokens": vec![large.as_str(); *size] }).to_string();
        let json = [("Content-Type", "application/json")];
        bytes.extend(request("POST", "/v1/resolve", &json, body.as_bytes()));
        for _ in 0..size % 3 + 1 {
            bytes.extend(request("GET", &format!("/v1/tokens/{small}"), &[], b""));
        }
    }
    let mut conn = Conn::open(server.data).expect("connects");
    let mut writer = conn.writer().expect("a second handle");
    std::thread::scope(|scope| {
        scope.spawn(move || writer.write_all(&bytes).expect("sends"));
        // All buffers between us are full by now.
        std::thread::sleep(Duration::from_millis(300));
        for size in &sizes {
            let many = conn.response().expect("a list");
            expect(&many, 200);
            let len = 2 + size * 30_002 + size.saturating_sub(1);
            assert_eq!(many.body.len(), len, "{size} large payloads");
            for _ in 0..size % 3 + 1 {
                assert_eq!(conn.response().expect("a payload").text(), "\"small\"");
            }
        }
    });
}
