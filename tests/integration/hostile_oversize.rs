//! P8: oversized input of every kind, many times at once, and more changes than the queue accepts.
//!
//! The answer for each limit is tested with its operation; here they are combined, and memory must
//! stay flat while others are served.

use std::sync::Mutex;

use serde_json::json;

use crate::client::{Client, assert_contract, expect};
use crate::hostile_watch::{Bounds, under_attack};
use crate::raw::{Conn, request};
use crate::server::Server;
use crate::volume;

/// Clients at once.
const CLIENTS: usize = 8;

/// One request that is too large in one way.
fn oversized() -> Vec<(&'static str, Vec<u8>)> {
    let token = "A".repeat(32);
    let get =
        |headers: &[(&str, &str)]| request("GET", &format!("/v1/tokens/{token}"), headers, b"");
    const JSON: (&str, &str) = ("Content-Type", "application/json");
    let post = |path: &str, body: &str| request("POST", path, &[JSON], body.as_bytes());
    let names: Vec<String> = (0..5_000).map(|n| format!("X-{n}")).collect();
    let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
    let issue = |fields: &str| post("/v1/tokens", &format!("{{{fields}}}"));
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    let batch = json!({ "tokens": vec![json!({ "payload": 1 }); 20_000] }).to_string();
    let list = json!({ "tokens": vec![token.as_str(); 200_000] }).to_string();
    let x = |len: usize| "x".repeat(len);
    vec![
        ("target", request("GET", &format!("/v1/tokens/{}", x(1 << 20)), &[], b"")),
        ("header", get(&[("X-Long", &x(1 << 20))])),
        ("headers", get(&many)),
        (
            "idempotency key",
            request(
                "POST",
                "/v1/tokens",
                &[JSON, ("Idempotency-Key", &x(30_000))],
                b"{\"payload\":1}",
            ),
        ),
        ("payload", issue(&format!("\"payload\":\"{}\"", x(1 << 20)))),
        ("payload, just", issue(&format!("\"payload\":\"{}\"", x(66_000)))),
        ("nesting", issue(&format!("\"payload\":{deep}"))),
        ("field", issue(&format!("\"{}\":1", x(60_000)))),
        (
            "reference",
            issue(&format!("\"payload\":1,\"reference\":{{\"order_number\":\"{}\"}}", x(60_000))),
        ),
        ("ttl", issue(&format!("\"payload\":1,\"ttl\":{}", "9".repeat(60_000)))),
        ("batch", post("/v1/tokens/batch", &batch)),
        ("list", post("/v1/resolve", &list)),
        ("list to consume", post("/v1/consume", &list)),
        ("listed token", post("/v1/resolve", &format!("{{\"tokens\":[\"{}\"]}}", x(1 << 20)))),
    ]
}

#[test]
fn p8_everything_oversized_at_once() {
    let server = Server::fresh();
    let rounds = volume::volume("oversized_rounds", 2);
    let requests = oversized();
    under_attack("oversized", &server, Bounds::of(CLIENTS, 192), || {
        std::thread::scope(|scope| {
            for client in 0..CLIENTS {
                let (server, requests) = (&server, &requests);
                scope.spawn(move || {
                    for n in 0..requests.len() * usize::try_from(rounds).expect("few") {
                        let (what, bytes) = &requests[(client + n) % requests.len()];
                        let mut conn = Conn::open(server.data).expect("connects");
                        // It may be refused before all of it was sent.
                        let _ = conn.send(bytes);
                        // A client that is still sending may lose the refusal.
                        let Ok(answer) = conn.response() else { continue };
                        assert_contract(&answer);
                        let refusals = [400, 413, 422, 431];
                        assert!(refusals.contains(&answer.status), "{what}: {}", answer.status);
                    }
                });
            }
        });
        ((), vec![("requests", (CLIENTS * requests.len()) as u64 * rounds)])
    });
    assert_eq!(crate::admin::stats(&server)["tokens"], 1, "only the witness was issued");
}

/// More changes at once than `--queue` accepts: some are refused with 503, none is lost, and no
/// refused change took effect.
#[test]
fn p8_a_full_queue_refuses_and_loses_nothing() {
    let server = Server::fresh_with(|launch| launch.flag("--queue", "1"));
    let changes = volume::volume("queue_changes", 40);
    let outcomes = Mutex::new((Vec::new(), 0));
    under_attack("full_queue", &server, Bounds::of(64, 64), || {
        std::thread::scope(|scope| {
            for _ in 0..48 {
                scope.spawn(|| {
                    let mut client = Client::of(&server);
                    for _ in 0..changes {
                        let answer = client.issue(r#"{"payload":1,"ttl":"1h"}"#);
                        let mut outcomes = outcomes.lock().expect("no client panics");
                        if answer.status == 503 {
                            assert!(answer.header("retry-after").is_some(), "when to come again");
                            outcomes.1 += 1;
                        } else {
                            expect(&answer, 201);
                            let token =
                                answer.json()["token"].as_str().expect("a token").to_owned();
                            outcomes.0.push(token);
                        }
                    }
                });
            }
        });
        let outcomes = outcomes.lock().expect("no client panics");
        ((), vec![("taken", outcomes.0.len() as u64), ("refused", outcomes.1)])
    });
    let (taken, refused) = outcomes.into_inner().expect("no client panics");
    assert!(refused > 0 && !taken.is_empty(), "{} taken, {refused} refused", taken.len());
    let mut client = Client::of(&server);
    for token in &taken {
        expect(&client.resolve(token), 200);
    }
    let tokens = crate::admin::stats(&server)["tokens"].as_u64();
    assert_eq!(tokens, Some(taken.len() as u64 + 1), "all that was taken, and the witness");
}
