//! The client commands against a real server: their output and their exit codes.

use std::io::{Read, Seek, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

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

/// Passes requests on, one on each connection, and cuts off so many answers.
fn cutting(server: SocketAddr, answers: usize) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("its address"));
    let (cut, left) = (Arc::new(AtomicUsize::new(0)), answers);
    let counter = Arc::clone(&cut);
    std::thread::spawn(move || {
        for mut near in listener.incoming().flatten() {
            let mut far = TcpStream::connect(server).expect("the server");
            let mut bytes = [0; 4096];
            let len = near.read(&mut bytes).expect("a request");
            far.write_all(&bytes[..len]).expect("it is passed on");
            let len = far.read(&mut bytes).expect("an answer");
            if counter.load(Ordering::SeqCst) < left {
                counter.fetch_add(1, Ordering::SeqCst);
                continue;
            }
            near.write_all(&bytes[..len]).expect("it is passed back");
        }
    });
    (url, cut)
}

#[test]
fn p2_a_command_whose_answer_is_lost_asks_again_and_takes_one_use() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    let token = client.issued(r#"{"payload":"pay","uses":9}"#).token;
    let (url, cut) = cutting(server.data, 2);
    let output = output(jeton().args(["consume", &token, "--server", &url]));
    assert_eq!((output.status.code(), &*output.stdout), (Some(0), &b"\"pay\"\n"[..]), "{output:?}");
    assert_eq!((cut.load(Ordering::SeqCst), client.uses_left(&token)), (2, 8));
}

#[test]
fn p2_a_command_whose_answers_are_all_lost_tells_the_key_that_settles_it() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    let token = client.issued(r#"{"payload":"pay","uses":9}"#).token;
    let (url, _) = cutting(server.data, usize::MAX);
    for (command, printed) in [("consume", Some("\"pay\"\n")), ("issue", None)] {
        let argument = if command == "issue" { "1" } else { &token };
        let lost = output(jeton().args([command, argument, "--server", &url]));
        let said = String::from_utf8(lost.stderr).expect("UTF-8");
        assert_eq!(lost.status.code(), Some(3), "{said}");
        assert!(said.contains("the outcome is unknown") && !said.contains(&token), "{said}");
        let key = said.split_once("--idempotency-key=").expect("the key is told").1;
        let key = key.split_once(' ').expect("more is told").0;
        let settle = || succeeds(&server, command, &[argument, "--idempotency-key", key]);
        let settled = settle();
        assert_eq!(settled, settle());
        assert!(printed.is_none_or(|printed| settled == printed), "{settled}");
        assert_eq!(client.uses_left(&token), 8);
    }
    let said = output(jeton().args(["revoke", &token, "--server", &url])).stderr;
    let said = String::from_utf8(said).expect("UTF-8");
    assert!(said.contains("repeat the command, which does no harm"), "{said}");
}

#[test]
fn p9_a_malformed_token_is_named_by_its_number_before_anything_is_sent() {
    let server = Server::shared();
    let token = find_token(&succeeds(&server, "issue", &["1"]));
    for command in ["consume", "resolve", "status", "revoke"] {
        let said = fails(&server, command, &[&token, "secret-text"]);
        assert!(said.contains("token 2: a token has 32 characters, not 11"), "{said}");
        assert!(!said.contains("secret-text"), "{said}");
    }
    assert_eq!(succeeds(&server, "consume", &[&token]), "1\n");
}

