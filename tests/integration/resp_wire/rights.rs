//! Who a client is: keys are shown by `AUTH` and `HELLO`.

use super::peer::{Peer, command};
use crate::access::Keys;
use crate::resp_data::redis::Jeton;
use crate::server::Launch;
use crate::support::eventually;

const NO_AUTH: &str = "-NOAUTH Authentication required.\r\n";
const WRONG: &str = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";

/// A server with keys, and a key for everything in the namespace `shop`.
struct Kept {
    jeton: Jeton,
    keys: Keys,
    key: String,
    _dir: tempfile::TempDir,
}

fn kept() -> Kept {
    let dir = tempfile::tempdir().expect("a folder");
    let keys = Keys::in_dir(dir.path());
    let key = keys.add("shop", "issue,import,resolve,consume,revoke", &[]);
    let launch = Launch::on(&dir.path().join("data")).flag("--keys", keys.path());
    let jeton = Jeton::of(launch.flag("--resp-listen", "127.0.0.1:0").start());
    let key = key.trim_start_matches("Bearer ").to_owned();
    Kept { jeton, keys, key, _dir: dir }
}

/// The answers to inline commands on a new connection, which ends after them.
fn answers(jeton: &Jeton, commands: &[&str]) -> String {
    let mut peer = Peer::open(jeton.address);
    let pipeline: String = commands.iter().map(|command| format!("{command}\r\n")).collect();
    peer.send(pipeline.as_bytes());
    peer.finish();
    String::from_utf8(peer.rest()).expect("text")
}

#[test]
fn nothing_is_told_before_a_key_is_shown() {
    let Kept { jeton, key, _dir, .. } = kept();
    for line in ["GET a", "PING", "INFO", "CLIENT ID", "DBSIZE", "MULTI", "CONFIG GET *", "COMMAND"]
    {
        assert_eq!(answers(&jeton, &[line]), NO_AUTH, "{line}");
    }
    assert!(answers(&jeton, &["HELLO 3"]).starts_with("-NOAUTH HELLO must be called with"));
    let auth = format!("AUTH {key}");
    for early in ["CLIENT SETNAME pool", "CLIENT SETNAME  pool"] {
        let both = answers(&jeton, &[early, &auth, "CLIENT GETNAME"]);
        assert_eq!(both, "+OK\r\n+OK\r\n$4\r\npool\r\n");
        let both = answers(&jeton, &[&auth, early, "CLIENT GETNAME"]);
        assert_eq!(both, "+OK\r\n+OK\r\n$4\r\npool\r\n");
    }
}

#[test]
fn a_key_is_shown_in_each_way_that_clients_know() {
    let Kept { jeton, key, _dir, .. } = kept();
    for auth in [format!("AUTH {key}"), format!("AUTH default {key}")] {
        assert_eq!(answers(&jeton, &[&auth, "SET a 1", "GET a"]), "+OK\r\n+OK\r\n$1\r\n1\r\n");
    }
    let hello = format!("HELLO 3 AUTH default {key} SETNAME pool");
    let told = answers(&jeton, &[&hello, "CLIENT GETNAME", "GET nothing"]);
    assert!(told.starts_with("%7\r\n") && told.ends_with("$4\r\npool\r\n_\r\n"), "{told}");
}

#[test]
fn an_auth_that_is_refused_within_a_pipeline_is_answered() {
    let Kept { jeton, key, _dir, .. } = kept();
    let auth = format!("AUTH {key}");
    let told = answers(&jeton, &["AUTH wrong", "GET a", &auth, "PING", "AUTH wrong", "PING"]);
    assert_eq!(told, format!("{WRONG}{NO_AUTH}+OK\r\n+PONG\r\n{WRONG}+PONG\r\n"));
    let other = format!("AUTH other {key}");
    assert_eq!(answers(&jeton, &[&other, "PING"]), format!("{WRONG}{NO_AUTH}"));
}

#[test]
fn p10_a_key_that_is_revoked_meanwhile_ends_on_open_connections() {
    let Kept { jeton, keys, key, _dir } = kept();
    let mut wire = jeton.wire();
    assert_eq!(wire.say(&format!("AUTH {key}")), "+OK\\r\\n");
    assert_eq!(wire.say("SET a 1"), "+OK\\r\\n");
    keys.revoke(&format!("Bearer {key}"));
    eventually("the key has ended", || wire.say("GET a").starts_with("-WRONGPASS"));
    let refused = wire.say("SET a 2");
    assert!(refused.starts_with("-WRONGPASS"), "{refused}");
}

#[test]
fn p8_a_stranger_sends_little() {
    let Kept { jeton, _dir, .. } = kept();
    for (sent, error) in [
        (command(&["GET"; 11]), "unauthenticated multibulk length"),
        (command(&["AUTH", &"x".repeat(20_000)]), "unauthenticated bulk length"),
    ] {
        let mut peer = Peer::open(jeton.address);
        peer.send(&sent);
        let told = String::from_utf8(peer.ends()).expect("text");
        assert_eq!(told, format!("-ERR Protocol error: {error}\r\n"));
    }
}

#[test]
fn p9_no_key_is_in_an_answer_or_in_the_log() {
    let Kept { jeton, key, _dir, .. } = kept();
    let secret = &key[key.len() - 32..];
    let wrong = format!("AUTH x{secret}");
    let auth = format!("AUTH {key}");
    let told = answers(&jeton, &[&wrong, &auth, "CLIENT INFO", "INFO", "CONFIG GET *", "AUTH"]);
    assert!(!told.contains(secret), "{told}");
    let log = jeton.server.stderr();
    assert!(!log.contains(secret), "{log}");
}
