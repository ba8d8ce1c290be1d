//! The audit log: every operation and every wrong access has a line, no line contains a secret, and
//! with `--audit-required` requests are refused while they cannot be audited.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::access::{Keys, issued, resolve, send};
use crate::client::{Client, expect};
use crate::full_disk::SmallDisk;
use crate::raw::{Conn, request};
use crate::server::{Launch, Server};
use crate::support::{eventually, not_run};
use crate::volume::volume;

pub const UNKNOWN: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Operations of lines that no request has caused.
const OF_SERVER: [&str; 6] = ["start", "stop", "reload", "key_added", "key_changed", "key_removed"];

/// The lines of requests in a file; the last line may be incomplete if the server was killed.
pub fn lines(file: &Path) -> Vec<Value> {
    of_requests(events(file))
}

fn of_requests(mut events: Vec<Value>) -> Vec<Value> {
    events.retain(|line| !OF_SERVER.contains(&line["operation"].as_str().expect("a text")));
    events
}

/// All lines of a file but checkpoints.
pub fn events(file: &Path) -> Vec<Value> {
    let mut lines = all_lines(file);
    lines.retain(|line| line["operation"] != "checkpoint");
    lines
}

fn all_lines(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).expect("the audit log is there");
    let whole = text.rfind('\n').map_or(0, |end| end + 1);
    let read = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    text[..whole].lines().filter(|line| !line.is_empty()).map(read).collect()
}

/// All lines of a stopped server, from both files.
pub fn lines_at_the_end(server: Server, file: &Path) -> [Vec<Value>; 2] {
    server.stop_well();
    let both = [events(file), events(&refused(file))];
    both.iter().for_each(|lines| assert_whole(lines));
    both.map(of_requests)
}

/// The file of refused or missed requests.
pub fn refused(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".refused");
    name.into()
}

pub fn launch(dir: &Path) -> Launch {
    let file = dir.join("audit.log");
    Launch::on(&dir.join("data")).flag("--audit", file.to_str().expect("UTF-8"))
}

/// Operation, outcome and status of a line.
pub fn what(line: &Value) -> (&str, &str, u64) {
    let text = |name: &str| line[name].as_str().expect("a text");
    (text("operation"), text("outcome"), line["status"].as_u64().unwrap_or(0))
}

fn told(lines: &[Value]) -> Vec<(&str, &str, u64)> {
    lines.iter().map(what).collect()
}

fn mode(file: &Path) -> u32 {
    fs::metadata(file).expect("a file").permissions().mode() & 0o777
}

#[track_caller]
fn assert_whole(lines: &[Value]) {
    // Numbers go on over restarts, also in a file that was begun anew.
    let number = |line: &Value, name: &str| line[name].as_u64().unwrap_or(0);
    let mut next = lines.first().map_or(1, |line| number(line, "seq") - number(line, "missing"));
    for line in lines {
        next += line["missing"].as_u64().unwrap_or(0);
        assert_eq!(line["seq"], next, "{line}");
        next += 1;
    }
}

/// Positions of the lines in which `name` is true.
fn flagged(lines: &[Value], name: &str) -> Vec<usize> {
    (0..lines.len()).filter(|at| lines[*at][name] == true).collect()
}

