//! Starting and stopping: flags, environment, the secret, the lock, and the messages if one of them
//! is wrong.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::thread::sleep;
use std::time::Duration;

use jeton::build_info::{COMMIT, VERSION};
use rustix::process::{Signal, kill_process};

use crate::client::{Client, expect};
use crate::raw::Conn;
use crate::server::{Launch, Refused, Server, jeton, output};

#[track_caller]
fn refused(launch: &Launch) -> Refused {
    match launch.try_start() {
        Err(refused) => {
            assert!(!refused.status.success(), "refused with success: {}", refused.stderr);
            assert!(!refused.stderr.contains("panicked"), "{}", refused.stderr);
            refused
        }
        Ok(_) => panic!("the server started"),
    }
}

#[test]
fn a_second_server_on_the_same_folder_is_refused() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let launch = Launch::on(dir.path());
    let server = launch.start();
    let token = Client::of(&server).issued(r#"{"payload":1}"#).token;
    let refusal = refused(&launch);
    let name = dir.path().to_str().expect("UTF-8");
    assert!(refusal.stderr.contains(name), "{}", refusal.stderr);
    expect(&Client::of(&server).consume(&token), 200);
    server.kill9();
    launch.start().stop_well();
}

#[test]
fn a_port_in_use_is_refused() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("its address").to_string();
    for flag in ["--listen", "--admin-listen"] {
        let refusal = refused(&Launch::on(dir.path()).flag(flag, &address));
        assert!(refusal.stderr.contains(&address), "{}", refusal.stderr);
    }
}

#[test]
fn localhost_is_both_loopbacks_with_one_port() {
    let server = Server::fresh_with(|launch| {
        launch.flag("--listen", "localhost:0").flag("--admin-listen", "localhost:0")
    });
    let has_v6 = std::net::TcpListener::bind("[::1]:0").is_ok();
    for (name, address) in [("data", server.data), ("admin", server.admin)] {
        assert!(address.is_ipv4(), "{name}: {address}");
        for ip in ["127.0.0.1", "::1"].iter().take(if has_v6 { 2 } else { 1 }) {
            let ip: std::net::IpAddr = ip.parse().expect("an address");
            let address = (ip, address.port()).into();
            let mut conn = Conn::open(address).expect("it listens");
            conn.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("sent");
            let expected = if name == "admin" { 200 } else { 404 };
            assert_eq!(conn.response().expect("an answer").status, expected, "{name} at {address}");
        }
    }
    server.stop_well();
}

#[test]
fn the_secret_is_made_once_and_only_for_its_owner() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    Launch::on(dir.path()).start().stop_well();
    let path = dir.path().join("secret.key");
    let secret = std::fs::read(&path).expect("a secret");
    let mode = path.metadata().expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    Launch::on(dir.path()).start().stop_well();
    assert_eq!(std::fs::read(&path).expect("a secret"), secret);
}

#[test]
fn data_without_its_secret_is_refused() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let server = Launch::on(dir.path()).start();
    let token = Client::of(&server).issued(r#"{"payload":1,"ttl":"1h"}"#).token;
    server.stop_well();
    let (path, aside) = (dir.path().join("secret.key"), dir.path().join("aside"));
    std::fs::rename(&path, &aside).expect("moved");
    let refusal = refused(&Launch::on(dir.path()));
    assert!(refusal.stderr.contains("secret.key"), "{}", refusal.stderr);
    assert!(!path.exists(), "a new secret was made beside old data");
    std::fs::rename(&aside, &path).expect("moved back");
    let server = Launch::on(dir.path()).start();
    expect(&Client::of(&server).resolve(&token), 200);
}

#[test]
fn a_damaged_secret_is_refused() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    Launch::on(dir.path()).start().stop_well();
    let path = dir.path().join("secret.key");
    let secret = std::fs::read(&path).expect("a secret");
    for bad in [&secret[..secret.len() / 2], &[]] {
        std::fs::write(&path, bad).expect("written");
        let refusal = refused(&Launch::on(dir.path()));
        assert!(refusal.stderr.contains("secret.key"), "{}", refusal.stderr);
    }
}

