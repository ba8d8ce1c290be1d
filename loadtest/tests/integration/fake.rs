//! A token server made to lie: it keeps jeton's contract over HTTP/1.1 with threads and a map, and
//! breaks one promise now and then, where a test tells it to. It counts its lies, so that a test can
//! tell whether each was noticed.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::{HandshakeKind, ServerConfig, ServerConnection, StreamOwned};

use crate::harness::now;

/// What the server does wrong, where it can.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Lie {
    /// Nothing.
    None,
    /// A resolve gives a payload with another byte in it.
    WrongPayload,
    /// A batch gives the first two payloads in each other's place.
    SwappedBatch,
    /// A token that lives is unknown, for good.
    Lost,
    /// A consume leaves the token for the next consumer.
    TwoWinners,
    /// A consume says that it was done, and does nothing.
    KeptAfterConsume,
    /// A revoke says that it was done, and does nothing.
    KeptAfterRevoke,
    /// Deadlines are not looked at.
    Immortal,
    /// The connection closes in the middle of an answer.
    HalfAnAnswer,
    /// What comes is not HTTP.
    Garbage,
    /// The answer comes twice.
    Twice,
    /// 503.
    Unavailable,
    /// No answer at all.
    Silence,
    /// The first issue gets 503.
    FirstIssueRefused,
    /// The first issue gets 401.
    FirstIssueDenied,
    /// Every request gets 401.
    AlwaysDenied,
    /// No answer to anything, ever.
    AlwaysSilent,
    /// Each connection is closed with its first request.
    AcceptAndClose,
    /// TLS ends with an alert, in the same piece as an answer.
    AnswerThenAlert,
    /// The handshake of TLS goes on byte by byte, and never ends.
    DripHandshake,
    /// The handshake of TLS stands still after the client's first word.
    StallHandshake,
    /// The first handshakes of TLS go on when this many are under way.
    HandshakesTogether(u64),
}

/// A record that no key opens: the side that reads it ends TLS with an alert.
const FORGED: &[u8] = b"\x17\x03\x03\x00\x1c0123456789abcdef0123456789ab";

/// How fast it is.
#[derive(Clone, Copy, Debug)]
pub enum Speed {
    /// As it comes.
    Free,
    /// Each answer takes so long, whatever the others do.
    Delay(Duration),
    /// Each payload comes after so long, everything else at once.
    SlowResolve(Duration),
    /// All together so many a second.
    Capacity(f64),
}

/// How it behaves.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    pub lie: Lie,
    /// It lies in every so many-th of the answers it can lie in.
    pub every: u64,
    pub speed: Speed,
}

pub const HONEST: Manner = Manner { lie: Lie::None, every: 1, speed: Speed::Free };

/// A server on a port of its own, until the tests end.
pub struct Fake {
    pub address: SocketAddr,
    desk: Arc<Desk>,
}

/// A connection, with or without TLS.
trait Conn: Read + Write {
    fn hang_up(&mut self);
    /// Writes, and ends TLS with an alert in the same piece.
    fn last_word(&mut self, bytes: &[u8]);
}

impl Conn for TcpStream {
    fn hang_up(&mut self) {
        let _ = self.shutdown(Shutdown::Both);
    }

    fn last_word(&mut self, bytes: &[u8]) {
        let _ = self.write_all(bytes);
    }
}

impl Conn for StreamOwned<ServerConnection, TcpStream> {
    fn hang_up(&mut self) {
        let _ = self.sock.shutdown(Shutdown::Both);
    }

    fn last_word(&mut self, bytes: &[u8]) {
        self.conn.writer().write_all(bytes).expect("to memory");
        self.conn.read_tls(&mut &FORGED[..]).expect("from memory");
        self.conn.process_new_packets().expect_err("nobody forges records");
        let mut records = Vec::new();
        while self.conn.wants_write() {
            self.conn.write_tls(&mut records).expect("to memory");
        }
        let _ = self.sock.write_all(&records);
    }
}

impl Fake {
    pub fn start(manner: Manner) -> Self {
        Self::start_with(manner, None)
    }

    /// The same behind TLS.
    pub fn by_tls(manner: Manner, tls: ServerConfig) -> Self {
        Self::start_with(manner, Some(Arc::new(tls)))
    }

