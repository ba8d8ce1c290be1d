//! Refusals of well-formed HTTP requests: 400, 404, 405, 413, 415.

use crate::client::{Client, expect, expect_naming};
use crate::server::Server;

const TOKEN: &str = "DDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDD";

#[test]
fn malformed_issues_are_400() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    for body in [
        "",
        " ",
        "{",
        "}",
        "null",
        "7",
        "[]",
        r#""payload""#,
        r#"{"payload":1"#,
        r#"{"payload":1}}"#,
        r#"{"payload":1} x"#,
        r#"{"payload":1,}"#,
        r#"{payload:1}"#,
        r#"{"payload":01}"#,
        r#"{"payload":+1}"#,
        r#"{"payload":.5}"#,
        r#"{"payload":NaN}"#,
        r#"{"payload":'a'}"#,
        r#"{"payload":"\x"}"#,
        r#"{"payload":tru}"#,
        "{\"payload\":\"a\nb\"}",
        r#"{"payload":1,"tll":60}"#,
        r#"{"payload":1,"Payload":2}"#,
        r#"{"payload":1,"payload":1}"#,
        r#"{"payload":1,"ttl":60,"ttl":60}"#,
        r#"{"payload":1,"uses":"one"}"#,
        r#"{"payload":1,"uses":[1]}"#,
        r#"{"payload":1,"peek":"no"}"#,
        r#"{"payload":1,"peek":0}"#,
        r#"{"payload":1,"reference":"r"}"#,
        r#"{"payload":1,"reference":{"order_number":"1","shop":"2"}}"#,
        r#"{"payload":1,"reference":{"order_number":"1","order_number":"1"}}"#,
    ] {
        let refused = client.issue(body);
        assert_eq!(refused.status, 400, "{body}: {}", refused.without_date());
    }
}

#[test]
fn bytes_that_are_not_utf8_are_400() {
    let server = Server::shared();
    let mut conn = crate::raw::Conn::open(server.data).expect("connects");
    for body in [&b"{\"payload\":\"\xff\"}"[..], b"{\"payload\":\"\xed\xa0\x80\"}", b"\0\0\0"] {
        let headers = [("Content-Type", "application/json")];
        conn.send(&crate::raw::request("POST", "/v1/tokens", &headers, body)).expect("sends");
        let refused = conn.response().expect("an answer");
        crate::client::assert_contract(&refused);
        expect(&refused, 400);
    }
}

#[test]
fn nesting_without_end_is_refused() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    let deep = format!("{{\"payload\":{}1{}}}", "[".repeat(30_000), "]".repeat(30_000));
    let answer = client.issue(&deep);
    expect(&answer, 422);
    expect(&client.issue(r#"{"payload":1}"#), 201);
}

#[test]
fn malformed_tokens_are_400() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    for token in [
        "short",
        &TOKEN[1..],
        &format!("{TOKEN}D"),
        &TOKEN.replacen('D', "+", 1),
        &TOKEN.replacen('D', "=", 1),
        &TOKEN.replacen('D', "%20", 1),
        &TOKEN.replacen('D', "~", 1),
    ] {
        expect(&client.resolve(token), 400);
        expect(&client.consume(token), 400);
        expect(&client.status(token), 400);
        expect(&client.extend(token, "5m"), 400);
        for path in ["/v1/resolve", "/v1/consume", "/v1/status", "/v1/revoke"] {
            let body = serde_json::json!({ "tokens": [TOKEN, token] }).to_string();
            expect(&client.post(path, &body), 400);
        }
    }
}

#[test]
fn malformed_lists_are_400() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    for path in ["/v1/resolve", "/v1/consume", "/v1/status", "/v1/extend", "/v1/revoke"] {
        for body in [
            "",
            "[]",
            "{}",
            "{",
            r#"{"tokens":null}"#,
            r#"{"tokens":"a"}"#,
            r#"{"tokens":[1]}"#,
            r#"{"tokens":[null]}"#,
            r#"{"tokens":[[]]}"#,
            r#"{"tokens":[{}]}"#,
            r#"{"tokens":[{"token":"a"}]}"#,
            r#"{"tokens":[],"more":true}"#,
            r#"{"tokens":[],"tokens":[]}"#,
        ] {
            let refused = client.post(path, body);
            assert_eq!(refused.status, 400, "{path} {body}: {}", refused.without_date());
        }
    }
}

#[test]
fn unknown_paths_are_404() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    let extra = format!("/v1/tokens/{TOKEN}/consume/again");
    let other = format!("/v1/tokens/{TOKEN}/other");
    for path in ["/", "/v1", "/v2/tokens", "/v1/token", "/metrics", "/healthz", &extra, &other] {
        expect(&client.send("GET", path, &[], ""), 404);
    }
}

#[test]
fn a_query_string_changes_no_path() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    let issued = client.issued(r#"{"payload":1}"#);
    let path = format!("/v1/tokens/{}?trace=1", issued.token);
    let answer = client.send("GET", &path, &[], "");
    assert!(matches!(answer.status, 200 | 400), "{}", answer.without_date());
}

