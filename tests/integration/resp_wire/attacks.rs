//! P8: clients that never finish what they begin, lie about lengths, or are pages in a browser.

use std::io::Write;
use std::time::Duration;

use super::peer::{Peer, command, impatient};
use crate::hostile_watch::{Bounds, under_attack};
use crate::resp_data::redis::Jeton;

/// Clients of each attack.
const CLIENTS: usize = 100;

/// Beginnings of commands that never end.
const HALVES: [&[u8]; 7] = [
    b"*",
    b"*2\r\n",
    b"*2\r\n$3\r\nGET\r\n$5\r\nab",
    b"*2\r\n$3\r\nSET\r\n$16000000\r\n",
    b"*1048576\r\n$1\r\na\r\n",
    b"GET half-a-lin",
    b"SET \"quoted",
];

#[test]
fn p8_half_a_command_is_not_waited_for_for_ever() {
    let jeton = impatient();
    under_attack("resp_halves", &jeton.server, Bounds::of(CLIENTS, 24), || {
        let mut peers: Vec<Peer> = (0..CLIENTS)
            .map(|n| {
                let mut peer = Peer::open(jeton.address);
                peer.send(HALVES[n % HALVES.len()]);
                peer
            })
            .collect();
        for peer in &mut peers {
            peer.ends();
        }
        (peers, vec![("clients", CLIENTS as u64)])
    });
}

/// A connection is never idle here, and its command never whole.
#[test]
fn p8_a_slow_drip_ends_in_time() {
    let jeton = impatient();
    under_attack("resp_drip", &jeton.server, Bounds::of(CLIENTS, 24), || {
        let begin: [&[u8]; 2] = [b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$60000\r\n", b"PING "];
        let mut peers: Vec<Peer> = (0..CLIENTS)
            .map(|n| {
                let mut peer = Peer::open(jeton.address);
                peer.send(begin[n % 2]);
                peer
            })
            .collect();
        // Each is ended although it goes on.
        let is_over = (0..1_000).any(|_| {
            std::thread::sleep(Duration::from_millis(30));
            peers.iter_mut().map(|peer| peer.0.write_all(b"x").is_ok()).filter(|open| *open).count()
                == 0
        });
        assert!(is_over, "a slow drip goes on for ever");
        for peer in &mut peers {
            peer.ends();
        }
        (peers, vec![("clients", CLIENTS as u64)])
    });
}

#[test]
fn p8_counts_and_lengths_that_lie_are_answered_once_and_end_the_connection() {
    let jeton = Jeton::start();
    let long = [&b"GET "[..], &[b'x'; 70 << 10]].concat();
    for (sent, error) in [
        (&b"*1048577\r\n"[..], "invalid multibulk length"),
        (b"*99999999999999999999\r\n", "invalid multibulk length"),
        (b"*x\r\n", "invalid multibulk length"),
        (b"*2\r\n$3\r\nGET\r\n$-1\r\n", "invalid bulk length"),
        (b"*2\r\n$3\r\nGET\r\n$16777217\r\n", "invalid bulk length"),
        (b"*2\r\n$3\r\nGET\r\n$536870913\r\n", "invalid bulk length"),
        (b"*2\r\n$3\r\nGET\r\n:1\r\n", "expected '$', got ':'"),
        (b"GET \"a\r\n", "unbalanced quotes in request"),
        (&long, "too big inline request"),
    ] {
        let mut peer = Peer::open(jeton.address);
        peer.send(b"PING\r\n");
        peer.send(sent);
        // What follows is never performed.
        let _ = peer.0.write_all(&command(&["SET", "lied", "1"]));
        let answers = String::from_utf8(peer.rest()).expect("text");
        assert_eq!(answers, format!("+PONG\r\n-ERR Protocol error: {error}\r\n"));
    }
    assert_eq!(jeton.wire().say("GET lied"), "$-1\\r\\n");
}

#[test]
fn p8_what_is_too_long_is_refused_and_the_connection_stays() {
    let jeton = Jeton::start();
    let mut wire = jeton.wire();
    let (key, value) = ("k".repeat(513), "v".repeat(100 << 10));
    for words in [["SET", &key, "1"], ["SET", "k", &value]] {
        wire.send(&command(&words));
        let answer = wire.answer();
        assert!(answer.starts_with(b"-ERR a "), "{}", String::from_utf8_lossy(&answer));
        assert_eq!(wire.say("PING"), "+PONG\\r\\n");
    }
    wire.send(&command(&["GET", &key]));
    assert!(wire.answer().starts_with(b"-ERR a key has 1 to 512 bytes"));
    assert_eq!(wire.say("PING"), "+PONG\\r\\n");
}

#[test]
fn p8_a_page_in_a_browser_performs_nothing() {
    let jeton = Jeton::start();
    for head in ["POST / HTTP/1.1\r\nHost: a\r\n", "GET / HTTP/1.1\r\nHost: a\r\n"] {
        let mut peer = Peer::open(jeton.address);
        peer.send(format!("{head}Content-Length: 19\r\n\r\nSET from-a-page 1\r\n").as_bytes());
        let answers = peer.ends();
        let answers = String::from_utf8_lossy(&answers);
        assert!(answers.is_empty() || answers.starts_with("-ERR wrong number"), "{answers}");
        assert!(!answers.contains("OK"), "{answers}");
    }
    assert_eq!(jeton.wire().say("GET from-a-page"), "$-1\\r\\n");
}

#[test]
fn p8_a_transaction_that_never_ends_is_bounded() {
    let settings = [("--max-inflight", "64MiB"), ("--max-batch", "100")];
    let jeton = Jeton::start_with(|launch| {
        settings.iter().fold(launch, |launch, (name, value)| launch.flag(name, value))
    });
    let mut wire = jeton.wire();
    assert_eq!(wire.say("MULTI"), "+OK\\r\\n");
    for _ in 0..100 {
        assert_eq!(wire.say("GET a"), "+QUEUED\\r\\n");
    }
    let refused = wire.say("GET a");
    assert!(refused.starts_with("-ERR a transaction has at most 100 commands"), "{refused}");
    let aborted = wire.say("EXEC");
    assert!(aborted.starts_with("-EXECABORT "), "{aborted}");
    assert_eq!(wire.say("PING"), "+PONG\\r\\n");
    let bounds = Bounds::of(40, 160);
    under_attack("resp_multi", &jeton.server, bounds, || {
        let value = "v".repeat(60_000);
        let set = command(&["SET", "a", &value]);
        let mut refused = 0;
        let wires: Vec<_> = (0..40)
            .map(|_| {
                let mut wire = jeton.wire();
                wire.say("MULTI");
                let mut queued = 0;
                while queued < 100 {
                    wire.send(&set);
                    if !wire.answer().starts_with(b"+QUEUED") {
                        refused += 1;
                        break;
                    }
                    queued += 1;
                }
                wire
            })
            .collect();
        assert!(refused > 0, "240 MB wait in a budget of 64 MiB");
        drop(wires);
        ((), vec![("refused", refused)])
    });
}