    fn start_with(manner: Manner, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let desk = Arc::new(Desk {
            manner,
            tokens: Mutex::default(),
            answers: AtomicU64::new(0),
            issued: AtomicU64::new(0),
            chances: AtomicU64::new(0),
            lies: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            full: AtomicU64::new(0),
            resumed: AtomicU64::new(0),
            shaking: AtomicU64::new(0),
            free_at_s: Mutex::new(0.0),
            began: now(),
        });
        Self::listen(listener, desk, tls)
    }

    /// Another listener of the same server, as the next node of a cluster is.
    pub fn again(&self) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        Self::listen(listener, Arc::clone(&self.desk), None)
    }

    fn listen(listener: TcpListener, desk: Arc<Desk>, tls: Option<Arc<ServerConfig>>) -> Self {
        let address = listener.local_addr().expect("an address");
        let own = Arc::clone(&desk);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = stream.set_nodelay(true);
                let (desk, tls) = (Arc::clone(&own), tls.clone());
                std::thread::spawn(move || match tls {
                    None => desk.serve(stream),
                    Some(tls) => desk.shake_and_serve(stream, tls),
                });
            }
        });
        Self { address, desk }
    }

    pub fn lying(lie: Lie) -> Self {
        Self::start(Manner { lie, every: 10, ..HONEST })
    }

    /// What it was asked so far.
    pub fn answers(&self) -> u64 {
        self.desk.answers.load(Ordering::SeqCst)
    }

    /// How many connections it took.
    pub fn connections(&self) -> u64 {
        self.desk.connections.load(Ordering::SeqCst)
    }

    /// Handshakes of TLS that it did, full ones and resumed ones.
    pub fn handshakes(&self) -> (u64, u64) {
        (self.desk.full.load(Ordering::SeqCst), self.desk.resumed.load(Ordering::SeqCst))
    }

    /// How many connections came that were to speak TLS.
    pub fn shaking(&self) -> u64 {
        self.desk.shaking.load(Ordering::SeqCst)
    }

    /// How often it lied.
    pub fn lies(&self) -> u64 {
        self.desk.lies.load(Ordering::SeqCst)
    }
}

