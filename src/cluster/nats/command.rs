//! What passes between the handles, the connection and its session.

use std::sync::mpsc::SyncSender;

use bytes::Bytes;
use tokio::sync::mpsc;

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
    Delete(Reply<()>),
    First(Bytes, Reply<u64>),
}

impl Ask {
    /// Answers that it cannot be done.
    pub(super) fn refuse(self, error: StreamError) {
        // A handle that no longer waits needs no answer.
        let _ = match self {
            Self::Bounds(reply) => reply.try_send(Err(error)).is_ok(),
            Self::Trim(_, reply) | Self::Create(_, reply) | Self::Delete(reply) => {
                reply.try_send(Err(error)).is_ok()
            }
            Self::Promises(reply) => reply.try_send(Err(error)).is_ok(),
            Self::First(_, reply) => reply.try_send(Err(error)).is_ok(),
        };
    }
}

/// What the client tells of the connection. What ends it has a place of its own, which refusals
/// cannot take.
pub(super) struct Told {
    /// The connection is no longer of use, and why.
    pub(super) ended: mpsc::Receiver<String>,
    /// What the server refused.
    pub(super) refused: mpsc::Receiver<String>,
}

/// Where the client tells it.
pub(super) struct Tell {
    pub(super) ended: mpsc::Sender<String>,
    pub(super) refused: mpsc::Sender<String>,
}

/// Refusals that wait; what comes beyond them is forgotten.
const REFUSALS: usize = 16;

/// Both ends.
pub(super) fn telling() -> (Tell, Told) {
    let ((end, ended), (refuse, refused)) = (mpsc::channel(1), mpsc::channel(REFUSALS));
    (Tell { ended: end, refused: refuse }, Told { ended, refused })
}

/// Why a session ended.
pub(super) enum End {
    /// There is no handle any more.
    Closed,
    /// For this reason another server is tried.
    Left(String),
}
