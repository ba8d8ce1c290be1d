//! What the system and libraries report, as sentences that say what to do.

use std::error::Error as _;
use std::io::{self, ErrorKind};

use crate::http::server::listen::ListenAddress;
use crate::tls::said;

/// Why a Unix socket cannot be made at a path.
fn bind_path(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::AddrInUse => {
            "another program listens there: stop it, or name another path".to_owned()
        }
        ErrorKind::AlreadyExists => {
            "the file there is not a socket: remove it, or name another path".to_owned()
        }
        ErrorKind::NotFound => "there is no such directory: make it, or name another".to_owned(),
        ErrorKind::PermissionDenied => {
            "this user may not make a file there: name a directory of its own".to_owned()
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
            "another program listens there: stop it, or name another port".to_owned()
        }
        ErrorKind::AddrNotAvailable => {
            "this machine has no such address: name one of its own, or 0.0.0.0 or [::] for all"
                .to_owned()
        }
        ErrorKind::PermissionDenied => {
            "this user may not listen there: name a port of 1024 or above, or give the program \
             CAP_NET_BIND_SERVICE"
                .to_owned()
        }
        _ => error.to_string(),
    }
}

/// Why the address of a server is not known.
pub(super) fn name(error: &io::Error) -> String {
    format!("the address of this host is not known: is the name right? ({error})")
}

/// Why there is no connection.
pub(super) fn connect(error: &io::Error) -> String {
    let sentence = match error.kind() {
        // A Unix socket without its file.
        ErrorKind::ConnectionRefused | ErrorKind::NotFound => {
            "nothing listens there: start jeton serve, or name another --server"
        }
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
            "no way leads from here to that machine: is the address right?"
        }
        ErrorKind::TimedOut => "that machine does not answer: is the address right?",
        _ => return error.to_string(),
    };
    sentence.to_owned()
}

/// Why there is no TLS.
pub(super) fn handshake(error: &io::Error) -> String {
    match of_tls(error) {
        Some(rustls::Error::InvalidMessage(_)) => {
            "what listens there does not speak TLS: is it http://?".to_owned()
        }
        Some(error @ rustls::Error::InvalidCertificate(_)) => {
            format!("{}; --ca FILE names the one to accept", said(error))
        }
        Some(error) => said(error),
        None if is_end(error) => "the server ended the connection in the TLS handshake: does it \
                                  speak TLS, or is it http://?"
            .to_owned(),
        None => error.to_string(),
    }
}

/// Why a request was not answered.
pub(super) fn exchange(error: &hyper::Error) -> String {
    let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    if error.is_parse() {
        return "what listens there does not speak HTTP/1.1: is it https://?".to_owned();
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

const ENDED: &str = "it ended the connection; its log may say why";

/// What the TLS library says in an error of the system's kind.
fn of_tls(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

fn is_end(error: &io::Error) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}
