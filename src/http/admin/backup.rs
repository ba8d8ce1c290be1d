//! `POST /v1/backup` on the admin listener: a backup as one answer.
//!
//! The body is the [head](crate::engine::BackupHead) as one line of JSON, followed by the bytes of
//! its files, one after the other, with the lengths given in the head. `Content-Length` is known
//! from the start, so HTTP alone shows a client whether the body is complete; if the server cannot
//! finish the answer, it closes the connection.
//!
//! A piece is read only after the socket has accepted the piece before the last, so at most three
//! pieces of 256 KiB are in memory. If a client reads nothing for 60 seconds, the backup and its
//! connection are closed.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::Notify;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::spawn_blocking;

use super::live::Events;
use super::seats::Seat;
use super::view::View;
use crate::audit::EventOutcome;
use crate::cluster::node::{JoinHold, NodeView};
use crate::engine::{Backup, BackupError, STALLED_AFTER};
use crate::http::answer::response::NO_SNIFF;

/// Path of the endpoint.
pub(in crate::http) const PATH: &str = "/v1/backup";
/// Media type of the body.
const KIND: HeaderValue = HeaderValue::from_static("application/vnd.jeton.backup");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
/// Maximum pieces that wait for the socket.
const PIECES_AHEAD: usize = 1;

/// An answer of the admin listener.
pub(in crate::http) type AdminBody = Either<Full<Bytes>, Either<BackupBody, Events>>;

/// A small answer as one of this listener.
pub(super) fn whole(response: Response<Full<Bytes>>) -> Response<AdminBody> {
    response.map(Either::Left)
}

/// The body, sent piece by piece as it is read.
pub(in crate::http) struct BackupBody {
    pieces: Receiver<Result<Bytes, BackupError>>,
    left: u64,
    /// For a node that joins, with its connection. It ends with either, unless the client has read
    /// all of the body.
    hold: Option<(JoinHold, Rc<Seat>)>,
}

impl Body for BackupBody {
    type Data = Bytes;
    type Error = BackupError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BackupError>>> {
        self.pieces.poll_recv(context).map(|piece| {
            let piece = piece?;
            if let Ok(bytes) = &piece {
                self.left = self.left.saturating_sub(bytes.len() as u64);
                let is_last = self.left == 0;
                if let Some((hold, seat)) = self.hold.take_if(|_| is_last) {
                    seat.when_read(move || hold.copied());
                }
            }
            Some(piece.map(Frame::data))
        })
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// What a backup is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Keeping,
    /// A node joins with it, so its cluster keeps the stream meanwhile.
    Joining,
}

/// The purpose that a query names, `?for=join`.
pub(super) fn purpose(query: Option<&str>) -> Result<Purpose, &'static str> {
    let asked = query.unwrap_or_default().split('&').find_map(|pair| pair.strip_prefix("for="));
    match asked {
        None => Ok(Purpose::Keeping),
        Some("join") => Ok(Purpose::Joining),
        Some(_) => Err("for must be join"),
    }
}

/// Starts a backup and streams it as the answer. `given_up` is notified when the client reads
/// nothing.
pub(super) async fn answer(
    view: &View,
    purpose: Result<Purpose, &'static str>,
    given_up: Arc<Notify>,
    seat: &Rc<Seat>,
) -> Response<AdminBody> {
    let purpose = match purpose {
        Ok(purpose) => purpose,
        Err(mistake) => return refusal(StatusCode::BAD_REQUEST, mistake),
    };
    let Some(engine) = view.engine.get().cloned() else {
        let reason = "recovering: the log is being read";
        return refusal(StatusCode::SERVICE_UNAVAILABLE, reason);
    };
    // Before the copy has its moment, so that it has everything that the stream may forget.
    let joining = view.node.get().filter(|_| purpose == Purpose::Joining);
    let hold = joining.and_then(NodeView::hold_for_join);
    let begun = spawn_blocking(move || engine.backup()).await;
    match begun.unwrap_or(Err(BackupError::Closed)) {
        Ok(backup) => stream(backup, hold.map(|hold| (hold, seat.clone())), given_up),
        Err(error) => refusal(status_of(&error), &error.to_string()),
    }
}

fn status_of(error: &BackupError) -> StatusCode {
    match error {
        BackupError::NoLog | BackupError::Running => StatusCode::CONFLICT,
        BackupError::DiskFull => StatusCode::INSUFFICIENT_STORAGE,
        BackupError::Busy
        | BackupError::Failed
        | BackupError::Unavailable(_)
        | BackupError::Closed
        | BackupError::Lost
        | BackupError::Read { .. } => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// The audit log's outcome for a status.
pub(in crate::http) fn meaning(status: StatusCode) -> EventOutcome {
    match status {
        StatusCode::OK => EventOutcome::Ok,
        StatusCode::BAD_REQUEST => EventOutcome::Malformed,
        StatusCode::CONFLICT => EventOutcome::Conflict,
        StatusCode::INSUFFICIENT_STORAGE => EventOutcome::DiskFull,
        _ => EventOutcome::Unavailable,
    }
}

fn refusal(status: StatusCode, reason: &str) -> Response<AdminBody> {
    let mut response = Response::new(Either::Left(Full::from(format!("{reason}\n"))));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, TEXT);
    headers.insert(CACHE_CONTROL, NO_STORE);
    headers.insert(X_CONTENT_TYPE_OPTIONS, NO_SNIFF);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

fn stream(
    backup: Backup,
    hold: Option<(JoinHold, Rc<Seat>)>,
    given_up: Arc<Notify>,
) -> Response<AdminBody> {
    // Strings and numbers always serialize.
    let mut head = serde_json::to_vec(backup.head()).unwrap_or_default();
    head.push(b'\n');
    let left = head.len() as u64 + backup.bytes();
    let (sender, pieces) = channel(PIECES_AHEAD);
    tokio::spawn(feed(backup, head.into(), sender, given_up));
    let mut response =
        Response::new(Either::Right(Either::Left(BackupBody { pieces, left, hold })));
    response.headers_mut().insert(CONTENT_TYPE, KIND);
    response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, NO_SNIFF);
    response
}

/// Reads the backup at the client's pace. When the client stops reading, it ends and releases the
/// backup.
async fn feed(
    backup: Backup,
    head: Bytes,
    pieces: Sender<Result<Bytes, BackupError>>,
    given_up: Arc<Notify>,
) {
    let mut backup = Some(backup);
    let mut piece = Ok(head);
    loop {
        let is_last = piece.is_err();
        if let Err(error) = &piece {
            tracing::warn!(%error, "backup aborted");
        }
        if pieces.send_timeout(piece, STALLED_AFTER).await.is_err() {
            // The connection may be closed already; then the notification has no effect.
            given_up.notify_one();
            return;
        }
        let Some(mut reading) = backup.take().filter(|_| !is_last) else { return };
        // Reading a file may block, and this thread serves all admin connections.
        let read = spawn_blocking(move || (reading.read(), reading)).await;
        let Ok((read, reading)) = read else { return };
        piece = match read {
            Ok(Some(bytes)) => Ok(bytes.into()),
            Ok(None) => return,
            Err(error) => Err(error),
        };
        backup = Some(reading);
    }
}
