//! `POST /v1/tokens/{token}/consume` and `POST /v1/consume`: each consumes one use, and never more
//! uses than were issued.

use serde_json::json;

use crate::client::{Client, expect};
use crate::server::Server;

const UNKNOWN: &str = "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB";

#[test]
fn p2_one_use_is_the_default() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    let issued = client.issued(r#"{"payload":[1]}"#);
    let first = client.consume(&issued.token);
    expect(&first, 200);
    assert_eq!(first.text(), "[1]");
    expect(&client.consume(&issued.token), 404);
    expect(&client.resolve(&issued.token), 404);
    expect(&client.status(&issued.token), 404);
    expect(&client.extend(&issued.token, "5m"), 404);
    assert_eq!(client.resolve_many(&[&issued.token]).text(), "[null]");
}

#[test]
fn p2_three_uses_are_three() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    let issued = client.issued(r#"{"payload":"thrice","uses":3}"#);
    for left in [2, 1] {
        assert_eq!(client.consume(&issued.token).text(), r#""thrice""#);
        assert_eq!(client.uses_left(&issued.token), left);
        assert_eq!(client.resolve(&issued.token).text(), r#""thrice""#);
    }
    assert_eq!(client.consume(&issued.token).text(), r#""thrice""#);
    expect(&client.consume(&issued.token), 404);
    expect(&client.resolve(&issued.token), 404);
}

#[test]
fn p2_a_batch_consumes_each_token_by_itself() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    let once = client.issued(r#"{"payload":"once"}"#).token;
    let twice = client.issued(r#"{"payload":{ "uses" : 2},"uses":2}"#).token;
    let body = json!({ "tokens": [once, UNKNOWN, twice, once, twice, twice] }).to_string();
    let consumed = client.post("/v1/consume", &body);
    expect(&consumed, 200);
    assert_eq!(consumed.text(), "[\"once\",null,{ \"uses\" : 2},null,{ \"uses\" : 2},null]");
    assert_eq!(client.post("/v1/consume", &body).text(), "[null,null,null,null,null,null]");
    assert_eq!(client.post("/v1/consume", r#"{"tokens":[]}"#).text(), "[]");
}

#[test]
fn p2_a_retry_under_its_key_gets_the_first_answer() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    let issued = client.issued(r#"{"payload":{ "n" : 1}}"#);
    for _ in 0..3 {
        let answer = client.consume_keyed("pay-1", &issued.token);
        expect(&answer, 200);
        assert_eq!(answer.text(), "{ \"n\" : 1}");
    }
    expect(&client.consume_keyed("pay-2", &issued.token), 404);
    expect(&client.consume(&issued.token), 404);
    expect(&client.resolve(&issued.token), 404);
    expect(&client.consume_keyed("pay-1", &issued.token), 200);
}

#[test]
fn p2_a_retry_takes_no_second_use() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    let issued = client.issued(r#"{"payload":1,"uses":3}"#);
    for _ in 0..3 {
        expect(&client.consume_keyed("a", &issued.token), 200);
    }
    assert_eq!(client.uses_left(&issued.token), 2);
    expect(&client.consume_keyed("b", &issued.token), 200);
    expect(&client.consume_keyed("a", &issued.token), 200);
    assert_eq!(client.uses_left(&issued.token), 1);
    expect(&client.consume(&issued.token), 200);
    for key in ["a", "b"] {
        expect(&client.consume_keyed(key, &issued.token), 200);
    }
    expect(&client.consume_keyed("c", &issued.token), 404);
}

#[test]
fn p2_one_key_means_one_use_of_each_token() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    let one = client.issued(r#"{"payload":1}"#).token;
    let two = client.issued(r#"{"payload":2}"#).token;
    expect(&client.consume_keyed("shared", &one), 200);
    assert_eq!(client.consume_keyed("shared", &two).text(), "2");
    assert_eq!(client.consume_keyed("shared", &one).text(), "1");
}

#[test]
fn p2_a_batch_is_retried_under_its_key() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    let one = client.issued(r#"{"payload":1}"#).token;
    let two = client.issued(r#"{"payload":2,"uses":2}"#).token;
    let body = json!({ "tokens": [one, UNKNOWN, two] }).to_string();
    let key = [("Idempotency-Key", "batch-1")];
    for _ in 0..3 {
        let answer = client.send("POST", "/v1/consume", &key, &body);
        expect(&answer, 200);
        assert_eq!(answer.text(), "[1,null,2]");
    }
    assert_eq!(client.uses_left(&two), 1);
    assert_eq!(client.consume_keyed("batch-1", &one).text(), "1");
    assert_eq!(client.post("/v1/consume", &body).text(), "[null,null,2]");
}

#[test]
fn p2_a_token_that_a_keyed_list_names_twice_takes_a_use_for_each_place() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    let one = client.issued(r#"{"payload":1}"#).token;
    let two = client.issued(r#"{"payload":2,"uses":3}"#).token;
    let body = json!({ "tokens": [one, two, one, two] }).to_string();
    let key = [("Idempotency-Key", "twice-in-a-list")];
    for _ in 0..3 {
        let answer = client.send("POST", "/v1/consume", &key, &body);
        expect(&answer, 200);
        assert_eq!(answer.text(), "[1,2,null,2]");
    }
    assert_eq!(client.uses_left(&two), 1, "two places took two uses");
    // The first occurrence is the same use as a single consume with the key.
    assert_eq!(client.consume_keyed("twice-in-a-list", &two).text(), "2");
    assert_eq!(client.uses_left(&two), 1);
}

#[test]
fn consuming_needs_no_body() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    let issued = client.issued(r#"{"payload":1,"uses":2}"#);
    let path = format!("/v1/tokens/{}/consume", issued.token);
    expect(&client.send("POST", &path, &[("Content-Type", "application/json")], ""), 200);
    expect(&client.send("POST", &path, &[], ""), 200);
}
