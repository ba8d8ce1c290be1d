//! What a connection does with its socket: it writes, reads, counts what waits, and closes.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Connection, HANDSHAKE_LEN, Over, Protocol};
use crate::http::conn::phase::Phase;
use crate::net::tls::BELOW_LEN_MAX;

/// A head up to this length is bounded by the number of connections alone.
const FREE_HEAD_LEN: usize = 4 * 1024;
/// What a peer may still send after we have said our last: more than what is in flight before it
/// has seen that, of a client that sends as fast as it can.
const DISCARDED_MAX: usize = 4 << 20;

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Writes all that waits. While it is pending, nothing is read and hyper is not polled.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let state = &*self.state;
        let has_waited = state.watch.stalled.get().is_some();
        let mut output = state.wire.output.borrow_mut();
        while !output.is_empty() {
            match Pin::new(&mut self.socket).poll_write(cx, output.unread()) {
                Poll::Ready(Ok(len)) => {
                    self.worker.counters.add_bytes_out(len);
                    output.advance(len);
                    state.watch.stalled.set(None);
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    let waiting = output.len();
                    drop(output);
                    return self.stall(waiting);
                }
            }
        }
        drop(output);
        // A socket holds nothing back; TLS does.
        match Pin::new(&mut self.socket).poll_flush(cx) {
            Poll::Ready(Ok(())) => (),
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => return self.stall(BELOW_LEN_MAX),
        }
        self.stalled_charge = None;
        state.watch.stalled.set(None);
        if has_waited {
            state.restart_limit(self.worker.now());
        }
        Poll::Ready(Ok(()))
    }

    fn stall(&mut self, waiting: usize) -> Poll<io::Result<()>> {
        if self.state.watch.stalled.get().is_none() {
            self.state.watch.stalled.set(Some(self.worker.now()));
        }
        let (budget, holder) = (&self.worker.service.budget, self.state.holder());
        let charge = self.stalled_charge.get_or_insert_with(|| budget.charge(&holder));
        if charge.grow_to(waiting) {
            Poll::Pending
        } else {
            Poll::Ready(Err(io::ErrorKind::OutOfMemory.into()))
        }
    }

    /// Reads once, if hyper has taken all there was. Pending also where there is nothing to do.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let state = &*self.state;
        let mut input = state.wire.input.borrow_mut();
        let is_wanted =
            state.wire.wants_input.get() || matches!(self.protocol, Protocol::Undecided);
        if !is_wanted || state.wire.eof.get() {
            return Poll::Pending;
        }
        let mut scratch = self.worker.scratch.borrow_mut();
        let mut buf = ReadBuf::new(&mut scratch);
        match Pin::new(&mut self.socket).poll_read(cx, &mut buf) {
            Poll::Ready(Ok(())) => (),
            other => return other,
        }
        state.wire.wants_input.set(false);
        state.wire.eof.set(buf.filled().is_empty());
        self.worker.counters.add_bytes_in(buf.filled().len());
        self.received += buf.filled().len();
        input.push(buf.filled());
        if state.watch.phase.get() == Phase::Idle && !state.is_http2.get() {
            state.enter(Phase::Head, self.worker.now());
        }
        if state.watch.phase.get() == Phase::Handshake && self.received >= HANDSHAKE_LEN {
            state.enter(Phase::Idle, self.worker.now());
        }
        Poll::Ready(Ok(()))
    }

    /// HTTP/1, as a drain begins: reads once more, so that a request that has arrived is answered
    /// although nothing of it had been read.
    pub(super) fn fill_before_drain(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let state = &*self.state;
        let is_due = matches!(self.protocol, Protocol::Undecided | Protocol::Http1(_))
            && !state.knows_what_it_owes()
            && state.wire.input.borrow().is_empty()
            && state.wire.output.borrow().is_empty();
        if !is_due {
            return Ok(());
        }
        let state = Rc::clone(&self.state);
        let was_wanted = state.wire.wants_input.replace(true);
        match self.poll_fill(cx) {
            Poll::Ready(read) => read,
            Poll::Pending => {
                state.wire.wants_input.set(was_wanted);
                Ok(())
            }
        }
    }

    /// HTTP/1: counts the head that is arriving, if it is long. False where there is no room for it.
    pub(super) fn charge_head(&mut self) -> bool {
        // A head waits in the input until it is whole, and goes to hyper before more is read.
        let input = self.state.wire.input.borrow();
        if self.state.is_http2.get() || input.len() <= FREE_HEAD_LEN {
            return true;
        }
        let (budget, holder) = (&self.worker.service.budget, self.state.holder());
        let charge = self.head_charge.get_or_insert_with(|| budget.charge(&holder));
        charge.grow_head_to(input.capacity())
    }

    /// Shuts our side and discards what still arrives: a socket closed over unread bytes resets
    /// the connection, and the peer may lose the last answer. The sweep bounds the wait, a limit the bytes.
    pub(super) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Over> {
        let Protocol::Closing { is_shut, discarded } = &mut self.protocol else {
            return Poll::Ready(Over::Gone);
        };
        if !*is_shut {
            match Pin::new(&mut self.socket).poll_shutdown(cx) {
                Poll::Ready(Ok(())) => *is_shut = true,
                Poll::Ready(Err(error)) => return Poll::Ready(error.into()),
                Poll::Pending => return Poll::Pending,
            }
        }
        if self.state.wire.eof.get() {
            return Poll::Ready(Over::Gone);
        }
        let mut scratch = self.worker.scratch.borrow_mut();
        loop {
            let mut buf = ReadBuf::new(&mut scratch);
            match Pin::new(&mut self.socket).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() && *discarded < DISCARDED_MAX => {
                    *discarded += buf.filled().len();
                }
                Poll::Ready(_) => return Poll::Ready(Over::Gone),
                Poll::Pending if self.worker.is_grace_over() => return Poll::Ready(Over::Gone),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}
