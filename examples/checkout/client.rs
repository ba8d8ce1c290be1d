//! A blocking HTTP/1.1 connection, just enough to talk to jeton from any program, and what a client
//! of several servers does when one of them does not answer.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Outcome;

/// The time after which a missing answer ends the checkout, or, with several servers, is asked for
/// elsewhere.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// The time in which one of several servers must answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pause before a request is repeated.
const PAUSE: Duration = Duration::from_millis(25);

/// A client of one server, or of the nodes of a cluster.
///
/// It stays with a server that answers. When the server is gone, or says 503 (it does not reach the
/// majority of its cluster, or has not heard from it for too long), the client asks the next one. The
/// request may have happened all the same, so it is repeated with the same `Idempotency-Key`: a
/// token is consumed once, and the repetition gets the answer that was lost.
pub struct Client {
    servers: Vec<String>,
    /// The server that is asked first.
    current: usize,
    connection: Option<Connection>,
    /// Of a cluster: the last position that an answer has named. Later answers know everything up to
    /// it, whichever node gives them.
    position: Option<String>,
}

/// A request.
#[derive(Clone, Copy, Default)]
pub struct Request<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub body: &'a str,
    /// Makes a request that changes something happen once, however often it is repeated. A request
    /// that names a reference does not need it.
    pub key: Option<&'a str>,
}

/// An answer, whole.
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
    /// The request was repeated, and an earlier one may have happened.
    pub is_repeated: bool,
    /// `Jeton-Position`, from a node of a cluster.
    position: Option<String>,
}

impl Client {
    /// Connects to the first server that accepts. Each is a host and a port.
    pub fn connect(servers: &[String], first: usize) -> io::Result<Self> {
        let (servers, connection, position) = (servers.to_vec(), None, None);
        let mut client = Self { servers, current: first, connection, position };
        client.keep_trying(|client| client.connected().map(|_| ()))?;
        Ok(client)
    }

    /// Sends a request and waits for its answer.
    pub fn send(&mut self, request: Request<'_>) -> io::Result<Answer> {
        let mut attempts = 0;
        let mut answer = self.keep_trying(|client| {
            attempts += 1;
            client.send_once(request)
        })?;
        answer.is_repeated = attempts > 1;
        Ok(answer)
    }

    /// Knows from now on what another client knows: without it a node may answer a read from before
    /// a revocation that another node has acknowledged.
    pub fn learn(&mut self, other: &Self) {
        self.position.clone_from(&other.position);
    }

    /// Repeats on the next server what failed on one. A single server gets one chance.
    fn keep_trying<T>(
        &mut self,
        mut attempt: impl FnMut(&mut Self) -> io::Result<T>,
    ) -> io::Result<T> {
        #[expect(clippy::disallowed_methods, reason = "a client's patience is real time")]
        let begin = Instant::now();
        loop {
            let error = match attempt(self) {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            if self.servers.len() == 1 || begin.elapsed() > PATIENCE {
                return Err(error);
            }
            self.connection = None;
            self.current += 1;
            thread::sleep(PAUSE);
        }
    }

    fn connected(&mut self) -> io::Result<Connection> {
        match self.connection.take() {
            Some(connection) => Ok(connection),
            None => Connection::open(&self.servers[self.current % self.servers.len()]),
        }
    }

    fn send_once(&mut self, request: Request<'_>) -> io::Result<Answer> {
        let mut connection = self.connected()?;
        let answer = connection.send(request, self.position.as_deref())?;
        if answer.status == 503 && self.servers.len() > 1 {
            let said = String::from_utf8_lossy(&answer.body).into_owned();
            return Err(io::Error::other(said));
        }
        self.connection = Some(connection);
        if answer.position.is_some() {
            self.position.clone_from(&answer.position);
        }
        Ok(answer)
    }
}

/// A keep-alive connection.
struct Connection {
    host: String,
    stream: BufReader<TcpStream>,
}

impl Connection {
    fn open(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        Ok(Self { host: address.to_owned(), stream: BufReader::new(stream) })
    }

    fn send(&mut self, request: Request<'_>, at_least: Option<&str>) -> io::Result<Answer> {
        let Request { method, path, body, key } = request;
        let (host, length) = (&self.host, body.len());
        let key = key.map(|key| format!("Idempotency-Key: {key}\r\n")).unwrap_or_default();
        let at_least = at_least.map(|position| format!("Jeton-At-Least: {position}\r\n"));
        let at_least = at_least.unwrap_or_default();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n{key}{at_least}\
             Content-Length: {length}\r\n\r\n{body}"
        );
        self.stream.get_mut().write_all(request.as_bytes())?;
        let status_line = self.line()?;
        let status = status_line.get(9..12).and_then(|digits| digits.parse().ok());
        let status = status.ok_or_else(|| io::Error::other("no HTTP answer"))?;
        let (mut length, mut position) = (0, None);
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else {
                break;
            };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
            if name.eq_ignore_ascii_case("jeton-position") {
                position = Some(value.trim().to_owned());
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok(Answer { status, body, is_repeated: false, position })
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }
}

impl Answer {
    pub fn json(&self) -> Outcome<Value> {
        Ok(serde_json::from_slice(&self.body)?)
    }

    /// The token of an issue.
    pub fn token(&self) -> Outcome<String> {
        let token = self.json()?["token"].as_str().map(str::to_owned);
        token.ok_or_else(|| format!("no token in an answer with status {}", self.status).into())
    }

    /// Whether the answer has exactly this status and body.
    pub fn is(&self, status: u16, body: &str) -> bool {
        self.status == status && self.body == body.as_bytes()
    }

    /// Whether the answer has this status. A repeated issue may find its own token: 200 then says
    /// the same as 201.
    pub fn has_status(&self, status: u16) -> bool {
        self.status == status || self.is_repeated && (self.status, status) == (200, 201)
    }
}
