//! RESP as bytes: commands, answers cut at every byte, and what is garbage.

use proptest::prelude::*;

use super::*;
use crate::protocol::testing::{Kept, Log, check_cuts, feed, survives};

const KEY: Key = [b'k'; KEY_LEN];

fn calls() -> [Call<'static>; 8] {
    [
        Call::Issue { key: &KEY, payload: b"\"ab\"", ttl_ms: 15 },
        Call::Resolve(&KEY),
        Call::Resolve(&KEY),
        Call::ResolveMany(&[KEY, KEY]),
        Call::Consume(&KEY),
        Call::Revoke(&KEY),
        Call::Extend { key: &KEY, ttl_ms: 7 },
        Call::Issue { key: &KEY, payload: b"1", ttl_ms: 1 },
    ]
}

fn asked() -> Box<dyn Codec> {
    let mut codec: Box<dyn Codec> = Box::new(Resp::default());
    for (ticket, call) in (1..).zip(calls()) {
        codec.request(ticket, call, &mut Vec::new()).expect("it takes requests");
    }
    codec
}

const STREAM: &[u8] =
    b"+OK\r\n$4\r\na\r\nb\r\n$-1\r\n*2\r\n$0\r\n\r\n$-1\r\n$2\r\n\"\"\r\n:1\r\n:0\r\n\
    -OOM command not allowed\r\n";

#[test]
fn answers_mean_the_same_wherever_they_are_cut() {
    let expected = [
        Kept::Issued(None),
        Kept::Found(b"a\r\nb".to_vec()),
        Kept::Absent,
        Kept::Many(vec![Some(Vec::new()), None]),
        Kept::Found(b"\"\"".to_vec()),
        Kept::Done,
        Kept::Absent,
        Kept::Refused(0, "OOM command not allowed".to_owned()),
    ];
    check_cuts(&asked, STREAM, &Log((1..).zip(expected).collect()));
}

#[test]
fn commands_are_arrays_of_bulk_strings() {
    let k = "k".repeat(KEY_LEN);
    let expected = [
        vec!["SET", &k, "\"ab\"", "PX", "15"],
        vec!["GET", &k],
        vec!["GET", &k],
        vec!["MGET", &k, &k],
        vec!["GETDEL", &k],
        vec!["DEL", &k],
        vec!["PEXPIRE", &k, "7"],
        vec!["SET", &k, "1", "PX", "1"],
    ];
    for (call, words) in calls().into_iter().zip(expected) {
        let mut output = Vec::new();
        Resp::default().request(0, call, &mut output).expect("it takes requests");
        let Ok(Some((Reply::Array(Some(count)), rest))) = reply(&output) else {
            panic!("not an array: {}", excerpt(&output));
        };
        let (bulks, rest) = values(rest, count).expect("bulk strings").expect("whole");
        let bulks: Vec<_> = bulks.into_iter().flatten().map(String::from_utf8_lossy).collect();
        assert_eq!((bulks, rest), (words.into_iter().map(Into::into).collect(), &b""[..]));
    }
}

#[test]
fn garbage_is_named() {
    for (call, stream, said) in [
        (Call::Resolve(&KEY), "HTTP/1.1 400", "not RESP"),
        (Call::Resolve(&KEY), "+OK\r\n", "Value was answered with +OK"),
        (Call::Resolve(&KEY), "$-2\r\n", "not a length"),
        (Call::Resolve(&KEY), "$67108865\r\n", "not a length"),
        (Call::Resolve(&KEY), "$1\r\nabc", "without their end"),
        (Call::Resolve(&KEY), "$1\r\na\r\n:1\r\n", "nothing that was asked"),
        (Call::Resolve(&KEY), "+a\n", "without its"),
        (Call::Revoke(&KEY), ":2\r\n", "Count was answered with :2"),
        (Call::ResolveMany(&[KEY, KEY]), "*1\r\n$-1\r\n", "an array of 1"),
        (Call::ResolveMany(&[KEY, KEY]), "*-1\r\n", "null"),
        (Call::ResolveMany(&[KEY, KEY]), "*2\r\n:1\r\n", "MGET is :1"),
    ] {
        let mut codec = Resp::default();
        codec.request(0, call, &mut Vec::new()).expect("it takes requests");
        let garbage = feed(&mut codec, &[stream.as_bytes()]).expect_err(stream).to_string();
        assert!(garbage.contains(said), "{garbage} does not say {said}");
    }
}

