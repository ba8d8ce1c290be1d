//! Listening sockets: each worker has its own on the same address, so that the kernel spreads new
//! connections and no worker waits for another.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use tokio::net::{TcpStream, UnixStream};

use crate::net::socket_file::{self, PATH_LEN_MAX, SocketFile};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that may wait to be accepted, for each worker.
const BACKLOG: i32 = 1024;
/// Free ports of one loopback address that are tried until one is free on the other as well.
const PORTS_TRIED: usize = 16;

const LOOPBACKS: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// One address.
    Socket(SocketAddr),
    /// `localhost`: 127.0.0.1 and ::1, as far as this machine has them, with one port.
    Localhost(u16),
    /// A Unix socket: only programs of this user can connect.
    Unix(PathBuf),
}

impl ListenAddress {
    /// The address, where it is a single one of a network.
    #[must_use]
    pub fn socket(&self) -> Option<SocketAddr> {
        match self {
            Self::Socket(address) => Some(*address),
            _ => None,
        }
    }

    /// Whether only programs of this machine can connect.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match self {
            Self::Socket(address) => address.ip().is_loopback(),
            Self::Localhost(_) | Self::Unix(_) => true,
        }
    }

    /// Whether both name one and the same socket. Port 0 is another one each time.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let is_in_other =
            |socket: &SocketAddr| socket.port() != 0 && other.sockets().contains(socket);
        match self {
            Self::Unix(_) => self == other,
            _ => self.sockets().iter().any(is_in_other),
        }
    }

    fn sockets(&self) -> Vec<SocketAddr> {
        match self {
            Self::Socket(address) => vec![*address],
            Self::Localhost(port) => LOOPBACKS.map(|ip| (ip, *port).into()).to_vec(),
            Self::Unix(_) => Vec::new(),
        }
    }

    /// As a client names it; `scheme` is `http` or `https`.
    #[must_use]
    pub fn url(&self, scheme: &str) -> String {
        match self {
            Self::Unix(_) => self.to_string(),
            _ => format!("{scheme}://{self}"),
        }
    }
}

impl FromStr for ListenAddress {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        const FORM: &str = "an address with a port, such as 127.0.0.1:7450 or localhost:7450, or \
                            unix:PATH with a path of at most 107 bytes";
        const { assert!(PATH_LEN_MAX == 107) };
        if let Some(path) = text.strip_prefix("unix:") {
            let is_path = !path.is_empty() && path.len() <= PATH_LEN_MAX && !path.contains('\0');
            return if is_path { Ok(Self::Unix(path.into())) } else { Err(FORM) };
        }
        if let Ok(address) = text.parse() {
            return Ok(Self::Socket(address));
        }
        let (host, port) = text.rsplit_once(':').ok_or(FORM)?;
        let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        match port.parse() {
            Ok(port) if is_number && host.eq_ignore_ascii_case("localhost") => {
                Ok(Self::Localhost(port))
            }
            _ => Err(FORM),
        }
    }
}

