//! HTTP/2 with prior knowledge: the same operations, many streams on one connection.

use std::io::Read;
use std::net::TcpStream as StdStream;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::SendRequest;
use hyper::{Request, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustix::process::Signal;
use tokio::net::TcpStream;

use crate::hostile_http2::{
    DATA, END_HEADERS, END_STREAM, HEADERS, PING, RST_STREAM, frame, hello,
};
use crate::hostile_watch::impatient;
use crate::raw::{PATIENCE, Response};
use crate::server::Server;

type Sender = SendRequest<Full<Bytes>>;

/// Runs an asynchronous test on a runtime of its own, no longer than the patience of a few waits.
fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    runtime
        .block_on(async { tokio::time::timeout(PATIENCE * 3, test).await })
        .expect("the server answers");
}

async fn connect(server: &Server) -> Sender {
    let stream = TcpStream::connect(server.data).await.expect("connects");
    let io = TokioIo::new(stream);
    let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
        .await
        .expect("the server speaks HTTP/2");
    tokio::spawn(connection);
    sender
}

async fn send(sender: &mut Sender, method: &str, path: &str, body: &str) -> Response {
    let request = Request::builder()
        .method(method)
        .uri(format!("http://jeton{path}"))
        .header("content-type", "application/json")
        .body(Full::from(body.to_owned()))
        .expect("a request");
    let response = sender.send_request(request).await.expect("an answer");
    assert_eq!(response.version(), Version::HTTP_2);
    let status = response.status().as_u16();
    let headers = response.headers().iter();
    let headers = headers
        .map(|(name, value)| (name.to_string(), value.to_str().expect("text").to_owned()))
        .collect();
    let body = response.into_body().collect().await.expect("a whole body").to_bytes().to_vec();
    let response = Response { status, headers, body };
    crate::client::assert_contract(&response);
    response
}

