//! The admin listener: health, readiness, metrics and statistics.

use serde_json::Value;

use crate::client::{Client, expect};
use crate::raw::{Conn, Response, request};
use crate::server::Server;

fn get(server: &Server, path: &str) -> Response {
    let mut conn = Conn::open(server.admin).expect("the admin listener is there");
    conn.send(&request("GET", path, &[], b"")).expect("sends");
    conn.response().expect("an answer")
}

/// The statistics of `/v1/stats`.
pub fn stats(server: &Server) -> Value {
    let response = get(server, "/v1/stats");
    expect(&response, 200);
    response.json()
}

/// The text of `/metrics`.
pub fn metrics(server: &Server) -> String {
    let response = get(server, "/metrics");
    expect(&response, 200);
    response.text().to_owned()
}

#[test]
fn health_and_readiness_are_200_once_ready() {
    let server = Server::shared();
    expect(&get(&server, "/healthz"), 200);
    expect(&get(&server, "/readyz"), 200);
    expect(&get(&server, "/nothing"), 404);
}

#[test]
fn the_admin_listener_serves_no_tokens() {
    let server = Server::shared();
    let issued = Client::of(&server).issued(r#"{"payload":1}"#);
    expect(&get(&server, &format!("/v1/tokens/{}", issued.token)), 404);
}

#[test]
fn stats_count_what_happened() {
    let server = Server::fresh();
    let mut client = Client::of(&server);
    let before = stats(&server);
    let one = client.issued(r#"{"payload":"one"}"#).token;
    let two = client.issued(r#"{"payload":"two"}"#).token;
    client.issued(r#"{"payload":"three"}"#);
    expect(&client.resolve(&one), 200);
    expect(&client.consume(&one), 200);
    expect(&client.consume(&one), 404);
    expect(&client.revoke(&two), 204);
    let after = stats(&server);
    for (name, more) in [
        ("tokens", 1),
        ("issues", 3),
        ("resolves", 1),
        ("consumes", 1),
        ("revokes", 1),
        ("replays", 1),
    ] {
        let (was, is) = (before[name].as_u64(), after[name].as_u64());
        let grown = is.zip(was).map(|(is, was)| is - was);
        assert_eq!(grown, Some(more), "{name}: {was:?} then {is:?} in {after}");
    }
    let bytes = after["bytes"].as_u64().unwrap_or_else(|| panic!("no bytes in {after}"));
    assert!(bytes >= "\"three\"".len() as u64, "{after}");
    assert!(!after["lsn"].is_null() && !after["expired"].is_null(), "{after}");
}

#[test]
fn expiries_are_counted() {
    let server = Server::fresh();
    let mut client = Client::of(&server);
    for _ in 0..5 {
        client.issued(r#"{"payload":1,"ttl":"250ms"}"#);
    }
    client.issued(r#"{"payload":1,"ttl":"10m"}"#);
    crate::support::eventually("five tokens expired and freed", || {
        let stats = stats(&server);
        stats["expired"] == 5 && stats["tokens"] == 1
    });
}

#[test]
fn metrics_are_prometheus_text() {
    let server = Server::shared();
    Client::of(&server).issued(r#"{"payload":1}"#);
    let response = get(&server, "/metrics");
    expect(&response, 200);
    let kind = response.header("content-type").expect("a content type");
    assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
    let samples = response.text().lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut count = 0;
    for sample in samples {
        let (name, value) = sample.rsplit_once(' ').expect("a name and a value");
        assert!(name.starts_with("jeton_") || name.starts_with("process_"), "{sample}");
        assert!(value.parse::<f64>().is_ok(), "{sample}");
        count += 1;
    }
    assert!(count > 10, "only {count} samples: {}", response.text());
}
