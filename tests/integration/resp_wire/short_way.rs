//! The short way of a `GET` against the ordinary one: a command in one line is never for the short way.

use std::fmt::Write as _;

use super::peer::{Peer, command};
use crate::resp_data::redis::Jeton;

/// A key for each number: names and texts of tokens, some of them with a value.
fn key(n: usize) -> String {
    if n.is_multiple_of(3) { format!("cart:{n}") } else { format!("{n:A>32}") }
}

fn value(n: usize) -> String {
    "v".repeat(n % 5)
}

/// A token that `GET` does not resolve.
fn hidden(peer: &mut Peer) -> String {
    peer.send(&command(&["TOKEN.ISSUE", "1", "NOPEEK"]));
    peer.send(&command(&["ECHO", "end"]));
    let said = String::from_utf8(peer.until(b"$3\r\nend\r\n")).expect("text");
    said.lines().nth(2).expect("the token").to_owned()
}

#[test]
fn p10_gets_that_come_together_are_answered_as_each_alone() {
    let jeton = Jeton::start();
    let mut peer = Peer::open(jeton.address);
    let sets: Vec<u8> = (0..40)
        .filter(|n| n % 4 != 1)
        .flat_map(|n| command(&["SET", &key(n), &value(n)]))
        .chain(command(&["ECHO", "end"]))
        .collect();
    peer.send(&sets);
    peer.until(b"$3\r\nend\r\n");
    // A token that can only be consumed is among them.
    let hidden = hidden(&mut peer);
    let key = |n: usize| if n == 46 { hidden.clone() } else { key(n) };
    let asked: Vec<usize> = (0..300).map(|n| n * 17 % 47).collect();
    for hello in ["HELLO 2\r\n", "HELLO 3\r\n"] {
        let ask = |gets: &[u8]| {
            let mut peer = Peer::open(jeton.address);
            peer.send(hello.as_bytes());
            peer.until(if hello.contains('3') { b"modules\r\n*0\r\n" } else { b"*0\r\n" });
            peer.send(gets);
            peer.finish();
            String::from_utf8(peer.rest()).expect("text")
        };
        let mut lines = String::new();
        for n in &asked {
            let _ = write!(lines, "GET {}\r\n", key(*n));
        }
        let ordinary = ask(lines.as_bytes());
        assert!(ordinary.contains("$4\r\nvvvv\r\n") && ordinary.contains("$0\r\n\r\n"));
        let gets: Vec<u8> = asked.iter().flat_map(|n| command(&["GET", &key(*n)])).collect();
        assert_eq!(ask(&gets), ordinary, "all at once");
        let mixed: Vec<u8> = asked
            .iter()
            .enumerate()
            .flat_map(|(at, n)| match at % 23 {
                7 => format!("get {}\r\n", key(*n)).into_bytes(),
                _ => command(&["GET", &key(*n)]),
            })
            .collect();
        assert_eq!(ask(&mixed), ordinary, "with some in one line");
    }
}