#[test]
fn every_operation_works_over_http2() {
    let server = Server::shared();
    run(async {
        let mut sender = connect(&server).await;
        let body = "{\"payload\":{ \"n\" : 1},\"uses\":2}";
        let issued = send(&mut sender, "POST", "/v1/tokens", body).await;
        assert_eq!(issued.status, 201);
        let token = issued.json()["token"].as_str().expect("a token").to_owned();
        let path = format!("/v1/tokens/{token}");
        let resolved = send(&mut sender, "GET", &path, "").await;
        assert_eq!((resolved.status, resolved.text()), (200, "{ \"n\" : 1}"));
        let list = serde_json::json!({ "tokens": [token] }).to_string();
        assert_eq!(send(&mut sender, "POST", "/v1/resolve", &list).await.text(), "[{ \"n\" : 1}]");
        let consumed = send(&mut sender, "POST", &format!("{path}/consume"), "").await;
        assert_eq!((consumed.status, consumed.text()), (200, "{ \"n\" : 1}"));
        let status = send(&mut sender, "GET", &format!("{path}/status"), "").await;
        assert_eq!(status.json()["uses_left"], 1);
        assert_eq!(send(&mut sender, "PATCH", &path, r#"{"ttl":"1h"}"#).await.status, 200);
        assert_eq!(send(&mut sender, "POST", "/v1/consume", &list).await.text(), "[{ \"n\" : 1}]");
        assert_eq!(send(&mut sender, "DELETE", &path, "").await.status, 204);
        assert_eq!(send(&mut sender, "GET", &path, "").await.status, 404);
    });
}

#[test]
fn errors_over_http2_are_the_same_problems() {
    let server = Server::shared();
    run(async {
        let mut sender = connect(&server).await;
        for (method, path, body, status) in [
            ("POST", "/v1/tokens", "{", 400),
            ("GET", "/v1/nothing", "", 404),
            ("PUT", "/v1/tokens", "", 405),
            ("POST", "/v1/tokens", r#"{"payload":1,"ttl":0}"#, 422),
        ] {
            assert_eq!(
                send(&mut sender, method, path, body).await.status,
                status,
                "{method} {path}"
            );
        }
        let large = format!("{{\"payload\":\"{}\"}}", "x".repeat(64 * 1024));
        assert_eq!(send(&mut sender, "POST", "/v1/tokens", &large).await.status, 413);
    });
}

#[test]
fn p2_streams_of_one_connection_are_rivals_too() {
    let server = Server::shared();
    run(async {
        let mut sender = connect(&server).await;
        let issued = send(&mut sender, "POST", "/v1/tokens", r#"{"payload":1,"uses":3}"#).await;
        let token = issued.json()["token"].as_str().expect("a token").to_owned();
        let rivals: Vec<_> = (0..50)
            .map(|_| {
                let (mut sender, path) = (sender.clone(), format!("/v1/tokens/{token}/consume"));
                tokio::spawn(async move { send(&mut sender, "POST", &path, "").await.status })
            })
            .collect();
        let mut winners = 0;
        for rival in rivals {
            match rival.await.expect("a rival ends well") {
                200 => winners += 1,
                status => assert_eq!(status, 404),
            }
        }
        assert_eq!(winners, 3);
    });
}

pub const ACK: u8 = 1;
/// `:method: POST`, `:scheme: http`, `:path: /`, `:authority: a`: an unknown path.
const POST_ROOT: &[u8] = b"\x83\x86\x84\x41\x01a";

/// The next frame: kind, flags, stream, payload.
pub fn next_frame(stream: &mut StdStream) -> (u8, u8, u32, Vec<u8>) {
    let mut head = [0; 9];
    stream.read_exact(&mut head).expect("a frame");
    let len = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; len as usize];
    stream.read_exact(&mut payload).expect("all of it");
    (head[3], head[4], u32::from_be_bytes([head[5], head[6], head[7], head[8]]), payload)
}

/// Some clients (curl 7.88) lose an answer if the stream is reset after it while they are still
/// sending.
#[test]
fn a_refusal_before_the_end_of_the_body_is_no_reset() {
    let head = frame(HEADERS, END_HEADERS, 1, POST_ROOT);
    let piece = frame(DATA, 0, 1, &[b'x'; 16 << 10]);
    let server = impatient();
    for is_ended in [true, false] {
        let mut conn = hello(&server, &[]);
        let mut stream = conn.writer().expect("a second handle");
        conn.send(&head).expect("sends");
        let is_last = |flags| flags & END_STREAM > 0;
        while !matches!(next_frame(&mut stream), (DATA, flags, 1, _) if is_last(flags)) {}
        conn.send(&piece).expect("sends");
        if is_ended {
            conn.send(&frame(DATA, END_STREAM, 1, b"x")).expect("sends");
            conn.send(&frame(PING, 0, 0, &[7; 8])).expect("sends");
        }
        // The rest is read, up to a limit.
        let end = loop {
            match next_frame(&mut stream) {
                (PING, ACK, ..) => break PING,
                (RST_STREAM, _, 1, reason) => {
                    assert_eq!(reason, [0; 4], "NO_ERROR");
                    break RST_STREAM;
                }
                _ => {}
            }
        };
        assert_eq!(end, if is_ended { PING } else { RST_STREAM });
    }
}

#[test]
fn a_stop_does_not_wait_for_a_body_that_nobody_wants() {
    let server = Server::fresh();
    let mut conn = hello(&server, &[]);
    let mut stream = conn.writer().expect("a second handle");
    conn.send(&frame(HEADERS, END_HEADERS, 1, POST_ROOT)).expect("sends");
    while !matches!(next_frame(&mut stream), (DATA, ..)) {}
    // Like a client that acknowledges the shutdown of the server and sends nothing else.
    let client = std::thread::spawn(move || {
        loop {
            if let (PING, 0, 0, payload) = next_frame(&mut stream) {
                return conn.send(&frame(PING, ACK, 0, &payload)).map(|()| (conn, stream));
            }
        }
    });
    let (status, said) = server.stop(Signal::TERM);
    drop(client.join());
    assert!(status.success() && !said.contains("not all requests were finished"), "{said}");
}

/// The status of the answer on stream 1, read to its end, and how much DATA came with it.
fn answer(server: &Server, head: &[u8], rest: &[u8]) -> (String, usize) {
    let mut conn = hello(server, &[]);
    let mut stream = conn.writer().expect("a second handle");
    let flags = if rest.is_empty() { END_HEADERS | END_STREAM } else { END_HEADERS };
    conn.send(&[&frame(HEADERS, flags, 1, head), rest].concat()).expect("sends");
    let (mut status, mut len) = (String::new(), 0);
    loop {
        let (kind, flags, id, payload) = next_frame(&mut stream);
        match (kind, id) {
            (HEADERS, 1) => status = status_of(&payload),
            (DATA, 1) => len += payload.len(),
            (RST_STREAM, 1) => panic!("it was reset"),
            _ => continue,
        }
        if flags & END_STREAM > 0 {
            return (status, len);
        }
    }
}

/// `:status`, as the first field of a head, from the static table or as a literal.
fn status_of(head: &[u8]) -> String {
    match head {
        [0x88, ..] => "200".to_owned(),
        [0x89, ..] => "204".to_owned(),
        [0x8c, ..] => "400".to_owned(),
        [0x8d, ..] => "404".to_owned(),
        [0x48, 0x03, text @ ..] => String::from_utf8_lossy(&text[..3]).into_owned(),
        // In Huffman's code.
        [0x48, 0x83, 0x68, 0x0d, 0xff, ..] => "405".to_owned(),
        _ => format!("{head:x?}"),
    }
}

/// A literal field with this name from the static table (up to 14), never indexed.
fn field(index: u8, value: &str) -> Vec<u8> {
    let len = u8::try_from(value.len()).expect("short");
    [&[0x10 | index, len], value.as_bytes()].concat()
}

const UNKNOWN: &str = "/v1/tokens/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// The answer to HEAD has no DATA: curl treats DATA as a protocol violation.
#[test]
fn head_is_answered_without_data() {
    let server = Server::shared();
    for (path, status) in [(UNKNOWN, "405"), ("/nothing", "404")] {
        // `:method` as a literal, `:scheme: http`, `:path`, `:authority`.
        let head = [field(2, "HEAD"), vec![0x86], field(4, path), field(1, "a")].concat();
        assert_eq!(answer(&server, &head, b""), (status.to_owned(), 0), "{path}");
    }
}

/// An empty body counts as no body, whichever frame ends it.
#[test]
fn an_empty_body_is_none() {
    let server = Server::shared();
    let end = frame(DATA, END_STREAM, 1, b"");
    let empty = frame(DATA, 0, 1, b"");
    let consume = format!("{UNKNOWN}/consume");
    let status = format!("{UNKNOWN}/status");
    for (method, path, expected) in [
        ("GET", UNKNOWN, "404"),
        ("GET", &status, "404"),
        ("DELETE", UNKNOWN, "204"),
        ("POST", &consume, "404"),
    ] {
        let head = [field(2, method), vec![0x86], field(4, path), field(1, "a")].concat();
        for rest in [&end[..], &[&empty[..], &end].concat()] {
            assert_eq!(answer(&server, &head, rest).0, expected, "{method} {path}");
        }
        let full = frame(DATA, END_STREAM, 1, b"x");
        assert_ne!(answer(&server, &head, &full).0, expected, "{method} {path}");
    }
}

/// The host of a request may be given in either place, but only once.
#[test]
fn p8_authority_and_host_are_the_same_or_one_of_them() {
    let server = Server::shared();
    let host = |value: &str| {
        // The static table has it at 38, beyond what four bits hold.
        let len = u8::try_from(value.len()).expect("short");
        [&[0x1f, 38 - 15, len], value.as_bytes()].concat()
    };
    let start = [field(2, "GET"), vec![0x86], field(4, UNKNOWN)].concat();
    for (authority, header, status) in [
        (Some("a"), None, "404"),
        (None, Some("a"), "404"),
        (Some("a"), Some("a"), "404"),
        (Some("Pay.local"), Some("pay.LOCAL:80"), "404"),
        (Some("a:80"), Some("a"), "404"),
        (Some("a"), Some("b"), "400"),
        (Some("a"), Some("a:81"), "400"),
        (None, None, "400"),
    ] {
        let mut head = start.clone();
        head.extend(authority.map(|value| field(1, value)).unwrap_or_default());
        head.extend(header.map(host).unwrap_or_default());
        assert_eq!(answer(&server, &head, b"").0, status, "{authority:?} {header:?}");
    }
}
