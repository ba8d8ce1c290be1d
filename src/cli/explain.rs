//! Turns errors of the operating system and of libraries into sentences that say what to do.

use std::error::Error as _;
use std::io::{self, ErrorKind};
use std::path::Path;

use crate::engine::OpenError;
use crate::net::listen::ListenAddress;
use crate::tls::said;
use crate::wal::ReadError;

/// Why a Unix socket cannot be made at a path.
fn bind_path(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::AddrInUse => {
            "another program listens on it: stop that program, or name another path".to_owned()
        }
        ErrorKind::AlreadyExists => {
            "this file exists and is not a socket: remove it, or name another path".to_owned()
        }
        ErrorKind::NotFound => "its directory does not exist: create it, or name \
            another"
            .to_owned(),
        ErrorKind::PermissionDenied => {
            "this user may not create a file in that directory: name a directory that this user \
            may write to"
                .to_owned()
        }
        _ => error.to_string(),
    }
}

/// Why an address cannot be listened on.
pub(super) fn bind(address: &ListenAddress, error: &io::Error) -> String {
    if let ListenAddress::Unix(_) = address {
        return bind_path(error);
    }
    match error.kind() {
        ErrorKind::AddrInUse => {
            "another program listens on it: stop that program, or name another port".to_owned()
        }
        ErrorKind::AddrNotAvailable => {
            "this machine does not have this address: name one of its own, or 0.0.0.0 or [::] for \
            all"
            .to_owned()
        }
        ErrorKind::PermissionDenied => {
            "this user may not listen on this port: name a port of 1024 or above, or give the \
             program CAP_NET_BIND_SERVICE"
                .to_owned()
        }
        _ => error.to_string(),
    }
}

/// Why the log in `dir` cannot be opened.
pub(super) fn open(dir: &Path, error: &OpenError) -> String {
    let dir = match error {
        OpenError::Read(_) | OpenError::Record { .. } | OpenError::Discontinuous { .. } => {
            format!("{}: ", dir.display())
        }
        _ => String::new(),
    };
    let next = match error {
        OpenError::Read(ReadError::Damage(damage)) if !damage.what.is_of_other_version() => {
            COPY_FIRST
        }
        OpenError::Record { .. } => COPY_FIRST,
        _ => "",
    };
    format!("{dir}{error}{next}")
}

const COPY_FIRST: &str = "; keep a copy of the directory, then put the file back as it was, or restore \
                          the newest backup";

/// Why a server's name could not be resolved.
pub(super) fn name(error: &io::Error) -> String {
    format!("the address of this host is unknown: is the name right? ({error})")
}

/// Why connecting failed.
pub(super) fn connect(error: &io::Error) -> String {
    let sentence = match error.kind() {
        // A Unix socket without its file.
        ErrorKind::ConnectionRefused | ErrorKind::NotFound => {
            "no server listens there: start jeton serve, or name another --server"
        }
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
            "the machine can't be reached: is the address right?"
        }
        ErrorKind::TimedOut => "that machine does not answer: is the address right?",
        _ => return error.to_string(),
    };
    sentence.to_owned()
}

/// Why the TLS handshake failed.
pub(super) fn handshake(error: &io::Error) -> String {
    match of_tls(error) {
        Some(rustls::Error::InvalidMessage(_)) => {
            "the server does not speak TLS: should the address begin with http://?".to_owned()
        }
        Some(error @ rustls::Error::InvalidCertificate(_)) => {
            format!("{}; --ca FILE names the one to accept", said(error))
        }
        Some(error) => said(error),
        None if is_end(error) => "the server closed the connection during the TLS handshake: does \
                                  it speak TLS, or should the address begin with http://?"
            .to_owned(),
        None => error.to_string(),
    }
}

/// Why a request was not answered.
pub(super) fn exchange(error: &hyper::Error) -> String {
    let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    if error.is_parse() {
        return "the server does not speak HTTP/1.1: should the address begin with \
            https://?"
            .to_owned();
    }
    match source {
        Some(source) if of_tls(source).is_some() => handshake(source),
        Some(source) if is_end(source) => ENDED.to_owned(),
        None if error.is_incomplete_message() || error.is_closed() || error.is_canceled() => {
            ENDED.to_owned()
        }
        Some(source) => source.to_string(),
        None => error.to_string(),
    }
}

const ENDED: &str = "it closed the connection; its log may say why";

/// The TLS library's error inside an I/O error.
fn of_tls(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

fn is_end(error: &io::Error) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}
