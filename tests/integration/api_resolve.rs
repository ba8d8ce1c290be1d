//! `GET /v1/tokens/{token}`, `POST /v1/resolve` and the status: reading without consuming a use.

use serde_json::json;

use crate::client::{Client, expect, expect_naming};
use crate::raw::Response;
use crate::server::Server;
use crate::support::{millis, wait_past};

const UNKNOWN: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

#[test]
fn resolving_takes_no_use() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    let issued = client.issued(r#"{"payload":{"n":1}}"#);
    for _ in 0..5 {
        expect(&client.resolve(&issued.token), 200);
        client.resolve_many(&[&issued.token]);
        assert_eq!(client.uses_left(&issued.token), 1);
    }
    expect(&client.consume(&issued.token), 200);
}

#[test]
fn many_are_resolved_in_the_order_asked() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    let tokens: Vec<_> =
        (0..20).map(|n| client.issued(&format!(r#"{{"payload":{{"n": {n}}}}}"#)).token).collect();
    let mut asked: Vec<&str> = tokens.iter().rev().map(String::as_str).collect();
    asked.insert(3, UNKNOWN);
    asked.push(&tokens[4]);
    let mut wanted: Vec<_> = (0..20).rev().map(|n| format!("{{\"n\": {n}}}")).collect();
    wanted.insert(3, "null".to_owned());
    wanted.push("{\"n\": 4}".to_owned());
    let resolved = client.resolve_many(&asked);
    assert_eq!(resolved.text(), format!("[{}]", wanted.join(",")));
    assert_eq!(resolved.header("content-type"), Some("application/json"));
}

#[test]
fn none_resolve_to_an_empty_array() {
    let server = Server::shared();
    assert_eq!(Client::of(&server).resolve_many(&[]).text(), "[]");
}

#[test]
fn a_thousand_are_resolved_and_one_more_is_refused() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    let issued = client.issued(r#"{"payload":7}"#);
    let thousand = vec![issued.token.as_str(); 1000];
    assert_eq!(client.resolve_many(&thousand).text(), format!("[{}]", ["7"; 1000].join(",")));
    let more = vec![issued.token.as_str(); 1001];
    for path in ["/v1/resolve", "/v1/consume"] {
        let refused = client.post(path, &json!({ "tokens": more }).to_string());
        expect_naming(&refused, 422, "tokens");
    }
    expect(&client.resolve(&issued.token), 200);
}

#[test]
fn max_batch_is_the_servers() {
    let server = Server::fresh_with(|launch| launch.flag("--max-batch", "3"));
    let mut client = Client::of(&server);
    assert_eq!(client.resolve_many(&[UNKNOWN; 3]).text(), "[null,null,null]");
    let refused = client.post("/v1/resolve", &json!({ "tokens": vec![UNKNOWN; 4] }).to_string());
    expect_naming(&refused, 422, "tokens");
    let items = [json!({ "payload": 1 }), json!({ "payload": 2 }), json!({ "payload": 3 })];
    expect(&client.post("/v1/tokens/batch", &json!({ "tokens": items }).to_string()), 200);
    let items = [&items[..], &items[..1]].concat();
    let refused = client.post("/v1/tokens/batch", &json!({ "tokens": items }).to_string());
    expect_naming(&refused, 422, "tokens");
}

#[test]
fn without_peek_only_consume_finds_it() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    let issued = client.issued(r#"{"payload":"sealed","peek":false}"#);
    expect(&client.resolve(&issued.token), 404);
    assert_eq!(client.resolve_many(&[&issued.token]).text(), "[null]");
    let consumed = client.consume(&issued.token);
    expect(&consumed, 200);
    assert_eq!(consumed.text(), r#""sealed""#);
    expect(&client.consume(&issued.token), 404);
}

#[test]
fn without_peek_a_batch_consumes_too() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    let issued = client.issued(r#"{"payload":"sealed","peek":false,"uses":2}"#);
    let body = json!({ "tokens": [issued.token] }).to_string();
    assert_eq!(client.post("/v1/consume", &body).text(), r#"["sealed"]"#);
    assert_eq!(client.post("/v1/resolve", &body).text(), "[null]");
}

#[test]
fn status_tells_deadline_uses_and_size() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    let issued = client.issued(r#"{"payload":{ "é" : 1 },"uses":3,"ttl":"1h"}"#);
    let status = client.status(&issued.token);
    expect(&status, 200);
    let size = "{ \"é\" : 1 }".len();
    let wanted = json!({ "expires_at": issued.expires_at, "uses_left": 3, "size": size });
    assert_eq!(status.json(), wanted);
    expect(&client.consume(&issued.token), 200);
    assert_eq!(client.uses_left(&issued.token), 2);
    expect(&client.status(UNKNOWN), 404);
}

/// One answer for every token that cannot be resolved, so that it reveals nothing.
#[test]
fn p10_what_is_not_there_looks_the_same_whatever_the_reason() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    let expired = client.issued(r#"{"payload":1,"ttl":"250ms"}"#);
    let consumed = client.issued(r#"{"payload":1}"#).token;
    expect(&client.consume(&consumed), 200);
    let revoked = client.issued(r#"{"payload":1}"#).token;
    expect(&client.revoke(&revoked), 204);
    let sealed = client.issued(r#"{"payload":1,"peek":false}"#).token;
    wait_past(&expired.expires_at);

    let gone = [UNKNOWN, &expired.token, &consumed, &revoked];
    let resolves: Vec<Response> =
        gone.iter().chain([&sealed.as_str()]).map(|token| client.resolve(token)).collect();
    let consumes: Vec<Response> = gone.iter().map(|token| client.consume(token)).collect();
    let extends: Vec<Response> = gone.iter().map(|token| client.extend(token, "5m")).collect();
    let statuses: Vec<Response> = gone.iter().map(|token| client.status(token)).collect();
    let keyed: Vec<Response> = gone.iter().map(|token| client.consume_keyed("k", token)).collect();
    for answers in [resolves, consumes, extends, statuses, keyed] {
        for answer in &answers {
            expect(answer, 404);
            assert_eq!(answer.without_date(), answers[0].without_date());
        }
    }
    let revokes: Vec<Response> = gone.iter().map(|token| client.revoke(token)).collect();
    for answer in &revokes {
        expect(answer, 204);
        assert_eq!(answer.without_date(), revokes[0].without_date());
    }
    let all = client.resolve_many(&[gone[0], gone[1], gone[2], gone[3], &sealed]);
    assert_eq!(all.text(), "[null,null,null,null,null]");
}

#[test]
fn p10_the_404_body_is_one_fixed_text() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    let one = client.resolve(UNKNOWN);
    let other = client.consume(&UNKNOWN.replace('A', "z"));
    expect(&one, 404);
    assert_eq!(one.body, other.body);
}

#[test]
fn the_deadline_of_status_is_that_of_issue() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    let issued = client.issued(r#"{"payload":1,"ttl":"7d"}"#);
    let status = client.status(&issued.token).json();
    let told = status["expires_at"].as_str().expect("a deadline");
    assert_eq!(millis(told), millis(&issued.expires_at));
}