#[test]
fn other_methods_are_405_with_allow() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    let token = format!("/v1/tokens/{TOKEN}");
    let consume = format!("{token}/consume");
    let status = format!("{token}/status");
    let cases: [(&str, &str, &[&str]); 11] = [
        ("GET", "/v1/tokens", &["POST"]),
        ("DELETE", "/v1/tokens", &["POST"]),
        ("GET", "/v1/resolve", &["POST"]),
        ("PUT", "/v1/consume", &["POST"]),
        ("GET", "/v1/status", &["POST"]),
        ("PATCH", "/v1/extend", &["POST"]),
        ("DELETE", "/v1/revoke", &["POST"]),
        ("PUT", &token, &["GET", "PATCH", "DELETE"]),
        ("POST", &token, &["GET", "PATCH", "DELETE"]),
        ("GET", &consume, &["POST"]),
        ("POST", &status, &["GET"]),
    ];
    for (method, path, allowed) in cases {
        let refused = client.send(method, path, &[], "");
        assert_eq!(refused.status, 405, "{method} {path}: {}", refused.without_date());
        let allow = refused.header("allow").unwrap_or_else(|| panic!("{method} {path}: no Allow"));
        let methods: Vec<&str> = allow.split(',').map(str::trim).collect();
        assert!(allowed.iter().all(|method| methods.contains(method)), "{method} {path}: {allow}");
        assert!(!methods.contains(&method), "{method} {path}: {allow}");
    }
}

#[test]
fn bodies_of_another_kind_are_415() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    let token = format!("/v1/tokens/{TOKEN}");
    for (method, path, body) in [
        ("POST", "/v1/tokens", r#"{"payload":1}"#),
        ("POST", "/v1/tokens/batch", r#"{"tokens":[]}"#),
        ("POST", "/v1/resolve", r#"{"tokens":[]}"#),
        ("POST", "/v1/consume", r#"{"tokens":[]}"#),
        ("POST", "/v1/status", r#"{"tokens":[]}"#),
        ("POST", "/v1/extend", r#"{"tokens":[],"ttl":60}"#),
        ("POST", "/v1/revoke", r#"{"tokens":[]}"#),
        ("PATCH", &token, r#"{"ttl":60}"#),
    ] {
        for kind in ["text/plain", "application/xml", "multipart/form-data; boundary=x"] {
            expect(&client.send(method, path, &[("Content-Type", kind)], body), 415);
        }
    }
    for kind in ["application/json", "application/json; charset=utf-8", "Application/JSON"] {
        let headers = [("Content-Type", kind)];
        expect(&client.send("POST", "/v1/tokens", &headers, r#"{"payload":1}"#), 201);
    }
}

#[test]
fn one_error_does_not_end_the_connection_for_the_next_request() {
    let server = Server::shared();
    let mut conn = crate::raw::Conn::open(server.data).expect("connects");
    let json = [("Content-Type", "application/json")];
    conn.send(&crate::raw::request("POST", "/v1/tokens", &json, b"{")).expect("sends");
    expect(&conn.response().expect("an answer"), 400);
    conn.send(&crate::raw::request("POST", "/v1/tokens", &json, b"{\"payload\":1}"))
        .expect("sends");
    expect(&conn.response().expect("an answer"), 201);
}

/// A typing mistake in a path must not look like a consumed token.
#[test]
fn an_unknown_path_has_an_answer_of_its_own() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    let spent = client.resolve(TOKEN);
    expect(&spent, 404);
    for path in [
        &format!("/v1/tokens/{TOKEN}/") as &str,
        &format!("//v1/tokens/{TOKEN}"),
        &format!("/V1/tokens/{TOKEN}"),
        "/v1/tokens/",
        "/v1",
        "/",
    ] {
        let answer = client.send("GET", path, &[], "");
        expect(&answer, 404);
        assert_eq!(answer.json()["detail"], "no such path", "{path}");
        assert_ne!(answer.body, spent.body, "{path}");
    }
    let mut admin = crate::raw::Conn::open(server.admin).expect("connects");
    admin.send(&crate::raw::request("GET", "/nothing", &[], b"")).expect("sends");
    let answer = admin.response().expect("an answer");
    assert_eq!((answer.status, answer.text()), (404, "no such path\n"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
}

#[test]
fn other_codings_and_charsets_are_415_and_a_byte_order_mark_is_named() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    let kind = |kind| ("Content-Type", kind);
    for (headers, status) in [
        (&[kind("application/json; charset=utf-16")][..], 415),
        (&[kind("application/json; charset=\"latin1\"")], 415),
        (&[kind("application/json; charset=US-ASCII")], 201),
        (&[kind("application/json; charset=\"UTF8\"; a=b")], 201),
        (&[kind("application/json"), ("Content-Encoding", "gzip")], 415),
        (&[kind("application/json"), ("Content-Encoding", "identity, gzip")], 415),
        (&[kind("application/json"), ("Content-Encoding", "Identity")], 201),
    ] {
        let answer = client.send("POST", "/v1/tokens", headers, r#"{"payload":1}"#);
        assert_eq!(answer.status, status, "{headers:?}: {}", answer.without_date());
    }
    let coded = [kind("application/json"), ("Content-Encoding", "br")];
    let refused = client.send("POST", "/v1/resolve", &coded, "{}");
    expect_naming(&refused, 415, "Content-Encoding");
    let marked = client.issue("\u{feff}{\"payload\":1}");
    expect_naming(&marked, 400, "byte order mark");
}

/// The parser of an app could not read such a payload.
#[test]
fn payloads_that_parsers_choke_on_are_422() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    for (payload, status) in [
        (nested(128), 201),
        (nested(129), 422),
        (r#""\ud83d\ude00""#.to_owned(), 201),
        (r#""\ud83d""#.to_owned(), 422),
        (r#"{"\ude00\ud83d":1}"#.to_owned(), 422),
    ] {
        let answer = client.issue(&format!(r#"{{"payload":{payload}}}"#));
        expect(&answer, status);
        if status == 422 {
            assert_eq!(answer.json()["field"], "payload");
            let batch = format!(r#"{{"tokens":[{{"payload":1}},{{"payload":{payload}}}]}}"#);
            let results = client.post("/v1/tokens/batch", &batch).json();
            assert!(results["results"][0]["token"].is_string(), "{results}");
            assert_eq!(results["results"][1]["error"]["status"], 422);
        }
    }
}
