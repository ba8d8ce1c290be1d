//! A client that is a bare socket, and servers for it.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use crate::resp_data::redis::Jeton;
use crate::server::{BODY_TIMEOUT, HEADER_TIMEOUT};

/// No single read or write waits longer than this.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A bare connection.
pub struct Peer(pub TcpStream);

impl Peer {
    pub fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("it accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
        stream.set_write_timeout(Some(PATIENCE)).expect("a time limit");
        Self(stream)
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).expect("the server reads");
    }

    /// Ends our side.
    pub fn finish(&self) {
        self.0.shutdown(Shutdown::Write).expect("open until now");
    }

    /// All that comes until the server closes the connection.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        self.0.read_to_end(&mut all).expect("the server closes the connection");
        all
    }

    /// The same where the server may have reset it.
    pub fn ends(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        match self.0.read_to_end(&mut all) {
            Err(error) if is_silence(&error) => panic!("the server has not closed the connection"),
            _ => all,
        }
    }

    /// What comes until it ends with `last`, or until the server closes the connection.
    pub fn until(&mut self, last: &[u8]) -> Vec<u8> {
        let (mut all, mut chunk) = (Vec::new(), vec![0; 64 << 10]);
        while !all.ends_with(last) {
            match self.0.read(&mut chunk) {
                Ok(0) => break,
                Ok(len) => all.extend_from_slice(&chunk[..len]),
                Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&all)),
            }
        }
        all
    }
}

fn is_silence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// A server whose time limits are a second.
pub fn impatient() -> Jeton {
    let names = [HEADER_TIMEOUT, BODY_TIMEOUT, "--idle-timeout", "--write-timeout"];
    Jeton::start_with(|launch| names.iter().fold(launch, |launch, name| launch.flag(name, "1s")))
}

/// The text of a command, as an array.
pub fn command(words: &[&str]) -> Vec<u8> {
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    crate::resp_data::wire::encode(&words)
}
