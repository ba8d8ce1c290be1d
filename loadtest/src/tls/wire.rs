//! A socket with or without TLS: what is written and read is plain text, what is counted are the
//! bytes of both.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::event::PollFlags;
use rustls::{ClientConnection, HandshakeKind};

use super::failure::{io_error, slow, tls_error};
use crate::denial::Denial;
use crate::patience::Patience;

/// A connection of TCP, and of TLS on it. The socket does not block.
pub struct Wire {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
    /// How it has ended, where answers that came before that are handed out first.
    end: Option<Option<std::io::Error>>,
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

/// The result of one read.
pub enum Incoming<'a> {
    /// Bytes came, with this plain text; with TLS that may still be empty.
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

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Wire {
    /// A socket, with TLS to begin on it where some is given.
    pub fn new(socket: TcpStream, tls: Option<ClientConnection>) -> Self {
        Self { socket, tls: tls.map(Box::new), end: None }
    }

    /// The socket.
    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Waits for the handshake.
    ///
    /// # Errors
    /// The handshake fails, or is not done when the patience is over.
    pub fn wait_for_handshake(
        &mut self,
        alpn: Option<&[u8]>,
        patience: Patience,
    ) -> std::io::Result<()> {
        while !self.shake(alpn, &mut Shaken::default())? {
            let mut flags = PollFlags::IN;
            flags.set(PollFlags::OUT, self.wants_write());
            patience.wait(self, flags).map_err(|error| match error.kind() {
                ErrorKind::TimedOut => slow(patience.whole()),
                _ => error,
            })?;
        }
        Ok(())
    }

    /// Goes on with the handshake as far as the socket allows; true once it is done.
    ///
    /// # Errors
    /// The connection or the handshake has failed, or ended without the protocol that was asked for.
    pub fn shake(&mut self, alpn: Option<&[u8]>, moved: &mut Shaken) -> std::io::Result<bool> {
        let Some(tls) = &mut self.tls else { return Ok(true) };
        while tls.is_handshaking() {
            match write_records(tls, &mut self.socket, &mut moved.sent) {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(error) => return Err(last_word(tls, &mut self.socket).unwrap_or(error)),
            }
            if !tls.is_handshaking() {
                break;
            }
            match tls.read_tls(&mut self.socket) {
                Ok(0) => return Err(tls_error(Denial::TlsClosed)),
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
            return Err(tls_error(Denial::NoHttp2));
        }
        // The last word is this side's: a server waits for it, also where nothing is asked yet.
        write_records(tls, &mut self.socket, &mut moved.sent)?;
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

    /// Reads once into `buffer`: epoll reports again if more is there. `opened` is where plain text
    /// goes that came in records. Where an end came with it, the next call gives the end.
    pub fn receive<'a>(&mut self, buffer: &'a mut [u8], opened: &'a mut Vec<u8>) -> Incoming<'a> {
        if let Some(end) = self.end.take() {
            return Incoming::Ended(end);
        }
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
        let end = match open(tls, &buffer[..count], opened, &mut self.socket) {
            Ok(false) => None,
            Ok(true) => Some(None),
            Err(error) => Some(Some(error)),
        };
        match end {
            Some(end) if opened.is_empty() => Incoming::Ended(end),
            end => {
                self.end = end;
                Incoming::Bytes(Moved { wire: count, plain: opened.len() }, opened)
            }
        }
    }

    /// Whether it has ended behind what was received last: the next [`Self::receive`] says how, and
    /// epoll does not report it as readable.
    pub fn has_ended(&self) -> bool {
        self.end.is_some()
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

/// Whether nothing could be moved now.
fn is_pending(error: &std::io::Error) -> bool {
    error.kind() == ErrorKind::WouldBlock
}

/// What the server said of TLS before it stopped to listen.
fn last_word(tls: &mut ClientConnection, socket: &mut TcpStream) -> Option<std::io::Error> {
    while tls.read_tls(socket).ok()? > 0 {
        if let Err(error) = tls.process_new_packets() {
            return Some(io_error(&error));
        }
    }
    None
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

/// Decrypts what came, also what came before an error; true where the server has said that nothing
/// more comes.
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
        let processed = process(tls, socket, &mut moved);
        // What is there is less than what came and one record.
        match tls.reader().read_to_end(opened) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        has_closed |= processed?;
    }
    Ok(has_closed)
}

#[cfg(test)]
mod tests;
