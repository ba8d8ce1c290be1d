//! Peers that take their answers slowly, but take them: nothing is cut short, and no refusal is written
//! in the middle of an answer.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use crate::client::{Client, expect};
use crate::raw::{Conn, Response, request};
use crate::server::{HEADER_TIMEOUT, Server};

const PAYLOAD_LEN: usize = 60_000;
const ANSWERS: usize = 200;
const JSON: (&str, &str) = ("Content-Type", "application/json");

/// A socket that is read at some 3 MB/s: 12 MB take several of the server's time limits.
struct Slow(TcpStream);

impl Read for Slow {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        thread::sleep(Duration::from_millis(5));
        self.0.read(into)
    }
}

impl Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A server with short limits for heads and idle connections, and a token with a long payload.
fn server() -> (Server, String) {
    let server =
        Server::fresh_with(|launch| launch.flag(HEADER_TIMEOUT, "1s").flag("--idle-timeout", "1s"));
    let payload = "p".repeat(PAYLOAD_LEN - 2);
    let token = Client::of(&server).issued(&format!(r#"{{"payload":"{payload}"}}"#)).token;
    (server, token)
}

fn open(server: &Server) -> Conn<Slow> {
    let conn = Conn::open(server.data).expect("connects");
    Conn::over(Slow(conn.writer().expect("a second handle")))
}

/// A request whose answer has 12 MB.
fn resolve_many(token: &str) -> Vec<u8> {
    let body = serde_json::json!({ "tokens": vec![token; ANSWERS] }).to_string();
    request("POST", "/v1/resolve", &[JSON], body.as_bytes())
}

fn expect_all(response: &Response) {
    expect(response, 200);
    let payloads = response.json();
    let all = payloads.as_array().expect("an array");
    assert_eq!(all.len(), ANSWERS);
    let is_whole = |one: &serde_json::Value| one.as_str().is_some_and(|text| text.len() > 59_000);
    assert!(all.iter().all(is_whole));
}

#[test]
fn p2_a_long_answer_that_is_read_slowly_is_whole() {
    let (server, token) = server();
    let mut conn = open(&server);
    conn.send(&resolve_many(&token)).expect("sends");
    expect_all(&conn.response().expect("a whole answer"));
}

#[test]
fn p2_no_refusal_stands_within_an_answer_before_half_a_request() {
    let (server, token) = server();
    let mut conn = open(&server);
    let status = request("GET", &format!("/v1/tokens/{token}/status"), &[], b"");
    conn.send(&[&resolve_many(&token), &status[..20]].concat()).expect("sends");
    expect_all(&conn.response().expect("a whole answer"));
    expect(&conn.response().expect("the refusal of the second request, behind it"), 408);
}

#[test]
fn p2_answers_of_the_hot_path_that_are_read_slowly_all_come() {
    let (server, token) = server();
    let mut conn = open(&server);
    let get = request("GET", &format!("/v1/tokens/{token}"), &[], b"");
    conn.send(&get.repeat(ANSWERS)).expect("sends");
    for n in 0..ANSWERS {
        let response = conn.response().unwrap_or_else(|error| panic!("answer {n}: {error}"));
        expect(&response, 200);
        assert_eq!(response.body.len(), PAYLOAD_LEN, "answer {n}");
    }
}
