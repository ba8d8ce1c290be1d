//! Put under a name: `PUT /v1/names/{name}`, and `POST /v1/names` with the name in the body, which are
//! one operation.

use serde_json::{Value, json};

use crate::access::{Keys, send};
use crate::audit::{launch, lines_at_the_end, what};
use crate::client::{Client, expect, expect_naming};
use crate::raw::{Conn, Response, request};
use crate::server::{Launch, Server};

const ABSENT: &[(&str, &str)] = &[("If-None-Match", "*")];

/// Puts with the name in the path.
fn in_path(client: &mut Client, name: &str, headers: &[(&str, &str)], body: &Value) -> Response {
    client.send("PUT", &format!("/v1/names/{name}"), headers, &body.to_string())
}

/// Puts with the name in the body.
fn in_body(client: &mut Client, name: &str, headers: &[(&str, &str)], body: &Value) -> Response {
    let mut body = body.clone();
    if let Some(fields) = body.as_object_mut() {
        fields.insert("name".to_owned(), name.into());
    }
    client.send("POST", "/v1/names", headers, &body.to_string())
}

fn resolved(client: &mut Client, name: &str) -> String {
    let list = json!({"tokens": [{"name": name}]}).to_string();
    client.post("/v1/resolve", &list).text().to_owned()
}

#[test]
fn both_forms_answer_alike() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    let bodies = [
        json!({"payload": 1, "ttl": "1h", "uses": 3, "peek": true}),
        json!({"payload": {"a": [1, "é"]}}),
        json!({"payload": null}),
        json!({"ttl": "1h"}),
        json!({"payload": 1, "uses": 0}),
        json!({"payload": 1, "ttl": "31d"}),
        json!({"payload": 1, "reference": {"order_number": "7"}}),
        json!({"payload": "x".repeat(70_000)}),
    ];
    for body in &bodies {
        for headers in [&[][..], &[("If-None-Match", "\"a\"")]] {
            let path = in_path(&mut client, "put-alike-1", headers, body);
            let post = in_body(&mut client, "put-alike-2", headers, body);
            assert_eq!(post.status, path.status, "{headers:?}: {}", post.text());
            if path.status != 200 {
                assert_eq!(post.json(), path.json(), "{headers:?}");
            }
        }
    }
    for name in ["put-alike-1", "put-alike-2"] {
        assert_eq!(resolved(&mut client, name), r#"[{"a":[1,"é"]}]"#);
        for put in [in_path, in_body] {
            let answer = put(&mut client, name, ABSENT, &json!({"payload": 2}));
            expect_naming(&answer, 412, "If-None-Match");
        }
    }
}

