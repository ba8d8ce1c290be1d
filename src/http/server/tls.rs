//! TLS below a connection: from a socket to what [`Connection`] reads and writes.
//!
//! A handshake has its place among the connections, and its time limit is the sweep's like all
//! others: a peer that never finishes costs one place for as long. Plain HTTP that lost its way is
//! told apart by its first byte and gets a problem document; above that nothing knows of TLS but
//! the authenticator, which is told whose certificate was verified.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::audit::EventOutcome;
use crate::http::answer::canned;
use crate::http::conn::context::{Slot, Worker};
use crate::http::conn::phase::Phase;
use crate::http::conn::state::ConnState;
use crate::http::server::connection::{BELOW_LEN_MAX, Connection};
use crate::service::audit_trail;
use crate::tls::Peer;

/// What a handshake begins with (RFC 8446, 5.1): no method of HTTP does.
const HANDSHAKE: u8 = 0x16;

/// A fatal alert, internal_error (RFC 8446, 6.2): said to who finds no place, before any handshake.
pub(in crate::http) const NO_PLACE: &[u8] = &[0x15, 3, 3, 0, 2, 2, 80];

/// A socket whose peer has said how it begins.
pub(in crate::http) enum Opened<S> {
    Tls(Box<TlsStream<S>>),
    /// It speaks something else.
    Plain(S),
}

/// Shakes hands over `wrap(socket)`, unless the peer speaks something else.
///
/// # Errors
/// The peer is gone, or there is nothing that both speak, or its certificate is wrong.
pub(in crate::http) async fn open<S>(
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
pub(in crate::http) fn peer_of<S>(stream: &TlsStream<S>) -> Option<Peer> {
    stream.get_ref().1.peer_certificates()?.first().map(Peer::of)
}

/// One connection to a listener that speaks TLS, from its first byte to its end.
pub(in crate::http) async fn serve(
    socket: TcpStream,
    config: Arc<ServerConfig>,
    worker: Rc<Worker>,
    slot: Slot,
) {
    let state = slot.state();
    state.enter(Phase::Tls, worker.now());
    let wrap = |socket| WatchedSocket { socket, state: state.clone() };
    match until_verdict(&state, open(socket, config, wrap)).await {
        Some(Ok(Opened::Tls(stream))) => {
            if let Some(peer) = peer_of(&stream) {
                state.client.credentials.certified(peer);
            }
            state.enter(Phase::Idle, worker.now());
            Connection::new(stream, worker, slot).await;
        }
        Some(Ok(Opened::Plain(socket))) => {
            audit_trail::turned_away(&worker.service, state.address(), EventOutcome::PlainHttp);
            Connection::farewell(socket, worker, slot, &canned::SPEAKS_TLS).await;
        }
        // The peer's text is in none of them.
        Some(Err(error)) => {
            // The peer has said something that is not accepted; others have only gone away.
            if error.kind() == io::ErrorKind::InvalidData {
                audit_trail::turned_away(
                    &worker.service,
                    state.address(),
                    EventOutcome::TlsRefused,
                );
            }
            tracing::debug!(%error, "no TLS connection came about");
        }
        None => tracing::debug!("a TLS handshake was not finished in time"),
    }
}

/// `work`, unless the sweep has a verdict before it is done: whatever that is, it is the end.
async fn until_verdict<T>(state: &ConnState, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    poll_fn(|cx| {
        state.watch.waker.replace(Some(cx.waker().clone()));
        match state.watch.verdict.take() {
            Some(_) => Poll::Ready(None),
            None => work.as_mut().poll(cx).map(Some),
        }
    })
    .await
}

/// A socket below TLS. That its peer takes something shows here alone: what is above sees only that
/// there was room in a buffer.
pub(in crate::http) struct WatchedSocket {
    socket: TcpStream,
    state: Rc<ConnState>,
}

impl AsyncRead for WatchedSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, into)
    }
}

impl AsyncWrite for WatchedSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(cx, bytes);
        if matches!(written, Poll::Ready(Ok(1..))) {
            self.state.watch.stalled.set(None);
        }
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, bytes);
        if matches!(written, Poll::Ready(Ok(1..))) {
            self.state.watch.stalled.set(None);
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
