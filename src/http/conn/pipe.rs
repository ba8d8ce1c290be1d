//! What hyper reads and writes of a connection, and what runs its streams.
//!
//! hyper reads from `input` and appends to `output`; the
//! [`connection`](crate::http::server::connection) around it moves bytes between them and the
//! socket. That makes pipelining cheap (one system call carries all answers of a burst) without
//! hyper's own `pipeline_flush`, which holds an answer back while half of the next request is in
//! its buffer; and it bounds memory, because the connection does not poll hyper at all while output
//! is waiting for the peer (promise P8).
//!
//! Over HTTP/1 hyper gets whole heads that [`head`](crate::http::h1::head) has read, and so refuses
//! none by itself.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};

use crate::http::conn::state::ConnState;

/// Maximum unsent output, in bytes; hyper waits until there is less.
pub(in crate::http) const OUTPUT_LEN_MAX: usize = 256 * 1024;

/// hyper's view of the connection.
pub(in crate::http) struct Pipe(pub(in crate::http) Rc<ConnState>);

impl Pipe {
    fn read_http1(&self, mut into: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let state = &*self.0;
        let (mut input, mut framer) =
            (state.wire.input.borrow_mut(), state.http1.framer.borrow_mut());
        let skipped = framer.skipped(input.unread());
        input.advance(skipped);
        state.took(skipped);
        let ready = framer.open(input.unread(), state.wire.eof.get());
        // Behind what was refused nothing is read, and hyper has it that the peer has ended.
        if ready.is_empty() && !state.wire.eof.get() && !framer.is_refused() {
            // The connection polls hyper again after it has read: no waker is needed.
            state.wire.wants_input.set(true);
            state.http1.is_between_requests.set(framer.is_between());
            return Poll::Pending;
        }
        state.http1.is_between_requests.set(false);
        let len = ready.len().min(into.remaining());
        into.put_slice(&ready[..len]);
        framer.taken(len);
        input.advance(len);
        state.took(len);
        Poll::Ready(Ok(()))
    }

    fn read_http2(&self, mut into: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let state = &*self.0;
        let mut input = state.wire.input.borrow_mut();
        // hyper would drop the streams of a peer that has finished sending.
        let is_eof = state.wire.eof.get() && state.http2.is_answered.get();
        if input.is_empty() && !is_eof {
            state.wire.wants_input.set(true);
            return Poll::Pending;
        }
        let len = input.len().min(into.remaining());
        let taken = &input.unread()[..len];
        into.put_slice(taken);
        state.http2.window.borrow_mut().follow(taken);
        input.advance(len);
        Poll::Ready(Ok(()))
    }
}

impl Read for Pipe {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if self.0.is_http2.get() { self.read_http2(into) } else { self.read_http1(into) }
    }
}

impl Write for Pipe {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let state = &*self.0;
        let mut output = state.wire.output.borrow_mut();
        if output.len() >= OUTPUT_LEN_MAX {
            // The connection polls hyper again after it has flushed: no waker is needed.
            state.wire.wants_output.set(true);
            return Poll::Pending;
        }
        output.push(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The connection closes the socket after the last flush.
        Poll::Ready(Ok(()))
    }
}

/// Runs HTTP/2 streams as tasks of this worker, each so that the sweep can end it.
#[derive(Clone)]
pub(in crate::http) struct StreamTasks(pub(in crate::http) Rc<ConnState>);

