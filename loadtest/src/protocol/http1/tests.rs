//! HTTP/1.1 as bytes: requests against a parser, answers cut at every byte, and what is garbage.

use proptest::prelude::*;

use super::*;
use crate::protocol::testing::{Kept, Log, check_cuts, feed, survives};
use crate::protocol::{KEY_LEN, Key};

const KEY: Key = [b'k'; KEY_LEN];
const TOKEN: &str = "TDj1GBxf41yiP_IdsKKk01bWR2pWsiim";

/// One of each request, tickets counted from 10.
fn asked() -> Box<dyn Codec> {
    let mut codec: Box<dyn Codec> = Box::new(Http1::new(&"localhost:7450".into()));
    let calls = [
        Call::Issue { key: &KEY, payload: b"{}", ttl_ms: 1 },
        Call::Resolve(&KEY),
        Call::Resolve(&KEY),
        Call::ResolveMany(&[KEY, KEY, KEY]),
        Call::Consume(&KEY),
        Call::Consume(&KEY),
        Call::Revoke(&KEY),
        Call::Extend { key: &KEY, ttl_ms: 1 },
        Call::Extend { key: &KEY, ttl_ms: 1 },
        Call::Issue { key: &KEY, payload: b"{}", ttl_ms: 1 },
    ];
    let mut output = Vec::new();
    for (ticket, call) in (10..).zip(calls) {
        codec.request(ticket, call, &mut output).expect("it takes requests");
    }
    codec
}

