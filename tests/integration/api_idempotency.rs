//! `Idempotency-Key` on an issue: a retry returns the token of the first request.

use serde_json::json;

use crate::client::{Client, Issued, expect};
use crate::server::{Launch, Server};
use crate::support::{millis, now_ms, wait_past};

#[test]
fn p2_the_same_key_finds_the_same_token() {
    let server = Server::fresh();
    let mut client = Client::of(&server);
    let body = r#"{"payload":{"n": 1},"ttl":"10m","uses":2}"#;
    let first = client.issue_keyed("order-1", body);
    expect(&first, 201);
    let issued = Issued::from(&first.json());
    for _ in 0..3 {
        let again = client.issue_keyed("order-1", body);
        expect(&again, 200);
        assert_eq!(Issued::from(&again.json()), issued);
    }
    let other = client.issue_keyed("order-2", body);
    expect(&other, 201);
    assert_ne!(Issued::from(&other.json()).token, issued.token);
    assert_eq!(client.resolve(&issued.token).text(), "{\"n\": 1}");
}

#[test]
fn p2_the_same_key_keeps_the_first_deadline() {
    let server = Server::fresh();
    let mut client = Client::of(&server);
    let first = client.issue_keyed("k", r#"{"payload":1,"ttl":"10m"}"#);
    expect(&first, 201);
    let again = client.issue_keyed("k", r#"{"payload":1,"ttl":"1h"}"#);
    expect(&again, 200);
    assert_eq!(again.json(), first.json());
}

#[test]
fn p2_the_same_key_with_other_content_conflicts() {
    let server = Server::fresh();
    let mut client = Client::of(&server);
    let first = client.issue_keyed("k", r#"{"payload":{"a":1},"uses":2}"#);
    expect(&first, 201);
    for body in [
        r#"{"payload":{"a":2},"uses":2}"#,
        r#"{"payload":{"a":1,"b":2},"uses":2}"#,
        r#"{"payload":{"a":1},"uses":3}"#,
        r#"{"payload":{"a":1}}"#,
        r#"{"payload":{"a":1},"uses":2,"peek":false}"#,
    ] {
        expect(&client.issue_keyed("k", body), 409);
    }
    let issued = Issued::from(&first.json());
    assert_eq!(client.resolve(&issued.token).text(), r#"{"a":1}"#);
    assert_eq!(client.uses_left(&issued.token), 2);
    expect(&client.issue_keyed("k", r#"{"payload":{"a":1},"uses":2,"peek":true}"#), 200);
}

#[test]
fn p2_the_same_json_in_another_order_is_a_repetition() {
    let server = Server::fresh();
    let mut client = Client::of(&server);
    let issue = |client: &mut Client, name: &str, payload: &str| match name {
        "key" => client.issue_keyed("k", &format!("{{\"payload\":{payload}}}")),
        _ => client.issue(&format!("{{\"payload\":{payload},\"reference\":{{{name}}}}}")),
    };
    for name in ["key", r#""order_number":"7""#] {
        let first = issue(&mut client, name, r#"{"order":{"id":7,"sum":139.10},"note":"\u00e9"}"#);
        expect(&first, 201);
        let token = Issued::from(&first.json()).token;
        for again in [
            r#"{"note":"é","order":{"sum":1391e-1,"id":7.0}}"#,
            "{ \"note\" : \"\\u00E9\" , \"order\" :\n{ \"id\":7, \"sum\":139.1 } }",
        ] {
            let again = issue(&mut client, name, again);
            expect(&again, 200);
            assert_eq!(again.json(), first.json());
        }
        for other in [
            r#"{"order":{"id":7,"sum":139.11},"note":"é"}"#,
            r#"{"order":{"id":"7","sum":139.10},"note":"é"}"#,
            // Composed and decomposed are two texts.
            "{\"order\":{\"id\":7,\"sum\":139.10},\"note\":\"e\u{301}\"}",
        ] {
            expect(&issue(&mut client, name, other), 409);
        }
        let kept = client.resolve(&token).text().to_owned();
        assert_eq!(kept, r#"{"order":{"id":7,"sum":139.10},"note":"\u00e9"}"#, "the first bytes");
    }
}

#[test]
fn p2_a_member_that_is_named_twice_is_the_same_only_as_the_same_bytes() {
    let server = Server::fresh();
    let mut client = Client::of(&server);
    for (payload, status) in [
        (r#"{"a":1,"a":2}"#, 201),
        (r#"{"a":1,"a":2}"#, 200),
        (r#"{"a":1, "a":2}"#, 409),
        (r#"{"a":2}"#, 409),
    ] {
        let body = format!("{{\"payload\":{payload}}}");
        expect(&client.issue_keyed("twice", &body), status);
    }
}

#[test]
fn p2_a_key_is_free_again_after_revocation() {
    let server = Server::fresh();
    let mut client = Client::of(&server);
    let first = Issued::from(&client.issue_keyed("k", r#"{"payload":1}"#).json());
    expect(&client.revoke(&first.token), 204);
    let next = client.issue_keyed("k", r#"{"payload":2}"#);
    expect(&next, 201);
    let next = Issued::from(&next.json());
    assert_eq!(client.resolve(&next.token).text(), "2");
}

#[test]
fn p2_a_key_whose_token_was_consumed_is_not_issued_again() {
    let server = Server::fresh();
    let mut client = Client::of(&server);
    let body = r#"{"payload":1,"ttl":"3s"}"#;
    let first = Issued::from(&client.issue_keyed("k", body).json());
    expect(&client.consume(&first.token), 200);
    let early = client.issue_keyed("k", body);
    let in_time = now_ms() < millis(&first.expires_at);
    assert!(early.status == 409 || !in_time, "{}", early.without_date());
    expect(&client.resolve(&first.token), 404);
    wait_past(&first.expires_at);
    if early.status == 409 {
        expect(&client.issue_keyed("k", r#"{"payload":2}"#), 201);
    }
}

#[test]
fn p2_a_key_survives_a_crash() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let server = Launch::on(dir.path()).start();
    let mut client = Client::of(&server);
    let kept = client.issue_keyed("kept", r#"{"payload":1}"#);
    let used = Issued::from(&client.issue_keyed("used", r#"{"payload":2}"#).json());
    expect(&client.consume_keyed("pay", &used.token), 200);
    server.kill9();

    let server = Launch::on(dir.path()).start();
    let mut client = Client::of(&server);
    let again = client.issue_keyed("kept", r#"{"payload":1}"#);
    expect(&again, 200);
    assert_eq!(again.json(), kept.json());
    expect(&client.issue_keyed("used", r#"{"payload":2}"#), 409);
    assert_eq!(client.consume_keyed("pay", &used.token).text(), "2");
    expect(&client.consume_keyed("other", &used.token), 404);
    expect(&client.consume(&used.token), 404);
}

#[test]
fn a_key_and_a_reference_together_are_refused() {
    let server = Server::fresh();
    let mut client = Client::of(&server);
    let body = r#"{"payload":1,"reference":{"order_number":"both"}}"#;
    expect(&client.issue_keyed("both", body), 400);
    let asked = json!({ "tokens": [{ "reference": { "order_number": "both" } }] });
    assert_eq!(client.post("/v1/resolve", &asked.to_string()).text(), "[null]");
}

#[test]
fn a_key_without_sense_is_refused() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    let long = "k".repeat(5000);
    for key in ["", &long] {
        let refused = client.issue_keyed(key, r#"{"payload":1}"#);
        assert!((400..500).contains(&refused.status), "{}", refused.without_date());
    }
}

/// The comparison of two texts uses memory that is charged to the client; without memory the answer
/// is one that a client retries.
#[test]
fn p8_a_comparison_that_has_no_memory_is_refused_and_changes_nothing() {
    let server = Server::fresh_with(|launch| {
        launch.switch("--memory-only").flag("--max-payload", "1MiB").flag("--max-inflight", "68MiB")
    });
    let mut client = Client::of(&server);
    let values = vec!["1"; 520_000].join(",");
    let body = |blank: &str| {
        format!(r#"{{"payload":[{values}{blank}],"reference":{{"order_number":"9"}}}}"#)
    };
    let first = client.issue(&body(""));
    expect(&first, 201);
    let refused = client.issue(&body(" "));
    expect(&refused, 503);
    assert_eq!(refused.header("retry-after"), Some("1"));
    let same = client.issue(&body(""));
    expect(&same, 200);
    assert_eq!(same.json()["token"], first.json()["token"], "equal bytes need no comparison");
}
