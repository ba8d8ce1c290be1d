//! A change on the short way, from its begin until its answer is in the output. Until then hyper is not
//! polled and nothing is read.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Buf;
use http::header::CONNECTION;
use hyper::body::Body as _;
use tokio::io::{AsyncRead, AsyncWrite};

use super::Connection;
use crate::engine::Here;
use crate::http::answer::encode;
use crate::http::api::change::ShortWay;
use crate::http::conn::pipe::OUTPUT_LEN_MAX;

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Puts the answer into the output, as far as there is room. Pending as long as there is none.
    pub(super) fn poll_short_way(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(short_way) = &mut self.short_way else { return Poll::Ready(()) };
        let mut output = self.state.wire.output.borrow_mut();
        if let ShortWay::Pending(pending) = short_way {
            // The worker commits the change itself where it need not wait for a disk, or nobody else
            // would wait meanwhile.
            let caller = &self.worker.service.caller;
            let is_alone = self.worker.serves_one();
            caller.commit_here(if is_alone { Here::WithWait } else { Here::WithoutWait });
            let polled = pending.as_mut().poll(cx);
            caller.commit_here(Here::Never);
            let Poll::Ready(response) = polled else { return Poll::Pending };
            encode::head(&response, &self.worker.date.borrow(), output.tail(response.body().len()));
            let closes = response.headers().contains_key(CONNECTION);
            *short_way = ShortWay::Sending(response.into_body(), closes);
        }
        let ShortWay::Sending(body, closes) = short_way else { return Poll::Pending };
        let closes = *closes;
        while output.len() < OUTPUT_LEN_MAX {
            // The body of an answer to HTTP/1 is all there.
            let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut *body).poll_frame(cx) else {
                drop(output);
                self.short_way = None;
                self.end_short_way(closes);
                break;
            };
            if let Ok(mut piece) = frame.into_data() {
                output.push(piece.chunk());
                piece.advance(piece.remaining());
            }
        }
        Poll::Ready(())
    }

    fn end_short_way(&mut self, closes: bool) {
        if closes {
            return self.close();
        }
        self.settle();
        if self.state.wire.input.borrow().is_empty() {
            self.state.wire.wants_input.set(true);
        }
    }
}