#[test]
fn every_operation_is_a_line_for_each_token() {
    let dir = tempfile::tempdir().expect("a folder");
    let server = launch(dir.path()).start();
    let mut client = Client::of(&server);
    let token = client.issued(r#"{"payload":1,"uses":2}"#).token;
    let order = json!({"payload": 2, "reference": {"order_number": "7"}}).to_string();
    client.issued(&order);
    expect(&client.issue(&order), 200);
    expect(&client.issue(&order.replace("\"payload\":2", "\"payload\":3")), 409);
    expect(&client.issue_keyed("k", r#"{"payload":1}"#), 201);
    let batch = r#"{"tokens":[{"payload":1},{"payload":null}]}"#;
    expect(&client.post("/v1/tokens/batch", batch), 200);
    expect(&client.resolve(&token), 200);
    expect(&client.resolve(UNKNOWN), 404);
    let list = json!({"tokens": [token, UNKNOWN, {"reference": {"order_number": "7"}}]});
    expect(&client.post("/v1/resolve", &list.to_string()), 200);
    expect(&client.extend(&token, "1h"), 200);
    expect(&client.send("GET", &format!("/v1/tokens/{token}/status"), &[], ""), 200);
    expect(&client.consume_keyed("a", &token), 200);
    expect(&client.consume_keyed("b", &token), 200);
    expect(&client.consume_keyed("b", &token), 200);
    expect(&client.consume_keyed("c", &token), 404);
    expect(&client.resolve(&token), 404);
    expect(&client.post("/v1/consume", &list.to_string()), 200);
    expect(&client.revoke(UNKNOWN), 204);
    let file = dir.path().join("audit.log");
    let [done, missed] = lines_at_the_end(server, &file);
    let expected = [
        ("issue", "ok", 201),
        ("issue", "ok", 201),
        ("issue", "exists", 200),
        ("issue", "ok", 201),
        ("issue", "ok", 200),
        ("resolve", "ok", 200),
        ("resolve", "ok", 200),
        ("resolve", "ok", 200),
        ("extend", "ok", 200),
        ("status", "ok", 200),
        ("consume", "ok", 200),
        ("consume", "ok", 200),
        ("consume", "ok", 200),
        ("consume", "ok", 200),
        ("revoke", "ok", 204),
    ];
    assert_eq!(told(&done), expected);
    let expected = [
        ("issue", "conflict", 409),
        ("issue", "out_of_limits", 200),
        ("resolve", "not_found", 404),
        ("resolve", "not_found", 200),
        ("consume", "already_consumed", 404),
        ("resolve", "already_consumed", 404),
        ("consume", "already_consumed", 200),
        ("consume", "not_found", 200),
    ];
    assert_eq!(told(&missed), expected);
    assert_eq!((flagged(&done, "replay"), flagged(&done, "retry")), (vec![], vec![12]));
    assert_eq!((flagged(&missed, "replay"), flagged(&missed, "retry")), (vec![4, 5, 6], vec![]));
    let by: Vec<_> = [0, 1, 3, 5, 7, 13].iter().map(|at| done[*at]["by"].as_str()).collect();
    let (reference, token) = (Some("reference"), Some("token"));
    assert_eq!(by, [None, reference, Some("idempotency_key"), token, reference, reference]);
    // The same digest from the issue to the last attempt.
    for line in [5, 6, 8, 9, 10].map(|at| &done[at]).into_iter().chain(&missed[4..7]) {
        assert_eq!(line["digest"], done[0]["digest"], "{line}");
    }
    assert_eq!([&file, &refused(&file)].map(|file| mode(file)), [0o600; 2]);
}

#[test]
fn every_wrong_access_is_a_line() {
    let dir = tempfile::tempdir().expect("a folder");
    let keys = Keys::in_dir(dir.path());
    let all = keys.add("shop-a", "issue,resolve,consume,revoke,reference,metrics", &[]);
    let other = keys.add("shop-b", "resolve", &[]);
    let (wrong, revoked) = (format!("{other}x"), keys.add("shop-a", "resolve", &[]));
    keys.revoke(&revoked);
    let server = launch(dir.path())
        .flag("--keys", keys.path())
        .flag("--anonymous", "shop-a:resolve")
        .start();
    let token = issued(&server, &all, r#"{"payload":1}"#);
    let path = format!("/v1/tokens/{token}");
    assert_eq!(resolve(&server, &other, &token), 404);
    assert_eq!(send(&server, &other, "POST", &format!("{path}/consume"), "").status, 403);
    assert_eq!(resolve(&server, &wrong, &token), 401);
    assert_eq!(resolve(&server, &revoked, &token), 401);
    assert_eq!(resolve(&server, "", &token), 200);
    assert_eq!(send(&server, "", "DELETE", &path, "").status, 401);
    let key = all.trim_start_matches("Bearer ");
    assert_eq!(send(&server, "", "GET", &format!("{path}?key={key}"), "").status, 400);
    for (key, status) in [("", 401), (&other[..], 403), (&all[..], 200)] {
        let mut conn = Conn::open(server.admin).expect("connects");
        let mut headers = vec![("Authorization", key)];
        headers.retain(|(_, value)| !value.is_empty());
        conn.send(&request("GET", "/metrics", &headers, b"")).expect("sends");
        assert_eq!(conn.response().expect("an answer").status, status);
    }
    let [done, lines] = lines_at_the_end(server, &dir.path().join("audit.log"));
    let told: Vec<_> = done.iter().map(what).collect();
    assert_eq!(told, [("issue", "ok", 201), ("resolve", "ok", 200)]);
    let told: Vec<_> = lines.iter().map(what).collect();
    let expected = [
        ("resolve", "not_found", 404),
        ("consume", "forbidden", 403),
        ("unknown", "unauthorized", 401),
        ("unknown", "unauthorized", 401),
        ("revoke", "unauthorized", 401),
        ("unknown", "malformed", 400),
        ("admin", "unauthorized", 401),
        ("admin", "forbidden", 403),
    ];
    assert_eq!(told, expected);
    let id = |key: &str| key["Bearer jeton_".len()..][..8].to_owned();
    assert_eq!((&done[0]["key"], &done[0]["namespace"]), (&json!(id(&all)), &json!("shop-a")));
    assert_eq!((&lines[0]["key"], &lines[0]["namespace"]), (&json!(id(&other)), &json!("shop-b")));
    assert_ne!(lines[0]["digest"], done[0]["digest"], "of another namespace");
    assert_eq!((&done[1]["anonymous"], &done[1]["key"]), (&json!(true), &Value::Null));
    assert_eq!((&lines[2]["anonymous"], &lines[2]["key"]), (&Value::Null, &Value::Null));
    assert!(lines.iter().chain(&done).all(|line| {
        let address = line["address"].as_str().expect("an address");
        address.starts_with("127.0.0.1:") && !address.ends_with(":0")
    }));
}

#[test]
fn rivals_leave_one_line_each_and_no_gap() {
    const THREADS: usize = 8;
    const ROUNDS: usize = 50;
    let dir = tempfile::tempdir().expect("a folder");
    let server = launch(dir.path()).switch("--audit-required").start();
    let token = Client::of(&server).issued(r#"{"payload":1,"uses":100}"#).token;
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let mut client = Client::of(&server);
                for _ in 0..ROUNDS {
                    client.consume(&token);
                    client.resolve(&token);
                }
            });
        }
    });
    let lines = lines_at_the_end(server, &dir.path().join("audit.log")).concat();
    let mut counts = BTreeMap::<_, usize>::new();
    for line in &lines {
        *counts.entry((what(line).0, what(line).1)).or_default() += 1;
    }
    assert_eq!(lines.len(), 1 + 2 * THREADS * ROUNDS);
    assert_eq!(counts[&("consume", "ok")], 100, "as many as there were uses");
    assert_eq!(counts[&("consume", "already_consumed")], THREADS * ROUNDS - 100);
}

