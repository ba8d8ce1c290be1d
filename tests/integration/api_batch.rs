//! `POST /v1/tokens/batch`: many issues in one request, each with an independent result.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::client::{Client, Issued, expect, expect_naming};
use crate::server::{Launch, Server};

fn batch(client: &mut Client, body: &str) -> Vec<Value> {
    let response = client.post("/v1/tokens/batch", body);
    expect(&response, 200);
    let Value::Object(mut fields) = response.json() else {
        panic!("a batch answers with an object: {}", response.text());
    };
    assert_eq!(fields.len(), 1, "{}", response.text());
    match fields.remove("results") {
        Some(Value::Array(results)) => results,
        _ => panic!("a batch answers with results: {}", response.text()),
    }
}

#[track_caller]
fn expect_error(result: &Value, status: u16, field: &str) {
    let error = &result["error"];
    assert_eq!(error["status"], status, "{result}");
    assert!(error["title"].is_string() && error["type"].is_string(), "{result}");
    assert!(error["detail"].as_str().is_some_and(|text| text.contains(field)), "{result}");
    assert!(result.get("token").is_none(), "{result}");
}

#[test]
fn a_batch_issues_in_the_order_given() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    let body = "{\"tokens\":[{\"payload\":{ \"n\" : 0}},{\"payload\":[1 ],\"ttl\":60},\
                {\"payload\":\"two\",\"uses\":2,\"peek\":false}]}";
    let issued: Vec<Issued> = batch(&mut client, body).iter().map(Issued::from).collect();
    assert_eq!(client.resolve(&issued[0].token).text(), "{ \"n\" : 0}");
    assert_eq!(client.resolve(&issued[1].token).text(), "[1 ]");
    expect(&client.resolve(&issued[2].token), 404);
    assert_eq!(client.consume(&issued[2].token).text(), "\"two\"");
    assert_eq!(client.consume(&issued[2].token).text(), "\"two\"");
    expect(&client.consume(&issued[2].token), 404);
}

