//! Quotas: limits of a namespace, and its metrics.

use serde_json::json;

use crate::access::{Keys, issued, send};
use crate::admin::metrics;
use crate::client::Client;
use crate::raw::{Conn, request};
use crate::server::{Launch, Server};
use crate::support::eventually;

fn status(server: &Server, key: &str, body: &str) -> u16 {
    send(server, key, "POST", "/v1/tokens", body).status
}

/// A server with two shops, of which the first has this quota.
fn shops(quota: &str) -> (tempfile::TempDir, Server, [String; 2]) {
    let dir = tempfile::tempdir().expect("a folder");
    let keys = Keys::in_dir(dir.path());
    let scopes = "issue,resolve,consume,revoke";
    let shops = ["shop-a", "shop-b"].map(|namespace| keys.add(namespace, scopes, &[]));
    let launch = Launch::on(&dir.path().join("data")).flag("--keys", keys.path());
    let server = launch.flag("--quota", &format!("shop-a:{quota}")).start();
    (dir, server, shops)
}

#[test]
fn p10_a_full_namespace_leaves_the_others_alone() {
    let (dir, server, [a, b]) = shops("tokens=3");
    let tokens: Vec<String> = (0..3).map(|_| issued(&server, &a, r#"{"payload":1}"#)).collect();
    let refused = send(&server, &a, "POST", "/v1/tokens", r#"{"payload":1}"#);
    assert_eq!(refused.status, 507);
    assert!(refused.text().contains("--quota"), "{}", refused.text());
    assert_eq!(status(&server, &b, r#"{"payload":1}"#), 201);
    // Consumed or revoked tokens free the quota.
    let [one, two, _] = &tokens[..] else { panic!("three") };
    let consume = format!("/v1/tokens/{one}/consume");
    assert_eq!(send(&server, &a, "POST", &consume, "").status, 200);
    assert_eq!(status(&server, &a, r#"{"payload":1}"#), 201);
    assert_eq!(status(&server, &a, r#"{"payload":1}"#), 507);
    assert_eq!(send(&server, &a, "DELETE", &format!("/v1/tokens/{two}"), "").status, 204);
    assert_eq!(status(&server, &a, r#"{"payload":1,"ttl":"300ms"}"#), 201);
    assert_eq!(status(&server, &a, r#"{"payload":1}"#), 507);
    eventually("what has expired makes room", || status(&server, &a, r#"{"payload":1}"#) == 201);
    // A restart keeps the counts.
    server.kill9();
    let keys = Keys::in_dir(dir.path());
    let launch = Launch::on(&dir.path().join("data")).flag("--keys", keys.path());
    let server = launch.flag("--quota", "shop-a:tokens=3").start();
    assert_eq!(status(&server, &a, r#"{"payload":1}"#), 507);
    assert_eq!(status(&server, &b, r#"{"payload":1}"#), 201);
}

#[test]
fn however_many_issue_at_once_a_quota_is_never_exceeded() {
    let (_dir, server, [a, _]) = shops("tokens=50");
    let issue = || (0..20).filter(|_| status(&server, &a, r#"{"payload":1}"#) == 201).count();
    let won: usize = std::thread::scope(|scope| {
        let rivals: Vec<_> = (0..8).map(|_| scope.spawn(issue)).collect();
        rivals.into_iter().map(|rival| rival.join().expect("it ends")).sum()
    });
    assert_eq!(won, 50);
    // A batch cannot exceed it either: the rest of its items is refused.
    let (_dir, server, [a, _]) = shops("tokens=50");
    let body = json!({"tokens": vec![json!({"payload": 1}); 80]}).to_string();
    let results = send(&server, &a, "POST", "/v1/tokens/batch", &body).json();
    let results = results["results"].as_array().expect("an array").clone();
    let full = results.iter().filter(|result| result["error"]["status"] == 507).count();
    assert_eq!((results.len(), full), (80, 30));
}

#[test]
fn bytes_are_limited_and_a_reference_issued_again_takes_none() {
    let (_dir, server, [a, _]) = shops("bytes=64KiB");
    let payload = json!({"payload": "x".repeat(40_000), "reference": {"order_number": "7"}});
    let payload = payload.to_string();
    assert_eq!(status(&server, &a, &payload), 201);
    assert_eq!(status(&server, &a, &payload), 200, "it is there already");
    let other = json!({"payload": "x".repeat(40_000)}).to_string();
    assert_eq!(status(&server, &a, &other), 507);
    assert_eq!(status(&server, &a, r#"{"payload":1}"#), 201);
}

#[test]
fn a_namespace_may_issue_so_often_and_is_told_when_to_come_again() {
    let (_dir, server, [a, b]) = shops("issues=5");
    let answers: Vec<_> =
        (0..30).map(|_| send(&server, &a, "POST", "/v1/tokens", r#"{"payload":1}"#)).collect();
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status == 429).collect();
    assert!(!refused.is_empty(), "30 at once, 5 a second");
    assert!(refused.iter().all(|answer| answer.header("retry-after") == Some("1")));
    assert!(answers.iter().take(5).all(|answer| answer.status == 201), "a second's worth at once");
    assert_eq!(status(&server, &b, r#"{"payload":1}"#), 201);
    eventually("it may again", || status(&server, &a, r#"{"payload":1}"#) == 201);
}

#[test]
fn the_longest_life_of_a_namespace_holds_for_issues_and_extensions() {
    let (_dir, server, [a, b]) = shops("ttl=1m");
    for body in [r#"{"payload":1,"ttl":"2m"}"#, r#"{"payload":1,"ttl":61}"#] {
        let refused = send(&server, &a, "POST", "/v1/tokens", body);
        assert_eq!((refused.status, refused.json()["field"].as_str()), (422, Some("ttl")));
        assert!(refused.text().contains("1m"), "{}", refused.text());
        assert_eq!(status(&server, &b, body), 201);
    }
    let made = send(&server, &a, "POST", "/v1/tokens", r#"{"payload":1}"#).json();
    let left = crate::support::millis(made["expires_at"].as_str().expect("a time"));
    assert!(left - crate::support::now_ms() <= 60_000, "the default is within the quota");
    let path = format!("/v1/tokens/{}", made["token"].as_str().expect("a token"));
    assert_eq!(send(&server, &a, "PATCH", &path, r#"{"ttl":"2m"}"#).status, 422);
    let extended = send(&server, &a, "PATCH", &path, r#"{"ttl":"1m"}"#).json();
    assert_eq!(extended["expires_at"], made["expires_at"], "extensions do not add up");
}

#[test]
fn metrics_tell_of_each_namespace() {
    let dir = tempfile::tempdir().expect("a folder");
    let keys = Keys::in_dir(dir.path());
    let (a, admin) = (keys.add("shop-a", "issue", &[]), keys.add("*", "metrics", &[]));
    keys.add("shop-b", "issue", &[]);
    let server = Launch::on(&dir.path().join("data"))
        .flag("--keys", keys.path())
        .flag("--quota", "shop-a:issues=2")
        .start();
    for _ in 0..10 {
        send(&server, &a, "POST", "/v1/tokens", r#"{"payload":1}"#);
    }
    eventually("the tokens of shop-a are counted", || {
        let mut conn = Conn::open(server.admin).expect("the admin listener is there");
        conn.send(&request("GET", "/metrics", &[("Authorization", &admin)], b"")).expect("sends");
        let text = conn.response().expect("an answer").text().to_owned();
        let value = |name: &str| {
            let start = format!("jeton_{name} ");
            let line = text.lines().find_map(|line| line.strip_prefix(&start));
            line.and_then(|value| value.parse::<u64>().ok())
        };
        assert_eq!(value("namespace_tokens{namespace=\"shop-b\"}"), Some(0), "{text}");
        let refused = value("namespace_issues_refused_total{namespace=\"shop-a\"}");
        let tokens = value("namespace_tokens{namespace=\"shop-a\"}");
        refused.is_some_and(|refused| refused > 0) && tokens.is_some_and(|tokens| tokens >= 2)
    });
    let plain = metrics(&Server::shared());
    assert!(plain.contains("jeton_namespace_tokens{namespace=\"default\"}"), "{plain}");
}

#[test]
fn a_server_without_keys_has_the_quota_of_the_default_namespace() {
    let dir = tempfile::tempdir().expect("a folder");
    let server = Launch::on(dir.path()).flag("--quota", "default:tokens=1").start();
    let mut client = Client::of(&server);
    client.issued(r#"{"payload":1}"#);
    assert_eq!(client.issue(r#"{"payload":1}"#).status, 507);
    for (quota, said) in [
        ("default", "NAMESPACE:LIMIT=VALUE"),
        ("Default:tokens=1", "a namespace has"),
        ("default:tokens=0", "tokens"),
        ("default:bytes=x", "bytes"),
        ("default:ttl=0s", "ttl"),
        ("default:issues=9999999", "1000000"),
        ("default:tokens=1,tokens=2", "repeats tokens"),
        ("default:uses=1", "unknown limit"),
    ] {
        let refused = Launch::on(dir.path()).flag("--quota", quota).try_start();
        let refused = refused.err().expect("it does not start");
        assert_eq!(refused.status.code(), Some(2), "{quota}");
        assert!(refused.stderr.contains("--quota") && refused.stderr.contains(said), "{quota}");
    }
}