fn answer(status: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncache-control: no-store\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

/// The answers to [`asked`] as jeton gives them, and as a proxy may pass them on.
fn stream() -> (Vec<u8>, Log) {
    let text = [
        "HTTP/1.1 100 Continue\r\n\r\n".to_owned(),
        answer("201 Created", &format!("{{\"token\":\"{TOKEN}\",\"expires_at\":\"x\"}}")),
        answer("200 OK", "{\"a\" : [1]}"),
        answer("404 Not Found", "{\"status\":404}"),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
         4;name=\"x\"\r\n[{},\r\n00a\r\nnull,\"\\u00\r\n4\r\ne4\"]\r\n0\r\nTrailer: x\r\n\r\n"
            .to_owned(),
        answer("200 OK", "7"),
        answer("404 Not Found", ""),
        "HTTP/1.1 204 No Content\r\ncache-control: no-store\r\n\r\n".to_owned(),
        answer("200 OK", "{\"expires_at\":\"x\"}"),
        "HTTP/1.1 404 Not Found\r\nTRANSFER-ENCODING:chunked\r\n\r\n0\r\n\r\n".to_owned(),
        answer("503 Service Unavailable", "{\"detail\":\"full\"}"),
    ];
    let token = *TOKEN.as_bytes().as_array().expect("a token's length");
    let expected = [
        Kept::Issued(Some(token)),
        Kept::Found(b"{\"a\" : [1]}".to_vec()),
        Kept::Absent,
        Kept::Many(vec![Some(b"{}".to_vec()), None, Some(b"\"\\u00e4\"".to_vec())]),
        Kept::Found(b"7".to_vec()),
        Kept::Absent,
        Kept::Done,
        Kept::Done,
        Kept::Absent,
        Kept::Refused(503, "{\"detail\":\"full\"}".to_owned()),
    ];
    (text.concat().into_bytes(), Log((10..).zip(expected).collect()))
}

#[test]
fn answers_mean_the_same_wherever_they_are_cut() {
    let (stream, expected) = stream();
    check_cuts(&asked, &stream, &expected);
}

#[test]
fn requests_are_whole_and_name_what_they_ask() {
    let expected = [
        ("GET", format!("/v1/tokens/{}", "k".repeat(KEY_LEN)), None),
        ("POST", "/v1/tokens".to_owned(), Some("{\"payload\":[1],\"ttl\":\"90ms\"}".to_owned())),
        (
            "POST",
            "/v1/resolve".to_owned(),
            Some(format!("{{\"tokens\":[\"{0}\",\"{0}\"]}}", "k".repeat(KEY_LEN))),
        ),
        ("POST", format!("/v1/tokens/{}/consume", "k".repeat(KEY_LEN)), Some(String::new())),
        ("DELETE", format!("/v1/tokens/{}", "k".repeat(KEY_LEN)), None),
        (
            "PATCH",
            format!("/v1/tokens/{}", "k".repeat(KEY_LEN)),
            Some("{\"ttl\":\"7ms\"}".to_owned()),
        ),
    ];
    let calls = [
        Call::Resolve(&KEY),
        Call::Issue { key: &KEY, payload: b"[1]", ttl_ms: 90 },
        Call::ResolveMany(&[KEY, KEY]),
        Call::Consume(&KEY),
        Call::Revoke(&KEY),
        Call::Extend { key: &KEY, ttl_ms: 7 },
    ];
    let (host, key) = ("example:1".to_owned(), Some("jeton_1".to_owned().into()));
    let mut codec = Http1::new(&Caller { host, key, ..Caller::default() });
    for (call, (method, path, body)) in calls.into_iter().zip(expected) {
        let mut output = Vec::new();
        codec.request(0, call, &mut output).expect("it takes requests");
        let mut fields = [httparse::EMPTY_HEADER; 8];
        let mut request = httparse::Request::new(&mut fields);
        let head = request.parse(&output).expect("a request").unwrap();
        assert_eq!((request.method, request.path), (Some(method), Some(path.as_str())));
        let field = |name: &str| {
            let mut named = request.headers.iter().filter(|field| field.name == name);
            named.next().map(|field| String::from_utf8_lossy(field.value).into_owned())
        };
        assert_eq!(field("Host").as_deref(), Some("example:1"));
        assert_eq!(field("Authorization").as_deref(), Some("Bearer jeton_1"));
        assert_eq!(field("Content-Length"), body.as_ref().map(|body| body.len().to_string()));
        assert_eq!(String::from_utf8_lossy(&output[head..]), body.unwrap_or_default());
    }
}

#[test]
fn the_floor_answers_anything_with_its_bytes() {
    let mut codec = Http1::floor("localhost");
    let mut output = Vec::new();
    codec.request(1, Call::Revoke(&KEY), &mut output).expect("it takes requests");
    codec.request(2, Call::ResolveMany(&[KEY]), &mut output).expect("it takes requests");
    let stream = answer("200 OK", "fixed").repeat(2);
    let fixed = Kept::Found(b"fixed".to_vec());
    let expected = Log(vec![(1, fixed.clone()), (2, fixed)]);
    assert_eq!(feed(&mut codec, &[stream.as_bytes()]), Ok(expected));
}

#[test]
fn garbage_is_named() {
    let one = |stream: &str| {
        let mut codec = Http1::new(&"localhost".into());
        codec.request(0, Call::ResolveMany(&[KEY]), &mut Vec::new()).expect("it takes requests");
        feed(&mut codec, &[stream.as_bytes()]).expect_err(stream).to_string()
    };
    let long = format!("HTTP/1.1 200 OK\r\nx: {}", "x".repeat(HEAD_MAX));
    for (stream, said) in [
        ("SSH-2.0-OpenSSH_9.2\r\n", "not HTTP/1.1"),
        ("HTTP/1.1 200 OK\r\n\r\n", "unknown length"),
        ("HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n", "a length of -1"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 67108865\r\n\r\n", "at most 67108864"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n[", "two lengths"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n", "encoding of gzip"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nx\r\n", "size of a chunk"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4000001\r\n", "more than 67108864"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nxx", "without its end"),
        ("HTTP/1.1 101 Switching Protocols\r\n\r\n", "switches"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", "not an array"),
        (&(answer("200 OK", "[1]") + &answer("200 OK", "[1]")), "nothing that was asked"),
        (&long, "exceeds 65536"),
    ] {
        let garbage = one(stream);
        assert!(garbage.contains(said), "{garbage} does not say {said}");
    }
}

#[test]
fn a_server_that_closes_is_asked_nothing_more() {
    for head in [
        "HTTP/1.1 200 OK\r\nConnection: keep-alive, Close\r\ncontent-length: 1\r\n\r\n1",
        "HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\n1",
    ] {
        let mut codec = Http1::new(&"localhost".into());
        let mut output = Vec::new();
        codec.request(5, Call::Resolve(&KEY), &mut output).expect("it takes requests");
        assert!(!codec.closing());
        assert_eq!(
            feed(&mut codec, &[head.as_bytes()]),
            Ok(Log(vec![(5, Kept::Found(b"1".to_vec()))]))
        );
        assert!(codec.closing());
        assert!(codec.request(6, Call::Resolve(&KEY), &mut output).is_err());
    }
}

proptest! {
    #[test]
    fn known_heads_are_read_as_unknown_ones(order in proptest::collection::vec(0_usize..7, 1..40)) {
        let heads: Vec<String> = (0..7)
            .map(|kind| format!("{}{}", answer("200 OK", &"1".repeat(1 + kind / 2)),
                if kind % 2 == 0 { "" } else { "HTTP/1.1 103 Early Hints\r\n\r\n" }))
            .collect();
        let mut codec = Http1::new(&"localhost".into());
        let mut expected = Vec::new();
        let mut stream = String::new();
        for (ticket, kind) in (0..).zip(order) {
            codec.request(ticket, Call::Resolve(&KEY), &mut Vec::new()).expect("it takes requests");
            stream.push_str(&heads[kind]);
            expected.push((ticket, Kept::Found(vec![b'1'; 1 + kind / 2])));
        }
        prop_assert_eq!(feed(&mut codec, &[stream.as_bytes()]), Ok(Log(expected)));
    }

    #[test]
    fn no_bytes_break_it(bytes in proptest::collection::vec(any::<u8>(), 0..300), cut in 0_usize..300) {
        survives(&mut *asked(), &bytes, cut);
    }

    #[test]
    fn no_damage_breaks_it(at in 0_usize..1_200, byte: u8, cut in 0_usize..1_200) {
        let (mut stream, _) = stream();
        let at = at % stream.len();
        stream[at] = byte;
        survives(&mut *asked(), &stream, cut);
    }
}

#[test]
fn what_a_server_says_unasked_is_a_refusal_where_it_can_be_one() {
    for (status, is_refusal) in [(408, true), (429, true), (503, true), (200, false), (404, false)]
    {
        let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
        let fault = feed(&mut Http1::new(&"a".into()), &[answer.as_bytes()]).expect_err("unasked");
        assert_eq!(matches!(&fault, Fault::Refused(one) if one.status == status), is_refusal);
    }
}

#[test]
fn an_alert_of_tls_says_what_speaks_there() {
    let mut codec = Http1::new(&"a".into());
    codec.request(0, Call::Resolve(&KEY), &mut Vec::new()).expect("it takes requests");
    let fault = feed(&mut codec, &[b"\x15\x03\x01\x00\x02\x02\x46"]).expect_err("no HTTP");
    assert!(matches!(fault, Fault::Refused(one) if one.denial == Some(Denial::SpeaksTls)));
}
