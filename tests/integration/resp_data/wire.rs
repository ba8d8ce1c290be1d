//! A bare client of the Redis protocol: it sends bytes, and reads one whole answer at a time as the
//! bytes that came.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// No single read or write waits longer than this.
const PATIENCE: Duration = Duration::from_secs(30);

/// One connection, with the bytes that are read and not parsed yet.
pub struct Wire {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Wire {
    pub fn open(address: SocketAddr) -> Self {
        Self::try_open(address).expect("the server accepts a connection")
    }

    pub fn try_open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self::over(stream))
    }

    /// The same over a connection that has its own timeouts.
    pub fn over(stream: TcpStream) -> Self {
        Self { stream, unread: Vec::new() }
    }

    /// The same with RESP3.
    pub fn open_3(address: SocketAddr) -> Self {
        let mut wire = Self::open(address);
        let hello = wire.ask(&[b"HELLO", b"3"]);
        assert!(hello.starts_with(b"%"), "HELLO 3: {}", show(&hello));
        wire
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server reads");
    }

    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends a command, and returns its answer.
    pub fn ask(&mut self, command: &[&[u8]]) -> Vec<u8> {
        self.send(&encode(command));
        self.answer()
    }

    /// The same for a command in words, and the answer as text.
    pub fn say(&mut self, words: &str) -> String {
        let command = words_of(words);
        let command: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
        show(&self.ask(&command))
    }

    /// The bytes of the next answer.
    pub fn answer(&mut self) -> Vec<u8> {
        self.try_answer().expect("an answer")
    }

    pub fn try_answer(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(len) = answer_len(&self.unread) {
                return Ok(self.unread.drain(..len).collect());
            }
            self.read_more()?;
        }
    }

    fn read_more(&mut self) -> io::Result<()> {
        let mut chunk = [0; 64 * 1024];
        let len = self.stream.read(&mut chunk)?;
        if len == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.unread.extend_from_slice(&chunk[..len]);
        Ok(())
    }
}

/// A command as an array of bulk strings.
pub fn encode(command: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", command.len()).into_bytes();
    for word in command {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// Length of the first answer in `bytes`; `None` where it is not whole.
pub fn answer_len(bytes: &[u8]) -> Option<usize> {
    let line_len = bytes.windows(2).position(|two| two == b"\r\n")? + 2;
    let count = || -> i64 {
        let text = std::str::from_utf8(&bytes[1..line_len - 2]).expect("a number");
        text.parse().unwrap_or_else(|_| panic!("no length: {}", show(bytes)))
    };
    let items = match bytes[0] {
        b'$' | b'=' => match usize::try_from(count()) {
            Ok(len) => return (bytes.len() >= line_len + len + 2).then_some(line_len + len + 2),
            Err(_) => 0,
        },
        b'*' | b'~' | b'>' => usize::try_from(count()).unwrap_or(0),
        b'%' => 2 * usize::try_from(count()).expect("a number of pairs"),
        b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'(' => 0,
        other => panic!("no answer begins with {:?}: {}", char::from(other), show(bytes)),
    };
    let mut len = line_len;
    for _ in 0..items {
        len += answer_len(&bytes[len..])?;
    }
    Some(len)
}

/// Bytes as text, with escapes.
pub fn show(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string().replace("\\\"", "\"").replace("\\'", "'")
}

/// The words of a line: separated by spaces, or in double quotes with `\xHH`, `\r`, `\n`, `\"` and
/// `\\`.
pub fn words_of(line: &str) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut rest = line.trim().as_bytes();
    while !rest.is_empty() {
        let word = if rest[0] == b'"' { quoted(&mut rest) } else { plain(&mut rest) };
        words.push(word);
        rest = rest.trim_ascii_start();
    }
    words
}

fn plain(rest: &mut &[u8]) -> Vec<u8> {
    let len = rest.iter().position(|byte| *byte == b' ').unwrap_or(rest.len());
    let (word, after) = rest.split_at(len);
    *rest = after;
    word.to_vec()
}

fn quoted(rest: &mut &[u8]) -> Vec<u8> {
    let (mut word, mut at) = (Vec::new(), 1);
    loop {
        match (rest[at], rest.get(at + 1)) {
            (b'"', _) => break,
            (b'\\', Some(b'x')) => {
                let digits = std::str::from_utf8(&rest[at + 2..at + 4]).expect("two digits");
                word.push(u8::from_str_radix(digits, 16).expect("two digits"));
                at += 4;
            }
            (b'\\', Some(escaped)) => {
                word.push(match escaped {
                    b'r' => b'\r',
                    b'n' => b'\n',
                    other => *other,
                });
                at += 2;
            }
            (byte, _) => {
                word.push(byte);
                at += 1;
            }
        }
    }
    *rest = &rest[at + 1..];
    word
}

#[test]
fn words_and_answers_are_read_to_the_letter() {
    let words = words_of(r#"SET "a b" "\x00\r\n\"\\" """#);
    assert_eq!(words, [&b"SET"[..], b"a b", b"\0\r\n\"\\", b""]);
    assert_eq!(encode(&[b"GET", b""]), b"*2\r\n$3\r\nGET\r\n$0\r\n\r\n");
    for (bytes, len) in [
        (&b"+OK\r\n-x"[..], Some(5)),
        (b"$3\r\na\r\n\r\n:1\r\n", Some(9)),
        (b"$-1\r\n", Some(5)),
        (b"*-1\r\n", Some(5)),
        (b"*2\r\n:1\r\n$1\r\na\r\n", Some(15)),
        (b"*2\r\n:1\r\n$1\r\na\r", None),
        (b"%1\r\n+a\r\n_\r\n", Some(11)),
        (b":1\r", None),
    ] {
        assert_eq!(answer_len(bytes), len, "{}", show(bytes));
    }
}