#[test]
fn a_secret_file_serves_in_place_of_the_one_beside_the_data() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (one, other) = (dir.path().join("one"), dir.path().join("other"));
    Launch::on(&one).start().stop_well();
    let secret = one.join("secret.key");
    let launch = Launch::on(&other).flag("--secret-file", secret.to_str().expect("UTF-8"));
    let server = launch.start();
    let body = r#"{"payload":1,"reference":{"order_number":"1"}}"#;
    let token = Client::of(&server).issued(body).token;
    server.stop_well();
    assert!(!other.join("secret.key").exists());
    let server = Launch::on(&one).start();
    assert_eq!(Client::of(&server).issued(body).token, token, "one secret, one token");
    server.stop_well();
    refused(&Launch::on(&other).flag("--secret-file", "/nowhere/secret.key"));
}

#[test]
fn every_mistake_is_reported_at_once() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let refusal = refused(
        &Launch::on(dir.path())
            .flag("--segment-size", "64KiB")
            .flag("--log-min-size", "128KiB")
            .flag("--default-ttl", "0s")
            .flag("--max-ttl", "0s")
            .flag("--max-batch", "0")
            .flag("--max-payload", "0")
            .flag("--max-connections", "0")
            .flag("--workers", "0"),
    );
    for flag in [
        "segment-size",
        "log-min-size",
        "default-ttl",
        "max-ttl",
        "max-batch",
        "max-payload",
        "max-connections",
        "workers",
    ] {
        assert!(refusal.stderr.contains(flag), "nothing about {flag}: {}", refusal.stderr);
    }
    assert!(!dir.path().join("secret.key").exists(), "validated after a side effect");
}

#[test]
fn values_that_contradict_each_other_are_reported() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for (flag, value, named) in [
        ("--log-min-size", "3MiB", "log-min-size"),
        ("--max-ttl", "5m", "default-ttl"),
        ("--max-payload", "2MiB", "max-payload"),
    ] {
        let refusal = refused(&Launch::on(dir.path()).flag(flag, value));
        assert!(refusal.stderr.contains(named), "nothing about {named}: {}", refusal.stderr);
    }
}

#[test]
fn values_that_cannot_be_read_are_refused_by_name() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for (flag, value) in [
        ("--listen", "nowhere"),
        ("--workers", "many"),
        ("--sync", "sometimes"),
        ("--segment-size", "1 parsec"),
        ("--default-ttl", "soon"),
        ("--max-ttl", "99999999999999999999d"),
        ("--max-payload", "99999999999999999999GiB"),
    ] {
        let refusal = refused(&Launch::on(dir.path()).flag(flag, value));
        assert!(refusal.stderr.contains(&flag[2..]), "nothing about {flag}: {}", refusal.stderr);
    }
    refused(&Launch::on(dir.path()).switch("--no-such-flag"));
}

