//! The PROXY protocol, version 2: a proxy in front of the server sends the address of its client
//! before anything else, also before a TLS handshake.
//!
//! A connection from a trusted address must begin with a header; one from any other address must
//! not, and is served as if the header were part of its request, so that no client can choose its
//! address. A `LOCAL` header, or a client without an IP address, counts as the proxy itself.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use proxy_header::{ParseConfig, Protocol, ProxyHeader};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::clock::{Clock, SystemClock};
use crate::model::metrics::Counter;
use crate::model::network::{Network, any_contains};

/// Maximum time for a header.
const HEADER_TIMEOUT: Duration = Duration::from_secs(1);
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Place of the version and the command, and their value for the proxy itself.
const COMMAND_AT: usize = SIGNATURE.len();
const LOCAL: u8 = 0x20;
/// Signature, version, command, protocol and length.
const HEAD_LEN: usize = 16;
/// Maximum bytes of a header after its head: the addresses, and what the proxy adds (TLVs), which
/// is ignored.
const REST_LEN_MAX: usize = 2_048;
/// Minimum interval between log lines about refused connections.
const LOG_INTERVAL_MS: u64 = 60_000;

/// The proxies that are trusted. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    networks: Vec<Network>,
    refused: Counter,
    /// When a refusal was logged last, in Unix milliseconds.
    logged_at: AtomicU64,
}

/// Why a connection of a trusted proxy is refused.
#[derive(Debug, thiserror::Error)]
enum HeaderError {
    #[error("it did not begin with a header of the PROXY protocol, version 2")]
    Missing,
    #[error("its header was not complete within {} s", HEADER_TIMEOUT.as_secs())]
    Late,
    #[error("its header has {0} bytes after its first {HEAD_LEN}, more than {REST_LEN_MAX}")]
    Long(usize),
    #[error("its header is malformed")]
    Malformed,
    #[error("it ended before its header was complete")]
    Gone(#[from] io::Error),
}

impl TrustedProxies {
    /// Trusts all addresses of `networks`.
    #[must_use]
    pub fn new(networks: Vec<Network>) -> Self {
        Self(Arc::new(Inner { networks, ..Inner::default() }))
    }

    /// Whether a connection from `address` must begin with a header.
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        any_contains(&self.0.networks, address)
    }

    /// Whether any proxy is trusted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.networks.is_empty()
    }

    /// Connections of trusted proxies that were refused for their header.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.0.refused.get()
    }

    /// The address of the client on a connection from `peer`, after the header was read from the
    /// socket if `peer` is trusted. `None`: the connection is refused, which was logged and counted.
    pub(crate) async fn client(
        &self,
        socket: &mut TcpStream,
        peer: SocketAddr,
    ) -> Option<SocketAddr> {
        if !self.trusts(peer.ip()) {
            return Some(peer);
        }
        let read = timeout(HEADER_TIMEOUT, read_header(socket)).await;
        match read.unwrap_or(Err(HeaderError::Late)) {
            Ok(client) => Some(client.unwrap_or(peer)),
            Err(error) => {
                self.refuse(peer.ip(), &error);
                None
            }
        }
    }

    /// Counts a refusal, and logs it, at most once a minute.
    fn refuse(&self, proxy: IpAddr, error: &HeaderError) {
        self.0.refused.increment();
        let (now, last) = (SystemClock::new().wall().0, self.0.logged_at.load(Ordering::Relaxed));
        let is_due = last == 0 || now.abs_diff(last) >= LOG_INTERVAL_MS;
        let (order, at) = (Ordering::Relaxed, &self.0.logged_at);
        if is_due && at.compare_exchange(last, now, order, order).is_ok() {
            tracing::warn!(%proxy, "refused a connection from a trusted proxy: {error}");
        }
    }
}

/// Reads a header, and nothing after it. Returns the address of the proxy's client, if it has one.
async fn read_header(socket: &mut TcpStream) -> Result<Option<SocketAddr>, HeaderError> {
    let mut header = [0; HEAD_LEN + REST_LEN_MAX];
    socket.read_exact(&mut header[..HEAD_LEN]).await?;
    // The signature is checked before more is read: the rest could be a request.
    if !header.starts_with(SIGNATURE) {
        return Err(HeaderError::Missing);
    }
    let len = usize::from(u16::from_be_bytes([header[HEAD_LEN - 2], header[HEAD_LEN - 1]]));
    if len > REST_LEN_MAX {
        return Err(HeaderError::Long(len));
    }
    socket.read_exact(&mut header[HEAD_LEN..HEAD_LEN + len]).await?;
    client_of(&header[..HEAD_LEN + len])
}