#[test]
fn p2_a_key_that_begins_with_a_hyphen_is_sent_as_it_is() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    for (at, key) in ["-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "-short"].into_iter().enumerate() {
        let token = client.issued(&format!(r#"{{"payload":{at},"uses":9}}"#)).token;
        let url = format!("http://{}", server.data);
        let first = client.consume_keyed(key, &token);
        assert_eq!(first.status, 200, "{}", first.text());
        let joined = format!("--idempotency-key={key}");
        for given in [&["--idempotency-key", key][..], &[&joined]] {
            let args = [&["consume", &token, "--server", &url], given].concat();
            let again = output(jeton().args(args));
            assert_eq!(again.stdout, format!("{at}\n").into_bytes(), "{again:?}");
        }
        assert_eq!(client.uses_left(&token), 8, "{key}");
    }
}

/// Runs a command that reads this from standard input.
fn output_of(command: &mut Command, text: &str) -> Output {
    let mut input = tempfile::tempfile().expect("a file");
    input.write_all(text.as_bytes()).expect("written");
    input.rewind().expect("a file");
    command.stdin(input).output().expect("it runs")
}

/// So many tokens with nine uses, and all of them one a line.
fn listed(server: &Server, count: usize) -> (Vec<String>, String) {
    let mut client = Client::of(server);
    let issue = |_| client.issued(r#"{"payload":1,"uses":9}"#).token;
    let tokens: Vec<String> = (0..count).map(issue).collect();
    let lines = tokens.join("\n");
    (tokens, lines)
}

#[test]
fn p2_a_key_that_is_too_long_for_a_long_list_is_refused_before_anything_is_consumed() {
    let server = Server::shared();
    let (tokens, lines) = listed(&server, 501);
    let (url, key) = (format!("http://{}", server.data), "k".repeat(254));
    let args = ["consume", "-", "--server", &url, "--idempotency-key", &key];
    let refused = output_of(jeton().args(args), &lines);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!((refused.status.code(), refused.stdout.len()), (Some(2), 0), "{said}");
    assert!(said.contains("--idempotency-key: must be shorter"), "{said}");
    assert_eq!(Client::of(&server).uses_left(&tokens[0]), 9);
}

/// Passes the first request on, and refuses all others.
fn refusing_later(server: SocketAddr) -> String {
    let refusal = r#"{"title":"","status":507,"detail":"the disk is full; nothing was changed"}"#;
    let head = "HTTP/1.1 507 Full\r\nContent-Type: application/problem+json\r\nContent-Length";
    let refusal = format!("{head}: {}\r\n\r\n{refusal}", refusal.len());
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("its address"));
    std::thread::spawn(move || {
        let mut far = TcpStream::connect(server).expect("the server");
        let mut count = 0;
        for mut near in listener.incoming().flatten() {
            while let Some(request) = message(&mut near) {
                count += 1;
                let answer = if count == 1 {
                    far.write_all(&request).expect("it is passed on");
                    message(&mut far).expect("an answer")
                } else {
                    refusal.clone().into_bytes()
                };
                near.write_all(&answer).expect("it is passed back");
            }
        }
    });
    url
}

/// The next message of HTTP with a length.
fn message(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let (mut all, mut bytes) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&all).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_ascii_lowercase();
            let len = head.split_once("content-length: ").expect("a length").1;
            let len: usize = len.lines().next().expect("a line").parse().expect("a number");
            if body.len() == len {
                return Some(all);
            }
        }
        match stream.read(&mut bytes) {
            Ok(0) | Err(_) => return None,
            Ok(len) => all.extend(&bytes[..len]),
        }
    }
}

#[test]
fn p2_a_list_of_which_a_part_was_consumed_goes_on_with_the_key_that_is_told() {
    let server = Server::shared();
    let (tokens, lines) = listed(&server, 501);
    let url = refusing_later(server.data);
    let partly = output_of(jeton().args(["consume", "-", "--server", &url]), &lines);
    let said = String::from_utf8_lossy(&partly.stderr).into_owned();
    assert_eq!(partly.status.code(), Some(3), "{said}");
    assert_eq!(partly.stdout, "1\n".repeat(500).into_bytes());
    assert!(said.contains("507: the disk is full"), "{said}");
    let key = said.split_once("--idempotency-key=").expect("the key is told").1;
    let key = key.split_once(' ').expect("more is told").0;
    let url = format!("http://{}", server.data);
    let args = ["consume", "-", "--server", &url, "--idempotency-key", key];
    let whole = output_of(jeton().args(args), &lines);
    assert_eq!(whole.stdout, "1\n".repeat(501).into_bytes());
    let mut client = Client::of(&server);
    assert_eq!([&tokens[0], &tokens[500]].map(|token| client.uses_left(token)), [8, 8]);
}
