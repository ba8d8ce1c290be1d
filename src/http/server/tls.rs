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

use crate::audit::EventOutcome;
use crate::http::answer::canned;
use crate::http::conn::context::{Slot, Worker};
use crate::http::conn::phase::Phase;
use crate::http::conn::state::ConnState;
use crate::http::server::connection::Connection;
use crate::net::tls::{Opened, open, peer_of};
use crate::service::audit_events;

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
            audit_events::turned_away(&worker.service, state.address(), EventOutcome::PlainHttp);
            Connection::farewell(socket, worker, slot, &canned::SPEAKS_TLS).await;
        }
        // The peer's text is in none of them.
        Some(Err(error)) => {
            // The peer has said something that is not accepted; others have only gone away.
            if error.kind() == io::ErrorKind::InvalidData {
                audit_events::turned_away(
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
pub(super) async fn until_verdict<T>(
    state: &ConnState,
    work: impl Future<Output = T>,
) -> Option<T> {
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
