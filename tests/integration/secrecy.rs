//! P9, and the purpose of the digest: tokens and payloads never appear in logs, metrics or error
//! texts, and tokens never appear in files.

use std::fmt::Write;

use serde_json::json;

use crate::client::{Client, expect};
use crate::server::{LOG_FILTER, Launch, jeton, output};
use crate::support::find_bytes;

pub const PAYLOAD: &str = "card-4111-secret-payload";
pub const ORDER: &str = "order-of-a-secret-customer";
pub const KEY: &str = "secret-idempotency-key";

/// The 24 bytes of the 32 characters.
pub fn raw_bytes(token: &str) -> Vec<u8> {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let value = |c: u8| alphabet.iter().position(|&a| a == c).expect("base64url");
    let quads = token.as_bytes().chunks(4);
    let words = quads.map(|quad| quad.iter().fold(0, |word, &c| word << 6 | value(c)));
    words.flat_map(|word| (0..3).rev().map(move |n| (word >> (8 * n) & 0xFF) as u8)).collect()
}

/// Performs all operations on tokens, valid and invalid; returns the tokens and all error texts.
pub fn exercise(client: &mut Client) -> (Vec<String>, String) {
    let mut errors = String::new();
    let payload = json!({ "card": PAYLOAD, "uses": 2 });
    let plain = client.issued(&json!({ "payload": payload, "uses": 3 }).to_string()).token;
    let reference = json!({ "order_number": ORDER, "amount": "1.00" });
    let body = json!({ "payload": payload, "reference": reference }).to_string();
    let referred = client.issued(&body).token;
    let keyed = client.issue_keyed(KEY, &json!({ "payload": payload }).to_string()).json();
    let keyed = keyed["token"].as_str().expect("a token").to_owned();
    let tokens = vec![plain.clone(), referred, keyed];

    expect(&client.resolve(&plain), 200);
    expect(&client.consume_keyed(KEY, &plain), 200);
    expect(&client.extend(&plain, "1h"), 200);
    let other = json!({ "payload": [payload, 1], "reference": reference }).to_string();
    let path = format!("/v1/tokens/{plain}");
    for answer in [
        client.issue(&other),
        client.issue_keyed(KEY, &json!({ "payload": [PAYLOAD] }).to_string()),
        client.issue(&format!(r#"{{"payload":"{PAYLOAD}"#)),
        client.issue(&format!(r#"{{"payload":"{PAYLOAD}","{PAYLOAD}":1}}"#)),
        client.issue(&format!(r#"{{"payload":"{PAYLOAD}","ttl":"{PAYLOAD}"}}"#)),
        client.issue(&format!(r#"{{"payload":1,"reference":{{"amount":"{ORDER}"}}}}"#)),
        client.issue(&format!(r#"{{"payload":"{PAYLOAD}{}"}}"#, "x".repeat(70_000))),
        client.resolve(&format!("{plain}x")),
        client.post("/v1/resolve", &json!({ "tokens": [plain, plain[1..]] }).to_string()),
        client.post("/v1/consume", &json!({ "tokens": [{ "token": plain }] }).to_string()),
        client.send("PUT", &path, &[], ""),
        client.send("PATCH", &path, &[], &format!(r#"{{"ttl":"{plain}"}}"#)),
        client.send("GET", &format!("{path}/{plain}"), &[], ""),
    ] {
        assert!(answer.status >= 400, "{}", answer.without_date());
        writeln!(errors, "{}", answer.without_date()).expect("memory");
    }
    for token in &tokens {
        client.consume(token);
        expect(&client.revoke(token), 204);
        expect(&client.resolve(token), 404);
    }
    (tokens, errors)
}

#[track_caller]
fn assert_silent(what: &str, text: &str, tokens: &[String]) {
    for token in tokens {
        assert!(!text.contains(token.as_str()), "{what} shows a token");
        assert!(!text.contains(&token[1..]), "{what} shows a token but for one character");
    }
    for secret in [PAYLOAD, ORDER, KEY] {
        assert!(!text.contains(secret), "{what} shows {secret}: {text}");
    }
}

#[test]
fn p9_no_token_and_no_payload_in_logs_metrics_or_errors() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let launch = Launch::on(dir.path()).env(LOG_FILTER, "trace");
    let server = launch.start();
    let (tokens, errors) = exercise(&mut Client::of(&server));
    assert_silent("an error", &errors, &tokens);
    assert_silent("/metrics", &crate::admin::metrics(&server), &tokens);
    assert_silent("/v1/stats", &crate::admin::stats(&server).to_string(), &tokens);
    assert_silent("standard output", &server.stdout(), &tokens);
    let (status, stderr) = server.stop(rustix::process::Signal::TERM);
    assert!(status.success());
    assert_silent("standard error", &stderr, &tokens);
    let server = launch.start();
    assert_silent("standard error of a recovery", &server.stderr(), &tokens);
    let verified = output(jeton().arg("verify").arg(dir.path()));
    let text = [&verified.stdout[..], &verified.stderr].concat();
    assert_silent("jeton verify", &String::from_utf8_lossy(&text), &tokens);
}

/// A stolen log or backup without the secret shows no payload, and no token in a form that could be
/// presented.
#[test]
fn p9_log_and_backup_show_no_payload_and_no_token() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let [data, backup] = ["data", "backup"].map(|name| home.path().join(name));
    let server = Launch::on(&data).start();
    let mut client = Client::of(&server);
    let random = client.issued(&json!({ "payload": PAYLOAD }).to_string()).token;
    let body = json!({ "payload": 1, "reference": { "order_number": ORDER } }).to_string();
    let referred = client.issued(&body).token;
    let keyed = client.issue_keyed(KEY, r#"{"payload":1}"#).json();
    let keyed = keyed["token"].as_str().expect("a token");
    let admin = format!("http://{}", server.admin);
    let taken = output(jeton().args(["backup", "--server", &admin]).arg(&backup));
    assert!(taken.status.success(), "{}", String::from_utf8_lossy(&taken.stderr));
    server.kill9();
    for dir in [&data, &backup] {
        assert!(!find_bytes(dir, b"JETONLOG").is_empty(), "the log can be searched");
        assert!(find_bytes(dir, PAYLOAD.as_bytes()).is_empty(), "a payload");
        for token in [&random, &referred, keyed] {
            assert!(find_bytes(dir, token.as_bytes()).is_empty(), "the text of a token");
            assert!(find_bytes(dir, &raw_bytes(token)).is_empty(), "the bytes of a token");
        }
        assert!(find_bytes(dir, ORDER.as_bytes()).is_empty(), "a reference");
    }
}

#[test]
fn base64url_is_read_back() {
    assert_eq!(raw_bytes("AAECAwQF"), [0, 1, 2, 3, 4, 5]);
    assert_eq!(raw_bytes("-_-_"), [0xFB, 0xFF, 0xBF]);
}