/// A record of the handshake that is long, byte by byte, until the client gives up.
fn drip(mut socket: &TcpStream) {
    let begin = b"\x16\x03\x03\x3f\xff\x02\x00\x3f\xfb".iter().copied();
    for byte in begin.chain(std::iter::repeat(0)) {
        if socket.write_all(&[byte]).is_err() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

struct Token {
    payload: Vec<u8>,
    /// Seconds since the server began.
    deadline_s: f64,
}

struct Desk {
    manner: Manner,
    tokens: Mutex<HashMap<String, Token>>,
    answers: AtomicU64,
    issued: AtomicU64,
    chances: AtomicU64,
    lies: AtomicU64,
    connections: AtomicU64,
    full: AtomicU64,
    resumed: AtomicU64,
    shaking: AtomicU64,
    free_at_s: Mutex<f64>,
    began: std::time::Instant,
}

struct Request {
    method: String,
    path: String,
    body: Vec<u8>,
}

type Answer = (u16, Vec<u8>);

const NOT_FOUND: u16 = 404;

impl Desk {
    fn shake_and_serve(&self, mut socket: TcpStream, tls: Arc<ServerConfig>) {
        self.shaking.fetch_add(1, Ordering::SeqCst);
        match self.manner.lie {
            Lie::DripHandshake => return drip(&socket),
            Lie::StallHandshake if self.lies(Lie::StallHandshake) => {
                // Until the client gives up.
                let _ = socket.read_to_end(&mut Vec::new());
                return;
            }
            Lie::HandshakesTogether(count) => {
                while self.shaking.load(Ordering::SeqCst) < count {
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
            _ => {}
        }
        let mut session = ServerConnection::new(tls).expect("a session");
        while session.is_handshaking() {
            // A client that does not believe us says so and goes.
            if session.complete_io(&mut socket).is_err() {
                return;
            }
        }
        let is_resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
        let counter = if is_resumed { &self.resumed } else { &self.full };
        counter.fetch_add(1, Ordering::SeqCst);
        self.serve(StreamOwned::new(session, socket));
    }

    /// One connection, to its end.
    fn serve(&self, mut stream: impl Conn) {
        self.connections.fetch_add(1, Ordering::SeqCst);
        let mut input = Vec::new();
        while let Some(request) = read_request(&mut stream, &mut input) {
            match self.manner.lie {
                Lie::AlwaysSilent => continue,
                Lie::AcceptAndClose => return,
                _ => self.take_time(&request),
            }
            self.answers.fetch_add(1, Ordering::SeqCst);
            let (status, body) = self.answer(&request);
            if !self.send(&mut stream, &request, status, &body) {
                stream.hang_up();
                return;
            }
        }
    }

    fn take_time(&self, request: &Request) {
        match self.manner.speed {
            Speed::SlowResolve(delay) if request.method == "GET" => std::thread::sleep(delay),
            Speed::SlowResolve(_) => {}
            Speed::Free => {}
            Speed::Delay(delay) => std::thread::sleep(delay),
            Speed::Capacity(per_second) => {
                let done_s = {
                    let mut free_at_s = self.free_at_s.lock().expect("no panic");
                    *free_at_s = free_at_s.max(self.now_s()) + 1.0 / per_second;
                    *free_at_s
                };
                std::thread::sleep(Duration::from_secs_f64((done_s - self.now_s()).max(0.0)));
            }
        }
    }

    fn now_s(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    /// Whether this is an answer to lie in, of those where this lie can be told.
    fn lies(&self, lie: Lie) -> bool {
        if self.manner.lie != lie {
            return false;
        }
        let chance = self.chances.fetch_add(1, Ordering::SeqCst) + 1;
        let told = chance.is_multiple_of(self.manner.every);
        self.lies.fetch_add(u64::from(told), Ordering::SeqCst);
        told
    }

    /// Whether the connection goes on.
    fn send(&self, stream: &mut impl Conn, request: &Request, status: u16, body: &[u8]) -> bool {
        let length = body.len();
        let head = match status {
            204 => format!("HTTP/1.1 {status} X\r\n\r\n"),
            _ => format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n"),
        };
        let whole = [head.as_bytes(), body].concat();
        let resolves = request.method == "GET";
        if resolves && self.lies(Lie::HalfAnAnswer) {
            let _ = stream.write_all(&whole[..whole.len() / 2]);
            return false;
        }
        if resolves && self.lies(Lie::AnswerThenAlert) {
            stream.last_word(&whole);
            return false;
        }
        if resolves && self.lies(Lie::Garbage) {
            return stream.write_all(b"220 mail.example ESMTP ready\r\n").is_ok();
        }
        if resolves && self.lies(Lie::Silence) {
            return true;
        }
        if resolves && self.lies(Lie::Twice) {
            return stream.write_all(&[&whole[..], &whole].concat()).is_ok();
        }
        stream.write_all(&whole).is_ok()
    }

    fn answer(&self, request: &Request) -> Answer {
        if self.manner.lie == Lie::AlwaysDenied {
            return (401, Vec::new());
        }
        let path = request.path.strip_prefix("/v1/").unwrap_or_default();
        match (request.method.as_str(), path.split('/').collect::<Vec<_>>().as_slice()) {
            ("POST", ["tokens"]) => self.issue(&request.body),
            ("GET", ["tokens", token]) => self.resolve(token),
            ("POST", ["resolve"]) => self.batch(&request.body),
            ("POST", ["tokens", token, "consume"]) => self.consume(token),
            ("PATCH", ["tokens", token]) => self.extend(token, &request.body),
            ("DELETE", ["tokens", token]) => {
                if !self.lies(Lie::KeptAfterRevoke) {
                    self.tokens.lock().expect("no panic").remove(*token);
                }
                (204, Vec::new())
            }
            _ => (405, Vec::new()),
        }
    }

    fn issue(&self, body: &[u8]) -> Answer {
        // The payload is kept byte for byte, so it is cut out and not parsed.
        let text = std::str::from_utf8(body).expect("JSON");
        let (payload, _) = text.rsplit_once(",\"ttl\":").expect("a ttl");
        let payload = payload.strip_prefix("{\"payload\":").expect("a payload").as_bytes().to_vec();
        let number = self.issued.fetch_add(1, Ordering::SeqCst);
        if number == 0 && self.manner.lie == Lie::FirstIssueRefused {
            return (503, Vec::new());
        }
        if number == 0 && self.manner.lie == Lie::FirstIssueDenied {
            return (401, Vec::new());
        }
        let token = format!("{number:032}");
        let deadline_s = self.now_s() + ttl_s(body);
        let mut tokens = self.tokens.lock().expect("no panic");
        tokens.insert(token.clone(), Token { payload, deadline_s });
        (201, format!("{{\"token\":\"{token}\"}}").into_bytes())
    }

    fn payload(&self, token: &str) -> Option<Vec<u8>> {
        let tokens = self.tokens.lock().expect("no panic");
        let found = tokens.get(token)?;
        let expired = found.deadline_s <= self.now_s() && self.manner.lie != Lie::Immortal;
        (!expired).then(|| found.payload.clone())
    }

    fn resolve(&self, token: &str) -> Answer {
        if self.lies(Lie::Unavailable) {
            return (503, b"full".to_vec());
        }
        let Some(mut payload) = self.payload(token) else { return (NOT_FOUND, Vec::new()) };
        if self.lies(Lie::WrongPayload) {
            let last = payload.len() - 3;
            payload[last] ^= 1;
        }
        let mut tokens = self.tokens.lock().expect("no panic");
        // A token can be lost only once.
        if tokens.contains_key(token) && self.lies(Lie::Lost) {
            tokens.remove(token);
            return (NOT_FOUND, Vec::new());
        }
        (200, payload)
    }

    fn batch(&self, body: &[u8]) -> Answer {
        let asked: serde_json::Value = serde_json::from_slice(body).expect("JSON");
        let tokens = asked["tokens"].as_array().expect("tokens");
        let mut found: Vec<_> = tokens
            .iter()
            .map(|token| self.payload(token.as_str().expect("a token")))
            .map(|payload| payload.unwrap_or_else(|| b"null".to_vec()))
            .collect();
        if found.len() > 1 && found[0] != found[1] && self.lies(Lie::SwappedBatch) {
            found.swap(0, 1);
        }
        (200, [b"[".as_slice(), &found.join(&b","[..]), b"]"].concat())
    }

    fn consume(&self, token: &str) -> Answer {
        let Some(payload) = self.payload(token) else { return (NOT_FOUND, Vec::new()) };
        if !(self.lies(Lie::TwoWinners) || self.lies(Lie::KeptAfterConsume)) {
            // Only who takes it out has won.
            if self.tokens.lock().expect("no panic").remove(token).is_none() {
                return (NOT_FOUND, Vec::new());
            }
        }
        (200, payload)
    }

    fn extend(&self, token: &str, body: &[u8]) -> Answer {
        if self.payload(token).is_none() {
            return (NOT_FOUND, Vec::new());
        }
        let deadline_s = self.now_s() + ttl_s(body);
        if let Some(found) = self.tokens.lock().expect("no panic").get_mut(token) {
            found.deadline_s = found.deadline_s.max(deadline_s);
        }
        (200, b"{}".to_vec())
    }
}

/// Seconds, of the `"ttl":"15ms"` at the end of a body.
fn ttl_s(body: &[u8]) -> f64 {
    let text = std::str::from_utf8(body).expect("JSON");
    let (_, ttl) = text.rsplit_once("\"ttl\":\"").expect("a ttl");
    ttl.trim_end_matches("ms\"}").parse::<f64>().expect("milliseconds") / 1_000.0
}

/// The next request, once it is whole; none at the end of the connection.
fn read_request(stream: &mut impl Conn, input: &mut Vec<u8>) -> Option<Request> {
    let mut part = [0; 4096];
    loop {
        if let Some((request, length)) = parse(input) {
            input.drain(..length);
            return Some(request);
        }
        match stream.read(&mut part) {
            Ok(count) if count > 0 => input.extend_from_slice(&part[..count]),
            _ => return None,
        }
    }
}

fn parse(input: &[u8]) -> Option<(Request, usize)> {
    let head_len = input.windows(4).position(|bytes| bytes == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&input[..head_len]).expect("a head of text");
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    let length: usize = length.map_or(0, |length| length.parse().expect("a length"));
    let body = input.get(head_len..head_len + length)?.to_vec();
    let mut words = head.split(' ').map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    Some((Request { method, path, body }, head_len + length))
}
