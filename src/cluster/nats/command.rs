//! What passes between the handles, the connection and its session.

use std::sync::mpsc::SyncSender;

use bytes::Bytes;

use super::settings::Creation;
use crate::cluster::stream::{Bounds, Promises, StreamError};

/// Where the answer to a request goes.
pub(super) type Reply<T> = SyncSender<Result<T, StreamError>>;

/// What a handle asks the thread for.
pub(super) enum Command {
    Propose(Bytes),
    Ask(Ask),
}

/// Requests with an answer.
pub(super) enum Ask {
    Bounds(Reply<Bounds>),
    Trim(u64, Reply<()>),
    Promises(Reply<Promises>),
    Create(Creation, Reply<()>),
    First(Bytes, Reply<u64>),
}

impl Ask {
    /// Answers that it cannot be done.
    pub(super) fn refuse(self, error: StreamError) {
        // A handle that no longer waits needs no answer.
        let _ = match self {
            Self::Bounds(reply) => reply.try_send(Err(error)).is_ok(),
            Self::Trim(_, reply) | Self::Create(_, reply) => reply.try_send(Err(error)).is_ok(),
            Self::Promises(reply) => reply.try_send(Err(error)).is_ok(),
            Self::First(_, reply) => reply.try_send(Err(error)).is_ok(),
        };
    }
}

/// What the client tells of the connection.
pub(super) enum Told {
    /// The connection is no longer of use.
    Ended(String),
    /// The server refused something.
    Refused(String),
}

/// Why a session ended.
pub(super) enum End {
    /// There is no handle any more.
    Closed,
    /// For this reason another server is tried.
    Left(String),
}
