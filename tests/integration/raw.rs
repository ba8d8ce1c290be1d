//! A tiny HTTP/1.1 client over a bare socket: it sends arbitrary bytes, and reads one answer at a
//! time. Every wait ends after half a minute, so that a silent server fails a test instead of
//! hanging it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// No single read or write waits longer than this.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// One connection, with the bytes that are read and not parsed yet.
pub struct Conn<S = TcpStream> {
    stream: S,
    unread: Vec<u8>,
}

/// One complete answer.
#[derive(Clone)]
pub struct Response {
    pub status: u16,
    /// Names in lower case, in the order of the answer.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Conn {
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self::over(stream))
    }

    /// A second handle on the same socket, to write from another thread while this one reads.
    pub fn writer(&self) -> io::Result<TcpStream> {
        self.stream.try_clone()
    }
}

impl<S: Read + Write> Conn<S> {
    /// The same over another stream, which has its own timeouts.
    pub fn over(stream: S) -> Self {
        Self { stream, unread: Vec::new() }
    }

    /// The stream.
    pub fn stream(&mut self) -> &mut S {
        &mut self.stream
    }

    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// The next answer; interim answers (1xx) are skipped.
    pub fn response(&mut self) -> io::Result<Response> {
        loop {
            let head_len = self.fill_until(find_head_end)?;
            let head: Vec<u8> = self.unread.drain(..head_len).collect();
            let (status, headers) = parse_head(&head)?;
            if (100..200).contains(&status) {
                continue;
            }
            let body = self.body(status, &headers)?;
            return Ok(Response { status, headers, body });
        }
    }

    /// Whether the server has closed the connection; waits for it, or for a stray byte.
    pub fn is_closed(&mut self) -> bool {
        match self.read_more() {
            Ok(()) => false,
            Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }

    fn body(&mut self, status: u16, headers: &[(String, String)]) -> io::Result<Vec<u8>> {
        if status == 204 || status == 304 {
            return Ok(Vec::new());
        }
        if let Some(length) = find_header(headers, "content-length") {
            let length = length.parse().map_err(|_| invalid("content-length is no number"))?;
            self.fill_until(|unread| (unread.len() >= length).then_some(length))?;
            return Ok(self.unread.drain(..length).collect());
        }
        if find_header(headers, "transfer-encoding").is_some_and(|value| value == "chunked") {
            return self.chunks();
        }
        Err(invalid("an answer without a length"))
    }

    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line_len = self.fill_until(find_line_end)?;
            let line: Vec<u8> = self.unread.drain(..line_len).collect();
            let digits = std::str::from_utf8(&line).map_err(|_| invalid("chunk size"))?.trim();
            let size = usize::from_str_radix(digits, 16).map_err(|_| invalid("chunk size"))?;
            let with_end = size + 2;
            self.fill_until(|unread| (unread.len() >= with_end).then_some(with_end))?;
            body.extend(self.unread.drain(..with_end).take(size));
            if size == 0 {
                return Ok(body);
            }
        }
    }

    /// Reads until `found` returns the length of the next unit.
    fn fill_until(&mut self, found: impl Fn(&[u8]) -> Option<usize>) -> io::Result<usize> {
        loop {
            if let Some(len) = found(&self.unread) {
                return Ok(len);
            }
            self.read_more()?;
        }
    }

    fn read_more(&mut self) -> io::Result<()> {
        let mut chunk = [0; 16 * 1024];
        match self.stream.read(&mut chunk)? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            read => {
                self.unread.extend_from_slice(&chunk[..read]);
                Ok(())
            }
        }
    }
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        find_header(&self.headers, name)
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is UTF-8")
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("the body is not JSON ({error}): {:?}", self.text()))
    }

    /// Whether the server closes the connection after this answer.
    pub fn closes(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }

    /// Everything but the date, to compare two answers byte by byte.
    pub fn without_date(&self) -> String {
        let headers: Vec<_> = self.headers.iter().filter(|(name, _)| name != "date").collect();
        format!("{} {headers:?} {:?}", self.status, String::from_utf8_lossy(&self.body))
    }
}

/// The bytes of a request, with Host, and with Content-Length if it has a body.
pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{method} {path} HTTP/1.1\r\nHost: jeton\r\n").into_bytes();
    for (name, value) in headers {
        bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    if !body.is_empty() || matches!(method, "POST" | "PATCH" | "PUT") {
        bytes.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body);
    bytes
}

fn find_head_end(unread: &[u8]) -> Option<usize> {
    unread.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

fn find_line_end(unread: &[u8]) -> Option<usize> {
    unread.windows(2).position(|window| window == b"\r\n").map(|at| at + 2)
}

fn find_header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

fn parse_head(head: &[u8]) -> io::Result<(u16, Vec<(String, String)>)> {
    let text = std::str::from_utf8(head).map_err(|_| invalid("the head is not UTF-8"))?;
    let mut lines = text.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.strip_prefix("HTTP/1.1 ").or(line.strip_prefix("HTTP/1.0 ")))
        .and_then(|rest| rest.get(..3)?.parse().ok())
        .ok_or_else(|| invalid("no status line"))?;
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Ok((status, headers))
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

/// A peer for the client's own tests: it sends `answers` and closes the connection.
fn peer(answers: &'static [u8]) -> Conn {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address");
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the client connects");
        stream.write_all(answers).expect("the client reads");
    });
    Conn::open(address).expect("connects")
}

#[test]
fn the_client_splits_pipelined_answers() {
    let mut conn = peer(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\nX-A: b\r\n\r\nabc\
          HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
          2\r\nde\r\n1\r\nf\r\n0\r\n\r\n",
    );
    let first = conn.response().expect("first");
    assert_eq!((first.status, first.text(), first.header("x-a")), (200, "abc", Some("b")));
    assert_eq!(conn.response().expect("second").status, 204);
    assert_eq!(conn.response().expect("third").text(), "def");
    assert!(conn.is_closed());
}

#[test]
fn the_client_refuses_half_an_answer() {
    let mut conn = peer(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc");
    assert_eq!(conn.response().err().map(|error| error.kind()), Some(ErrorKind::UnexpectedEof));
}
