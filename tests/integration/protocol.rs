//! HTTP/1.1: keep-alive, pipelining, and malformed requests.

use std::io::Write;
use std::thread;

use crate::client::{Client, assert_contract, expect};
use crate::raw::{Conn, Response, request};
use crate::server::{BODY_TIMEOUT, HEADER_TIMEOUT, Server};

const JSON: (&str, &str) = ("Content-Type", "application/json");

/// Sends raw bytes on a new connection and reads one answer, whose headers are checked.
fn exchange(server: &Server, bytes: &[u8]) -> Response {
    let mut conn = Conn::open(server.data).expect("connects");
    // The server may answer and close before it has read everything; the answer still counts.
    let _ = conn.send(bytes);
    let response = conn.response().unwrap_or_else(|error| {
        panic!(
            "{:?} had no answer: {error}",
            String::from_utf8_lossy(&bytes[..bytes.len().min(80)])
        )
    });
    assert_contract(&response);
    response
}

#[test]
fn one_connection_serves_many_requests() {
    let server = Server::shared();
    let token = Client::of(&server).issued(r#"{"payload":"kept"}"#).token;
    let mut conn = Conn::open(server.data).expect("connects");
    for _ in 0..200 {
        conn.send(&request("GET", &format!("/v1/tokens/{token}"), &[], b"")).expect("sends");
        assert_eq!(conn.response().expect("an answer").text(), "\"kept\"");
    }
}

#[test]
fn connection_close_is_honoured() {
    let server = Server::shared();
    let token = Client::of(&server).issued(r#"{"payload":1}"#).token;
    let mut conn = Conn::open(server.data).expect("connects");
    let path = format!("/v1/tokens/{token}");
    conn.send(&request("GET", &path, &[("Connection", "close")], b"")).expect("sends");
    expect(&conn.response().expect("an answer"), 200);
    assert!(conn.is_closed());
}

#[test]
fn a_thousand_pipelined_requests_are_answered_in_order() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    let tokens: Vec<_> =
        (0..10).map(|n| client.issued(&format!(r#"{{"payload":{n}}}"#)).token).collect();
    let mut bytes = Vec::new();
    for n in 0..1000 {
        let path = format!("/v1/tokens/{}", tokens[n * 7 % 10]);
        bytes.extend(request("GET", &path, &[], b""));
    }
    let mut conn = Conn::open(server.data).expect("connects");
    let mut writer = conn.writer().expect("a second handle");
    let sender = thread::spawn(move || writer.write_all(&bytes).expect("sends"));
    for n in 0..1000 {
        let response = conn.response().expect("an answer");
        assert_contract(&response);
        assert_eq!(response.text(), (n * 7 % 10).to_string(), "answer {n}");
    }
    sender.join().expect("all was sent");
}

/// Writes wait for the log and reads do not, but their answers must be sent in the order of the
/// requests.
#[test]
fn pipelined_writes_and_reads_are_answered_in_order() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    let read = client.issued(r#"{"payload":"read"}"#).token;
    let used = client.issued(r#"{"payload":"used","uses":100}"#).token;
    let mut bytes = Vec::new();
    for _ in 0..100 {
        bytes.extend(request("POST", &format!("/v1/tokens/{used}/consume"), &[], b""));
        bytes.extend(request("GET", &format!("/v1/tokens/{read}"), &[], b""));
        bytes.extend(request("POST", "/v1/tokens", &[JSON], b"{\"payload\":1}"));
        bytes.extend(request("GET", "/v1/tokens/bad", &[], b""));
    }
    let mut conn = Conn::open(server.data).expect("connects");
    let mut writer = conn.writer().expect("a second handle");
    let sender = thread::spawn(move || writer.write_all(&bytes).expect("sends"));
    for _ in 0..100 {
        assert_eq!(conn.response().expect("consume").text(), "\"used\"");
        assert_eq!(conn.response().expect("resolve").text(), "\"read\"");
        expect(&conn.response().expect("issue"), 201);
        expect(&conn.response().expect("malformed"), 400);
    }
    sender.join().expect("all was sent");
    expect(&client.consume(&used), 404);
}

#[test]
fn a_request_may_come_byte_by_byte() {
    let server = Server::shared();
    let mut conn = Conn::open(server.data).expect("connects");
    for byte in request("POST", "/v1/tokens", &[JSON], b"{\"payload\":[1 ]}") {
        conn.send(&[byte]).expect("sends");
    }
    expect(&conn.response().expect("an answer"), 201);
}

#[test]
fn a_chunked_body_is_read() {
    let server = Server::shared();
    let head = b"POST /v1/tokens HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
                 Transfer-Encoding: chunked\r\n\r\n";
    let whole = [&head[..], b"5\r\n{\"pay\r\n9\r\nload\":1}\n\r\n0\r\n\r\n"].concat();
    expect(&exchange(&server, &whole), 201);
}

#[test]
fn expect_100_continue_is_answered() {
    let server = Server::shared();
    let head = b"POST /v1/tokens HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
                 Expect: 100-continue\r\nContent-Length: 13\r\n\r\n{\"payload\":1}";
    expect(&exchange(&server, head), 201);
}

#[test]
fn a_missing_or_double_host_is_400() {
    let server = Server::shared();
    for head in [
        "GET /v1/tokens/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA HTTP/1.1\r\n\r\n",
        "POST /v1/resolve HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n\
         {\"tokens\":[]}",
        "GET /v1/tokens/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    ] {
        expect(&exchange(&server, head.as_bytes()), 400);
    }
}

/// `Cache-Control: no-store` is required here too: `exchange` checks it.
#[test]
fn what_is_not_http_is_400() {
    let server = Server::shared();
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"[..],
        b"hello\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: a\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nbad header: 1\r\n\r\n",
        b"POST /v1/tokens HTTP/1.1\r\nHost: a\r\nContent-Length: ten\r\n\r\n",
        b"POST /v1/tokens HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/tokens HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    ] {
        expect(&exchange(&server, bytes), 400);
    }
}

/// A request after a malformed one must not be served: it could be smuggled.
#[test]
fn nothing_is_served_behind_an_unreadable_request() {
    let server = Server::shared();
    let mut conn = Conn::open(server.data).expect("connects");
    conn.send(b"GET / HTTP/1.1\r\nHost a\r\n\r\n").expect("sends");
    let _ = conn.send(&request("POST", "/v1/tokens", &[JSON], b"{\"payload\":1}"));
    expect(&conn.response().expect("an answer"), 400);
    assert!(conn.is_closed());
}

/// A proxy that accepts two lengths may see another end of the request than the server.
#[test]
fn p8_nothing_is_served_behind_a_chunked_body_with_a_length() {
    let server = Server::shared();
    let mut conn = Conn::open(server.data).expect("connects");
    let head = b"POST /v1/tokens HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
                 Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n";
    conn.send(&[&head[..], b"d\r\n{\"payload\":1}\r\n0\r\n\r\n"].concat()).expect("sends");
    let _ = conn.send(&request("GET", "/v1/tokens/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", &[], b""));
    let status = conn.response().expect("an answer").status;
    assert!(matches!(status, 201 | 400), "{status}");
    assert!(conn.is_closed());
}

#[test]
fn headers_too_large_are_431() {
    let server = Server::shared();
    let path = "/v1/tokens/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let long = "x".repeat(1024 * 1024);
    expect(&exchange(&server, &request("GET", path, &[("X-Long", &long)], b"")), 431);
    let names: Vec<String> = (0..20_000).map(|n| format!("X-{n}")).collect();
    let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
    expect(&exchange(&server, &request("GET", path, &many, b"")), 431);
}

#[test]
fn a_target_too_long_is_refused() {
    let server = Server::shared();
    let path = format!("/v1/tokens/{}", "A".repeat(1024 * 1024));
    expect(&exchange(&server, &request("GET", &path, &[], b"")), 431);
}

#[test]
fn a_body_too_large_is_413_before_it_has_come() {
    let server = Server::shared();
    let lists = ["/v1/resolve", "/v1/consume", "/v1/status", "/v1/extend", "/v1/revoke"];
    for path in lists.iter().chain(&["/v1/tokens", "/v1/tokens/batch"]) {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
             Content-Length: 10000000000\r\n\r\n{{"
        );
        expect(&exchange(&server, head.as_bytes()), 413);
    }
}

#[test]
fn p8_a_slow_body_is_408() {
    let server = Server::fresh_with(|launch| launch.flag(BODY_TIMEOUT, "300ms"));
    let head = b"POST /v1/tokens HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
                 Content-Length: 13\r\n\r\n{\"payl";
    expect(&exchange(&server, head), 408);
    assert_eq!(crate::admin::stats(&server)["tokens"], 0);
    expect(&Client::of(&server).issue(r#"{"payload":1}"#), 201);
}

#[test]
fn p8_a_slow_head_ends_in_a_closed_connection() {
    let server = Server::fresh_with(|launch| launch.flag(HEADER_TIMEOUT, "300ms"));
    let mut conn = Conn::open(server.data).expect("connects");
    conn.send(b"GET /v1/tokens/AAAAAAAAAAAAAAAA").expect("sends");
    if let Ok(response) = conn.response() {
        assert_contract(&response);
        expect(&response, 408);
    }
    assert!(conn.is_closed());
}

/// A new connection for each mistake costs more than the few bytes of its body.
#[test]
fn a_small_body_of_a_refused_request_does_not_end_the_connection() {
    let server = Server::shared();
    let mut conn = Conn::open(server.data).expect("connects");
    let small = vec![b'x'; 16 * 1024];
    let chunked = b"POST /v1/nothing HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
                    3\r\nabc\r\n0\r\n\r\n";
    for (bytes, status) in [
        (request("POST", "/v1/nothing", &[JSON], &small), 404),
        (chunked.to_vec(), 404),
        (request("PUT", "/v1/tokens", &[JSON], b"{}"), 405),
        (request("POST", "/v1/tokens/short/consume", &[JSON], b"{}"), 400),
        (request("POST", "/v1/tokens?a", &[JSON], b"{}"), 400),
        (request("POST", "/v1/tokens", &[JSON], b"{\"payload\":1}"), 201),
    ] {
        conn.send(&bytes).expect("sends");
        let answer = conn.response().expect("an answer");
        assert_contract(&answer);
        expect(&answer, status);
        assert!(!answer.closes(), "{}", answer.without_date());
    }
    // A longer body, and one that waits for 100 (Continue), are not read.
    let long = request("POST", "/v1/nothing", &[JSON], &[&small[..], b"x"].concat());
    let asking = "POST /v1/nothing HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\
                  Content-Length: 3\r\n\r\n";
    for bytes in [&long[..], asking.as_bytes()] {
        let answer = exchange(&server, bytes);
        expect(&answer, 404);
        assert!(answer.closes(), "{}", answer.without_date());
    }
}

/// Over HTTP/1.1 an empty chunked body counts as no body.
#[test]
fn empty_chunks_are_no_body() {
    let server = Server::shared();
    let mut conn = Conn::open(server.data).expect("connects");
    let path = "/v1/tokens/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    for (line, status) in [
        (format!("GET {path}"), 404),
        (format!("GET {path}/status"), 404),
        (format!("DELETE {path}"), 204),
        (format!("POST {path}/consume"), 404),
    ] {
        let head = format!("{line} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        conn.send(format!("{head}0\r\n\r\n").as_bytes()).expect("sends");
        expect(&conn.response().expect("an answer"), status);
    }
}
