//! Requests that have arrived together have the lines of the audit log that each alone has, over HTTP
//! and over the Redis protocol.

use std::path::Path;

use serde_json::Value;

use crate::audit::{UNKNOWN, launch, lines_at_the_end, what};
use crate::client::Client;
use crate::raw::{Conn, request};
use crate::resp_data::redis::Jeton;
use crate::resp_wire::peer::{Peer, command};

/// Three tokens, one that can only be consumed, and unknown ones, in a mixed order.
fn asked(jeton: &Jeton) -> Vec<String> {
    let mut client = Client::of(&jeton.server);
    let mut tokens: Vec<String> =
        (0..3).map(|n| client.issued(&format!(r#"{{"payload":{n}}}"#)).token).collect();
    tokens.push(client.issued(r#"{"payload":1,"peek":false}"#).token);
    tokens.push(UNKNOWN.to_owned());
    tokens.push(UNKNOWN.replace('A', "B"));
    (0..40).map(|n| tokens[n * 7 % 6].clone()).collect()
}

/// What the lines of resolves say, each with the digest.
fn told(lines: &[Value]) -> Vec<((&str, &str, u64), &str)> {
    let resolves = lines.iter().filter(|line| line["operation"] == "resolve");
    resolves.map(|line| (what(line), line["digest"].as_str().expect("a digest"))).collect()
}

fn assert_alike(jeton: Jeton, dir: &Path) {
    for lines in lines_at_the_end(jeton.server, &dir.join("audit.log")) {
        let told = told(&lines);
        let (alone, together) = told.split_at(told.len() / 2);
        assert!(alone.len() > 10, "{}", alone.len());
        assert_eq!(together, alone);
    }
}

#[test]
fn p8_resolves_that_come_together_over_http_have_the_lines_of_each_alone() {
    let dir = tempfile::tempdir().expect("a folder");
    let jeton = Jeton::of(launch(dir.path()).flag("--resp-listen", "127.0.0.1:0").start());
    let gets: Vec<Vec<u8>> = asked(&jeton)
        .iter()
        .map(|token| request("GET", &format!("/v1/tokens/{token}"), &[], b""))
        .collect();
    let mut conn = Conn::open(jeton.server.data).expect("connects");
    let mut statuses = [Vec::new(), Vec::new()];
    for get in &gets {
        conn.send(get).expect("sends");
        statuses[0].push(conn.response().expect("an answer").status);
    }
    conn.send(&gets.concat()).expect("sends");
    statuses[1].extend(gets.iter().map(|_| conn.response().expect("an answer").status));
    assert_eq!(statuses[1], statuses[0]);
    assert_alike(jeton, dir.path());
}

#[test]
fn p8_gets_that_come_together_over_resp_have_the_lines_of_each_alone() {
    let dir = tempfile::tempdir().expect("a folder");
    let jeton = Jeton::of(launch(dir.path()).flag("--resp-listen", "127.0.0.1:0").start());
    let gets: Vec<Vec<u8>> = asked(&jeton).iter().map(|token| command(&["GET", token])).collect();
    let mut peer = Peer::open(jeton.address);
    for get in &gets {
        peer.send(get);
        peer.send(&command(&["ECHO", "end"]));
        peer.until(b"$3\r\nend\r\n");
    }
    peer.send(&gets.concat());
    peer.send(&command(&["ECHO", "end"]));
    peer.until(b"$3\r\nend\r\n");
    assert_alike(jeton, dir.path());
}