/// With `--audit-required` a change is answered after its line is written.
#[test]
fn killed_it_lacks_no_line_of_an_acknowledged_change() {
    let dir = tempfile::tempdir().expect("a folder");
    let launch = launch(dir.path()).switch("--audit-required");
    let file = dir.path().join("audit.log");
    for _ in 0..volume("audit_kills", 5) {
        let _ = fs::remove_file(&file);
        let server = launch.start();
        let acknowledged = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let mut client = Client::of(&server);
                    let path = "/v1/tokens";
                    while let Ok(answer) = client.try_send("POST", path, &[], r#"{"payload":1}"#) {
                        expect(&answer, 201);
                        acknowledged.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
            eventually("there is something to lose", || acknowledged.load(Ordering::SeqCst) > 200);
            rustix::process::kill_process(server.pid(), Signal::KILL).expect("it runs");
        });
        let told = events(&file);
        assert_whole(&told);
        let told = of_requests(told);
        let acknowledged = acknowledged.into_inner();
        assert!(told.len() >= acknowledged, "{} lines of {acknowledged}", told.len());
    }
    // Half a line, as a crash of the machine may leave: the next line starts on its own.
    let torn = fs::read_to_string(&file).expect("text") + r#"{"time":"20"#;
    fs::write(&file, torn).expect("it is written");
    let server = launch.start();
    Client::of(&server).issued(r#"{"payload":1}"#);
    server.stop_well();
    let text = fs::read_to_string(&file).expect("text");
    let last = text.lines().rfind(|line| line.contains("issue")).expect("a line");
    let last: Value = serde_json::from_str(last).expect("whole");
    assert_eq!(what(&last), ("issue", "ok", 201));
}

