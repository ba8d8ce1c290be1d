//! Clients that get one fixed answer: those of the data listener until the server serves, and those
//! that speak plain HTTP where TLS is needed.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::http::answer::canned;
use crate::net::listen::Accepted;
use crate::net::proxy_header::TrustedProxies;
use crate::net::tls::{self, Opened};
use crate::tls::Tls;

/// Maximum time to read the request of a client that is turned away.
const TURN_AWAY_TIMEOUT: Duration = Duration::from_secs(1);
/// Reads the client's request, as far as it arrives, and answers 503 with `Retry-After`.
pub(super) async fn turn_away(mut accepted: Accepted, proxies: TrustedProxies, tls: Option<Tls>) {
    let whole = async {
        let mut answer: &[u8] = &canned::RECOVERING;
        if let Accepted::Tcp(socket, peer) = &mut accepted {
            let client = proxies.client(socket, *peer).await;
            client.ok_or(io::ErrorKind::InvalidData)?;
        }
        let mut socket: Box<dyn Stream> = match (accepted, tls) {
            (Accepted::Unix(socket), _) => Box::new(socket),
            (Accepted::Tcp(socket, _), None) => Box::new(socket),
            (Accepted::Tcp(socket, _), Some(tls)) => {
                match tls::open(socket, tls.data(), |socket| socket).await? {
                    Opened::Tls(stream) => stream,
                    Opened::Plain(socket) => {
                        answer = &canned::SPEAKS_TLS;
                        Box::new(socket)
                    }
                }
            }
        };
        let mut head = Vec::new();
        let mut buf = [0; 2048];
        while head.len() < 16 * buf.len() && !head.ends_with(b"\r\n\r\n") {
            match socket.read(&mut buf).await? {
                0 => break,
                len => head.extend_from_slice(&buf[..len]),
            }
        }
        socket.write_all(answer).await?;
        socket.shutdown().await
    };
    // Errors are ignored: the client is turned away in any case.
    let _ = timeout(TURN_AWAY_TIMEOUT, whole).await;
}

/// A plain or encrypted stream. Dynamic dispatch is cheap enough on this listener.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Answers a client that speaks plain HTTP instead of TLS.
pub(super) async fn speaks_tls(mut socket: TcpStream) {
    let whole = async {
        // Reads the bytes sent so far: closing a socket with unread bytes would discard the answer.
        let _ = socket.read(&mut [0; 2048]).await?;
        socket.write_all(&canned::SPEAKS_TLS).await?;
        socket.shutdown().await
    };
    let _ = timeout(TURN_AWAY_TIMEOUT, whole).await;
}
