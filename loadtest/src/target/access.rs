//! How a server lets itself be asked: by TLS, with a key or a password; and a connection that asks it
//! a few questions beside the load.

use std::fmt;
use std::io::ErrorKind::{ConnectionReset, UnexpectedEof};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustls::StreamOwned;

use super::{Kind, Remote};
use crate::failure::{Failure, Result};
use crate::protocol::resp;
use crate::secret::{Credentials, Secret};
use crate::tls::{self, Tls, wire};

/// How long one answer may take.
pub(super) const ANSWER_TIME: Duration = Duration::from_secs(2);
/// An answer is read up to so many bytes.
const ANSWER_MAX: usize = 64 << 10;

/// What a server asks for before it answers. Secrets are not in its `Debug`.
#[derive(Clone, Default)]
pub struct Access {
    /// What a connection begins with.
    pub tls: Option<Tls>,
    /// jeton's API key.
    pub key: Option<Secret>,
    /// The key for jeton's statistics; no key may both ask for them and touch tokens.
    pub admin_key: Option<Secret>,
    /// User and password of Redis and Valkey.
    pub credentials: Option<Credentials>,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("tls", &self.tls.is_some())
            .field("key", &self.key)
            .field("credentials", &self.credentials)
            .finish_non_exhaustive()
    }
}

/// A socket, or TLS on it.
trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// One question after the other, on a connection of its own.
pub(super) struct Conversation(Box<dyn Stream>);

impl Conversation {
    /// Connects, and introduces itself to a Redis that has users.
    ///
    /// # Errors
    /// In a sentence: nobody listens, TLS fails, or user and password are refused.
    pub(super) fn open(address: SocketAddr, access: &Access) -> std::result::Result<Self, String> {
        let text = |error: std::io::Error| error.to_string();
        let stream = TcpStream::connect_timeout(&address, ANSWER_TIME).map_err(text)?;
        let mut this = match &access.tls {
            None => {
                limit(&stream).map_err(text)?;
                Self(Box::new(stream))
            }
            Some(tls) => {
                // Only questions of HTTP/1.1 are asked here, and those of Redis, which has no name.
                let tls = tls.speaking(tls.alpn().map(|_| tls::HTTP1));
                let mut shaking = wire::Wire::new(stream, Some(tls.begin().map_err(text)?));
                shaking.wait_for_handshake(tls.alpn()).map_err(text)?;
                let (socket, session) = shaking.into_parts();
                limit(&socket).map_err(text)?;
                let session = session.ok_or("no TLS")?;
                Self(Box::new(StreamOwned::new(session, socket)))
            }
        };
        if let Some(credentials) = &access.credentials {
            let mut request = Vec::new();
            resp::push_auth(credentials, &mut request);
            let answer = this.ask(&request, b"\r\n").unwrap_or_default();
            let answer = answer.trim_end().as_bytes();
            if answer.starts_with(b"-") {
                return Err(resp::refusal(answer).unwrap_or_else(|| resp::AUTH_REFUSED.to_owned()));
            }
        }
        Ok(this)
    }

    /// Asks, and gives what comes up to an end.
    pub(super) fn ask(&mut self, request: &[u8], end: &[u8]) -> Option<String> {
        self.0.write_all(request).ok()?;
        self.0.flush().ok()?;
        let (mut answer, mut part) = (Vec::new(), [0; 4 << 10]);
        while !answer.ends_with(end) && answer.len() < ANSWER_MAX {
            match self.0.read(&mut part) {
                Ok(0) => break,
                Ok(count) => answer.extend_from_slice(&part[..count]),
                // A server that closes without a last word of TLS, or as if it had failed, has said
                // all the same what it said.
                Err(error) if matches!(error.kind(), UnexpectedEof | ConnectionReset) => break,
                Err(_) => return None,
            }
        }
        String::from_utf8(answer).ok()
    }
}

fn limit(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(ANSWER_TIME))?;
    stream.set_write_timeout(Some(ANSWER_TIME))
}

/// Asks a Redis or Valkey whether it lets itself be asked; others say so when the load begins.
///
/// # Errors
/// [`Failure::Target`], with what to do.
pub fn check(remote: &Remote, address: SocketAddr, access: &Access) -> Result<()> {
    if !matches!(remote.kind, Kind::Redis | Kind::Valkey) {
        return Ok(());
    }
    let answer = Conversation::open(address, access).map(|mut open| open.ask(b"PING\r\n", b"\r\n"));
    let problem = match answer {
        // Nothing at all, or what only the load can find out.
        Ok(None) => return Ok(()),
        Ok(Some(answer)) => match answer.as_bytes() {
            // An alert of TLS begins so; a Redis closes without one.
            [] | [0x15, 0x03, ..] if !remote.is_tls => {
                let by_tls = Remote { is_tls: true, ..remote.clone() };
                format!("nothing answers PING: if this port speaks TLS, {by_tls} is meant")
            }
            _ => match resp::refusal(answer.trim_end().as_bytes()) {
                Some(problem) => problem,
                None => return Ok(()),
            },
        },
        Err(problem) => problem,
    };
    Err(Failure::Target { target: remote.to_string(), problem })
}
