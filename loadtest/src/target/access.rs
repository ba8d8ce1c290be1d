//! How a server lets itself be asked: by TLS, with a key or a password; and a connection that asks it
//! a few questions beside the load.

use std::fmt;
use std::io::ErrorKind::ConnectionReset;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::event::PollFlags;

use super::address::Remote;
use super::kind::Kind;
use crate::denial::Denial;
use crate::failure::{Failure, Result};
use crate::patience::Patience;
use crate::protocol::resp;
use crate::secret::{Credentials, Secret};
use crate::tls::wire::{Incoming, Wire};
use crate::tls::{self, Tls};

/// How long a connection may take, with TLS.
const OPEN_TIME: Duration = Duration::from_secs(5);
/// How long one answer may take, from the first byte of the question to its last one.
pub(super) const ANSWER_TIME: Duration = Duration::from_secs(2);
/// Bytes of an answer that are read, at most.
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

/// One question after the other, on a connection of its own.
pub(super) struct Conversation(Wire);

impl Conversation {
    /// Connects, and introduces itself to a Redis that has users.
    ///
    /// # Errors
    /// In a sentence: no server listens, TLS fails, or user and password are refused.
    pub(super) fn open(address: SocketAddr, access: &Access) -> std::result::Result<Self, String> {
        let text = |error: std::io::Error| error.to_string();
        let patience = Patience::of(OPEN_TIME);
        let stream = patience.connect(address).map_err(text)?;
        // Only questions of HTTP/1.1 are asked here, and those of Redis, which has no name.
        let tls = access.tls.as_ref().map(|tls| tls.speaking(tls.alpn().map(|_| tls::HTTP1)));
        let begun = tls.as_ref().map(Tls::begin).transpose().map_err(text)?;
        let mut wire = Wire::new(stream, begun);
        wire.wait_for_handshake(tls.as_ref().and_then(Tls::alpn), patience).map_err(text)?;
        let mut this = Self(wire);
        if let Some(credentials) = &access.credentials {
            let mut request = Vec::new();
            resp::push_auth(credentials, &mut request);
            let answer = this.ask(&request, b"\r\n").unwrap_or_default();
            let answer = answer.trim_end().as_bytes();
            if answer.starts_with(b"-") {
                return Err(resp::auth_denial(answer).to_string());
            }
        }
        Ok(this)
    }

    /// Asks, and gives what comes up to an end. One time limit holds for all of it.
    pub(super) fn ask(&mut self, request: &[u8], end: &[u8]) -> Option<String> {
        let patience = Patience::of(ANSWER_TIME);
        let mut written = 0;
        loop {
            // One that takes nothing more may have said why.
            let is_taken = self.0.send(request, &mut written).is_ok();
            if !is_taken || written == request.len() && !self.0.wants_write() {
                break;
            }
            patience.wait(&self.0, PollFlags::OUT).ok()?;
        }
        let (mut answer, mut part, mut opened) = (Vec::new(), vec![0; 4 << 10], Vec::new());
        while !answer.ends_with(end) && answer.len() < ANSWER_MAX {
            match self.0.receive(&mut part, &mut opened) {
                Incoming::Bytes(_, plain) => answer.extend_from_slice(plain),
                Incoming::Nothing => patience.wait(&self.0, PollFlags::IN).ok()?,
                // A server that closes without a last word of TLS, or as if it had failed, has said
                // all the same what it said.
                Incoming::Ended(None) => break,
                Incoming::Ended(Some(error)) if error.kind() == ConnectionReset => break,
                Incoming::Ended(Some(_)) if !answer.is_empty() => break,
                Incoming::Ended(Some(_)) => return None,
            }
        }
        String::from_utf8(answer).ok()
    }
}

/// Asks a Redis or Valkey whether it lets itself be asked; others say so when the load begins.
///
/// # Errors
/// [`Failure::Target`], with what to do.
pub fn check(remote: &Remote, address: SocketAddr, access: &Access) -> Result<()> {
    if !matches!(remote.kind, Kind::JetonResp | Kind::Redis | Kind::Valkey) {
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
                format!("PING got no answer: if this port speaks TLS, give --target {by_tls}")
            }
            _ => match resp::denial(answer.trim_end().as_bytes()) {
                // It may pass: what has to end for it shows while tokens are issued.
                None | Some(Denial::Crowded) => return Ok(()),
                Some(denial) => denial.to_string(),
            },
        },
        Err(problem) => problem,
    };
    Err(Failure::Target { target: remote.to_string(), problem })
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    /// Each of its bytes comes in time, and the end never.
    #[test]
    fn an_answer_that_drips_is_given_up_after_its_limit() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let dripping = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            stream.read_exact(&mut [0]).expect("a question");
            let mut sent = 0;
            while stream.write_all(b"x").is_ok() && sent < 1_000 {
                sent += 1;
                std::thread::sleep(Duration::from_millis(20));
            }
            sent
        });
        let mut open = Conversation::open(address, &Access::default()).expect("it listens");
        assert_eq!(open.ask(b"?", b"end"), None);
        drop(open);
        assert!(dripping.join().expect("no panic") < 1_000, "it waited for all that came");
    }
}