impl From<SocketAddr> for ListenAddress {
    fn from(address: SocketAddr) -> Self {
        Self::Socket(address)
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(address) => address.fmt(f),
            Self::Localhost(port) => write!(f, "localhost:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The sockets of one worker: one for each address, at least one.
#[derive(Debug)]
pub struct Listeners {
    sockets: Sockets,
    address: ListenAddress,
}

#[derive(Debug)]
enum Sockets {
    Tcp(Vec<TcpListener>),
    /// The last copy of the file removes it.
    Unix(UnixListener, Arc<SocketFile>),
}

impl Listeners {
    fn tcp(sockets: Vec<TcpListener>) -> io::Result<Self> {
        let first = sockets.first().ok_or(io::ErrorKind::AddrNotAvailable)?.local_addr()?;
        Ok(Self { sockets: Sockets::Tcp(sockets), address: first.into() })
    }

    /// The address, with the port that was picked; the first one of several.
    #[must_use]
    pub fn address(&self) -> &ListenAddress {
        &self.address
    }

    /// The same sockets once more.
    ///
    /// # Errors
    /// There are too many open files.
    pub fn try_clone(&self) -> io::Result<Self> {
        let sockets = match &self.sockets {
            Sockets::Tcp(sockets) => {
                Sockets::Tcp(sockets.iter().map(TcpListener::try_clone).collect::<io::Result<_>>()?)
            }
            Sockets::Unix(socket, file) => Sockets::Unix(socket.try_clone()?, file.clone()),
        };
        Ok(Self { sockets, address: self.address.clone() })
    }

    /// The sockets for the runtime of the calling thread, and the file, which is removed when it is
    /// dropped.
    pub(crate) fn into_tokio(self) -> io::Result<(Vec<Listener>, Option<Arc<SocketFile>>)> {
        match self.sockets {
            Sockets::Tcp(sockets) => {
                let listener =
                    |socket| tokio::net::TcpListener::from_std(socket).map(Listener::Tcp);
                Ok((sockets.into_iter().map(listener).collect::<io::Result<_>>()?, None))
            }
            Sockets::Unix(socket, file) => {
                let socket = tokio::net::UnixListener::from_std(socket)?;
                Ok((vec![Listener::Unix(socket)], Some(file)))
            }
        }
    }
}

/// A socket that listens.
pub(crate) enum Listener {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

/// A connection that was accepted.
pub(crate) enum Accepted {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

impl Listener {
    pub(crate) async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => {
                let (socket, peer) = listener.accept().await?;
                Ok(Accepted::Tcp(socket, peer))
            }
            Self::Unix(listener) => Ok(Accepted::Unix(listener.accept().await?.0)),
        }
    }
}

impl Accepted {
    /// Writes as much of `bytes` as can be written without waiting.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket, _) => socket.try_write(bytes),
            Self::Unix(socket) => socket.try_write(bytes),
        }
    }

    /// Reads as much as is there.
    pub(crate) fn try_read(&self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket, _) => socket.try_read(into),
            Self::Unix(socket) => socket.try_read(into),
        }
    }
}

/// Whether a failure to accept is that of one peer, which was gone before it had its turn.
pub(crate) fn is_of_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// Binds `address` `count` times, at least once. Port 0 picks a free port, the same for all. A Unix
/// socket is one, and all listen on it.
///
/// # Errors
/// The address is in use, also by another server that would share it, or cannot be bound.
pub fn bind(address: &ListenAddress, count: usize) -> io::Result<Vec<Listeners>> {
    let firsts = match address {
        ListenAddress::Socket(address) => vec![bind_first(*address)?],
        ListenAddress::Localhost(0) => bind_free_port()?,
        ListenAddress::Localhost(port) => bind_loopbacks(*port)?,
        ListenAddress::Unix(path) => {
            let (socket, file) = socket_file::bind(path, BACKLOG)?;
            let sockets = Sockets::Unix(socket, Arc::new(file));
            let first = Listeners { sockets, address: address.clone() };
            let more: Vec<_> = (1..count).map(|_| first.try_clone()).collect::<io::Result<_>>()?;
            return Ok([first].into_iter().chain(more).collect());
        }
    };
    let bound: Vec<SocketAddr> =
        firsts.iter().map(TcpListener::local_addr).collect::<io::Result<_>>()?;
    let mut listeners = vec![Listeners::tcp(firsts)?];
    for _ in 1..count {
        let more = bound.iter().map(|address| bind_one(*address, true));
        listeners.push(Listeners::tcp(more.collect::<io::Result<_>>()?)?);
    }
    Ok(listeners)
}

/// Binds the loopback addresses that this machine has to one port that is free on all of them.
fn bind_free_port() -> io::Result<Vec<TcpListener>> {
    // What was in use on the other address stays bound until the end, so that another is picked.
    let mut in_use = Vec::new();
    loop {
        let [first, other] = LOOPBACKS;
        let picked = match bind_first((first, 0).into()) {
            Err(error) if is_missing(&error) => return Ok(vec![bind_first((other, 0).into())?]),
            picked => picked?,
        };
        match bind_first((other, picked.local_addr()?.port()).into()) {
            Ok(socket) => return Ok(vec![picked, socket]),
            Err(error) if is_missing(&error) => return Ok(vec![picked]),
            Err(error) if in_use.len() == PORTS_TRIED => return Err(error),
            Err(_) => in_use.push(picked),
        }
    }
}

