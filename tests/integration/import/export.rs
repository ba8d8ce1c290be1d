//! `jeton export` of tokens and names that a file lists.

use crate::resp_data::redis::Jeton;
use crate::server::{jeton, output};

#[test]
fn p10_those_listed_are_copied_and_the_others_are_counted() {
    let (jeton_, dir) = (Jeton::start(), tempfile::tempdir().expect("a temporary folder"));
    let mut wire = jeton_.wire();
    let token = "0123456789abcdef0123456789abcdef";
    wire.say(&format!("SET {token} \"{{\\\"a\\\": 1.10}}\" EX 600"));
    wire.say("SET cart:7 \"\\xff\\x00\" EX 600");
    wire.say("SET cart:8 \"{\\\"base64\\\":\\\"AAAA\\\"}\" EX 600");
    wire.say("SET cart:used 1 EX 600");
    wire.say("GETDEL cart:used");
    let file = dir.path().join("tokens");
    let list = format!("{token}\ncart:7\r\n\ncart:8\ncart:used\ncart:never\n");
    std::fs::write(&file, list).expect("a file");
    let http = format!("http://{}", jeton_.server.data);
    let exported = |file: &std::path::Path| {
        let mut command = jeton();
        output(command.args(["export", "--server", &http, "--tokens"]).arg(file))
    };
    let ended = exported(&file);
    let lines = String::from_utf8(ended.stdout).expect("UTF-8");
    let begins: Vec<&str> =
        lines.lines().map(|line| line.split(",\"expires_at\"").next().expect("one")).collect();
    let first = format!(r#"{{"name":"{token}","payload":{{"a": 1.10}}"#);
    let expected = [
        &*first,
        r#"{"name":"cart:7","base64":"/wA=""#,
        r#"{"name":"cart:8","payload":{"base64":"AAAA"}"#,
    ];
    assert_eq!(begins, expected);
    let said = String::from_utf8(ended.stderr).expect("UTF-8");
    assert!(said.contains("2 of 5 tokens") && !said.contains("cart"), "{said}");
    assert_eq!(ended.status.code(), Some(1));

    std::fs::write(&file, format!("a\n{}\n", "x".repeat(513))).expect("a file");
    let ended = exported(&file);
    let said = String::from_utf8(ended.stderr).expect("UTF-8");
    assert!(said.contains("line 2: a token or name has 1 to 512 bytes, not 513"), "{said}");
    assert_eq!(ended.status.code(), Some(2));
    assert_eq!(exported(&dir.path().join("none")).status.code(), Some(2));
}