#[test]
fn the_environment_sets_every_flag() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let launch = Launch::bare()
        .env("JETON_LISTEN", "127.0.0.1:0")
        .env("JETON_ADMIN_LISTEN", "127.0.0.1:0")
        .env("JETON_DATA_DIR", dir.path().to_str().expect("UTF-8"))
        .env("JETON_WORKERS", "1")
        .env("JETON_SEGMENT_SIZE", "1MiB")
        .env("JETON_LOG_MIN_SIZE", "4MiB")
        .env("JETON_SYNC", "never")
        .env("JETON_MAX_BATCH", "1")
        .env("JETON_MAX_TTL", "1h");
    let server = launch.start();
    let mut client = Client::of(&server);
    expect(&client.issue(r#"{"payload":1,"ttl":"2h"}"#), 422);
    expect(&client.issue(r#"{"payload":1,"ttl":"1h"}"#), 201);
    expect(&client.post("/v1/tokens/batch", r#"{"tokens":[{"payload":1},{"payload":1}]}"#), 422);
    server.stop_well();
    assert!(dir.path().join("secret.key").exists(), "JETON_DATA_DIR was not heard");
    let server = launch.flag("--max-batch", "2").start();
    let batch = r#"{"tokens":[{"payload":1},{"payload":1}]}"#;
    expect(&Client::of(&server).post("/v1/tokens/batch", batch), 200);
}

#[test]
fn a_mistake_in_the_environment_is_reported_too() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let refusal = refused(&Launch::on(dir.path()).env("JETON_MAX_BATCH", "none"));
    let named = ["JETON_MAX_BATCH", "max-batch"].iter().any(|name| refusal.stderr.contains(name));
    assert!(named, "{}", refusal.stderr);
}

#[test]
fn p1_signals_end_the_server_well() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut tokens = Vec::new();
    for signal in [Signal::TERM, Signal::INT] {
        let server = Launch::on(dir.path()).flag("--sync", "never").start();
        let mut client = Client::of(&server);
        for _ in 0..200 {
            tokens.push(client.issued(r#"{"payload":"kept","ttl":"1h"}"#).token);
        }
        let (status, stderr) = server.stop(signal);
        assert_eq!(status.code(), Some(0), "{signal:?}: {stderr}");
    }
    let server = Launch::on(dir.path()).start();
    assert_eq!(server.tokens, 400);
    let known: Vec<&str> = tokens.iter().map(String::as_str).collect();
    let found = Client::of(&server).resolve_many(&known);
    assert_eq!(found.text().matches("kept").count(), 400);
}

/// An idle keep-alive connection must not delay the shutdown, and requests are answered.
#[test]
fn a_stopping_server_waits_for_no_idle_client() {
    let server = Server::fresh();
    let mut client = Client::of(&server);
    expect(&client.issue(r#"{"payload":1}"#), 201);
    let _silent = Conn::open(server.data).expect("connects");
    server.stop_well();
}

/// A request that is being read delays a stop. Supervisors repeat SIGTERM, and some send SIGINT
/// with it; a second Ctrl-C ends the wait.
#[test]
fn p1_a_second_sigint_ends_the_drain_and_the_log_in_good_order() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut server = Launch::on(dir.path()).flag("--sync", "never").start();
    let token = Client::of(&server).issued(r#"{"payload":"kept","ttl":"1h"}"#).token;
    let mut slow = Conn::open(server.data).expect("connects");
    slow.send(
        b"POST /v1/tokens HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
              Expect: 100-continue\r\nContent-Length: 13\r\n\r\n",
    )
    .expect("the server reads");
    // After the interim answer the server waits for the body.
    slow.stream().read_exact(&mut [0; 12]).expect("100 Continue");
    for signal in [Signal::TERM, Signal::TERM, Signal::INT] {
        kill_process(server.pid(), signal).expect("it runs");
    }
    sleep(Duration::from_millis(1_000));
    assert!(server.is_running(), "the drain was ended: {}", server.stderr());
    let (status, stderr) = server.stop(Signal::INT);
    assert_eq!(status.code(), Some(0), "{stderr}");
    assert!(stderr.contains("second SIGINT: the drain ends early"), "{stderr}");
    assert!(!stderr.contains("not all requests were finished in time"), "{stderr}");

    let server = Launch::on(dir.path()).start();
    assert_eq!(server.tokens, 1, "a log that was not synced at its end");
    expect(&Client::of(&server).resolve(&token), 200);
}

#[test]
fn standard_output_has_the_ready_line_and_nothing_else() {
    let server = Server::fresh();
    Client::of(&server).issued(r#"{"payload":1}"#);
    let stdout = server.stdout();
    assert_eq!(stdout.lines().count(), 1, "{stdout}");
    assert!(stdout.starts_with("jeton ready: "), "{stdout}");
}

#[test]
fn help_and_version_are_there() {
    for arguments in [&["--help"][..], &["--version"], &["serve", "--help"], &["verify", "--help"]]
    {
        let output = output(jeton().args(arguments));
        assert!(output.status.success(), "{arguments:?}");
        assert!(!output.stdout.is_empty(), "{arguments:?}");
    }
    let version = output(jeton().arg("--version")).stdout;
    let commit = String::from_utf8(version).expect("UTF-8");
    let commit = commit.trim_end().strip_prefix("jeton ").and_then(|rest| rest.split_once(' '));
    let (number, commit) = commit.expect("a version and a commit");
    let aes = if jeton::build_info::HAS_AES { "aes" } else { "no aes" };
    assert_eq!((number, commit), (VERSION, format!("(commit {COMMIT}, {aes})").as_str()));
    // A build with uncommitted changes has a suffix.
    let clean = COMMIT.strip_suffix("-dirty").unwrap_or(COMMIT);
    assert!(
        COMMIT == "unknown"
            || clean.len() == 12 && !clean.contains(|c: char| !c.is_ascii_hexdigit())
    );
    let help = output(jeton().args(["serve", "--help"])).stdout;
    let help = String::from_utf8(help).expect("UTF-8");
    for flag in ["--listen", "--sync", "--max-memory", "--segment-size", "JETON_LISTEN"] {
        assert!(help.contains(flag), "the help does not tell {flag}");
    }
}
