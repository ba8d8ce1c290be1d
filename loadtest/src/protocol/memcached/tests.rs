//! memcached's text protocol as bytes: commands, answers cut at every byte, and what is garbage.

use proptest::prelude::*;

use super::*;
use crate::protocol::KEY_LEN;
use crate::protocol::testing::{Kept, Log, check_cuts, feed, survives};

const A: Key = [b'a'; KEY_LEN];
const B: Key = [b'b'; KEY_LEN];

fn codec() -> Memcached {
    Memcached { now_s: || 1_000_000_000, ..Memcached::default() }
}

fn calls() -> [Call<'static>; 10] {
    [
        Call::Issue { key: &A, payload: b"\"a\"", ttl_ms: 1_001 },
        Call::Resolve(&A),
        Call::Resolve(&A),
        Call::ResolveMany(&[A, B, A, B]),
        Call::ResolveMany(&[A]),
        Call::Revoke(&A),
        Call::Revoke(&A),
        Call::Extend { key: &A, ttl_ms: 2_592_000_000 },
        Call::Extend { key: &A, ttl_ms: 2_592_000_001 },
        Call::Issue { key: &B, payload: b"1", ttl_ms: u64::MAX },
    ]
}

fn asked() -> Box<dyn Codec> {
    let mut codec: Box<dyn Codec> = Box::new(codec());
    for (ticket, call) in (1..).zip(calls()) {
        codec.request(ticket, call, &mut Vec::new()).expect("it takes requests");
    }
    codec
}

fn stream() -> String {
    let (a, b) = ("a".repeat(KEY_LEN), "b".repeat(KEY_LEN));
    format!(
        "STORED\r\nVALUE {a} 0 5\r\nEND\r\n\r\nEND\r\nEND\r\n\
         VALUE {b} 0 1\r\n1\r\nVALUE {a} 0 0\r\n\r\nEND\r\nVALUE {a} 0 1\r\n7\r\nEND\r\n\
         DELETED\r\nNOT_FOUND\r\nTOUCHED\r\nNOT_FOUND\r\nSERVER_ERROR out of memory\r\n"
    )
}

#[test]
fn answers_mean_the_same_wherever_they_are_cut() {
    let expected = [
        Kept::Issued(None),
        Kept::Found(b"END\r\n".to_vec()),
        Kept::Absent,
        Kept::Many(vec![None, Some(b"1".to_vec()), Some(Vec::new()), None]),
        Kept::Many(vec![Some(b"7".to_vec())]),
        Kept::Done,
        Kept::Absent,
        Kept::Done,
        Kept::Absent,
        Kept::Refused(0, "SERVER_ERROR out of memory".to_owned()),
    ];
    check_cuts(&asked, stream().as_bytes(), &Log((1..).zip(expected).collect()));
}

#[test]
fn times_are_whole_seconds_rounded_up_and_long_ones_absolute() {
    let (a, b) = ("a".repeat(KEY_LEN), "b".repeat(KEY_LEN));
    let expected = [
        format!("set {a} 0 2 3\r\n\"a\"\r\n"),
        format!("get {a}\r\n"),
        format!("get {a}\r\n"),
        format!("get {a} {b} {a} {b}\r\n"),
        format!("get {a}\r\n"),
        format!("delete {a}\r\n"),
        format!("delete {a}\r\n"),
        format!("touch {a} 2592000\r\n"),
        format!("touch {a} 1002592001\r\n"),
        format!("set {b} 0 2147483647 1\r\n1\r\n"),
    ];
    for (call, expected) in calls().into_iter().zip(expected) {
        let mut output = Vec::new();
        codec().request(0, call, &mut output).expect("it takes requests");
        assert_eq!(String::from_utf8_lossy(&output), expected);
    }
}

#[test]
fn consume_is_refused_before_it_is_sent() {
    let mut output = Vec::new();
    assert!(codec().request(0, Call::Consume(&A), &mut output).is_err());
    assert!(output.is_empty());
}

#[test]
fn garbage_is_named() {
    let (a, b) = ("a".repeat(KEY_LEN), "b".repeat(KEY_LEN));
    for (call, stream, said) in [
        (Call::Resolve(&A), "HTTP/1.1 400 Bad\r\n".to_owned(), "not memcached"),
        (Call::Resolve(&A), "STORED\r\n".to_owned(), "not memcached"),
        (Call::Resolve(&A), format!("VALUE {b} 0 1\r\n1\r\nEND\r\n"), "not asked for"),
        (Call::Resolve(&A), format!("VALUE {a} 0 1\r\n1\r\n").repeat(2), "not asked for"),
        (Call::Resolve(&A), format!("VALUE {a} 0 x\r\n"), "not a length"),
        (Call::Resolve(&A), format!("VALUE {a} 0 1\r\n12\r\n"), "without their end"),
        (Call::Resolve(&A), "END\r\nEND\r\n".to_owned(), "nothing that was asked"),
        (Call::Revoke(&A), "END\r\n".to_owned(), "not memcached"),
        (Call::Revoke(&A), "DELETED\n".to_owned(), "without its"),
    ] {
        let mut codec = codec();
        codec.request(0, call, &mut Vec::new()).expect("it takes requests");
        let garbage = feed(&mut codec, &[stream.as_bytes()]).expect_err(&stream).to_string();
        assert!(garbage.contains(said), "{garbage} does not say {said}");
    }
}

proptest! {
    #[test]
    fn no_bytes_break_it(bytes in proptest::collection::vec(any::<u8>(), 0..100), cut in 0_usize..100) {
        survives(&mut *asked(), &bytes, cut);
    }

    #[test]
    fn no_damage_breaks_it(at in 0_usize..400, byte: u8, cut in 0_usize..400) {
        let mut stream = stream().into_bytes();
        let at = at % stream.len();
        stream[at] = byte;
        survives(&mut *asked(), &stream, cut);
    }
}

/// It says so to a connection before anything is asked, and closes it.
#[test]
fn one_connection_too_many_is_refused_and_no_false_answer() {
    for asked in [0, 1] {
        let mut codec = Memcached::default();
        for ticket in 0..asked {
            codec.request(ticket, Call::Resolve(&[b'k'; 32]), &mut Vec::new()).expect("it takes");
        }
        let said = b"ERROR Too many open connections\r\n";
        let refused = match feed(&mut codec, &[said]) {
            Err(Fault::Refused(refusal)) => Kept::Refused(refusal.status, refusal.said),
            Ok(log) => log.0.into_iter().next().expect("an answer").1,
            other => panic!("{other:?}"),
        };
        assert_eq!(refused, Kept::Refused(0, "ERROR Too many open connections".to_owned()));
    }
}
