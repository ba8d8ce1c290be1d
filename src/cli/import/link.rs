//! A blocking client of the Redis protocol (RESP2): pipelines, bounded replies, TLS.
//!
//! A reply is never longer in memory than its reader allows: a longer one is read and dropped.

use std::fmt;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection, StreamOwned};
use rustls_pki_types::ServerName;

use super::place::Place;

/// Maximum time for a connection, and for each read and write.
const PATIENCE: Duration = Duration::from_secs(30);
/// Maximum length of a line: an error, a number or a length.
const LINE_LEN_MAX: usize = 64 << 10;
/// Maximum number of elements of one array.
const ELEMENTS_MAX: usize = 1 << 20;
/// Maximum depth of arrays in arrays.
const DEPTH_MAX: u32 = 8;

/// One answer of a server.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Reply {
    /// `+OK` and the like.
    Simple(String),
    /// The whole text of an error. It may repeat what was sent, so it is never shown as it is.
    Error(String),
    Integer(i64),
    Bulk(Vec<u8>),
    /// A string that is longer than the reader allows, and was dropped.
    TooLong,
    Nil,
    Array(Vec<Self>),
}

impl fmt::Debug for Reply {
    /// Without any text: it may be a key or a value (promise P9).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Simple(_) => "Simple",
            Self::Error(_) => "Error",
            Self::Integer(_) => "Integer",
            Self::Bulk(_) => "Bulk",
            Self::TooLong => "TooLong",
            Self::Nil => "Nil",
            Self::Array(_) => "Array",
        })
    }
}

impl Reply {
    /// The first word of an error: its code.
    pub(super) fn code(&self) -> Option<&str> {
        match self {
            Self::Error(text) => Some(text.split(' ').next().unwrap_or_default()),
            _ => None,
        }
    }

    pub(super) fn is_ok(&self) -> bool {
        matches!(self, Self::Simple(text) if text == "OK")
    }

    pub(super) fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            _ => None,
        }
    }

    /// A string, whether it was sent as a simple or as a bulk one.
    pub(super) fn text(&self) -> Option<String> {
        match self {
            Self::Simple(text) => Some(text.clone()),
            Self::Bulk(bytes) => String::from_utf8(bytes.clone()).ok(),
            _ => None,
        }
    }

    pub(super) fn array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(elements) => Some(elements),
            _ => None,
        }
    }
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(into),
            Self::Tls(stream) => stream.read(into),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// One connection.
pub(super) struct Link {
    stream: BufReader<Stream>,
    /// Commands that are not sent yet.
    out: Vec<u8>,
}

