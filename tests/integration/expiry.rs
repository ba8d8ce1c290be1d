//! P3: the deadline is exact to the millisecond, before and after a restart.

use serde_json::json;

use crate::client::{Client, expect};
use crate::server::{Launch, Server};
use crate::support::{millis, now_ms, wait_past};

/// Resolves until the token is unknown. Each answer must fit its time: after the deadline the token
/// must be unknown, before it the token must be found.
fn watch_until_gone(client: &mut Client, token: &str, deadline: i64) {
    loop {
        let before = now_ms();
        let answer = client.resolve(token);
        let after = now_ms();
        match answer.status {
            200 => assert!(before <= deadline, "found {} ms too late", before - deadline),
            404 => {
                assert!(after >= deadline, "gone {} ms too early", deadline - after);
                return;
            }
            _ => panic!("{}", answer.without_date()),
        }
    }
}

#[test]
fn p3_a_token_is_gone_at_its_deadline_and_not_before() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    for ttl_ms in [250, 251, 400, 999] {
        let body = json!({ "payload": 1, "ttl": format!("{ttl_ms}ms") }).to_string();
        let before = now_ms();
        let issued = client.issued(&body);
        let deadline = millis(&issued.expires_at);
        assert!((before..=now_ms()).contains(&(deadline - ttl_ms)));
        watch_until_gone(&mut client, &issued.token, deadline);
    }
}

#[test]
fn p3_what_has_expired_is_gone_for_every_operation() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    let issued = client.issued(r#"{"payload":1,"ttl":"250ms","uses":9}"#);
    wait_past(&issued.expires_at);
    expect(&client.consume(&issued.token), 404);
    expect(&client.consume_keyed("k", &issued.token), 404);
    expect(&client.status(&issued.token), 404);
    expect(&client.extend(&issued.token, "1h"), 404);
    expect(&client.resolve(&issued.token), 404);
    assert_eq!(client.resolve_many(&[&issued.token]).text(), "[null]");
}

#[test]
fn p3_expired_while_the_server_was_down_stays_gone() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let server = Launch::on(dir.path()).start();
    let mut client = Client::of(&server);
    let short = client.issued(r#"{"payload":"short","ttl":"300ms"}"#);
    let long = client.issued(r#"{"payload":"long","ttl":"10m"}"#);
    server.kill9();
    wait_past(&short.expires_at);
    let server = Launch::on(dir.path()).start();
    assert_eq!(server.tokens, 1);
    let mut client = Client::of(&server);
    expect(&client.resolve(&short.token), 404);
    expect(&client.consume(&short.token), 404);
    assert_eq!(client.resolve(&long.token).text(), "\"long\"");
    assert_eq!(client.status(&long.token).json()["expires_at"], json!(long.expires_at));
}

#[test]
fn p3_a_deadline_is_as_exact_after_a_restart() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let server = Launch::on(dir.path()).start();
    let issued = Client::of(&server).issued(r#"{"payload":1,"ttl":"2s"}"#);
    server.stop_well();
    let server = Launch::on(dir.path()).start();
    watch_until_gone(&mut Client::of(&server), &issued.token, millis(&issued.expires_at));
}

#[test]
fn p3_an_expired_reference_is_free_again() {
    let server = Server::fresh();
    let mut client = Client::of(&server);
    let reference = json!({ "order_number": "short-lived" });
    let body = |payload: u32, ttl: &str| {
        json!({ "payload": payload, "ttl": ttl, "reference": reference }).to_string()
    };
    let first = client.issued(&body(1, "250ms"));
    wait_past(&first.expires_at);
    let next = client.issued(&body(2, "10m"));
    assert_eq!(client.resolve(&next.token).text(), "2");
    assert!(millis(&next.expires_at) > millis(&first.expires_at));
}

/// Issuing again under a digest whose old timer has not fired yet must not end the new entry.
#[test]
fn p3_an_old_timer_does_not_end_a_new_entry() {
    let server = Server::fresh();
    let mut client = Client::of(&server);
    let body = |ttl: &str| {
        json!({ "payload": 1, "ttl": ttl, "reference": { "order_number": "twice" } }).to_string()
    };
    let first = client.issued(&body("1s"));
    expect(&client.revoke(&first.token), 204);
    let next = client.issued(&body("10m"));
    wait_past(&first.expires_at);
    std::thread::sleep(std::time::Duration::from_millis(300));
    expect(&client.resolve(&next.token), 200);
    assert_eq!(client.status(&next.token).json()["expires_at"], json!(next.expires_at));
}

#[test]
fn p3_a_revocation_survives_a_crash() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let server = Launch::on(dir.path()).start();
    let mut client = Client::of(&server);
    let revoked = client.issued(r#"{"payload":1,"uses":5}"#).token;
    let consumed = client.issued(r#"{"payload":2}"#).token;
    let extended = client.issued(r#"{"payload":3,"ttl":"1m"}"#).token;
    expect(&client.revoke(&revoked), 204);
    expect(&client.consume(&consumed), 200);
    let deadline = client.extend(&extended, "1h").json()["expires_at"].clone();
    server.kill9();
    let server = Launch::on(dir.path()).start();
    let mut client = Client::of(&server);
    expect(&client.resolve(&revoked), 404);
    expect(&client.consume(&consumed), 404);
    assert_eq!(client.status(&extended).json()["expires_at"], deadline);
    assert_eq!(server.tokens, 1);
}
