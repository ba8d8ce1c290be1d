//! An asynchronous socket in memory: what comes is put in, what goes is taken out.

use std::io::Result;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The bytes of both directions.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    /// Not read yet.
    pub(super) incoming: BytesMut,
    /// Written and not taken yet.
    pub(super) outgoing: Vec<u8>,
}

/// The end that a protocol reads and writes. It wakes no task: the side that puts bytes in polls.
///
/// It belongs to one thread at a time; a lock without contention is the price of being sent to
/// that thread.
#[derive(Clone, Debug, Default)]
pub(super) struct Transport(Arc<Mutex<Pipe>>);

impl Transport {
    /// The bytes of both directions.
    pub(super) fn pipe(&self) -> MutexGuard<'_, Pipe> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let incoming = &mut self.pipe().incoming;
        let count = incoming.len().min(buffer.remaining());
        if count == 0 {
            return Poll::Pending;
        }
        buffer.put_slice(&incoming[..count]);
        incoming.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        self.pipe().outgoing.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }
}
