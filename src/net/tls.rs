//! TLS over a socket, for whatever protocol is above it.

use std::io;
use std::sync::Arc;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::tls::Peer;

/// What may wait below the output of a connection: TLS keeps records that the socket has not taken.
pub(crate) const BELOW_LEN_MAX: usize = 32 * 1024;

/// What a handshake begins with (RFC 8446, 5.1): no method of HTTP does.
const HANDSHAKE: u8 = 0x16;

/// A fatal alert, internal_error (RFC 8446, 6.2): said to who finds no place, before any handshake.
pub(crate) const NO_PLACE: &[u8] = &[0x15, 3, 3, 0, 2, 2, 80];

/// A socket whose peer has said how it begins.
pub(crate) enum Opened<S> {
    Tls(Box<TlsStream<S>>),
    /// It speaks something else.
    Plain(S),
}

/// Shakes hands over `wrap(socket)`, unless the peer speaks something else.
///
/// # Errors
/// The peer is gone, or there is nothing that both speak, or its certificate is wrong.
pub(crate) async fn open<S>(
    socket: TcpStream,
    config: Arc<ServerConfig>,
    wrap: impl FnOnce(TcpStream) -> S,
) -> io::Result<Opened<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut first = [0];
    if socket.peek(&mut first).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if first != [HANDSHAKE] {
        return Ok(Opened::Plain(wrap(socket)));
    }
    let shaking = TlsAcceptor::from(config).accept_with(wrap(socket), |session| {
        session.set_buffer_limit(Some(BELOW_LEN_MAX));
    });
    Ok(Opened::Tls(Box::new(shaking.await?)))
}

/// Whose certificate was verified, if there is one. It may have been in an earlier connection, of
/// which this one goes on.
pub(crate) fn peer_of<S>(stream: &TlsStream<S>) -> Option<Peer> {
    stream.get_ref().1.peer_certificates()?.first().map(Peer::of)
}
