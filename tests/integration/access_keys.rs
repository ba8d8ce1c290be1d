//! Keys while they are in use: their expiry, their last use, and the networks that they are bound to.

use crate::access::{Keys, issued, run_jeton, send};
use crate::raw::{Conn, Response, request};
use crate::server::{Launch, Server};
use crate::support::{eventually, millis, now_ms};

const DAY_MS: i64 = 24 * 3_600 * 1_000;

fn id_of(key: &str) -> &str {
    &key["Bearer jeton_".len()..][..8]
}

fn admin(server: &Server, key: &str, path: &str) -> Response {
    let mut conn = Conn::open(server.admin).expect("the admin listener is there");
    conn.send(&request("GET", path, &[("Authorization", key)], b"")).expect("sent");
    conn.response().expect("an answer")
}

fn stats(server: &Server, key: &str) -> serde_json::Value {
    let response = admin(server, key, "/v1/stats");
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()
}

#[test]
fn a_key_lives_for_a_year_unless_something_else_was_asked_for() {
    let dir = tempfile::tempdir().expect("a folder");
    let keys = Keys::in_dir(dir.path());
    let add = |more: &[&str]| {
        let common = ["keys", "add", "--scope", "resolve", "--keys", keys.path()];
        let output = run_jeton(&[&common[..], more].concat());
        (output.status.code(), String::from_utf8(output.stderr).expect("UTF-8"))
    };
    let before = now_ms();
    let (code, said) = add(&[]);
    let (_, rest) = said.split_once(", expires ").unwrap_or_else(|| panic!("{said}"));
    let expires = millis(rest.split(';').next().expect("a time"));
    assert_eq!(code, Some(0));
    assert!((before..=now_ms()).contains(&(expires - 365 * DAY_MS)), "{said}");
    assert!(add(&["--expires", "never"]).1.contains(", never expires;"));
    let (_, said) = add(&["--from", "10.0.0.0/8,2001:db8::7"]);
    assert!(said.contains(" in namespace default from 10.0.0.0/8, 2001:db8::7/128, "), "{said}");
    for (flag, value) in
        [("--expires", "soon"), ("--expires", "0s"), ("--from", "10.0.0.1/8"), ("--from", "shop")]
    {
        let (code, said) = add(&[flag, value]);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(flag) && said.contains(value), "{said}");
    }
}

/// What expires within 30 days is in the log, in a metric and in the list; what does not is not.
#[test]
fn a_key_that_expires_soon_is_reported() {
    let dir = tempfile::tempdir().expect("a folder");
    let keys = Keys::in_dir(dir.path());
    let root = keys.add("*", "admin,metrics", &["--expires", "never"]);
    let [soon, later] = ["29d", "31d"].map(|life| keys.add("shop", "issue", &["--expires", life]));
    let server = Launch::on(&dir.path().join("data")).flag("--keys", keys.path()).start();
    eventually("the coming expiry is logged", || server.stderr().contains("expires soon"));
    let log = server.stderr();
    assert!(log.contains(id_of(&soon)) && !log.contains(id_of(&later)), "{log}");
    let metrics = admin(&server, &root, "/metrics").text().to_owned();
    assert!(metrics.contains("\njeton_keys_expiring 1\n"), "{metrics}");
    let list = String::from_utf8(run_jeton(&["keys", "list", "--keys", keys.path()]).stdout);
    let list = list.expect("UTF-8");
    for (key, shown) in [(&soon, "expires soon: "), (&later, "  expires 2"), (&root, "  valid")] {
        let row = list.lines().find(|row| row.starts_with(id_of(key))).expect("its row");
        assert!(row.contains(shown), "{row}");
    }
    // A successor that is added while the server runs lowers nothing: the old key still expires.
    keys.add("shop", "issue", &["--replaces", id_of(&soon)]);
    keys.revoke(&soon);
    eventually("a revoked key is no longer counted", || {
        admin(&server, &root, "/metrics").text().contains("\njeton_keys_expiring 0\n")
    });
}

#[test]
fn statistics_name_the_last_use_of_each_key() {
    let dir = tempfile::tempdir().expect("a folder");
    let keys = Keys::in_dir(dir.path());
    let root = keys.add("*", "admin", &["--expires", "never"]);
    let [used, unused] = [(); 2].map(|()| keys.add("shop", "issue,resolve", &[]));
    let server = Launch::on(&dir.path().join("data")).flag("--keys", keys.path()).start();
    let before = now_ms();
    issued(&server, &used, r#"{"payload":1}"#);
    let shown = stats(&server, &root);
    let of = |key: &str| shown["keys"][id_of(key)].clone();
    let last = millis(of(&used)["last_used_at"].as_str().expect("it was used"));
    // Engine time is exact to a tick.
    assert!((before - 1_000..=now_ms()).contains(&last), "{shown}");
    assert!(of(&unused)["last_used_at"].is_null(), "{shown}");
    assert!(of(&root)["last_used_at"].is_string() && of(&root)["expires_at"].is_null(), "{shown}");
    assert!(of(&used)["expires_at"].is_string() && of(&used)["namespace"] == "shop", "{shown}");
    let text = shown.to_string();
    for key in [&root, &used, &unused] {
        assert!(!text.contains(&key["Bearer jeton_1a2b3c4d_".len()..]), "p9: no key is shown");
    }
}

/// A key that is bound to networks is an unknown one from anywhere else, on every listener.
#[test]
fn p10_a_key_from_another_network_opens_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let keys = Keys::in_dir(dir.path());
    let here = keys.add("shop", "issue,resolve", &["--from", "127.0.0.0/8,::1"]);
    let there = keys.add("shop", "issue,resolve", &["--from", "10.0.0.0/8"]);
    let admin_here = keys.add("*", "admin", &["--from", "127.0.0.1"]);
    let admin_there = keys.add("*", "admin", &["--from", "127.0.0.2"]);
    let server = Launch::on(&dir.path().join("data")).flag("--keys", keys.path()).start();
    let token = issued(&server, &here, r#"{"payload":1}"#);
    let path = format!("/v1/tokens/{token}");
    assert_eq!(send(&server, &here, "GET", &path, "").status, 200);
    let unknown = format!("Bearer jeton_00000000_{}", "A".repeat(32));
    let answers = [&there, &unknown].map(|key| send(&server, key, "GET", &path, ""));
    assert_eq!(answers.each_ref().map(|answer| answer.status), [401; 2]);
    assert_eq!(answers[0].body, answers[1].body);
    let answers = [&admin_there, &unknown].map(|key| admin(&server, key, "/v1/stats"));
    assert_eq!(answers.each_ref().map(|answer| answer.status), [401; 2]);
    assert_eq!(answers[0].body, answers[1].body);
    let shown = stats(&server, &admin_here);
    for key in [&there, &admin_there] {
        assert!(
            shown["keys"][id_of(key)]["last_used_at"].is_null(),
            "a refusal is no use: {shown}"
        );
    }
}
