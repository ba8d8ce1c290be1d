//! `PATCH /v1/tokens/{token}`: a later deadline, never beyond the time of issue plus `--max-ttl`.

use serde_json::json;

use crate::client::{Client, expect, expect_naming};
use crate::server::Server;
use crate::support::{millis, now_ms, wait_past};

#[test]
fn extending_moves_the_deadline() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    let issued = client.issued(r#"{"payload":1,"ttl":"1m"}"#);
    for (ttl, ttl_ms) in [("10m", 600_000), ("1h 30m", 5_400_000)] {
        let before = now_ms();
        let extended = client.extend(&issued.token, ttl);
        expect(&extended, 200);
        let body = extended.json();
        assert_eq!(body.as_object().map(serde_json::Map::len), Some(1), "{body}");
        let deadline = millis(body["expires_at"].as_str().expect("a deadline"));
        assert!((before..=now_ms()).contains(&(deadline - ttl_ms)), "{body}");
        assert_eq!(client.status(&issued.token).json()["expires_at"], body["expires_at"]);
    }
}

#[test]
fn an_extended_token_outlives_its_first_deadline() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    let issued = client.issued(r#"{"payload":"still","ttl":"2s"}"#);
    expect(&client.extend(&issued.token, "5m"), 200);
    wait_past(&issued.expires_at);
    assert_eq!(client.resolve(&issued.token).text(), r#""still""#);
    assert_eq!(client.consume(&issued.token).text(), r#""still""#);
}

#[test]
fn extending_stops_at_the_time_of_issue_plus_max_ttl() {
    let server = Server::fresh_with(|launch| launch.flag("--max-ttl", "1h"));
    let mut client = Client::of(&server);
    let issued = client.issued(r#"{"payload":1,"ttl":"1h"}"#);
    std::thread::sleep(std::time::Duration::from_millis(30));
    for _ in 0..2 {
        let extended = client.extend(&issued.token, "1h");
        expect(&extended, 200);
        assert_eq!(extended.json()["expires_at"], json!(issued.expires_at));
    }
    expect_naming(&client.extend(&issued.token, "61m"), 422, "ttl");
    assert_eq!(client.status(&issued.token).json()["expires_at"], json!(issued.expires_at));
}

#[test]
fn the_cap_on_extending_survives_a_restart() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let launch = crate::server::Launch::on(dir.path()).flag("--max-ttl", "1h");
    let server = launch.start();
    let issued = Client::of(&server).issued(r#"{"payload":1,"ttl":"1h"}"#);
    server.kill9();
    let server = launch.start();
    let extended = Client::of(&server).extend(&issued.token, "1h");
    expect(&extended, 200);
    assert_eq!(extended.json()["expires_at"], json!(issued.expires_at));
}

#[test]
fn an_extension_out_of_its_limits_is_named() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    let issued = client.issued(r#"{"payload":1,"ttl":"1m"}"#);
    for ttl in ["0s", "31d"] {
        expect_naming(&client.extend(&issued.token, ttl), 422, "ttl");
    }
    let path = format!("/v1/tokens/{}", issued.token);
    for body in [r#"{"ttl":"5m","more":1}"#, r#"{"ttl":[]}"#, "{", "[]", r#"{"ttl":1,"ttl":2}"#] {
        expect(&client.send("PATCH", &path, &[], body), 400);
    }
    let empty = client.send("PATCH", &path, &[], "{}");
    assert!(matches!(empty.status, 400 | 422), "{}", empty.without_date());
    assert_eq!(client.status(&issued.token).json()["expires_at"], json!(issued.expires_at));
}

#[test]
fn a_number_of_seconds_extends_too() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    let issued = client.issued(r#"{"payload":1,"ttl":"1m"}"#);
    let before = now_ms();
    let path = format!("/v1/tokens/{}", issued.token);
    let extended = client.send("PATCH", &path, &[], r#"{"ttl":120}"#);
    expect(&extended, 200);
    let body = extended.json();
    let deadline = millis(body["expires_at"].as_str().expect("a deadline"));
    assert!((before..=now_ms()).contains(&(deadline - 120_000)), "{body}");
}
