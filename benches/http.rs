//! HTTP end to end, as small as it can be: one worker in this process, one keep-alive connection
//! over the loopback, one request after another.
//!
//! A resolve, 16 resolves pipelined, a batch of 100, an issue (without a log). Every answer is
//! compared byte for byte. Each figure is a round trip: it holds the client's share, two system
//! calls on either side and the wakes of two threads, which make up most of a lone request.
//!
//! It tells whether a change made a request dearer. What it does not show: what the server costs
//! with many connections and beside others, which `loadtest peers` measures as its CPU time.

#![expect(clippy::expect_used, reason = "a bench that cannot go on must stop")]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use criterion::{Criterion, Throughput};
use jeton::engine::{Config, Engine, Outcome};
use jeton::http::{self, Server};
use jeton::model::token::Token;
use jeton::net::listen;

use support::{BATCH_LEN, Random, calls};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TTL: Duration = Duration::from_secs(3_600);
/// Resolves that are sent before the first answer is read.
const PIPELINED: usize = 16;

/// A server with tokens.
struct Fixture {
    server: Server,
    engine: Engine,
    tokens: Vec<Token>,
}

impl Fixture {
    fn new(len: usize) -> Self {
        let engine = Engine::open(Config::memory_only()).expect("an engine without a log opens");
        let loopback = "127.0.0.1:0".parse().expect("an address");
        let listeners = listen::bind(&loopback, 1).expect("a free port");
        let config = http::Config { workers: 1, ..http::Config::default() };
        let server = Server::start(&engine, &config, listeners).expect("a worker");
        let digester = support::digester();
        let tokens: Vec<Token> = (0..len).map(|n| support::token(&digester, n)).collect();
        let numbered = (0..).zip(&tokens);
        let issues = numbered.map(|(n, token)| calls::issue(engine.digest(token), n, TTL));
        calls::in_calls(&engine, BATCH_LEN, issues, |outcome| {
            assert!(matches!(outcome, Outcome::Issued { .. }), "{outcome:?}");
        });
        Self { server, engine, tokens }
    }

    fn connect(&self) -> Connection {
        let stream = TcpStream::connect(self.server.address().socket().expect("an address"))
            .expect("the worker listens");
        stream.set_nodelay(true).expect("a socket option");
        Connection { stream, answer: Vec::new(), begin: 0 }
    }

    /// The requests that resolve each token.
    fn gets(&self) -> Vec<Vec<u8>> {
        let texts = self.tokens.iter().map(Token::text);
        texts.map(|text| get(text.as_str())).collect()
    }

    fn stop(self) {
        self.server.stop().expect("the worker ends well");
        self.engine.close().expect("nothing is on disk");
    }
}

/// The client's end.
struct Connection {
    stream: TcpStream,
    /// Bytes that have come …
    answer: Vec<u8>,
    /// … of which so many were looked at.
    begin: usize,
}

impl Connection {
    fn send(&mut self, request: &[u8]) {
        self.stream.write_all(request).expect("the connection is open");
    }

    /// Waits for an answer with this status; gives its body.
    fn receive(&mut self, status: &str) -> &[u8] {
        let head_len = self.await_bytes(|answer| {
            let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
            Some(end + 4)
        });
        let head = &self.answer[self.begin..self.begin + head_len];
        let head = std::str::from_utf8(head).expect("a head is text");
        assert_eq!(head.get(9..12), Some(status), "{head}");
        let body_len = content_length(head);
        self.begin += head_len;
        self.await_bytes(|answer| (answer.len() >= body_len).then_some(body_len));
        self.begin += body_len;
        &self.answer[self.begin - body_len..self.begin]
    }

    /// Reads until `found` finds something in what was not looked at yet.
    fn await_bytes(&mut self, found: impl Fn(&[u8]) -> Option<usize>) -> usize {
        if self.begin == self.answer.len() {
            self.answer.clear();
            self.begin = 0;
        }
        loop {
            if let Some(len) = found(&self.answer[self.begin..]) {
                return len;
            }
            let mut bytes = [0; 16 << 10];
            let len = self.stream.read(&mut bytes).expect("the connection is open");
            assert_ne!(len, 0, "the server closed the connection");
            self.answer.extend_from_slice(&bytes[..len]);
        }
    }
}

