//! The end of connections: complete requests are answered, after a half-close by the client and
//! during a stop of the server.

use std::io::Read;
use std::net::Shutdown;
use std::sync::Barrier;
use std::thread;

use rustix::process::Signal;

use crate::client::{Client, assert_contract, expect};
use crate::hostile_http2::{DATA, END_HEADERS, END_STREAM, HEADERS, PING, frame, hello};
use crate::http2::{ACK, next_frame};
use crate::raw::{Conn, Response, request};
use crate::server::Server;

const JSON: (&str, &str) = ("Content-Type", "application/json");

/// The answer to a request after which the client has closed its sending side.
fn last(server: &Server, bytes: &[u8]) -> Response {
    let mut conn = Conn::open(server.data).expect("connects");
    conn.send(bytes).expect("sends");
    conn.stream().shutdown(Shutdown::Write).expect("half-closes");
    let response = conn.response().expect("an answer");
    assert_contract(&response);
    assert!(conn.is_closed());
    response
}

/// Each operation several times, both those that wait for the log and those that do not.
#[test]
fn a_whole_request_before_a_half_close_is_answered() {
    let server = Server::fresh();
    let mut client = Client::of(&server);
    for n in 0..20 {
        let token = client.issued(r#"{"payload":"p","uses":3}"#).token;
        let (path, list) = (format!("/v1/tokens/{token}"), format!(r#"{{"tokens":["{token}"]}}"#));
        let extra = ("X-Other", "not for the hot path");
        let issue = br#"{"payload":1}"#;
        let batch = br#"{"tokens":[{"payload":1}]}"#;
        for (bytes, status) in [
            (request("GET", &path, &[], b""), 200),
            (request("GET", &path, &[extra], b""), 200),
            (request("GET", &format!("{path}/status"), &[], b""), 200),
            (request("POST", "/v1/tokens", &[JSON], issue), 201),
            (request("POST", "/v1/tokens/batch", &[JSON], batch), 200),
            (request("POST", "/v1/resolve", &[JSON], list.as_bytes()), 200),
            (request("POST", "/v1/consume", &[JSON], list.as_bytes()), 200),
            (request("POST", &format!("{path}/consume"), &[], b""), 200),
            (request("PATCH", &path, &[JSON], br#"{"ttl":"1h"}"#), 200),
            (request("DELETE", &path, &[], b""), 204),
            (request("POST", "/v1/nothing", &[JSON], issue), 404),
        ] {
            assert_eq!(last(&server, &bytes).status, status, "{n}");
        }
    }
    // Several at once are all answered, and half a request is not.
    let token = client.issued(r#"{"payload":"p","uses":9}"#).token;
    let consume = request("POST", &format!("/v1/tokens/{token}/consume"), &[], b"");
    let mut conn = Conn::open(server.data).expect("connects");
    conn.send(&consume.repeat(5)).expect("sends");
    conn.send(&consume[..consume.len() - 2]).expect("sends");
    conn.stream().shutdown(Shutdown::Write).expect("half-closes");
    for _ in 0..5 {
        expect(&conn.response().expect("an answer"), 200);
    }
    while conn.response().is_ok() {}
    assert_eq!(client.uses_left(&token), 4);
}

/// `:method: POST`, `:scheme: http`, `:path: /v1/tokens`, `:authority: a`,
/// `content-type: application/json`.
const POST_TOKENS: &[u8] = b"\x83\x86\x44\x0a/v1/tokens\x41\x01a\x5f\x10application/json";

#[test]
fn a_whole_stream_before_a_half_close_is_answered() {
    let server = Server::fresh();
    for _ in 0..20 {
        let mut conn = hello(&server, &[]);
        let mut stream = conn.writer().expect("a second handle");
        let head = frame(HEADERS, END_HEADERS, 1, POST_TOKENS);
        let body = frame(DATA, END_STREAM, 1, br#"{"payload":1}"#);
        conn.send(&[head, body].concat()).expect("sends");
        conn.stream().shutdown(Shutdown::Write).expect("half-closes");
        let answer = loop {
            if let (DATA, _, 1, payload) = next_frame(&mut stream) {
                break payload;
            }
        };
        assert!(answer.starts_with(b"{\"token\":"), "{}", String::from_utf8_lossy(&answer));
        stream.read_to_end(&mut Vec::new()).expect("it ends by itself");
    }
}

/// Clients that wait for each answer, each on one connection, while the server is stopped.
#[test]
fn a_stop_answers_what_was_sent() {
    const CLIENTS: usize = 24;
    let server = Server::fresh();
    let mut client = Client::of(&server);
    let token = client.issued(r#"{"payload":"p","uses":10000}"#).token;
    drop(client);
    let (address, ready) = (server.data, Barrier::new(CLIENTS + 1));
    let path = format!("/v1/tokens/{token}");
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|n| {
                let bytes = match n % 3 {
                    0 => request("GET", &path, &[], b""),
                    1 => request("GET", &path, &[("X-Other", "1")], b""),
                    _ => request("POST", &format!("{path}/consume"), &[], b""),
                };
                let ready = &ready;
                scope.spawn(move || {
                    let mut conn = Conn::open(address).expect("connects");
                    let mut ask = || {
                        conn.send(&bytes).expect("the connection is open");
                        conn.response().expect("an answer")
                    };
                    expect(&ask(), 200);
                    ready.wait();
                    // Some are busy and some idle when the stop comes.
                    thread::sleep(std::time::Duration::from_millis(20 * (n as u64 % 4)));
                    let mut answers = 1;
                    loop {
                        let answer = ask();
                        expect(&answer, 200);
                        answers += 1;
                        if answer.closes() {
                            break;
                        }
                    }
                    assert!(conn.is_closed(), "behind the last answer");
                    answers
                })
            })
            .collect();
        ready.wait();
        let (status, said) = server.stop(Signal::TERM);
        assert!(status.success() && !said.contains("not all requests"), "{said}");
        for client in clients {
            assert!(client.join().expect("every request was answered") >= 2);
        }
    });
}

/// Requests pipelined before the stop are answered, and the last answer has `Connection: close`.
#[test]
fn a_stop_answers_what_was_pipelined() {
    let server = Server::fresh_with(|launch| launch.flag("--sync", "never"));
    let token = Client::of(&server).issued(r#"{"payload":"p","uses":100}"#).token;
    let consume = request("POST", &format!("/v1/tokens/{token}/consume"), &[], b"");
    let mut conn = Conn::open(server.data).expect("connects");
    conn.send(&consume.repeat(50)).expect("sends");
    expect(&conn.response().expect("an answer"), 200);
    let stopping = thread::spawn(move || server.stop(Signal::TERM));
    for _ in 1..50 {
        expect(&conn.response().expect("an answer"), 200);
    }
    drop(conn);
    assert!(stopping.join().expect("it stops").0.success());
}

/// Requests of which a part has arrived, be it one byte, may be completed after the stop.
#[test]
fn a_stop_answers_what_has_begun_to_arrive() {
    let server = Server::fresh();
    let issue = request("POST", "/v1/tokens", &[JSON], br#"{"payload":1}"#);
    let resolve = request("GET", "/v1/tokens/x", &[], b"");
    let begun = [
        (&issue[..1], &issue[1..], 201),
        (&issue[..3], &issue[3..], 201),
        (&issue[..40], &issue[40..], 201),
        (&issue[..issue.len() - 2], &issue[issue.len() - 2..], 201),
        (&resolve[..1], &resolve[1..], 400),
        (&resolve[..resolve.len() - 1], &resolve[resolve.len() - 1..], 400),
    ];
    let mut conns: Vec<_> =
        begun.iter().map(|_| Conn::open(server.data).expect("connects")).collect();
    for (conn, (part, ..)) in conns.iter_mut().zip(begun) {
        conn.send(part).expect("sends");
    }
    let stopping = thread::spawn(move || server.stop(Signal::TERM));
    // After this no new requests are accepted.
    thread::sleep(std::time::Duration::from_millis(1_500));
    for (conn, (part, rest, status)) in conns.iter_mut().zip(begun) {
        conn.send(rest).expect("the connection is open");
        let answer = conn.response().unwrap_or_else(|error| panic!("{}: {error}", part.len()));
        expect(&answer, status);
        assert!(answer.closes() && conn.is_closed(), "{}", part.len());
    }
    let (status, said) = stopping.join().expect("it stops");
    assert!(status.success() && !said.contains("not all requests"), "{said}");
}

/// HTTP/2 clients get two GOAWAY frames: requests that they send before the second are still
/// answered.
#[test]
fn a_stop_tells_http2_clients_twice() {
    const GOAWAY: u8 = 7;
    let server = Server::fresh();
    let mut conn = hello(&server, &[]);
    let mut stream = conn.writer().expect("a second handle");
    // `:method: GET`, `:scheme: http`, `:path: /`, `:authority: a`.
    let get = |id| frame(HEADERS, END_HEADERS | END_STREAM, id, b"\x82\x86\x84\x41\x01a");
    conn.send(&get(1)).expect("sends");
    while !matches!(next_frame(&mut stream), (DATA, _, 1, _)) {}
    let stopping = thread::spawn(move || server.stop(Signal::TERM));
    let mut last_streams = Vec::new();
    let mut is_answered = false;
    while !(is_answered && last_streams.len() == 2) {
        match next_frame(&mut stream) {
            (GOAWAY, _, _, payload) => {
                last_streams.push(u32::from_be_bytes(payload[..4].try_into().expect("four bytes")));
                if last_streams.len() == 1 {
                    conn.send(&get(3)).expect("sends");
                }
            }
            (PING, 0, _, payload) => conn.send(&frame(PING, ACK, 0, &payload)).expect("sends"),
            (DATA, _, 3, _) => is_answered = true,
            _ => {}
        }
    }
    assert_eq!(last_streams, [0x7fff_ffff, 3]);
    drop((conn, stream));
    assert!(stopping.join().expect("it stops").0.success());
}
