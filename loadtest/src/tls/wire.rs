//! A socket with or without TLS: what is written and read is plain text, what is counted are the
//! bytes of both.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustls::{ClientConnection, HandshakeKind};

use super::said;

/// How long a handshake may take that is waited for.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection of TCP, and of TLS on it.
pub struct Wire {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
}

/// Bytes as they went over the network, and what they were without TLS.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Moved {
    /// As they went over the network.
    pub wire: usize,
    /// Requests and answers alone.
    pub plain: usize,
}

/// What a handshake moved, in both directions.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shaken {
    /// From this side to the server.
    pub sent: Moved,
    /// From the server.
    pub received: Moved,
}

/// What became of reading once.
pub enum Incoming<'a> {
    /// So many bytes came, and this is what they say; with TLS that may be nothing yet.
    Bytes(Moved, &'a [u8]),
    /// Nothing is there now.
    Nothing,
    /// The connection has ended; why, as the system says, where it was not in order.
    Ended(Option<std::io::Error>),
}

/// What two sides agreed on.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Negotiated {
    /// `1.3` or `1.2`.
    pub version: String,
    /// As the registry of TLS calls it, without its prefix.
    pub cipher: String,
    /// The group of the key exchange; none of a TLS 1.2 session that was resumed.
    pub key_exchange: Option<String>,
    /// The protocol inside, where it was agreed on.
    pub alpn: Option<String>,
}

/// A TLS failure as an error of I/O; see [`is_tls`].
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct TlsFailure(String);

/// What rustls reports, as an error of the connection.
pub(super) fn io_error(error: &rustls::Error) -> std::io::Error {
    tls_error(said(error))
}

fn tls_error(sentence: String) -> std::io::Error {
    std::io::Error::new(ErrorKind::InvalidData, TlsFailure(sentence))
}