fn content_length(head: &str) -> usize {
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    lines
        .filter(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .find_map(|(_, value)| value.parse().ok())
        .expect("an answer says how long it is")
}

fn get(token: &str) -> Vec<u8> {
    format!("GET /v1/tokens/{token} HTTP/1.1\r\nHost: bench\r\n\r\n").into_bytes()
}

fn post(path: &str, body: &str) -> Vec<u8> {
    let head = "Host: bench\r\nContent-Type: application/json";
    let len = body.len();
    format!("POST {path} HTTP/1.1\r\n{head}\r\nContent-Length: {len}\r\n\r\n{body}").into_bytes()
}

fn resolve(criterion: &mut Criterion, fixture: &Fixture) {
    let (gets, mut random) = (fixture.gets(), Random(1));
    let mut connection = fixture.connect();
    criterion.bench_function("http/resolve", |bencher| {
        bencher.iter(|| {
            let n = random.below(gets.len());
            connection.send(&gets[n]);
            assert_eq!(connection.receive("200"), support::payload(n));
        });
    });
    let mut group = criterion.benchmark_group("http");
    group.throughput(Throughput::Elements(PIPELINED as u64));
    group.bench_function("resolve, pipelined 16 deep", |bencher| {
        bencher.iter(|| {
            let first = random.below(gets.len() - PIPELINED);
            connection.send(&gets[first..first + PIPELINED].concat());
            for n in first..first + PIPELINED {
                assert_eq!(connection.receive("200"), support::payload(n));
            }
        });
    });
}

fn batch(criterion: &mut Criterion, fixture: &Fixture) {
    let batches: Vec<(Vec<u8>, Vec<u8>)> = (0..fixture.tokens.len() / BATCH_LEN)
        .map(|batch| {
            let numbers = batch * BATCH_LEN..(batch + 1) * BATCH_LEN;
            let texts: Vec<_> = fixture.tokens[numbers.clone()].iter().map(Token::text).collect();
            let quoted: Vec<_> =
                texts.iter().map(|text| format!("\"{}\"", text.as_str())).collect();
            let request = post("/v1/resolve", &format!("{{\"tokens\":[{}]}}", quoted.join(",")));
            let payloads: Vec<_> = numbers.map(support::payload).collect();
            (request, [b"[", &payloads.join(&b","[..])[..], b"]"].concat())
        })
        .collect();
    let (mut connection, mut random) = (fixture.connect(), Random(2));
    let mut group = criterion.benchmark_group("http");
    group.throughput(Throughput::Elements(BATCH_LEN as u64));
    group.bench_function("resolve, batch of 100", |bencher| {
        bencher.iter(|| {
            let (request, wanted) = &batches[random.below(batches.len())];
            connection.send(request);
            assert!(connection.receive("200") == wanted, "the payloads, in their order");
        });
    });
}

fn issue(criterion: &mut Criterion, fixture: &Fixture) {
    let payload = support::payload(fixture.tokens.len());
    let text = std::str::from_utf8(&payload).expect("a payload is JSON");
    let request = post("/v1/tokens", &format!("{{\"payload\":{text},\"ttl\":\"1h\"}}"));
    let (mut connection, mut last, mut count) = (fixture.connect(), Vec::new(), 0);
    let before = fixture.engine.stats().issues;
    criterion.bench_function("http/issue", |bencher| {
        bencher.iter(|| {
            connection.send(&request);
            last.clear();
            last.extend_from_slice(connection.receive("201"));
            count += 1;
        });
    });
    assert_eq!(fixture.engine.stats().issues - before, count, "tokens issued");
    if count > 0 {
        let answer: serde_json::Value = serde_json::from_slice(&last).expect("an answer is JSON");
        connection.send(&get(answer["token"].as_str().expect("a token")));
        assert_eq!(connection.receive("200"), payload);
    }
}

fn main() {
    let mut criterion = support::criterion();
    let fixture = Fixture::new(support::sized(200, 100_000));
    resolve(&mut criterion, &fixture);
    batch(&mut criterion, &fixture);
    issue(&mut criterion, &fixture);
    fixture.stop();
    criterion.final_summary();
}