impl Link {
    /// Connects, without authentication.
    pub(super) fn open(place: &Place) -> io::Result<Self> {
        let mut failure = io::Error::new(ErrorKind::NotFound, "the host has no address");
        for address in (place.host.as_str(), place.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, PATIENCE) {
                Ok(socket) => return Self::over(socket, place),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    fn over(socket: TcpStream, place: &Place) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let stream = match &place.tls {
            None => Stream::Plain(socket),
            Some(config) => Stream::Tls(Box::new(encrypted(socket, config, &place.host)?)),
        };
        Ok(Self { stream: BufReader::with_capacity(64 << 10, stream), out: Vec::new() })
    }

    /// Adds a command to those that the next [`Self::send`] sends.
    pub(super) fn queue(&mut self, words: &[&[u8]]) {
        self.out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
        for word in words {
            self.out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            self.out.extend_from_slice(word);
            self.out.extend_from_slice(b"\r\n");
        }
    }

    pub(super) fn send(&mut self) -> io::Result<()> {
        let stream = self.stream.get_mut();
        let sent = stream.write_all(&self.out).and_then(|()| stream.flush());
        self.out.clear();
        sent
    }

    /// The next reply, whose strings have at most `len_max` bytes.
    pub(super) fn reply(&mut self, len_max: usize) -> io::Result<Reply> {
        self.nested(len_max, 0)
    }

    /// Sends one command, and returns its reply.
    pub(super) fn ask(&mut self, words: &[&[u8]], len_max: usize) -> io::Result<Reply> {
        self.queue(words);
        self.send()?;
        self.reply(len_max)
    }

    fn nested(&mut self, len_max: usize, depth: u32) -> io::Result<Reply> {
        let line = self.line()?;
        let mut chars = line.chars();
        let kind = chars.next().unwrap_or_default();
        let rest = chars.as_str();
        let number = || rest.parse::<i64>().map_err(|_| wrong("a number is not one"));
        match kind {
            '+' => Ok(Reply::Simple(rest.to_owned())),
            '-' => Ok(Reply::Error(rest.to_owned())),
            ':' => Ok(Reply::Integer(number()?)),
            '$' | '*' if number()? == -1 => Ok(Reply::Nil),
            '_' => Ok(Reply::Nil),
            '$' => self.bulk(usize::try_from(number()?).map_err(|_| wrong("a length"))?, len_max),
            '*' | '%' if depth < DEPTH_MAX => {
                let len = usize::try_from(number()?).map_err(|_| wrong("a length"))?;
                if len > ELEMENTS_MAX {
                    return Err(wrong("an array has too many elements"));
                }
                let elements = (0..len).map(|_| self.nested(len_max, depth + 1));
                Ok(Reply::Array(elements.collect::<io::Result<_>>()?))
            }
            _ => Err(wrong("the server does not speak the Redis protocol")),
        }
    }

    fn bulk(&mut self, len: usize, len_max: usize) -> io::Result<Reply> {
        if len > len_max {
            let mut rest = (&mut self.stream).take(len as u64 + 2);
            io::copy(&mut rest, &mut io::sink())?;
            return Ok(Reply::TooLong);
        }
        let mut bytes = vec![0; len + 2];
        self.stream.read_exact(&mut bytes)?;
        bytes.truncate(len);
        Ok(Reply::Bulk(bytes))
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        (&mut self.stream).take(LINE_LEN_MAX as u64).read_until(b'\n', &mut line)?;
        match line.strip_suffix(b"\r\n") {
            Some(line) => Ok(String::from_utf8_lossy(line).into_owned()),
            None if line.is_empty() => Err(ErrorKind::UnexpectedEof.into()),
            None => Err(wrong("a line does not end")),
        }
    }
}

fn encrypted(
    socket: TcpStream,
    config: &Arc<ClientConfig>,
    host: &str,
) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let name = ServerName::try_from(host.to_owned()).map_err(|_| wrong("the host is no name"))?;
    let client = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(client, socket);
    // The handshake happens here, so that its errors are those of connecting.
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

fn wrong(what: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// The reply that a client reads from these bytes.
    fn read(bytes: &'static [u8], len_max: usize) -> io::Result<Reply> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || listener.accept().unwrap().0.write_all(bytes));
        let place = Place { port, ..Place::plain("127.0.0.1") };
        let reply = Link::open(&place).unwrap().reply(len_max);
        server.join().unwrap().unwrap();
        reply
    }

    #[test]
    fn each_kind_of_reply_is_read() {
        let bulk = |text: &str| Reply::Bulk(text.as_bytes().to_vec());
        for (bytes, expected) in [
            (&b"+OK\r\n"[..], Reply::Simple("OK".to_owned())),
            (b"-ERR no\r\n", Reply::Error("ERR no".to_owned())),
            (b":-2\r\n", Reply::Integer(-2)),
            (b"$-1\r\n", Reply::Nil),
            (b"*-1\r\n", Reply::Nil),
            (b"$4\r\na\r\nb\r\n", bulk("a\r\nb")),
            (b"*2\r\n$1\r\na\r\n*1\r\n:7\r\n", {
                Reply::Array(vec![bulk("a"), Reply::Array(vec![Reply::Integer(7)])])
            }),
        ] {
            assert_eq!(read(bytes, 16).unwrap(), expected);
        }
    }

    #[test]
    fn p8_what_is_too_long_too_deep_or_cut_is_no_harm() {
        assert_eq!(read(b"$5\r\nabcde\r\n", 4).unwrap(), Reply::TooLong);
        let behind = read(b"*2\r\n$5\r\nabcde\r\n:1\r\n", 4).unwrap();
        assert_eq!(behind, Reply::Array(vec![Reply::TooLong, Reply::Integer(1)]));
        for wrong in [
            &b"$5\r\nab"[..],
            b"*99999999999\r\n",
            b"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n",
            b"HTTP/1.1 400 Bad Request\r\n",
            b"$x\r\n",
            b"",
        ] {
            assert!(read(wrong, 16).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn p9_debug_shows_no_key_and_no_value() {
        let reply = Reply::Array(vec![Reply::Bulk(b"cart:7".to_vec())]);
        assert_eq!(format!("{reply:?} {:?}", Reply::Error("cart:7".to_owned())), "Array Error");
    }
}