/// Binds the loopback addresses that this machine has.
fn bind_loopbacks(port: u16) -> io::Result<Vec<TcpListener>> {
    let (mut sockets, mut missing) = (Vec::new(), None);
    for ip in LOOPBACKS {
        match bind_first((ip, port).into()) {
            Ok(socket) => sockets.push(socket),
            Err(error) if is_missing(&error) => missing = Some(error),
            Err(error) => return Err(error),
        }
    }
    match missing {
        Some(error) if sockets.is_empty() => Err(error),
        _ => Ok(sockets),
    }
}

/// Whether the machine has no such address, or no such protocol.
fn is_missing(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable
        || error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
}

fn bind_first(address: SocketAddr) -> io::Result<TcpListener> {
    if address.port() != 0 {
        // A second server could join in unseen, and get half of the connections: sharing is for
        // our own workers only. Without SO_REUSEPORT the address must be free.
        drop(bind_one(address, false)?);
    }
    bind_one(address, true)
}

fn bind_one(address: SocketAddr, is_shared: bool) -> io::Result<TcpListener> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(is_shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> ListenAddress {
        text.parse().unwrap()
    }

    fn tcp(listeners: &Listeners) -> &[TcpListener] {
        match &listeners.sockets {
            Sockets::Tcp(sockets) => sockets,
            Sockets::Unix(..) => &[],
        }
    }

    #[test]
    fn workers_share_a_port_and_other_servers_do_not() {
        let listeners = bind(&address("127.0.0.1:0"), 3).unwrap();
        let address = listeners[0].address().clone();
        for listener in &listeners {
            assert_eq!(listener.address(), &address);
        }
        let error = bind(&address, 1).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        drop(listeners);
        assert!(bind(&address, 1).is_ok());
    }

    #[test]
    fn localhost_is_every_loopback_with_one_port() {
        let has_v6 = bind_one((Ipv6Addr::LOCALHOST, 0).into(), false).is_ok();
        let listeners = bind(&address("localhost:0"), 2).unwrap();
        let port = listeners[0].address().socket().unwrap().port();
        for worker in &listeners {
            let bound: Vec<_> = tcp(worker).iter().map(|one| one.local_addr().unwrap()).collect();
            let mut expected = ListenAddress::Localhost(port).sockets();
            expected.truncate(if has_v6 { 2 } else { 1 });
            assert_eq!(bound, expected);
        }
        // Either of the two is in use for others.
        for ip in &LOOPBACKS[..if has_v6 { 2 } else { 1 }] {
            let error = bind(&SocketAddr::from((*ip, port)).into(), 1).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{ip}");
        }
        drop(listeners);
        let again = bind(&ListenAddress::Localhost(port), 1).unwrap();
        assert_eq!(again[0].address().socket().unwrap().port(), port);
        if has_v6 {
            drop(again);
            let other = bind(&SocketAddr::from((Ipv6Addr::LOCALHOST, port)).into(), 1).unwrap();
            let error = bind(&ListenAddress::Localhost(port), 1).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
            drop(other);
        }
    }

    #[test]
    fn addresses_are_read_and_written() {
        for text in ["127.0.0.1:7450", "[::1]:0", "0.0.0.0:80", "localhost:7450", "unix:/run/x"] {
            assert_eq!(address(text).to_string(), text);
        }
        assert_eq!(address("LocalHost:1"), ListenAddress::Localhost(1));
        for text in
            ["localhost", "localhost:", "localhost:+1", "localhost:65536", "name:1", ":1", "unix:"]
        {
            assert!(text.parse::<ListenAddress>().is_err(), "{text}");
        }
        let long = |len| format!("unix:{}", "x".repeat(len)).parse::<ListenAddress>();
        assert!(long(107).is_ok() && long(108).is_err());
        let overlap = |a, b| address(a).overlaps(&address(b));
        assert!(overlap("localhost:1", "[::1]:1") && overlap("127.0.0.1:1", "localhost:1"));
        assert!(overlap("unix:/x", "unix:/x") && !overlap("unix:/x", "unix:/y"));
        assert!(!overlap("localhost:0", "localhost:0") && !overlap("localhost:1", "localhost:2"));
    }
}
