//! The client commands against a real server: their output and their exit codes.

use std::process::Output;

use crate::client::Client;
use crate::server::{Server, jeton, output};

fn run(server: &Server, command: &str, arguments: &[&str]) -> Output {
    let url = format!("http://{}", server.data);
    output(jeton().arg(command).args(["--server", &url]).args(arguments))
}

/// Standard output of a command that must succeed.
#[track_caller]
fn succeeds(server: &Server, command: &str, arguments: &[&str]) -> String {
    let output = run(server, command, arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command} {arguments:?}: {stderr}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[track_caller]
fn fails(server: &Server, command: &str, arguments: &[&str]) -> String {
    let output = run(server, command, arguments);
    assert!(!output.status.success(), "{command} {arguments:?} succeeded");
    assert!(output.stdout.is_empty(), "a failure prints a result");
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(!stderr.trim().is_empty() && !stderr.contains("panicked"), "{stderr}");
    stderr
}

/// The one word of a text that looks like a token.
fn find_token(text: &str) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let mut words = text.split(|c| !is_part(c)).filter(|word| word.len() == 32);
    words.next().unwrap_or_else(|| panic!("no token in {text:?}")).to_owned()
}

#[test]
fn a_token_lives_its_whole_life_on_the_command_line() {
    let server = Server::shared();
    let payload = "{ \"order\" : \"1001\"}";
    let token = find_token(&succeeds(&server, "issue", &[payload, "--ttl", "5m", "--uses", "2"]));
    assert_eq!(succeeds(&server, "resolve", &[&token]).trim_end_matches('\n'), payload);
    let status = succeeds(&server, "status", &[&token]);
    assert!(status.contains("uses_left") && status.contains("expires_at"), "{status}");
    assert_eq!(Client::of(&server).uses_left(&token), 2);
    assert_eq!(succeeds(&server, "consume", &[&token]).trim_end_matches('\n'), payload);
    assert_eq!(succeeds(&server, "consume", &[&token]).trim_end_matches('\n'), payload);
    fails(&server, "consume", &[&token]);
    fails(&server, "resolve", &[&token]);
    fails(&server, "status", &[&token]);
    succeeds(&server, "revoke", &[&token]);
}

#[test]
fn an_order_is_looked_at_extended_and_revoked_without_its_token() {
    let server = Server::shared();
    let order = ["--order-number", "of the command line"];
    let with = |more: &[&'static str]| [&order[..], more].concat();
    succeeds(&server, "issue", &with(&["1", "--ttl", "1m"]));
    let before = succeeds(&server, "status", &order);
    let extended = succeeds(&server, "extend", &with(&["--ttl", "10m"]));
    assert!(extended.contains("expires_at") && !extended.contains("uses_left"), "{extended}");
    assert_ne!(succeeds(&server, "status", &order), before);
    assert_eq!(succeeds(&server, "revoke", &order), "");
    for command in ["status", "resolve"] {
        fails(&server, command, &order);
    }
    fails(&server, "extend", &with(&["--ttl", "10m"]));
    succeeds(&server, "revoke", &order);
}

#[test]
fn a_revoked_token_no_longer_resolves() {
    let server = Server::shared();
    let token = find_token(&succeeds(&server, "issue", &["\"once\""]));
    succeeds(&server, "revoke", &[&token]);
    fails(&server, "resolve", &[&token]);
}

#[test]
fn refusals_of_the_server_are_told() {
    let server = Server::shared();
    assert!(fails(&server, "issue", &["1", "--ttl", "31d"]).contains("ttl"));
    fails(&server, "issue", &["{"]);
    fails(&server, "issue", &["null"]);
    fails(&server, "resolve", &["short"]);
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("its address").to_string();
    drop(taken);
    let token = "A".repeat(32);
    let url = format!("http://{address}");
    let output = output(jeton().args(["resolve", "--server", &url, &token]));
    assert!(!output.status.success());
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(stderr.contains(&address), "{stderr}");
    assert!(!stderr.contains(&token), "the message contains the token: {stderr}");
}