impl<F> hyper::rt::Executor<F> for StreamTasks
where
    F: Future + 'static,
{
    fn execute(&self, stream: F) {
        // The service has just begun it.
        let task = self.0.http2.begun.take().unwrap_or_default();
        tokio::task::spawn_local(task.run(stream));
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use crate::http::conn::phase::Tick;
    use crate::net::buffer::KEPT_CAPACITY;

    fn pipe() -> (Rc<ConnState>, Pipe, Context<'static>) {
        let state = Rc::new(ConnState::new(Tick(0)));
        (state.clone(), Pipe(state), Context::from_waker(Waker::noop()))
    }

    fn write(pipe: &mut Pipe, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<usize> {
        Pin::new(pipe).poll_write(cx, bytes).map(Result::unwrap)
    }

    #[test]
    fn p8_a_peer_that_does_not_read_stops_the_output() {
        let (state, mut pipe, mut cx) = pipe();
        let answer = [b'x'; 10_000];
        let mut accepted = 0;
        while write(&mut pipe, &mut cx, &answer).is_ready() {
            accepted += answer.len();
            assert!(accepted < OUTPUT_LEN_MAX + 2 * answer.len(), "no end");
        }
        assert!(accepted >= OUTPUT_LEN_MAX);
        assert!(state.wire.wants_output.get());
        state.wire.output.borrow_mut().advance(accepted);
        assert!(write(&mut pipe, &mut cx, &answer).is_ready());
        assert!(state.wire.output.borrow().capacity() <= KEPT_CAPACITY);
    }

    /// What hyper gets at one call; `None` where it waits.
    fn read(pipe: &mut Pipe, cx: &mut Context<'_>) -> Option<Vec<u8>> {
        let mut room = [0; 4];
        let mut buf = hyper::rt::ReadBuf::new(&mut room);
        let polled = Pin::new(pipe).poll_read(cx, buf.unfilled());
        polled.is_ready().then(|| buf.filled().to_vec())
    }

    fn read_all(pipe: &mut Pipe, cx: &mut Context<'_>) -> Vec<u8> {
        std::iter::from_fn(|| read(pipe, cx).filter(|bytes| !bytes.is_empty())).flatten().collect()
    }

    #[test]
    fn input_is_handed_over_in_order_and_ends_once() {
        let (state, mut pipe, mut cx) = pipe();
        state.wire.wants_input.set(false);
        assert_eq!(read(&mut pipe, &mut cx), None);
        assert!(state.wire.wants_input.get() && state.is_between_requests());
        state.wire.input.borrow_mut().push(b"POST / HTTP/1.0\r\nContent-");
        assert_eq!(read(&mut pipe, &mut cx), None, "half a head is held back");
        assert!(!state.is_between_requests(), "it was looked at");
        state.wire.input.borrow_mut().push(b"Length: 2\r\n\r\n{");
        let head = b"POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\n";
        assert_eq!(read_all(&mut pipe, &mut cx), [&head[..], b"{"].concat());
        assert!(!state.is_between_requests(), "hyper holds half a request");
        state.wire.input.borrow_mut().push(b"}");
        assert_eq!(read_all(&mut pipe, &mut cx), b"}");
        assert!(state.is_between_requests());
        state.wire.eof.set(true);
        assert_eq!(read(&mut pipe, &mut cx).as_deref(), Some(&b""[..]));
    }

    #[test]
    fn p8_behind_what_is_refused_the_input_ends() {
        for (refused, is_head) in [
            ("GET / HTTP/1.1\n", true),
            ("GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n", true),
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\n", false),
        ] {
            let (state, mut pipe, mut cx) = pipe();
            let before = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
            let behind = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
            state.wire.input.borrow_mut().push(&[before, refused.as_bytes(), behind].concat());
            let head_len = refused.find("\r\n\r\n").map_or(0, |at| at + 4);
            let served = [&before[..], &refused.as_bytes()[..head_len]].concat();
            assert_eq!(read_all(&mut pipe, &mut cx), served, "{refused:?}");
            for _ in 0..2 {
                assert_eq!(read(&mut pipe, &mut cx).as_deref(), Some(&b""[..]), "{refused:?}");
            }
            assert_eq!(state.refused_head().is_some(), is_head, "{refused:?}");
            assert!(!state.is_between_requests(), "the hot path would answer what is behind");
        }
    }
}
