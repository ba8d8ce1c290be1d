//! A blocking HTTP/1.1 connection, just enough to talk to jeton from any program.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use crate::Outcome;

/// The time after which a missing answer ends the checkout.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// A keep-alive connection.
pub struct Connection {
    host: String,
    stream: BufReader<TcpStream>,
}

/// An answer, whole.
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Connection {
    /// Connects to `address`, a host and a port.
    pub fn open(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        Ok(Self { host: address.to_owned(), stream: BufReader::new(stream) })
    }

    /// Sends one request and waits for its answer.
    pub fn send(&mut self, method: &str, path: &str, body: &str) -> io::Result<Answer> {
        let (host, length) = (&self.host, body.len());
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        self.stream.get_mut().write_all(request.as_bytes())?;
        let status_line = self.line()?;
        let status = status_line.get(9..12).and_then(|digits| digits.parse().ok());
        let status = status.ok_or_else(|| io::Error::other("no HTTP answer"))?;
        let mut length = 0;
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else {
                break;
            };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok(Answer { status, body })
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
}