/// As after a reconnect in the middle of a run, when the password was changed meanwhile.
#[test]
fn p9_a_refusal_of_auth_is_no_false_answer_and_repeats_nothing() {
    for (said, denial) in [
        ("-WRONGPASS invalid username-password pair: hunter2", Denial::PasswordRefused),
        ("-ERR max number of clients reached", Denial::Crowded),
        ("-ERR unknown command 'AUTH', with args beginning with: 'hunter2'", Denial::AuthRefused),
    ] {
        let password = "hunter2".to_owned().into();
        let mut codec = Resp::new(Some(Credentials { user: None, password }), 0);
        codec.open(&mut Vec::new());
        codec.request(0, Call::Resolve(&KEY), &mut Vec::new()).expect("it takes requests");
        let answer = format!("{said}\r\n");
        let fault = feed(&mut codec, &[answer.as_bytes()]).expect_err("refused");
        let wrong = crate::traffic::verdict::Wrong::from(fault);
        assert!(!wrong.kind.is_wrong() && wrong.kind.name() == "refused", "{wrong:?}");
        assert!(!wrong.what.contains("hunter2"), "P9: {wrong:?}");
        assert_eq!(wrong.denial, Some(denial));
    }
}

#[test]
fn one_connection_too_many_is_refused_and_no_false_answer() {
    let fault = feed(&mut Resp::default(), &[b"-ERR max number of clients reached\r\n"]);
    let Err(Fault::Refused(refusal)) = fault else { panic!("{fault:?}") };
    assert_eq!(refusal.denial, Some(Denial::Crowded));
}

proptest! {
    #[test]
    fn no_bytes_break_it(bytes in proptest::collection::vec(any::<u8>(), 0..100), cut in 0_usize..100) {
        survives(&mut *asked(), &bytes, cut);
    }

    #[test]
    fn no_damage_breaks_it(at in 0..STREAM.len(), byte: u8, cut in 0..STREAM.len()) {
        let mut stream = STREAM.to_vec();
        stream[at] = byte;
        survives(&mut *asked(), &stream, cut);
    }
}

#[test]
fn an_issue_that_waits_for_replicas_needs_both_answers() {
    let waiting = || {
        let mut codec: Box<dyn Codec> = Box::new(Resp::new(None, 1));
        for ticket in 1..=4 {
            let call = Call::Issue { key: &KEY, payload: b"1", ttl_ms: 1 };
            codec.request(ticket, call, &mut Vec::new()).expect("it takes requests");
        }
        codec
    };
    let few = "fewer than 1 replicas had it in time".to_owned();
    let expected = [
        Kept::Issued(None),
        Kept::Refused(0, few),
        Kept::Refused(0, "OOM command not allowed".to_owned()),
        Kept::Issued(None),
    ];
    let stream = b"+OK\r\n:1\r\n+OK\r\n:0\r\n-OOM command not allowed\r\n:1\r\n+OK\r\n:2\r\n";
    check_cuts(&waiting, stream, &Log((1..).zip(expected).collect()));
    let mut output = Vec::new();
    let call = Call::Issue { key: &KEY, payload: b"1", ttl_ms: 1 };
    Resp::new(None, 2).request(1, call, &mut output).expect("it takes requests");
    assert!(output.ends_with(b"*3\r\n$4\r\nWAIT\r\n$1\r\n2\r\n$4\r\n5000\r\n"));
}