/// The client's address in a whole header; `None` for the proxy itself.
fn client_of(header: &[u8]) -> Result<Option<SocketAddr>, HeaderError> {
    // Whatever else a header of the proxy itself says is ignored.
    if header.get(COMMAND_AT) == Some(&LOCAL) {
        return Ok(None);
    }
    let config = ParseConfig { include_tlvs: false, allow_v1: false, allow_v2: true };
    let parsed = ProxyHeader::parse(header, config);
    let (parsed, _) = parsed.map_err(|_| HeaderError::Malformed)?;
    let Some(proxied) = parsed.proxied_address() else { return Ok(None) };
    let (source, is_stream) = (proxied.source, proxied.protocol == Protocol::Stream);
    // 0.0.0.0 stands for the peers of Unix sockets, which are trusted more than others.
    if !is_stream || source.ip().to_canonical().is_unspecified() {
        return Err(HeaderError::Malformed);
    }
    Ok(Some(source))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header with this command, protocol and rest.
    fn header(command: u8, protocol: u8, rest: &[u8]) -> Vec<u8> {
        let len = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, protocol], &len, rest].concat()
    }

    fn client(header: &[u8]) -> Result<Option<String>, String> {
        let client = client_of(header).map_err(|error| error.to_string())?;
        Ok(client.map(|address| address.to_string()))
    }

    #[test]
    fn the_client_of_a_header_is_its_source() {
        let v4 = [192, 0, 2, 7, 10, 0, 0, 1, 0x12, 0x34, 0x1d, 0x1a];
        assert_eq!(client(&header(0x21, 0x11, &v4)), Ok(Some("192.0.2.7:4660".to_owned())));
        // With what proxies add after the addresses.
        let more = [&v4[..], &[0x01, 0, 2, b'h', b'2', 0x20, 0, 5, 1, 0, 0, 0, 0]].concat();
        assert_eq!(client(&header(0x21, 0x11, &more)), Ok(Some("192.0.2.7:4660".to_owned())));
        let mut v6 = [0; 36];
        (v6[0], v6[1], v6[15], v6[33]) = (0x20, 0x01, 7, 9);
        assert_eq!(client(&header(0x21, 0x21, &v6)), Ok(Some("[2001::7]:9".to_owned())));
        // The proxy itself, such as a check of its own; and a client without an IP address.
        for (command, protocol) in [(0x20, 0x00), (0x20, 0x11), (0x20, 0x31), (0x21, 0x00)] {
            assert_eq!(client(&header(command, protocol, &v4)), Ok(None));
        }
        assert_eq!(client(&header(0x21, 0x31, &[b'x'; 216])), Ok(None));
    }

    #[test]
    fn p8_malformed_headers_are_refused() {
        let v4 = [192, 0, 2, 7, 10, 0, 0, 1, 0x12, 0x34, 0x1d, 0x1a];
        let unspecified = [0, 0, 0, 0, 10, 0, 0, 1, 0x12, 0x34, 0x1d, 0x1a];
        for (command, protocol, rest) in [
            (0x11, 0x11, &v4[..]),
            (0x22, 0x11, &v4),
            (0x21, 0x12, &v4),
            (0x21, 0x13, &v4),
            (0x21, 0x41, &v4),
            (0x21, 0x11, &v4[..11]),
            (0x21, 0x21, &v4),
            (0x21, 0x31, &v4),
            (0x21, 0x11, &unspecified),
            (0x21, 0x21, &[0; 36]),
        ] {
            let header = header(command, protocol, rest);
            assert_eq!(client(&header), Err("its header is malformed".to_owned()), "{header:?}");
        }
        assert!(client(b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2\r\n").is_err(), "version 1");
    }

    #[test]
    fn p8_no_header_makes_it_panic() {
        let v4 = [192, 0, 2, 7, 10, 0, 0, 1, 0x12, 0x34, 0x1d, 0x1a];
        let whole = header(0x21, 0x11, &v4);
        for at in SIGNATURE.len()..whole.len() {
            for value in 0..=255 {
                let mut odd = whole.clone();
                odd[at] = value;
                let _ = client_of(&odd);
                let _ = client_of(&odd[..at]);
            }
        }
    }
}