#[test]
fn a_name_in_the_body_has_its_form_and_its_limits() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    let put = |client: &mut Client, body: &str| client.post("/v1/names", body);
    for (body, status) in [
        (json!({"payload": 1}), 400),
        (json!({"name": 7, "payload": 1}), 400),
        (json!({"name": "", "payload": 1}), 422),
        (json!({"name": "x".repeat(513), "payload": 1}), 422),
    ] {
        expect_naming(&put(&mut client, &body.to_string()), status, "name");
    }
    let answer = put(&mut client, r#"{"name":"put-a","name":"put-b","payload":1}"#);
    expect(&answer, 400);
    assert_eq!(answer.json()["field"], "name");
    expect(&client.send("PUT", "/v1/names", &[], r#"{"name":"put-a","payload":1}"#), 405);
    expect(&client.send("PUT", "/v1/names/put-a", &[], r#"{"name":"put-a","payload":1}"#), 400);
    // The longest name, each of its characters escaped, and what a path cannot hold.
    let long = format!(r#"{{"name":"{}","payload":1}}"#, r"\u0061".repeat(512));
    expect(&put(&mut client, &long), 200);
    assert_eq!(resolved(&mut client, &"a".repeat(512)), "[1]");
    expect(&in_body(&mut client, "a/b?c\n", &[], &json!({"payload": "é"})), 200);
    assert_eq!(resolved(&mut client, "a/b?c\n"), r#"["é"]"#);
}

/// A head that waits for its body is cut down to what is needed after it.
#[test]
fn p2_a_condition_holds_although_the_body_comes_later() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    for (method, path, body) in [
        ("PUT", "/v1/names/put-later-1", r#"{"payload":1}"#),
        ("POST", "/v1/names", r#"{"name":"put-later-2","payload":1}"#),
    ] {
        expect(&client.send(method, path, &[], body), 200);
        let json = ("Content-Type", "application/json");
        for (value, status) in [("*", 412), ("\"a\"", 400)] {
            let whole = request(method, path, &[json, ("If-None-Match", value)], body.as_bytes());
            let (head, body) = whole.split_at(whole.len() - body.len());
            let mut conn = Conn::open(server.data).expect("connects");
            conn.send(head).expect("sends");
            std::thread::sleep(std::time::Duration::from_millis(50));
            conn.send(body).expect("sends");
            expect(&conn.response().expect("an answer"), status);
        }
    }
}

/// The two forms name the same token, as the text of a token does.
#[test]
fn a_name_is_the_same_in_the_path_and_in_the_body() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    expect(&in_path(&mut client, "put%3Asame%2F1", &[], &json!({"payload": 1})), 200);
    expect_naming(
        &in_body(&mut client, "put:same/1", ABSENT, &json!({"payload": 2})),
        412,
        "If-None-Match",
    );
    expect(&in_body(&mut client, "put:same/1", &[], &json!({"payload": 3})), 200);
    assert_eq!(resolved(&mut client, "put:same/1"), "[3]");
    let text = "put_a_token_of_another_system_01";
    expect(&in_body(&mut client, text, &[], &json!({"payload": 4})), 200);
    assert_eq!(client.resolve(text).text(), "4");
}

#[test]
fn p9_a_put_by_body_needs_its_scope_and_shows_no_name() {
    let dir = tempfile::tempdir().expect("a folder");
    let keys = Keys::in_dir(dir.path());
    let may = keys.add("shop", "import", &[]);
    let may_not = keys.add("shop", "issue,resolve,consume,revoke", &[]);
    let server = Launch::on(&dir.path().join("data")).flag("--keys", keys.path()).start();
    let put = |key: &str, body: &str| send(&server, key, "POST", "/v1/names", body);
    let body = r#"{"name":"hunter2","payload":1}"#;
    assert_eq!(put(&may_not, body).status, 403);
    assert_eq!(put(&may, body).status, 200);
    for body in [
        r#"{"name":"hunter2"}"#,
        r#"{"name":"hunter2","payload":1,"uses":0}"#,
        r#"{"name":hunter2}"#,
    ] {
        let answer = put(&may, body);
        assert!(answer.status >= 400 && !answer.text().contains("hunter2"), "{}", answer.text());
    }
}

#[test]
fn both_forms_have_the_same_lines_in_the_audit_log() {
    let dir = tempfile::tempdir().expect("a folder");
    let server = launch(dir.path()).start();
    let mut client = Client::of(&server);
    for put in [in_path, in_body] {
        expect(&put(&mut client, "cart:7", &[], &json!({"payload": 1})), 200);
        expect(&put(&mut client, "cart:7", ABSENT, &json!({"payload": 1})), 412);
        expect(&put(&mut client, "cart:7", &[], &json!({"payload": 1, "uses": 0})), 422);
    }
    for lines in lines_at_the_end(server, &dir.path().join("audit.log")) {
        let puts = lines.iter().filter(|line| line["operation"] == "put");
        let told: Vec<_> = puts.map(|line| (what(line), &line["digest"])).collect();
        assert!(!told.is_empty() && told.len() % 2 == 0, "{told:?}");
        let (path, body) = told.split_at(told.len() / 2);
        assert_eq!(body, path);
        assert!(told.iter().all(|(_, digest)| digest.is_string()), "{told:?}");
    }
}