#[test]
fn a_replay_is_warned_of_where_that_is_wanted() {
    let dir = tempfile::tempdir().expect("a folder");
    let server = Launch::on(dir.path()).switch("--warn-on-replay").start();
    let mut client = Client::of(&server);
    let token = client.issued(r#"{"payload":1}"#).token;
    expect(&client.consume(&token), 200);
    expect(&client.consume(&token), 404);
    for _ in 0..20 {
        expect(&client.resolve(&token), 404);
    }
    assert!(crate::admin::metrics(&server).contains("jeton_replays_total 21\n"));
    let (_, stderr) = server.stop(Signal::TERM);
    let warnings = stderr.lines().filter(|line| line.contains("presented again"));
    let warnings: Vec<_> = warnings.collect();
    assert!(!warnings.is_empty() && warnings.len() < 21, "{stderr}");
    assert!(warnings[0].contains("WARN") && !warnings[0].contains(&token), "{}", warnings[0]);
}

#[test]
fn p9_no_secret_is_in_the_audit_log() {
    let dir = tempfile::tempdir().expect("a folder");
    let keys = Keys::in_dir(dir.path());
    let all = keys.add("shop-a", "issue,resolve,consume,revoke,reference", &[]);
    for with_keys in [false, true] {
        let launch = launch(dir.path()).switch("--warn-on-replay");
        let launch = if with_keys { launch.flag("--keys", keys.path()) } else { launch };
        let server = launch.start();
        let mut client = Client::of(&server);
        if with_keys {
            let order = json!({"payload": crate::secrecy::PAYLOAD,
                "reference": {"order_number": crate::secrecy::ORDER}});
            let token = issued(&server, &all, &order.to_string());
            assert_eq!(resolve(&server, &all, &token), 200);
            assert_eq!(resolve(&server, "Bearer of-nothing", &token), 401);
            server.stop_well();
            assert_silent(dir.path(), &[token, all["Bearer ".len()..].to_owned()]);
            continue;
        }
        let (tokens, _) = crate::secrecy::exercise(&mut client);
        server.stop_well();
        assert_silent(dir.path(), &tokens);
    }
}

fn assert_silent(dir: &Path, secrets: &[String]) {
    let file = dir.join("audit.log");
    assert!(!lines(&file).is_empty(), "there is something to search");
    assert!(!lines(&refused(&file)).is_empty(), "there too");
    let read = |file: &Path| fs::read(file).expect("a file");
    let bytes = [read(&file), read(&refused(&file))].concat();
    let text = String::from_utf8_lossy(&bytes).to_lowercase();
    let fixed = [crate::secrecy::PAYLOAD, crate::secrecy::ORDER, crate::secrecy::KEY];
    for secret in secrets.iter().map(String::as_str).chain(fixed) {
        assert!(!text.contains(&secret.to_lowercase()), "the audit log shows {secret}");
        assert!(!text.contains(&secret[1..].to_lowercase()), "all but one character of {secret}");
        let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
        assert!(!text.contains(&hex), "the audit log shows {secret} in hexadecimal");
    }
    for token in secrets.iter().filter(|secret| secret.len() == 32) {
        let raw = crate::secrecy::raw_bytes(token);
        let hex: String = raw.iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(!text.contains(&hex), "the bytes of a token");
        assert!(!bytes.windows(raw.len()).any(|window| window == raw), "the bytes of a token");
    }
}

#[test]
fn a_full_file_is_put_aside_and_one_that_was_taken_away_is_begun_again() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("audit.log");
    let server = launch(dir.path()).flag("--audit-max-size", "1MiB").start();
    let mut client = Client::of(&server);
    let tokens = vec![client.issued(r#"{"payload":1}"#).token; 1000];
    let list = json!({ "tokens": tokens }).to_string();
    let rounds = 12;
    for _ in 0..rounds {
        expect(&client.post("/v1/resolve", &list), 200);
    }
    let aside = dir.path().join("kept-by-somebody");
    fs::rename(&file, &aside).expect("it is renamed");
    eventually("it is begun again", || file.exists());
    expect(&client.resolve(&tokens[0]), 200);
    server.stop_well();
    let mut all = Vec::new();
    let mut names: Vec<_> = fs::read_dir(dir.path())
        .expect("a folder")
        .map(|entry| entry.expect("one").path())
        .collect();
    names.sort();
    let put_aside = names.iter().filter(|name| name.to_string_lossy().contains("audit.log.2"));
    for name in put_aside.clone().chain([&aside, &file]) {
        assert!(fs::metadata(name).expect("a file").len() <= 1 << 20, "{name:?}");
        all.extend(events(name));
    }
    assert!(put_aside.count() >= 1, "{names:?}");
    // The file may have been moved before or after a rotation.
    all.sort_by_key(|line| line["seq"].as_u64());
    assert_whole(&all);
    assert_eq!(of_requests(all).len(), 1 + rounds * 1000 + 1);
}

#[test]
fn a_full_disk_refuses_what_must_be_audited_and_nothing_else() {
    for is_required in [true, false] {
        let dir = tempfile::tempdir().expect("a folder");
        let disk_dir = dir.path().join("disk");
        fs::create_dir(&disk_dir).expect("a folder");
        let Some(disk) = SmallDisk::mount(&disk_dir) else {
            return not_run("an audit log on a full disk", "no tmpfs may be mounted here");
        };
        let file = disk_dir.join("audit.log");
        let name = file.to_str().expect("UTF-8");
        let launch = Launch::on(&dir.path().join("data")).flag("--audit", name);
        let launch = if is_required { launch.switch("--audit-required") } else { launch };
        let server = launch.start();
        let mut client = Client::of(&server);
        let token = client.issued(r#"{"payload":1,"uses":10000}"#).token;
        disk.fill_up();
        let is_failing =
            |server: &Server| crate::admin::metrics(server).contains("jeton_audit_failing 1\n");
        let mut acknowledged = 1;
        eventually("the disk's end is felt", || {
            acknowledged += usize::from(client.consume(&token).status == 200);
            is_failing(&server)
        });
        for _ in 0..10 {
            let answer = client.consume(&token);
            if is_required {
                expect(&answer, 503);
                assert!(answer.text().contains("audit log"), "{}", answer.text());
                assert_eq!(answer.header("retry-after"), Some("1"));
                expect(&client.resolve(&token), 503);
            } else {
                expect(&answer, 200);
                acknowledged += 1;
            }
        }
        // The free space is looked at once a second.
        eventually("both warnings are there", || {
            let mut admin = Conn::open(server.admin).expect("connects");
            admin.send(&request("GET", "/readyz", &[], b"")).expect("sends");
            let ready = admin.response().expect("an answer");
            expect(&ready, 200);
            let has = |line: &str| ready.text().contains(line);
            has("warning: audit_disk: ") && has("warning: audit_failing: ")
        });
        disk.give_back();
        eventually("changes come back", || {
            let is_done = client.consume(&token).status == 200;
            acknowledged += usize::from(is_done);
            is_done && !is_failing(&server)
        });
        let [told, _] = lines_at_the_end(server, &file);
        let done = told.iter().filter(|line| what(line).1 == "ok").count();
        assert_eq!(done, acknowledged, "each change has its line, also those made meanwhile");
    }
}

#[test]
fn a_file_that_cannot_be_kept_is_refused_at_the_start() {
    let dir = tempfile::tempdir().expect("a folder");
    let launch = |file: &str| Launch::on(&dir.path().join("data")).flag("--audit", file);
    for file in ["/nowhere/at/all.log", dir.path().to_str().expect("UTF-8")] {
        let refused = launch(file).try_start().err().expect("it cannot start");
        assert!(refused.stderr.contains(&format!("--audit {file}")), "{}", refused.stderr);
    }
    let refused = Launch::on(dir.path()).switch("--audit-required").try_start();
    let refused = refused.err().expect("it cannot start");
    assert!(refused.stderr.contains("--audit-required needs --audit"), "{}", refused.stderr);
}
