//! A connection in its place: its time limits, and the body after which it is idle again.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::{Doing, Seat};
use crate::engine::STALLED_AFTER;
use crate::net::limits::Limits;

/// A running time limit, and the change at which it started.
type Timer = Option<(u64, Pin<Box<Sleep>>)>;

/// Measures from `since`; returns an error once `limit` has passed.
fn poll_timer(
    timer: &mut Timer,
    since: u64,
    limit: Duration,
    cx: &mut Context<'_>,
) -> Poll<io::Error> {
    if timer.as_ref().is_none_or(|(counted, _)| *counted != since) {
        *timer = Some((since, Box::pin(sleep(limit))));
    }
    let Some((_, sleep)) = timer else { return Poll::Pending };
    sleep.as_mut().poll(cx).map(|()| io::ErrorKind::TimedOut.into())
}

/// A connection with its time limits.
pub(in crate::http::admin) struct SeatStream<S> {
    stream: S,
    seat: Rc<Seat>,
    limits: Limits,
    reading: Timer,
    writing: Timer,
}

impl<S> SeatStream<S> {
    pub(in crate::http::admin) fn new(stream: S, seat: Rc<Seat>, limits: Limits) -> Self {
        seat.enter(Doing::Idle);
        Self { stream, seat, limits, reading: None, writing: None }
    }

    /// Records the result of a write: whether the peer accepts data, and for how long it has not.
    fn sent<T>(&mut self, sent: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        self.seat.stall(sent.is_pending());
        if sent.is_ready() {
            self.writing = None;
            return sent;
        }
        let state = &self.seat.state;
        let limit = if state.is_stream.get() { STALLED_AFTER } else { self.limits.write_timeout };
        poll_timer(&mut self.writing, 0, limit, cx).map(Err)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for SeatStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let state = &this.seat.state;
        let read = Pin::new(&mut this.stream).poll_read(cx, into);
        if let Poll::Ready(read) = &read {
            this.seat.has_read(read.as_ref().err());
            if state.doing.get() == Doing::Idle {
                this.seat.enter(Doing::Head);
            }
        }
        if read.is_ready() {
            return read;
        }
        let limit = match state.doing.get() {
            Doing::Idle => this.limits.idle_timeout,
            Doing::Head => this.limits.header_timeout,
            Doing::Beginning | Doing::Answering => {
                state.reader.replace(Some(cx.waker().clone()));
                return Poll::Pending;
            }
        };
        poll_timer(&mut this.reading, state.since.get(), limit, cx).map(Err)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for SeatStream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.sent(written, cx)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.stream).poll_flush(cx);
        this.sent(flushed, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let shut = Pin::new(&mut this.stream).poll_shutdown(cx);
        if let Poll::Ready(Ok(())) = shut {
            // Nothing more is read, so nothing more will show.
            this.seat.has_read(None);
        }
        this.sent(shut, cx)
    }
}

/// An answer's body; when all of it is handed over, the connection becomes idle.
pub(in crate::http::admin) struct Seated<B> {
    body: B,
    seat: Rc<Seat>,
}

impl<B> Seated<B> {
    pub(in crate::http::admin) fn new(body: B, seat: Rc<Seat>) -> Self {
        Self { body, seat }
    }
}

impl<B: Body + Unpin> Body for Seated<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> Drop for Seated<B> {
    fn drop(&mut self) {
        self.seat.enter(Doing::Idle);
    }
}
