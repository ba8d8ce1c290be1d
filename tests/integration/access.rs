//! Keys, scopes and namespaces: every wrong access is refused, and looks the same from outside.

use std::path::{Path, PathBuf};
use std::process::Output;

use rustix::process::{Signal, kill_process};
use serde_json::json;

use crate::client::Client;
use crate::raw::{Conn, Response, request};
use crate::server::{LOG_FILTER, Launch, Server, jeton};
use crate::support::eventually;

/// A keys file, and the commands on it.
pub struct Keys(PathBuf);

impl Keys {
    pub fn in_dir(dir: &Path) -> Self {
        Self(dir.join("keys.toml"))
    }

    pub fn path(&self) -> &str {
        self.0.to_str().expect("UTF-8")
    }

    fn run(&self, args: &[&str]) -> String {
        let output = run_jeton(&[&["keys"], args, &["--keys", self.path()]].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {said}");
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// A new key as the header's value.
    pub fn add(&self, namespace: &str, scopes: &str, more: &[&str]) -> String {
        let args = [&["add", "--namespace", namespace, "--scope", scopes], more].concat();
        let key = self.run(&args);
        assert!(key.ends_with('\n') && key.lines().count() == 1, "the key alone");
        format!("Bearer {}", key.trim())
    }

    pub fn revoke(&self, key: &str) {
        self.run(&["revoke", &key["Bearer jeton_".len()..][..8]]);
    }
}

pub fn run_jeton(args: &[&str]) -> Output {
    jeton().args(args).output().expect("it runs")
}

pub fn send(server: &Server, key: &str, method: &str, path: &str, body: &str) -> Response {
    let mut headers = vec![("Authorization", key)];
    headers.retain(|(_, value)| !value.is_empty());
    Client::of(server).send(method, path, &headers, body)
}

pub fn issued(server: &Server, key: &str, body: &str) -> String {
    let response = send(server, key, "POST", "/v1/tokens", body);
    assert!(matches!(response.status, 200 | 201), "{}", response.text());
    response.json()["token"].as_str().expect("a token").to_owned()
}

pub fn resolve(server: &Server, key: &str, token: &str) -> u16 {
    send(server, key, "GET", &format!("/v1/tokens/{token}"), "").status
}

/// An `Idempotency-Key` belongs to its holder: another API key of the namespace with the same text
/// gets neither the payload nor the token, even after a restart; a key that replaces the holder's
/// key gets both.
#[test]
fn p2_a_retry_is_one_only_from_the_same_holder() {
    let dir = tempfile::tempdir().expect("a folder");
    let keys = Keys::in_dir(dir.path());
    let [shop, other] = [(); 2].map(|()| keys.add("shop", "issue,consume", &[]));
    let id = &shop["Bearer jeton_".len()..][..8];
    let successor = keys.add("shop", "issue,consume", &["--replaces", id]);
    let id = &successor["Bearer jeton_".len()..][..8];
    let grandchild = keys.add("shop", "issue,consume", &["--replaces", id]);
    let launch = || Launch::on(&dir.path().join("data")).flag("--keys", keys.path());
    let keyed = |server: &Server, key: &str, path: &str, body: &str| {
        let headers = [("Authorization", key), ("Idempotency-Key", "till-4")];
        let mut headers = headers.to_vec();
        if !body.is_empty() {
            headers.push(("Content-Type", "application/json"));
        }
        Client::of(server).send("POST", path, &headers, body)
    };
    let server = launch().start();
    let payload = r#"{"payload":{"card":7}}"#;
    let first = keyed(&server, &shop, "/v1/tokens", payload);
    assert_eq!(first.status, 201);
    assert_eq!(keyed(&server, &other, "/v1/tokens", payload).status, 201, "another token");
    let token = first.json()["token"].as_str().expect("a token").to_owned();
    let path = format!("/v1/tokens/{token}/consume");
    assert_eq!(keyed(&server, &shop, &path, "").status, 200);
    let check = |server: &Server| {
        assert_eq!(keyed(server, &other, &path, "").status, 404, "not its use");
        for key in [&shop, &successor, &grandchild] {
            assert_eq!(keyed(server, key, &path, "").text(), r#"{"card":7}"#);
            assert_eq!(keyed(server, key, "/v1/tokens", payload).status, 409, "it was consumed");
        }
    };
    check(&server);
    server.kill9();
    check(&launch().start());
    let elsewhere = ["keys", "add", "--namespace", "b", "--scope", "issue", "--replaces", id];
    let refused = run_jeton(&[&elsewhere[..], &["--keys", keys.path()]].concat());
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("--replaces") && said.contains("namespace shop"), "{said}");
}

/// A body may be slow, so the key is checked again after it arrived.
#[test]
fn a_key_that_is_revoked_while_its_body_comes_opens_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let keys = Keys::in_dir(dir.path());
    let [kept, gone] = [(); 2].map(|()| keys.add("shop", "issue", &[]));
    let server = Launch::on(&dir.path().join("data")).flag("--keys", keys.path()).start();
    let begin = |key: &str| {
        let headers = [("Authorization", key), ("Content-Type", "application/json")];
        let whole = request("POST", "/v1/tokens", &headers, br#"{"payload":1}"#);
        let (head, tail) = whole.split_at(whole.len() - 3);
        let mut conn = Conn::open(server.data).expect("a connection");
        conn.send(head).expect("sends");
        (conn, tail.to_vec())
    };
    let waiting = [&kept, &gone].map(|key| begin(key));
    keys.revoke(&gone);
    eventually("the revocation is known", || {
        send(&server, &gone, "POST", "/v1/tokens", r#"{"payload":1}"#).status == 401
    });
    let answers = waiting.map(|(mut conn, tail)| {
        conn.send(&tail).expect("sends");
        conn.response().expect("an answer").status
    });
    assert_eq!(answers, [201, 401]);
}

#[test]
fn p10_a_token_of_another_namespace_looks_unknown() {
    let dir = tempfile::tempdir().expect("a folder");
    let keys = Keys::in_dir(dir.path());
    let all = "issue,resolve,consume,revoke,reference";
    let [a, b] = ["shop-a", "shop-b"].map(|namespace| keys.add(namespace, all, &[]));
    let server = Launch::on(&dir.path().join("data")).flag("--keys", keys.path()).start();
    let order = json!({"payload": 1, "reference": {"order_number": "7"}}).to_string();
    let token = issued(&server, &a, &order);
    assert_eq!(resolve(&server, &a, &token), 200);
    let unknown = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    for (method, suffix) in [("GET", ""), ("GET", "/status"), ("POST", "/consume")] {
        let [foreign, missing] = [&token[..], unknown].map(|token| {
            let path = format!("/v1/tokens/{token}{suffix}");
            let mut response = send(&server, &b, method, &path, "");
            response.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("date"));
            response
        });
        assert_eq!(foreign.status, 404);
        assert_eq!((foreign.headers, foreign.body), (missing.headers, missing.body), "{suffix}");
    }
    let path = format!("/v1/tokens/{token}");
    assert_eq!(send(&server, &b, "DELETE", &path, "").status, 204);
    let by_reference = r#"{"tokens":[{"reference":{"order_number":"7"}}]}"#;
    let found = send(&server, &b, "POST", "/v1/resolve", by_reference);
    assert_eq!(found.text(), "[null]");
    assert_ne!(issued(&server, &b, &order), token, "the same order is another one there");
    assert_eq!(resolve(&server, &a, &token), 200, "nothing has happened to it");
    assert_eq!(send(&server, &a, "POST", "/v1/resolve", by_reference).text(), "[1]");
}

#[test]
fn p10_each_request_of_a_pipeline_is_answered_for_its_own_key() {
    let dir = tempfile::tempdir().expect("a folder");
    let keys = Keys::in_dir(dir.path());
    let [a, b] = ["shop-a", "shop-b"].map(|namespace| keys.add(namespace, "issue,resolve", &[]));
    let server = Launch::on(&dir.path().join("data")).flag("--keys", keys.path()).start();
    let token = issued(&server, &a, r#"{"payload":1}"#);
    let path = format!("/v1/tokens/{token}");
    let get = |key: Option<&str>| {
        let headers: Vec<_> = key.map(|key| ("Authorization", key)).into_iter().collect();
        request("GET", &path, &headers, b"")
    };
    let wrong = a.replace(char::is_alphanumeric, "x");
    let asked = [(Some(&a[..]), 200), (Some(&b[..]), 404), (None, 401), (Some(&wrong[..]), 401)];
    let order = [0, 0, 1, 0, 1, 1, 2, 0, 3, 0, 0, 0, 1, 2, 2, 3, 3, 0, 1, 0];
    let mut conn = Conn::open(server.data).expect("a connection");
    let pipeline: Vec<u8> = order.iter().flat_map(|n: &usize| get(asked[*n].0)).collect();
    conn.send(&pipeline).expect("sends");
    for n in order {
        assert_eq!(conn.response().expect("an answer").status, asked[n].1, "key {n}");
    }
}

#[test]
fn who_has_no_valid_key_is_told_the_same_whatever_the_reason() {
    let dir = tempfile::tempdir().expect("a folder");
    let keys = Keys::in_dir(dir.path());
    let good = keys.add("default", "resolve,issue", &["--name", "good one"]);
    let expired = keys.add("default", "resolve", &["--expires", "1ms"]);
    let revoked = keys.add("default", "resolve", &[]);
    keys.revoke(&revoked);
    let launch = Launch::on(&dir.path().join("data")).env(LOG_FILTER, "trace");
    let server = launch.flag("--keys", keys.path()).start();
    let token = issued(&server, &good, r#"{"payload":1}"#);
    let path = format!("/v1/tokens/{token}");
    let mut wrong = good.clone();
    let last = wrong.pop().expect("a character");
    wrong.push(if last == 'A' { 'B' } else { 'A' });
    let basic = good.replace("Bearer", "Basic");
    let mut said = Vec::new();
    for key in [&expired, &revoked, &wrong, &basic, "Bearer x"] {
        // By the hot path and by the service.
        for path in [path.clone(), format!("{path}/status")] {
            let response = send(&server, key, "GET", &path, "");
            assert_eq!(response.status, 401);
            assert!(response.header("www-authenticate").is_some_and(|it| it.starts_with("Bearer")));
            said.push(response.body);
        }
    }
    said.dedup();
    assert_eq!(said.len(), 1);
    let missing = send(&server, "", "GET", &path, "");
    assert_eq!(
        (missing.status, missing.header("www-authenticate")),
        (401, Some("Bearer realm=\"jeton\""))
    );
    let url = format!("{path}?key={}", &good["Bearer ".len()..]);
    assert_eq!(send(&server, "", "GET", &url, "").status, 400, "a key is not taken from a URL");
    // Before the answer reveals which paths exist.
    assert_eq!(send(&server, "", "POST", "/v1/nothing", "").status, 401);
    assert_eq!(resolve(&server, &good, &token), 200);
    for file in [server.stderr(), std::fs::read_to_string(&keys.0).expect("the keys file")] {
        assert!(!file.contains(&good["Bearer jeton_12345678_".len()..]), "P9: {file}");
    }
}

#[test]
fn a_key_does_what_its_scopes_say_and_nothing_else() {
    let dir = tempfile::tempdir().expect("a folder");
    let keys = Keys::in_dir(dir.path());
    let owner = keys.add("default", "issue", &[]);
    let scoped = ["issue", "resolve", "consume", "revoke"];
    let scoped = scoped.map(|scope| (scope, keys.add("default", scope, &[])));
    let server = Launch::on(&dir.path().join("data")).flag("--keys", keys.path()).start();
    for (scope, key) in &scoped {
        let token = issued(&server, &owner, r#"{"payload":1,"uses":9}"#);
        let path = format!("/v1/tokens/{token}");
        for (needed, method, suffix, body) in [
            ("issue", "POST", "", r#"{"payload":1}"#),
            ("issue", "POST", "/batch", r#"{"tokens":[]}"#),
            ("issue", "PATCH", &path[..], r#"{"ttl":"20m"}"#),
            ("resolve", "GET", &path, ""),
            ("resolve", "GET", &format!("{path}/status"), ""),
            ("consume", "POST", &format!("{path}/consume"), ""),
            ("revoke", "DELETE", &path, ""),
        ] {
            let target = if suffix.starts_with("/v1") {
                suffix.to_owned()
            } else {
                format!("/v1/tokens{suffix}")
            };
            let response = send(&server, key, method, &target, body);
            let is_allowed = needed == *scope;
            assert_eq!(response.status != 403, is_allowed, "{scope}: {method} {suffix}");
            assert!(!is_allowed || response.status < 300, "{scope}: {method} {suffix}");
        }
        for (needed, path, more) in [
            ("resolve", "/v1/resolve", ""),
            ("consume", "/v1/consume", ""),
            ("resolve", "/v1/status", ""),
            ("issue", "/v1/extend", r#","ttl":60"#),
            ("revoke", "/v1/revoke", ""),
        ] {
            let by_token = send(&server, key, "POST", path, &format!(r#"{{"tokens":[]{more}}}"#));
            let allowed = if path == "/v1/revoke" { 204 } else { 200 };
            assert_eq!(by_token.status, if needed == *scope { allowed } else { 403 }, "{path}");
            let order = format!(r#"{{"tokens":[{{"reference":{{"order_number":"7"}}}}]{more}}}"#);
            let by_reference = send(&server, key, "POST", path, &order);
            assert_eq!(by_reference.status, 403, "no key here has the scope reference");
        }
    }
}

#[test]
fn keys_come_and_go_while_the_server_runs() {
    let dir = tempfile::tempdir().expect("a folder");
    let keys = Keys::in_dir(dir.path());
    let old = keys.add("default", "issue,resolve", &["--name", "shop"]);
    let server = Launch::on(&dir.path().join("data")).flag("--keys", keys.path()).start();
    let token = issued(&server, &old, r#"{"payload":1}"#);
    // Rotation: both are valid until the old one is revoked.
    let new = keys.add("default", "resolve", &["--name", "shop"]);
    eventually("the new key is known", || resolve(&server, &new, &token) == 200);
    assert_eq!(resolve(&server, &old, &token), 200);
    // On a connection that has presented it before.
    let mut client = Client::of(&server);
    let path = format!("/v1/tokens/{token}");
    let mut ask = || client.send("GET", &path, &[("Authorization", &old)], "").status;
    assert_eq!(ask(), 200);
    keys.revoke(&old);
    eventually("the old key is refused", || ask() == 401);
    // SIGHUP reloads the file, even if it looks unchanged.
    let times_read = || server.stderr().matches("keys loaded").count();
    let before = times_read();
    kill_process(server.pid(), Signal::HUP).expect("it runs");
    eventually("the keys are read again", || times_read() > before);
    // A file that is missing for a moment has no effect, and is loaded when it is back.
    let aside = dir.path().join("aside.toml");
    std::fs::rename(&keys.0, &aside).expect("renamed");
    eventually("the missing file is logged", || server.stderr().contains("can't be"));
    assert_eq!(resolve(&server, &new, &token), 200);
    let before = times_read();
    std::fs::rename(&aside, &keys.0).expect("renamed");
    eventually("it is read again", || times_read() > before);
    // A mistake in the file changes nothing, and is logged.
    std::fs::write(&keys.0, "[[key]]\nid = 7\n").expect("written");
    eventually("the mistake is logged", || server.stderr().contains("can't load the keys"));
    assert_eq!(resolve(&server, &new, &token), 200);
    let listed = Keys::in_dir(dir.path());
    assert!(!run_jeton(&["keys", "list", "--keys", listed.path()]).status.success());
}

#[test]
fn keys_are_listed_as_json_without_their_secrets() {
    let dir = tempfile::tempdir().expect("a folder");
    let keys = Keys::in_dir(dir.path());
    let key = keys.add("shop", "issue,resolve", &["--name", "the \"shop\"", "--expires", "1h"]);
    keys.add("*", "metrics", &["--expires", "never", "--from", "10.0.0.0/8,192.0.2.7"]);
    let listed = run_jeton(&["keys", "list", "--json", "--keys", keys.path()]);
    assert!(listed.status.success());
    let text = String::from_utf8(listed.stdout).expect("UTF-8");
    let list: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let (shop, metrics) = (&list[0], &list[1]);
    assert!(key.contains(shop["id"].as_str().expect("an id")), "{text}");
    assert_eq!(shop["scopes"], serde_json::json!(["issue", "resolve"]));
    assert_eq!((&shop["name"], &shop["state"]), (&"the \"shop\"".into(), &"valid".into()));
    assert_eq!((&shop["holder"], &shop["revoked_at"]), (&shop["id"], &serde_json::Value::Null));
    assert!(shop["expires_at"].is_string() && metrics["expires_at"].is_null(), "{text}");
    assert_eq!((&shop["expires_soon"], &metrics["expires_soon"]), (&true.into(), &false.into()));
    assert_eq!((&shop["from"], &metrics["namespace"]), (&serde_json::json!([]), &"*".into()));
    assert_eq!(metrics["from"], serde_json::json!(["10.0.0.0/8", "192.0.2.7/32"]));
    // It may contain the separator itself.
    let secret = key.splitn(3, '_').nth(2).expect("its random part");
    assert!(!text.contains(secret) && !text.contains("hash"), "{text}");
    let id = shop["id"].as_str().expect("an id");
    assert!(run_jeton(&["keys", "revoke", "--keys", keys.path(), id]).status.success());
    let listed = run_jeton(&["keys", "list", "--json", "--keys", keys.path()]).stdout;
    let list: serde_json::Value = serde_json::from_slice(&listed).expect("JSON");
    assert_eq!(list[0]["state"], "revoked");
    assert!(list[0]["revoked_at"].is_string());
}

#[test]
fn without_a_key_only_the_anonymous_role_is_played() {
    let dir = tempfile::tempdir().expect("a folder");
    let keys = Keys::in_dir(dir.path());
    let [a, b] = ["shop-a", "shop-b"].map(|namespace| keys.add(namespace, "issue", &[]));
    let launch = Launch::on(&dir.path().join("data")).flag("--keys", keys.path());
    let server = launch.flag("--anonymous", "shop-a:resolve,consume").start();
    let [ours, theirs] = [&a, &b].map(|key| issued(&server, key, r#"{"payload":1}"#));
    assert_eq!(resolve(&server, "", &ours), 200);
    assert_eq!(resolve(&server, "", &theirs), 404);
    assert_eq!(resolve(&server, "Bearer x", &ours), 401, "a wrong key is not no key");
    let order = r#"{"tokens":[{"reference":{"order_number":"7"}}]}"#;
    let path = format!("/v1/tokens/{ours}");
    for (method, path, body) in [
        ("POST", "/v1/resolve", order),
        ("POST", "/v1/tokens", r#"{"payload":1}"#),
        ("DELETE", path.as_str(), ""),
    ] {
        let refused = send(&server, "", method, path, body);
        assert_eq!(refused.status, 401, "{method} {path} needs a key");
        assert_eq!(refused.header("www-authenticate"), Some("Bearer realm=\"jeton\""));
        assert!(refused.text().contains("this needs a key with the scope "));
    }
    assert_eq!(send(&server, "", "POST", &format!("{path}/consume"), "").status, 200);
}

/// A key for metrics cannot download payloads, and one for backups cannot read statistics. Only
/// metrics can be granted for a single namespace.
#[test]
fn admin_metrics_and_backup_are_scopes_of_their_own() {
    let dir = tempfile::tempdir().expect("a folder");
    let keys = Keys::in_dir(dir.path());
    let [admin, scraper, backup] =
        ["admin", "metrics", "backup"].map(|scope| keys.add("*", scope, &[]));
    let own = keys.add("shop-a", "metrics,issue", &[]);
    let other = keys.add("default", "issue,resolve,consume,revoke,reference", &[]);
    let server = Launch::on(&dir.path().join("data")).flag("--keys", keys.path()).start();
    let ask = |method: &str, path: &str, key: &str| {
        let mut conn = Conn::open(server.admin).expect("the admin listener is there");
        let headers: &[_] = if key.is_empty() { &[] } else { &[("Authorization", key)] };
        conn.send(&request(method, path, headers, b"")).expect("sends");
        conn.response().expect("an answer")
    };
    for (method, path, opener, found) in [
        ("GET", "/metrics", &scraper, 200),
        ("GET", "/v1/stats", &admin, 200),
        ("GET", "/openapi.json", &admin, 200),
        ("GET", "/nothing", &admin, 404),
        ("POST", "/v1/backup", &backup, 200),
        ("POST", "/cluster/leave", &admin, 404),
        ("POST", "/cluster/forget?node=00000000000000ff", &admin, 404),
        ("POST", "/cluster/forget?node=x", &admin, 400),
        ("POST", "/cluster/finish-upgrade", &admin, 404),
    ] {
        let status = |key: &str| ask(method, path, key).status;
        assert_eq!([status(""), status("Bearer x")], [401, 401], "{path}");
        for key in [&admin, &scraper, &backup, &other] {
            assert_eq!(status(key), if key == opener { found } else { 403 }, "{method} {path}");
        }
    }
    assert_eq!([ask("GET", "/healthz", "").status, ask("GET", "/readyz", "").status], [200, 200]);
    // A namespace's key sees its own series in addition to those of the process.
    let seen = ask("GET", "/metrics", &own);
    assert!(seen.text().contains("jeton_namespace_tokens{namespace=\"shop-a\"}"));
    assert!(
        !seen.text().contains("namespace=\"default\"") && seen.text().contains("jeton_ready 1")
    );
    let all = ask("GET", "/metrics", &scraper);
    for namespace in ["shop-a", "default"] {
        assert!(all.text().contains(&format!("{{namespace=\"{namespace}\"}}")), "{}", all.text());
    }
    // The data listener does not serve the admin paths, and a key of the whole server gives access
    // to no token.
    assert_eq!(send(&server, &admin, "GET", "/v1/stats", "").status, 404);
    assert_eq!(send(&server, &admin, "POST", "/v1/tokens", r#"{"payload":1}"#).status, 403);
}

#[test]
fn scopes_of_the_whole_server_need_the_namespace_of_the_whole_server() {
    let dir = tempfile::tempdir().expect("a folder");
    let keys = Keys::in_dir(dir.path());
    for (namespace, scopes) in [("shop-a", "admin"), ("default", "issue,backup"), ("*", "issue")] {
        let add = ["keys", "add", "--namespace", namespace, "--scope", scopes];
        let refused = run_jeton(&[&add[..], &["--keys", keys.path()]].concat());
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "{namespace} {scopes}: {said}");
        assert!(said.contains("--scope") && said.contains('*'), "{said}");
    }
    // A key written by an earlier version: it is logged, and keeps its remaining access.
    let key = keys.add("shop-a", "issue", &[]);
    let text = std::fs::read_to_string(keys.path()).expect("the file");
    let text = text.replace("[\"issue\"]", "[\"issue\", \"admin\"]");
    std::fs::write(keys.path(), text).expect("written");
    let server = Launch::on(&dir.path().join("data")).flag("--keys", keys.path()).start();
    assert_eq!(send(&server, &key, "POST", "/v1/tokens", r#"{"payload":1}"#).status, 201);
    let mut conn = Conn::open(server.admin).expect("the admin listener is there");
    conn.send(&request("GET", "/v1/stats", &[("Authorization", &key)], b"")).expect("sends");
    assert_eq!(conn.response().expect("an answer").status, 403);
    let id = &key["Bearer jeton_".len()..][..8];
    let logged = server.stderr();
    assert!(logged.contains(id) && logged.contains("--namespace '*'"), "{logged}");
}

#[test]
fn a_server_without_keys_stays_on_loopback() {
    let dir = tempfile::tempdir().expect("a folder");
    let launch = Launch::on(dir.path()).flag("--listen", "0.0.0.0:0");
    let refused = launch.try_start().err().expect("it does not start");
    assert!(refused.stderr.contains("--keys") && refused.stderr.contains("--insecure"));
    assert_eq!(refused.status.code(), Some(2));
    drop(launch.switch("--insecure").start());
    let missing = dir.path().join("none.toml");
    let launch = Launch::on(dir.path()).flag("--keys", missing.to_str().expect("UTF-8"));
    let refused = launch.try_start().err().expect("it does not start");
    assert!(refused.stderr.contains("none.toml"), "{}", refused.stderr);
}

/// `jeton issue` and the other commands present a key from a file.
#[test]
fn the_client_commands_take_a_key_from_a_file() {
    let dir = tempfile::tempdir().expect("a folder");
    let keys = Keys::in_dir(dir.path());
    let key = keys.add("shop", "issue,resolve", &[]);
    let server = Launch::on(&dir.path().join("data")).flag("--keys", keys.path()).start();
    let file = dir.path().join("key");
    std::fs::write(&file, format!("{}\n", &key["Bearer ".len()..])).expect("written");
    let (url, file) = (format!("http://{}", server.data), file.to_str().expect("UTF-8").to_owned());
    let run = |args: &[&str]| run_jeton(&[args, &["--server", &url, "--key-file", &file]].concat());
    let issued = run(&["issue", "{\"a\":1}"]);
    assert!(issued.status.success());
    let token = String::from_utf8(issued.stdout).expect("UTF-8");
    assert_eq!(run(&["resolve", token.trim()]).stdout, b"{\"a\":1}\n");
    let resolve = ["resolve", token.trim(), "--server", &url];
    let by_environment = jeton().args(resolve).env("JETON_KEY_FILE", &file).output();
    assert_eq!(by_environment.expect("it runs").stdout, b"{\"a\":1}\n");
    let revoked = run(&["revoke", token.trim()]);
    assert!(!revoked.status.success());
    assert!(String::from_utf8_lossy(&revoked.stderr).contains("scope revoke"));
}