/// Whether a connection ended because of TLS: certificates, versions, alerts.
pub fn is_tls(error: &std::io::Error) -> bool {
    error.get_ref().and_then(|inner| inner.downcast_ref::<TlsFailure>()).is_some()
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Wire {
    /// A socket, with TLS to begin on it where some is given.
    pub fn new(socket: TcpStream, tls: Option<ClientConnection>) -> Self {
        Self { socket, tls: tls.map(Box::new) }
    }

    /// The socket, and the session on it.
    pub fn into_parts(self) -> (TcpStream, Option<ClientConnection>) {
        (self.socket, self.tls.map(|tls| *tls))
    }

    /// The socket.
    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Waits for the handshake, on a socket that blocks.
    ///
    /// # Errors
    /// The handshake fails, or takes longer than 5 s.
    pub fn wait_for_handshake(&mut self, alpn: Option<&[u8]>) -> std::io::Result<()> {
        self.socket.set_read_timeout(Some(HANDSHAKE_TIMEOUT))?;
        self.socket.set_write_timeout(Some(HANDSHAKE_TIMEOUT))?;
        if self.shake(alpn, &mut Shaken::default())? {
            return Ok(());
        }
        // The socket blocks, so its time is up.
        Err(tls_error(format!(
            "the TLS handshake was not done within {} s: does that port speak TLS?",
            HANDSHAKE_TIMEOUT.as_secs()
        )))
    }

    /// Goes on with the handshake as far as the socket allows; true once it is done.
    ///
    /// # Errors
    /// The connection or the handshake has failed, or ended without the protocol that was asked for.
    pub fn shake(&mut self, alpn: Option<&[u8]>, moved: &mut Shaken) -> std::io::Result<bool> {
        let Some(tls) = &mut self.tls else { return Ok(true) };
        while tls.is_handshaking() {
            if !write_records(tls, &mut self.socket, &mut moved.sent)? {
                return Ok(false);
            }
            if !tls.is_handshaking() {
                break;
            }
            match tls.read_tls(&mut self.socket) {
                Ok(0) => {
                    let what = "the server closed the connection during the TLS handshake";
                    return Err(tls_error(what.to_owned()));
                }
                Ok(count) => {
                    moved.received.wire += count;
                    process(tls, &mut self.socket, &mut moved.sent)?;
                }
                Err(error) if is_pending(&error) => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if alpn == Some(super::HTTP2) && tls.alpn_protocol() != alpn {
            let what = "the server does not speak HTTP/2 over TLS: leave --http out";
            return Err(tls_error(what.to_owned()));
        }
        Ok(true)
    }

    /// Whether bytes of TLS itself, or records, wait to be sent.
    pub fn wants_write(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// Sends what the socket takes of `output` from `written` on; moves `written` over what needs no
    /// further care. With TLS that is all of it: it is kept as records.
    ///
    /// # Errors
    /// The connection has ended.
    pub fn send(&mut self, output: &[u8], written: &mut usize) -> std::io::Result<Moved> {
        let mut moved = Moved::default();
        let Some(tls) = &mut self.tls else {
            while *written < output.len() {
                match self.socket.write(&output[*written..]) {
                    Ok(count) => {
                        *written += count;
                        moved.wire += count;
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            moved.plain = moved.wire;
            return Ok(moved);
        };
        if *written < output.len() {
            tls.writer().write_all(&output[*written..])?;
            moved.plain = output.len() - *written;
            *written = output.len();
        }
        write_records(tls, &mut self.socket, &mut moved)?;
        Ok(moved)
    }

    /// Reads once into `buffer`: epoll tells again when more is there. `opened` is where plain text
    /// goes that came in records.
    pub fn receive<'a>(&mut self, buffer: &'a mut [u8], opened: &'a mut Vec<u8>) -> Incoming<'a> {
        let count = match self.socket.read(buffer) {
            Ok(0) => return Incoming::Ended(None),
            Ok(count) => count,
            Err(error) if is_pending(&error) || error.kind() == ErrorKind::Interrupted => {
                return Incoming::Nothing;
            }
            Err(error) => return Incoming::Ended(Some(error)),
        };
        let Some(tls) = &mut self.tls else {
            return Incoming::Bytes(Moved { wire: count, plain: count }, &buffer[..count]);
        };
        opened.clear();
        let mut moved = Moved { wire: count, plain: 0 };
        match open(tls, &buffer[..count], opened, &mut self.socket) {
            Ok(true) if opened.is_empty() => Incoming::Ended(None),
            Ok(_) => {
                moved.plain = opened.len();
                Incoming::Bytes(moved, opened)
            }
            Err(error) => Incoming::Ended(Some(error)),
        }
    }

    /// Why nothing can be sent any more: what the server said last, where it said something of TLS.
    pub fn reason(&mut self, error: std::io::Error) -> std::io::Error {
        let (mut buffer, mut opened) = ([0; 1 << 10], Vec::new());
        match self.receive(&mut buffer, &mut opened) {
            Incoming::Ended(Some(said)) if is_tls(&said) => said,
            _ => error,
        }
    }

    /// Ends it in order: with TLS the server hears that nothing more comes.
    pub fn close(mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            let mut moved = Moved::default();
            // A server that is gone needs not hear it.
            let _ = write_records(tls, &mut self.socket, &mut moved);
        }
    }

    /// Whether the session of this connection goes back to an earlier one; none without TLS.
    pub fn is_resumed(&self) -> Option<bool> {
        let kind = self.tls.as_ref()?.handshake_kind()?;
        Some(kind == HandshakeKind::Resumed)
    }

    /// What was agreed on; none without TLS.
    pub fn negotiated(&self) -> Option<Negotiated> {
        let tls = self.tls.as_ref()?;
        let version = match tls.protocol_version()? {
            rustls::ProtocolVersion::TLSv1_3 => "1.3".to_owned(),
            rustls::ProtocolVersion::TLSv1_2 => "1.2".to_owned(),
            other => format!("{other:?}"),
        };
        let cipher = format!("{:?}", tls.negotiated_cipher_suite()?.suite());
        let cipher = cipher.trim_start_matches("TLS13_").trim_start_matches("TLS_").to_owned();
        let group = tls.negotiated_key_exchange_group();
        Some(Negotiated {
            version,
            cipher,
            key_exchange: group.map(|group| format!("{:?}", group.name())),
            alpn: tls.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned()),
        })
    }
}

/// Whether nothing could be moved now; a socket that blocks says so when its time is up.
fn is_pending(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// Writes records; true when all are written.
fn write_records(
    tls: &mut ClientConnection,
    socket: &mut TcpStream,
    moved: &mut Moved,
) -> std::io::Result<bool> {
    while tls.wants_write() {
        match tls.write_tls(socket) {
            Ok(count) => moved.wire += count,
            Err(error) if is_pending(&error) => return Ok(false),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// Looks at what was read; where it is no TLS the server hears of it before the end.
fn process(
    tls: &mut ClientConnection,
    socket: &mut TcpStream,
    moved: &mut Moved,
) -> std::io::Result<bool> {
    match tls.process_new_packets() {
        Ok(state) => Ok(state.peer_has_closed()),
        Err(error) => {
            let _ = write_records(tls, socket, moved);
            Err(io_error(&error))
        }
    }
}

/// Decrypts what came; true where the server has said that nothing more comes.
fn open(
    tls: &mut ClientConnection,
    mut records: &[u8],
    opened: &mut Vec<u8>,
    socket: &mut TcpStream,
) -> std::io::Result<bool> {
    let mut has_closed = false;
    while !records.is_empty() {
        if tls.read_tls(&mut records)? == 0 {
            break;
        }
        let mut moved = Moved::default();
        has_closed |= process(tls, socket, &mut moved)?;
        // What is there is less than what came and one record.
        match tls.reader().read_to_end(opened) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(has_closed)
}
