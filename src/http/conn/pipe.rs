//! What hyper reads and writes of a connection, and what runs its streams.
//!
//! hyper reads from `input` and appends to `output`; the
//! [`connection`](crate::http::server::connection) around it moves bytes between them and the
//! socket. That makes pipelining cheap (one system call carries all answers of a burst) without
//! hyper's own `pipeline_flush`, which holds an answer back while half of the next request is in
//! its buffer; and it bounds memory, because the connection does not poll hyper at all while output
//! is waiting for the peer (promise P8).
//!
//! hyper answers what it cannot parse by itself, with an empty body and without `Cache-Control`.
//! Such an answer is recognised by being a `4xx` that our service did not give, and is replaced by a
//! problem document.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};

use crate::http::answer::canned;
use crate::http::conn::buffer::OUTPUT_LEN_MAX;
use crate::http::conn::state::ConnState;

/// hyper's view of the connection.
pub(in crate::http) struct Pipe(pub(in crate::http) Rc<ConnState>);

impl Read for Pipe {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let state = &*self.0;
        let (mut input, mut framer) = (state.input.borrow_mut(), state.framer.borrow_mut());
        let is_eof = state.eof.get() && (!state.is_http2.get() || state.is_answered.get());
        let ready = if state.is_http2.get() {
            input.unread()
        } else {
            let skipped = framer.skipped(input.unread());
            input.advance(skipped);
            framer.open(input.unread(), is_eof)
        };
        if ready.is_empty() && !is_eof {
            // The connection polls hyper again after it has read: no waker is needed.
            // Behind what was refused nothing is read.
            state.wants_input.set(!framer.is_refused());
            return Poll::Pending;
        }
        let len = ready.len().min(into.remaining());
        into.put_slice(&ready[..len]);
        if state.is_http2.get() {
            state.window.borrow_mut().follow(&ready[..len]);
        }
        let taken = if state.is_http2.get() { len } else { framer.taken(len) };
        input.advance(taken);
        Poll::Ready(Ok(()))
    }
}

impl Write for Pipe {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let state = &*self.0;
        let mut output = state.output.borrow_mut();
        if output.len() >= OUTPUT_LEN_MAX {
            // The connection polls hyper again after it has flushed: no waker is needed.
            state.wants_output.set(true);
            return Poll::Pending;
        }
        if state.is_hypers_own(bytes) {
            output.push(&canned::replace_hypers_own(bytes));
        } else {
            output.push(bytes);
        }
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
        let task = self.0.begun.take().unwrap_or_default();
        tokio::task::spawn_local(task.run(stream));
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use crate::http::conn::buffer::KEPT_CAPACITY;
    use crate::http::conn::phase::Tick;
    use crate::http::conn::state::Pieces;

    fn pipe() -> (Rc<ConnState>, Pipe, Context<'static>) {
        let state = Rc::new(ConnState::new(Tick(0)));
        (state.clone(), Pipe(state), Context::from_waker(Waker::noop()))
    }

    fn write(pipe: &mut Pipe, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<usize> {
        Pin::new(pipe).poll_write(cx, bytes).map(Result::unwrap)
    }

    #[test]
    fn hypers_own_refusal_becomes_a_problem_document() {
        let (state, mut pipe, mut cx) = pipe();
        let own = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\n\
            content-length: 0\r\ndate: Sun, 22 Nov 2026 19:00:00 GMT\r\n\r\n";
        assert_eq!(write(&mut pipe, &mut cx, own), Poll::Ready(own.len()));
        let output = state.output.borrow();
        let text = std::str::from_utf8(output.unread()).unwrap();
        assert!(text.starts_with("HTTP/1.1 431 "), "{text}");
        assert!(text.contains("cache-control: no-store\r\n"), "{text}");
        assert!(text.contains("date: Sun, 22 Nov 2026 19:00:00 GMT\r\n"), "{text}");
        assert!(text.contains("application/problem+json"), "{text}");
    }

    #[test]
    fn the_services_own_refusals_pass_unchanged() {
        let (state, mut pipe, mut cx) = pipe();
        let ours = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
        for _ in 0..2 {
            state.answered(Tick(0));
            assert!(write(&mut pipe, &mut cx, ours).is_ready());
        }
        assert_eq!(state.output.borrow().unread(), [&ours[..], ours].concat());
        assert!(write(&mut pipe, &mut cx, ours).is_ready());
        assert_ne!(state.output.borrow().unread(), [&ours[..], ours, ours].concat());
    }

    #[test]
    fn a_piece_of_a_payload_is_never_taken_for_a_refusal() {
        let (state, mut pipe, mut cx) = pipe();
        let piece = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
        state.answered(Tick(0));
        state.pieces.set(Pieces::More);
        assert!(write(&mut pipe, &mut cx, b"HTTP/1.1 200 OK\r\n\r\n").is_ready());
        assert!(write(&mut pipe, &mut cx, piece).is_ready());
        state.pieces.set(Pieces::Last);
        assert!(write(&mut pipe, &mut cx, piece).is_ready());
        assert!(state.output.borrow().unread().ends_with(&[&piece[..], piece].concat()));
        assert!(write(&mut pipe, &mut cx, piece).is_ready());
        assert!(!state.output.borrow().unread().ends_with(piece));
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
        assert!(state.wants_output.get());
        state.output.borrow_mut().advance(accepted);
        assert!(write(&mut pipe, &mut cx, &answer).is_ready());
        assert!(state.output.borrow().capacity() <= KEPT_CAPACITY);
    }

    #[test]
    fn input_is_handed_over_in_order_and_ends_once() {
        let (state, mut pipe, mut cx) = pipe();
        let mut taken = Vec::new();
        let mut read = |pipe: &mut Pipe| {
            let mut room = [0; 4];
            let mut buf = hyper::rt::ReadBuf::new(&mut room);
            let polled = Pin::new(pipe).poll_read(&mut cx, buf.unfilled());
            taken.extend_from_slice(buf.filled());
            polled.is_ready().then_some(buf.filled().len())
        };
        state.wants_input.set(false);
        assert_eq!(read(&mut pipe), None);
        assert!(state.wants_input.get());
        state.input.borrow_mut().push(b"GET /");
        assert_eq!(read(&mut pipe), None, "half a line is held back");
        state.input.borrow_mut().push(b" HTTP/1.0\r\nX: y");
        while read(&mut pipe).is_some() {}
        assert!(!state.is_between_requests(), "hyper holds half a head");
        state.input.borrow_mut().push(b"\r\n\r\n");
        while read(&mut pipe).is_some() {}
        assert!(state.is_between_requests());
        state.eof.set(true);
        assert_eq!(read(&mut pipe), Some(0));
        assert_eq!(taken, b"GET / HTTP/1.0\r\nX: y\r\n\r\n");
    }
}