#[test]
fn an_empty_batch_has_no_results() {
    let server = Server::shared();
    assert!(batch(&mut Client::of(&server), r#"{"tokens":[]}"#).is_empty());
}

#[test]
fn a_thousand_are_issued_and_one_more_is_refused() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    let items: Vec<_> = (0..1000).map(|n| json!({ "payload": n })).collect();
    let results = batch(&mut client, &json!({ "tokens": items }).to_string());
    let issued: Vec<Issued> = results.iter().map(Issued::from).collect();
    let tokens: Vec<&str> = issued.iter().map(|issued| issued.token.as_str()).collect();
    let wanted: Vec<_> = (0..1000).map(|n| n.to_string()).collect();
    assert_eq!(client.resolve_many(&tokens).text(), format!("[{}]", wanted.join(",")));
    let more: Vec<_> = (0..1001).map(|n| json!({ "payload": n })).collect();
    let refused = client.post("/v1/tokens/batch", &json!({ "tokens": more }).to_string());
    expect_naming(&refused, 422, "tokens");
}

#[test]
fn one_bad_item_does_not_spoil_the_others() {
    let server = Server::fresh();
    let mut client = Client::of(&server);
    let reference = json!({ "order_number": "in a batch" });
    let too_large = "x".repeat(64 * 1024);
    let body = json!({ "tokens": [
        { "payload": "first" },
        { "payload": 1, "ttl": 0 },
        { "payload": 1, "ttl": "31d" },
        { "payload": 1, "uses": 0 },
        { "payload": null },
        { "payload": too_large },
        { "payload": "referred", "reference": reference },
        { "payload": "referred", "reference": reference },
        { "payload": "other", "reference": reference },
        { "payload": "last" },
    ] });
    let results = batch(&mut client, &body.to_string());
    assert_eq!(results.len(), 10);
    expect_error(&results[1], 422, "ttl");
    expect_error(&results[2], 422, "ttl");
    expect_error(&results[3], 422, "uses");
    expect_error(&results[4], 422, "payload");
    expect_error(&results[5], 413, "payload");
    expect_error(&results[8], 409, "");
    assert_eq!(Issued::from(&results[6]), Issued::from(&results[7]));
    let living = [&results[0], &results[6], &results[9]].map(|result| Issued::from(result).token);
    let resolved = client.resolve_many(&[&living[0], &living[1], &living[2]]);
    assert_eq!(resolved.text(), r#"["first","referred","last"]"#);
}

#[test]
fn a_malformed_batch_issues_nothing() {
    let server = Server::fresh();
    let mut client = Client::of(&server);
    for body in [
        "",
        "[]",
        "{}",
        r#"{"tokens":{}}"#,
        r#"{"tokens":[{"payload":1}]"#,
        r#"{"tokens":[{"payload":1}],"more":1}"#,
        r#"{"tokens":[{"payload":1}],"tokens":[]}"#,
    ] {
        expect(&client.post("/v1/tokens/batch", body), 400);
    }
    let stats = crate::admin::stats(&server);
    assert_eq!(stats["tokens"], 0, "{stats}");
}

/// P2: tokens that a batch issued before the memory was full exist, and each other item has its
/// error.
#[test]
fn p2_a_batch_that_fills_the_memory_tells_of_each_place() {
    let server = Server::fresh_with(|launch| launch.flag("--max-memory", "1MiB"));
    let mut client = Client::of(&server);
    let item = json!({ "payload": "f".repeat(500) });
    let body = json!({ "tokens": vec![item; 300] }).to_string();
    let is_issued = |place: &Value| place.get("token").is_some();
    let results = (0..20)
        .map(|_| batch(&mut client, &body))
        .find(|results| !results.iter().all(is_issued))
        .expect("20 batches do not fit into 1 MiB");
    assert_eq!(results.len(), 300);
    assert!(results.iter().any(is_issued), "the memory is full within a batch");
    for place in &results {
        match place["token"].as_str() {
            Some(token) => expect(&client.resolve(token), 200),
            None => expect_error(place, 507, "--max-memory"),
        }
    }
}

fn keyed(client: &mut Client, key: &str, items: &[Value]) -> Vec<Value> {
    let body = json!({ "tokens": items }).to_string();
    let answer = client.send("POST", "/v1/tokens/batch", &[("Idempotency-Key", key)], &body);
    expect(&answer, 200);
    answer.json()["results"].as_array().expect("results").clone()
}

#[test]
fn p2_a_batch_under_a_key_is_issued_once() {
    let dir = tempfile::tempdir().expect("a folder");
    let launch = Launch::on(dir.path());
    let server = launch.start();
    let mut client = Client::of(&server);
    let items = [json!({"payload": 1}), json!({"payload": 1}), json!({"payload": {"n": 2}})];
    let first = keyed(&mut client, "b", &items);
    let tokens: BTreeSet<String> = first.iter().map(|it| Issued::from(it).token).collect();
    assert_eq!(tokens.len(), 3, "the same content at another place is another token");
    let later = items.clone().map(|mut item| {
        item["ttl"] = json!("1h");
        item
    });
    assert_eq!(keyed(&mut client, "b", &later), first, "the first deadlines");
    assert_eq!(keyed(&mut client, "b", &items[..2]), first[..2]);
    let more = [&items[..], &[json!({"payload": 4})]].concat();
    let longer = keyed(&mut client, "b", &more);
    assert_eq!(longer[..3], first);
    assert!(!tokens.contains(&Issued::from(&longer[3]).token));
    let other = keyed(&mut client, "c", &items);
    let alone = client.issue_keyed("b", r#"{"payload":1}"#);
    expect(&alone, 201);
    for token in other.iter().chain([&alone.json()]).map(|it| Issued::from(it).token) {
        assert!(!tokens.contains(&token), "another key, and an issue outside of a batch");
    }
    server.kill9();
    let server = launch.start();
    assert_eq!(keyed(&mut Client::of(&server), "b", &items), first, "after a restart");
}

#[test]
fn p2_a_batch_under_a_key_with_other_content_conflicts_at_its_place() {
    let server = Server::fresh();
    let mut client = Client::of(&server);
    let items =
        [json!({"payload": {"a": 1, "b": 2}}), json!({"payload": 2}), json!({"payload": 3})];
    let first = keyed(&mut client, "b", &items);
    let same = json!({"payload": {"b": 2.0, "a": 1}});
    let changed = [same, json!({"payload": 2, "uses": 2}), json!({"payload": 4})];
    let results = keyed(&mut client, "b", &changed);
    assert_eq!(results[0], first[0], "the same JSON value is the same content");
    expect_error(&results[1], 409, "other uses");
    expect_error(&results[2], 409, "another payload");
    expect(&client.consume(&Issued::from(&first[0]).token), 200);
    expect(&client.revoke(&Issued::from(&first[1]).token), 204);
    let results = keyed(&mut client, "b", &items);
    expect_error(&results[0], 409, "consumed");
    let free = Issued::from(&results[1]);
    assert_eq!(client.resolve(&free.token).text(), "2", "free after a revocation");
    assert_eq!(results[2], first[2]);
}

#[test]
fn an_item_has_a_reference_or_the_key_of_its_batch() {
    let server = Server::fresh();
    let mut client = Client::of(&server);
    let referred = json!({"payload": 1, "reference": {"order_number": "7"}});
    let results = keyed(&mut client, "b", &[json!({"payload": 1}), referred, json!({"ttl": 1})]);
    Issued::from(&results[0]);
    expect_error(&results[1], 400, "either a reference or an Idempotency-Key");
    expect_error(&results[2], 400, "payload");
    for key in ["", &"k".repeat(256)] {
        let headers = [("Idempotency-Key", key)];
        let body = r#"{"tokens":[{"payload":1}]}"#;
        expect(&client.send("POST", "/v1/tokens/batch", &headers, body), 422);
    }
}
