//! `POST /v1/status`, `/v1/extend` and `/v1/revoke`: many at once, by token or by reference.

use serde_json::{Value, json};

use crate::access::{Keys, issued, send};
use crate::client::{Client, expect, expect_naming};
use crate::server::{Launch, Server};
use crate::support::{millis, now_ms, wait_past};

const UNKNOWN: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

fn list(tokens: &Value) -> String {
    json!({ "tokens": tokens }).to_string()
}

fn extension(tokens: &Value, ttl: &str) -> String {
    json!({ "tokens": tokens, "ttl": ttl }).to_string()
}

#[test]
fn status_by_token_and_by_reference_in_the_order_asked() {
    let server = Server::fresh();
    let mut client = Client::of(&server);
    let token = client.issued(r#"{"payload":"four","uses":3}"#).token;
    let reference = json!({ "reference": { "order_number": "7", "amount": "1.50" } });
    let mut order = reference.clone();
    order["payload"] = json!([1]);
    let by_reference = client.issued(&order.to_string()).token;
    let asked = json!([token, UNKNOWN, reference, token]);
    for _ in 0..2 {
        let answer = client.post("/v1/status", &list(&asked));
        expect(&answer, 200);
        let [one, other] = [&token, &by_reference].map(|token| client.status(token).json());
        assert_eq!(answer.json(), json!([one, null, other, one]), "no use is taken");
    }
    assert_eq!(client.post("/v1/status", &list(&json!([]))).text(), "[]");
}

#[test]
fn extensions_of_many_have_one_ttl_and_the_limits_of_one() {
    let server = Server::fresh_with(|launch| launch.flag("--max-ttl", "1h"));
    let mut client = Client::of(&server);
    let token = client.issued(r#"{"payload":1,"ttl":"1m"}"#).token;
    let reference = json!({ "reference": { "order_number": "7" } });
    client.issued(r#"{"payload":2,"ttl":"1m","reference":{"order_number":"7"}}"#);
    let asked = json!([reference, UNKNOWN, token]);
    let before = now_ms();
    let answer = client.post("/v1/extend", &extension(&asked, "10m"));
    expect(&answer, 200);
    let answer = answer.json();
    assert!(answer[1].is_null() && answer.as_array().is_some_and(|places| places.len() == 3));
    for place in [0, 2] {
        let deadline = millis(answer[place]["expires_at"].as_str().expect("a deadline"));
        assert!((before..=now_ms()).contains(&(deadline - 600_000)), "{answer}");
    }
    assert_eq!(client.status(&token).json()["expires_at"], answer[2]["expires_at"]);
    expect_naming(&client.post("/v1/extend", &extension(&asked, "61m")), 422, "ttl");
    expect_naming(&client.post("/v1/extend", &list(&asked)), 400, "ttl");
    expect(&client.post("/v1/status", &extension(&asked, "1m")), 400);
    expect(&client.post("/v1/revoke", &extension(&asked, "1m")), 400);
    let unchanged = client.status(&token).json();
    assert_eq!(unchanged["expires_at"], answer[2]["expires_at"]);
}

#[test]
fn p3_what_a_list_revokes_is_gone() {
    let server = Server::fresh();
    let mut client = Client::of(&server);
    let token = client.issued(r#"{"payload":1,"uses":2}"#).token;
    let reference = json!({ "reference": { "order_number": "7" } });
    let order = r#"{"payload":2,"reference":{"order_number":"7"}}"#;
    let by_reference = client.issued(order).token;
    expect(&client.post("/v1/revoke", &list(&json!([reference, token]))), 204);
    let all = json!([token, by_reference, reference]);
    for path in ["/v1/status", "/v1/resolve", "/v1/consume"] {
        assert_eq!(client.post(path, &list(&all)).text(), "[null,null,null]", "{path}");
    }
    expect(&client.issue(order), 201);
}

/// Every state that P10 names, in one list and alone.
#[test]
fn p10_nothing_in_the_answer_to_a_list_tells_what_was_there() {
    let dir = tempfile::tempdir().expect("a folder");
    let keys = Keys::in_dir(dir.path());
    let scopes = "issue,resolve,consume,revoke,reference";
    let [mine, other] = ["shop-a", "shop-b"].map(|shop| keys.add(shop, scopes, &[]));
    let server = Launch::on(&dir.path().join("data")).flag("--keys", keys.path()).start();
    let new = || issued(&server, &mine, r#"{"payload":1}"#);
    let post = |path: &str, body: &str| send(&server, &mine, "POST", path, body);
    let (consumed, revoked, living) = (new(), new(), new());
    expect(&post("/v1/consume", &list(&json!([consumed]))), 200);
    expect(&post("/v1/revoke", &list(&json!([revoked]))), 204);
    let foreign = issued(&server, &other, r#"{"payload":1,"reference":{"order_number":"b"}}"#);
    let brief = post("/v1/tokens", r#"{"payload":1,"ttl":"1ms"}"#).json();
    wait_past(brief["expires_at"].as_str().expect("a deadline"));
    let by_reference = json!({ "reference": { "order_number": "b" } });
    let gone = [json!(UNKNOWN), json!(consumed), json!(revoked), json!(foreign), by_reference];
    let gone = [&gone[..], &[brief["token"].clone()]].concat();
    let nulls = format!("[{}]", ["null"; 6].join(","));
    assert_eq!(post("/v1/status", &list(&json!(gone))).text(), nulls);
    assert_eq!(post("/v1/extend", &extension(&json!(gone), "1h")).text(), nulls);
    let lived = post("/v1/revoke", &list(&json!([living])));
    expect(&lived, 204);
    for place in &gone {
        assert_eq!(post("/v1/status", &list(&json!([place]))).text(), "[null]");
        let answer = post("/v1/revoke", &list(&json!([place])));
        assert_eq!(answer.without_date(), lived.without_date());
    }
    let theirs = send(&server, &other, "POST", "/v1/resolve", &list(&json!([foreign])));
    assert_eq!(theirs.text(), "[1]", "another's token is not revoked");
}

/// Look-ups by reference, and guesses, count like those of a resolve. In a revoke a known reference
/// counts as well, so that the 429 reveals nothing.
#[test]
fn p10_lists_are_refused_in_debt_whatever_was_there() {
    for (path, is_living) in
        [("/v1/status", false), ("/v1/extend", false), ("/v1/revoke", false), ("/v1/revoke", true)]
    {
        let dir = tempfile::tempdir().expect("a folder");
        let keys = Keys::in_dir(dir.path());
        let key = keys.add("shop-a", "issue,resolve,revoke,reference", &[]);
        let launch = Launch::on(&dir.path().join("data")).flag("--keys", keys.path());
        let server = launch.flag("--miss-limit", "5").start();
        let order = |n: usize| json!({ "reference": { "order_number": format!("guess {n}") } });
        let orders: Vec<_> = (0..25).map(order).collect();
        for order in orders.iter().filter(|_| is_living) {
            let mut order = order.clone();
            order["payload"] = json!(1);
            issued(&server, &key, &order.to_string());
        }
        let ask = |orders: &[Value]| match path {
            "/v1/extend" => send(&server, &key, "POST", path, &extension(&json!(orders), "1m")),
            _ => send(&server, &key, "POST", path, &list(&json!(orders))),
        };
        assert!(ask(&orders).status < 300, "{path}: answered whole, as a debt");
        let refused = ask(&orders[..1]);
        assert_eq!(refused.status, 429, "{path} {is_living}: {}", refused.text());
    }
}

/// Without a key a list may be as long as the burst of misses: each reference of a revoke counts.
#[test]
fn p8_without_a_key_no_list_is_longer_than_the_burst() {
    let server = Server::fresh_with(|launch| launch.flag("--miss-limit", "5"));
    let mut client = Client::of(&server);
    let order = |n: usize| json!({ "reference": { "order_number": format!("guess {n}") } });
    let orders = json!((0..6).map(order).collect::<Vec<_>>());
    for path in ["/v1/status", "/v1/extend", "/v1/revoke"] {
        let body = if path == "/v1/extend" { extension(&orders, "1m") } else { list(&orders) };
        let refused = client.post(path, &body);
        expect(&refused, 422);
        assert_eq!(refused.json()["field"], "tokens", "{path}");
    }
    // Tokens are revoked as in single requests.
    expect(&client.post("/v1/revoke", &list(&json!(vec![UNKNOWN; 6]))), 204);
}

#[test]
fn p2_a_refusal_within_a_list_says_what_may_have_been_done() {
    let server = Server::fresh_with(|launch| launch.flag("--max-memory", "1MiB"));
    let mut client = Client::of(&server);
    let once = client.issued(r#"{"payload":"once"}"#).token;
    let often = client.issued(r#"{"payload":"often","uses":10000}"#).token;
    let filler = format!(r#"{{"payload":"{}"}}"#, "f".repeat(500));
    while client.issue(&filler).status == 201 {}
    let body = list(&json!([once, often]));
    let headers = [("idempotency-key", "k-1")];
    let fill_with_keys = |client: &mut Client| {
        (0..600).find_map(|n| {
            // Each key uses memory of a token that stays alive, until the memory is full.
            let answer = client.consume_keyed(&format!("fill-{n}"), &often);
            (answer.status == 507).then_some(answer)
        })
    };
    expect_naming(
        &fill_with_keys(&mut client).expect("memory is full"),
        507,
        "nothing was changed",
    );
    let refused = client.send("POST", "/v1/consume", &headers, &body);
    expect_naming(
        &refused,
        507,
        "repeat the request with the same Idempotency-Key when there is room, or until then \
         consume each token that occurs only once by itself with that key",
    );
    let again = client.consume_keyed("k-1", &once);
    expect(&again, 200);
    assert_eq!(again.text(), r#""once""#, "its use was taken, and the key returns it");
    expect(&client.consume_keyed("k-2", &once), 404);
    expect(&client.consume_keyed("k-1", &often), 507);
}
