//! Backup and restore, from outside: a backup taken while writers continue and the ring turns
//! contains one moment of the log, token by token; an incomplete one never looks complete; a
//! damaged one is refused.

mod gate;
mod hostile;
mod load;
mod signed;
mod writer;

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use crate::client::{Client, expect};
use crate::raw::{Conn, request};
use crate::server::{Launch, Server, jeton, output, wait};
use crate::support::{eventually, files_under, not_run, wait_past};
use gate::{Gate, PASSES_CLOSED};

const PAYLOAD_LEN: usize = 16 << 10;

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn run(args: &[&str]) -> Output {
    output(jeton().args(args))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn backup_command(admin: SocketAddr, dir: &Path) -> Command {
    let mut command = jeton();
    command.args(["backup", "--server", &format!("http://{admin}"), text(dir)]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Takes a backup, which must succeed, and returns its manifest.
fn take(server: &Server, dir: &Path) -> Value {
    let output = output(&mut backup_command(server.admin, dir));
    assert!(output.status.success(), "{}", said(&output));
    manifest(dir)
}

fn manifest(dir: &Path) -> Value {
    let text = std::fs::read(dir.join("manifest.json")).expect("a manifest");
    serde_json::from_slice(&text).expect("JSON")
}

fn export(data: &Path, out: &Path) {
    let output = run(&["secret", "export", "--data", text(data), "--out", text(out)]);
    assert!(output.status.success(), "{}", said(&output));
}

fn restore(backup: &Path, data: &Path, secret: &Path) -> Output {
    run(&["restore", text(backup), "--data", text(data), "--secret", text(secret)])
}

fn stats(server: &Server) -> Value {
    let mut conn = Conn::open(server.admin).expect("the admin listener is there");
    conn.send(&request("GET", "/v1/stats", &[], b"")).expect("sends");
    conn.response().expect("an answer").json()
}

fn number(stats: &Value, name: &str) -> u64 {
    stats["log"][name].as_u64().expect("a number")
}

fn is_running(server: &Server) -> bool {
    stats(server)["backup_running"].as_bool().expect("a bool")
}

/// Size of the log, which exceeds the buffers of a held backup: its pieces, and those of the
/// system.
fn fill(server: &Server, client: &mut Client, segments: u64) -> Vec<String> {
    let mut kept = Vec::new();
    while number(&stats(server), "segments") < segments {
        let payload = "k".repeat(PAYLOAD_LEN);
        kept.push(client.issued(&json!({"payload": payload, "ttl": "1h"}).to_string()).token);
    }
    kept
}

#[test]
fn p3_what_expired_since_does_not_come_back_and_what_was_consumed_stays_so() {
    let dir = tempfile::tempdir().expect("a folder");
    let [data, backup, secret, restored] =
        ["data", "backup", "secret", "restored"].map(|name| dir.path().join(name));
    let server = Launch::on(&data).start();
    let mut client = Client::of(&server);
    let short = client.issued(r#"{"payload":1,"ttl":"3s"}"#);
    let [consumed, revoked, later, kept] =
        [1, 2, 3, 4].map(|_| client.issued(r#"{"payload":2,"ttl":"10m"}"#).token);
    expect(&client.consume(&consumed), 200);
    expect(&client.revoke(&revoked), 204);
    take(&server, &backup);
    expect(&client.consume(&later), 200);
    let unknown = client.issued(r#"{"payload":5,"ttl":"10m"}"#).token;
    export(&data, &secret);
    wait_past(&short.expires_at);
    // The old server may even be running, because nothing is shared.
    assert!(restore(&backup, &restored, &secret).status.success());
    let again = Launch::on(&restored).start();
    let mut client = Client::of(&again);
    for (token, status) in
        [(&short.token, 404), (&consumed, 404), (&revoked, 404), (&unknown, 404), (&kept, 200)]
    {
        expect(&client.resolve(token), status);
    }
    // The effects that the restore warns about.
    expect(&client.consume(&later), 200);
    expect(&client.consume(&later), 404);
    // A backup of the restored server works as well.
    let second = dir.path().join("second");
    assert_eq!(take(&again, &second)["log_id"], manifest(&backup)["log_id"]);
}

#[test]
fn a_backup_that_breaks_off_never_looks_whole_and_holds_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let backup = dir.path().join("backup");
    let server = Launch::on(&dir.path().join("data")).start();
    fill(&server, &mut Client::of(&server), 16);
    // The client is killed.
    let mut child = Gate::before(server.admin).begin(&backup);
    assert!(is_running(&server) && !backup.exists());
    child.kill().expect("a child of ours");
    child.wait().expect("it has ended");
    assert!(!backup.exists() && dir.path().join("backup.partial").exists());
    eventually("nothing is held", || !is_running(&server));
    assert_eq!(stats(&server)["backups_broken"], 1);
    // Its remains do not stop the next backup, and are removed.
    take(&server, &backup);
    assert!(!dir.path().join("backup.partial").exists());
    assert!(run(&["backup", "verify", text(&backup)]).status.success());
    // Existing files are not overwritten.
    let before = std::fs::read(backup.join("manifest.json")).expect("a manifest");
    let refused = output(&mut backup_command(server.admin, &backup));
    assert!(!refused.status.success() && said(&refused).contains("not empty"));
    assert_eq!(std::fs::read(backup.join("manifest.json")).expect("a manifest"), before);
    // The server is killed.
    let (second, gate) = (dir.path().join("second"), Gate::before(server.admin));
    let mut child = gate.begin(&second);
    server.kill9();
    gate.open();
    assert_eq!(wait(&mut child).code(), Some(3));
    let ended = child.wait_with_output().expect("its output");
    assert!(said(&ended).contains("the backup ended after"), "{}", said(&ended));
    assert!(!second.exists() && !dir.path().join("second.partial").exists());
}

#[test]
fn a_backup_to_a_full_disk_leaves_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let small = dir.path().join("small");
    std::fs::create_dir(&small).expect("a folder");
    let mounted =
        Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(&small).output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        return not_run("a backup to a full disk", "this process may not mount a tmpfs");
    }
    let server = Launch::on(&dir.path().join("data")).start();
    fill(&server, &mut Client::of(&server), 16);
    let refused = output(&mut backup_command(server.admin, &small.join("backup")));
    let left = files_under(&small);
    let unmounted = Command::new("umount").arg(&small).output();
    assert!(unmounted.is_ok_and(|output| output.status.success()), "it was mounted");
    assert!(!refused.status.success() && said(&refused).contains("can't write"));
    assert!(left.is_empty(), "{left:?}");
    eventually("nothing is held", || !is_running(&server));
}

#[test]
fn a_damaged_backup_is_refused_by_verify_and_by_restore() {
    let dir = tempfile::tempdir().expect("a folder");
    let [data, backup, secret, restored] =
        ["data", "backup", "secret", "restored"].map(|name| dir.path().join(name));
    let server = Launch::on(&data).start();
    let mut client = Client::of(&server);
    while number(&stats(&server), "segments") < 3 {
        let payload = "k".repeat(PAYLOAD_LEN);
        client.issued(&json!({"payload": payload}).to_string());
    }
    take(&server, &backup);
    export(&data, &secret);
    let refused = |what: &str| {
        let verified = run(&["backup", "verify", text(&backup)]);
        assert_eq!(verified.status.code(), Some(1), "{what}: verify");
        let output = restore(&backup, &restored, &secret);
        assert_eq!(output.status.code(), Some(1), "{what}: restore");
        assert!(said(&output).starts_with("error: ") && said(&output).contains(text(&backup)));
        assert!(!restored.exists() && !dir.path().join("restored.partial").exists(), "{what}");
    };
    for path in files_under(&backup) {
        let (name, bytes) = (text(&path), std::fs::read(&path).expect("a file"));
        // The middle, the first and the last byte, which is a zero that was never written.
        for at in [bytes.len() / 2, 0, bytes.len() - 1] {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            std::fs::write(&path, &flipped).expect("written");
            refused(&format!("{name}: a flipped bit at {at}"));
        }
        std::fs::write(&path, &bytes[..bytes.len() - 1]).expect("written");
        refused(&format!("{name}: cut"));
        std::fs::write(&path, [&bytes[..], b"\0"].concat()).expect("written");
        refused(&format!("{name}: longer"));
        std::fs::remove_file(&path).expect("removed");
        refused(&format!("{name}: missing"));
        std::fs::write(&path, &bytes).expect("written");
    }
    let extra = backup.join("segment-0000000000000009.log");
    std::fs::write(&extra, b"x").expect("written");
    refused("a file more");
    std::fs::remove_file(&extra).expect("removed");
    assert!(run(&["backup", "verify", text(&backup)]).status.success(), "else it is whole");
    assert!(restore(&backup, &restored, &secret).status.success());
}

#[test]
fn p9_the_secret_is_exported_on_purpose_and_must_be_the_right_one() {
    let dir = tempfile::tempdir().expect("a folder");
    let [data, backup, secret, restored] =
        ["data", "backup", "secret", "restored"].map(|name| dir.path().join(name));
    let server = Launch::on(&data).start();
    take(&server, &backup);
    assert_eq!(manifest(&backup)["holds_secret"], false);
    export(&data, &secret);
    let bytes = std::fs::read(&secret).expect("a secret");
    let mode = std::fs::metadata(&secret).expect("a file").permissions().mode();
    assert_eq!((bytes.len(), mode & 0o777), (32, 0o600));
    let again = run(&["secret", "export", "--data", text(&data), "--out", text(&secret)]);
    assert!(
        !again.status.success() && said(&again).contains("existing files are never overwritten")
    );
    // The secret of another server, of a wrong length, and a missing one.
    let other = dir.path().join("other");
    for wrong in [Some(vec![7; 32]), Some(vec![7; 31]), None] {
        match &wrong {
            Some(bytes) => std::fs::write(&other, bytes).expect("written"),
            None => std::fs::remove_file(&other).expect("removed"),
        }
        let refused = restore(&backup, &restored, &other);
        assert_eq!(refused.status.code(), Some(1));
        assert!(said(&refused).contains(text(&other)), "{}", said(&refused));
        assert!(!restored.exists());
    }
    let given = ["secret", "export", "--data", text(&data), "--out", text(&other)];
    std::fs::write(dir.path().join("wrong"), [7; 32]).expect("written");
    let wrong = dir.path().join("wrong");
    let refused = run(&[&given[..], &["--secret-file", text(&wrong)]].concat());
    assert!(!refused.status.success() && !other.exists(), "not the secret of this log");
    // A non-empty directory is not overwritten.
    std::fs::create_dir(&restored).expect("a folder");
    std::fs::write(restored.join("letter"), b"mine").expect("written");
    let refused = restore(&backup, &restored, &secret);
    assert!(!refused.status.success() && said(&refused).contains("not empty"));
    std::fs::remove_file(restored.join("letter")).expect("removed");
    assert!(restore(&backup, &restored, &secret).status.success(), "an empty one is taken");
    for (_, bytes) in files_under(&backup).iter().map(|path| (path, std::fs::read(path))) {
        assert!(!bytes.expect("a file").windows(32).any(|part| part == &bytes_of(&secret)[..]));
    }
}

fn bytes_of(path: &PathBuf) -> Vec<u8> {
    std::fs::read(path).expect("a file")
}

#[test]
fn a_backup_is_for_one_at_a_time_with_the_scope_backup() {
    let dir = tempfile::tempdir().expect("a folder");
    let keys = dir.path().join("keys.toml");
    let key = |namespace: &str, scope: &str| {
        let add = ["keys", "add", "--namespace", namespace, "--scope", scope];
        let output = run(&[&add[..], &["--keys", text(&keys)]].concat());
        assert!(output.status.success(), "{}", said(&output));
        String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
    };
    let admin = key("*", "backup");
    let other = key("default", "issue,resolve,consume,revoke,reference");
    let server = Launch::on(&dir.path().join("data")).flag("--keys", text(&keys)).start();
    let mut client = Client::of(&server);
    for _ in 0..900 {
        let body = json!({"payload": "k".repeat(PAYLOAD_LEN), "ttl": "1h"}).to_string();
        let bearer = format!("Bearer {other}");
        expect(&client.send("POST", "/v1/tokens", &[("Authorization", &bearer)], &body), 201);
    }
    let begin = |key: &str, method: &str| {
        let mut conn = Conn::open(server.admin).expect("the admin listener is there");
        let bearer = format!("Bearer {key}");
        let headers = [("Authorization", &bearer[..])];
        let headers = if key.is_empty() { &headers[..0] } else { &headers[..] };
        conn.send(&request(method, "/v1/backup", headers, b"")).expect("sends");
        conn.response().expect("an answer")
    };
    assert_eq!(begin("", "POST").status, 401);
    assert_eq!(begin(&other, "POST").status, 403);
    let refused = begin(&admin, "GET");
    assert_eq!((refused.status, refused.header("allow")), (405, Some("POST")));
    let (backup, key_file) = (dir.path().join("backup"), dir.path().join("key"));
    std::fs::write(&key_file, format!("{admin}\n")).expect("written");
    let refused = output(&mut backup_command(server.admin, &backup));
    assert!(said(&refused).contains("401"), "{}", said(&refused));
    assert!(!backup.exists() && !dir.path().join("backup.partial").exists());
    let gate = Gate::before(server.admin);
    let mut command = backup_command(gate.address, &backup);
    let mut child = command.args(["--key-file", text(&key_file)]).spawn().expect("it runs");
    eventually("one is begun", || gate.passed.load(Ordering::SeqCst) >= PASSES_CLOSED as u64);
    let second = begin(&admin, "POST");
    assert_eq!(second.status, 409, "{}", second.text());
    gate.open();
    assert!(wait(&mut child).success());
    assert!(run(&["backup", "verify", text(&backup)]).status.success());
    assert_eq!(begin(&admin, "POST").status, 200, "and then again");
}

#[test]
fn a_server_that_keeps_nothing_has_no_backup() {
    let server = Server::fresh_with(|launch| launch.switch("--memory-only"));
    let dir = tempfile::tempdir().expect("a folder");
    let refused = output(&mut backup_command(server.admin, &dir.path().join("backup")));
    assert!(said(&refused).contains("409") && said(&refused).contains("has no log on disk"));
    assert!(files_under(dir.path()).is_empty());
}

/// Nor does one take a node out of its cluster.
#[test]
fn a_page_in_a_browser_decides_nothing_about_a_cluster() {
    let server = Server::fresh();
    for path in ["/cluster/leave", "/cluster/forget?node=00000000000000ff"] {
        let asked = |headers: &[(&str, &str)]| {
            let mut conn = Conn::open(server.admin).expect("the admin listener is there");
            conn.send(&request("POST", path, headers, b"")).expect("sends");
            conn.response().expect("an answer").status
        };
        assert_eq!(asked(&[("Origin", "http://attacker.example:7451")]), 403, "{path}");
        assert_eq!(asked(&[]), 404, "{path}: a single server");
    }
}

/// A page whose name was made to resolve to a server without keys could read the answer.
#[test]
fn a_page_in_a_browser_takes_no_backup() {
    let server = Server::fresh();
    let begin = |headers: &[(&str, &str)]| {
        let mut conn = Conn::open(server.admin).expect("the admin listener is there");
        conn.send(&request("POST", "/v1/backup", headers, b"")).expect("sends");
        conn.response().expect("an answer").status
    };
    assert_eq!(begin(&[("Origin", "http://attacker.example:7451")]), 403);
    assert_eq!(begin(&[("Origin", "null")]), 403);
    assert_eq!(begin(&[("Origin", "http://jeton")]), 403, "nor one of the server's own origin");
    assert_eq!(begin(&[]), 200);
}
