//! Bodies of requests, gathered within a length, a time and the memory budget.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use hyper::body::{Body as _, Incoming};

use super::budget::Charge;
use super::pipe::ConnState;
use super::respond::Problem;
use super::sweep::Gathering;
use super::worker::Worker;

/// The longest body of a request that has only small fields.
pub(super) const SMALL_LEN_MAX: usize = 4096;
/// What is taken of a body that was refused already.
const UNWANTED_LEN_MAX: usize = 16 << 20;
/// What a body may hold before it counts against the memory budget.
const FREE_LEN: usize = 4096;

/// What a request may have for a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyKind {
    /// JSON of at most so many bytes.
    Json(usize),
    /// Nothing, or an object without fields.
    EmptyObject,
    /// Nothing.
    None,
}

/// A whole body, and the memory it takes.
pub(super) struct Gathered {
    pub(super) bytes: Bytes,
    _charge: Option<Charge>,
}

impl Gathered {
    fn new(bytes: Bytes) -> Gathered {
        Gathered { bytes, _charge: None }
    }
}

/// Gathers a body of `kind`.
pub(super) async fn gather(
    worker: &Worker,
    headers: &HeaderMap,
    body: &mut Incoming,
    kind: BodyKind,
) -> Result<Gathered, Problem> {
    if body.is_end_stream() {
        return match kind {
            BodyKind::Json(_) => Err(Problem::malformed("the request needs a JSON body")),
            BodyKind::EmptyObject | BodyKind::None => Ok(Gathered::new(Bytes::new())),
        };
    }
    let len_max = match kind {
        BodyKind::Json(len_max) => len_max,
        BodyKind::EmptyObject => SMALL_LEN_MAX,
        BodyKind::None => {
            return Err(Problem::malformed("this request takes no body").closing());
        }
    };
    if body.size_hint().lower() > 0 {
        check_type(headers)?;
    }
    if body.size_hint().lower() > len_max as u64 {
        return Err(too_long(len_max));
    }
    let gathered = Gather::new(worker, body, len_max).run(headers).await?;
    if kind == BodyKind::EmptyObject && !gathered.bytes.trim_ascii().is_empty() {
        super::json::object(&gathered.bytes, &[])?;
    }
    Ok(gathered)
}

/// A body with bytes says that it is JSON. A form of a page in a browser cannot say so; what a page
/// sends otherwise is asked about beforehand (see [`super::web`]).
fn check_type(headers: &HeaderMap) -> Result<(), Problem> {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let is_json = match (values.next(), values.next()) {
        (Some(value), None) => {
            let essence = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
            essence.trim_ascii().eq_ignore_ascii_case(b"application/json")
        }
        _ => false,
    };
    if is_json {
        return Ok(());
    }
    let detail = "Content-Type: must be application/json";
    let problem = Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail);
    Err(problem.about("Content-Type").closing())
}

fn too_long(len_max: usize) -> Problem {
    Problem::too_large(format!("the body must have at most {len_max} bytes")).closing()
}

/// Takes what is still on its way of a body that nobody wants, within [`UNWANTED_LEN_MAX`] and
/// `--body-timeout`.
///
/// Over HTTP/2 a stream that is answered before the client has said all would be reset (RFC 9113,
/// 8.1: with NO_ERROR, and the answer still counts), and there are clients, curl 7.88 among them,
/// that lose the answer over that. HTTP/1.1 closes the connection and does it there.
pub(super) fn let_run_out(worker: &Rc<Worker>, conn: &ConnState, mut body: Incoming) {
    if !conn.is_http2.get() || body.is_end_stream() || worker.is_draining() {
        return;
    }
    let worker = worker.clone();
    tokio::task::spawn_local(async move {
        let mut unwanted = Gather::new(&worker, &mut body, UNWANTED_LEN_MAX);
        unwanted.is_wanted = false;
        let mut len = 0;
        // Too slow, too long or broken off: the stream is reset after all.
        while let Ok(Some(piece)) = unwanted.piece().await
            && len <= unwanted.len_max
        {
            len += piece.len();
        }
    });
}

struct Gather<'w> {
    worker: &'w Worker,
    body: &'w mut Incoming,
    len_max: usize,
    is_wanted: bool,
    /// Where the sweep watches this body; only once it had to wait.
    watched: Option<(usize, Rc<Gathering>)>,
}

impl<'w> Gather<'w> {
    fn new(worker: &'w Worker, body: &'w mut Incoming, len_max: usize) -> Gather<'w> {
        Gather { worker, body, len_max, is_wanted: true, watched: None }
    }

    /// Most bodies are one piece, which is then taken as it is.
    async fn run(mut self, headers: &HeaderMap) -> Result<Gathered, Problem> {
        let Some(first) = self.piece().await? else {
            return Ok(Gathered::new(Bytes::new()));
        };
        check_type(headers)?;
        if first.len() > self.len_max {
            return Err(too_long(self.len_max));
        }
        let mut next = self.piece().await?;
        if next.is_none() && first.len() <= FREE_LEN {
            return Ok(Gathered::new(first));
        }
        let mut charge = self.worker.budget.charge();
        let mut bytes = Vec::with_capacity(self.expected_len(first.len()));
        grow(&mut charge, bytes.capacity())?;
        bytes.extend_from_slice(&first);
        while let Some(piece) = next {
            if piece.len() > self.len_max - bytes.len() {
                return Err(too_long(self.len_max));
            }
            if bytes.len() + piece.len() > bytes.capacity() {
                let capacity =
                    (2 * bytes.capacity()).clamp(bytes.len() + piece.len(), self.len_max);
                grow(&mut charge, capacity)?;
                bytes.reserve_exact(capacity - bytes.len());
            }
            bytes.extend_from_slice(&piece);
            next = self.piece().await?;
        }
        Ok(Gathered { bytes: bytes.into(), _charge: Some(charge) })
    }

    /// At most the first piece and 64 KiB: a stated length is a promise, not yet a fact.
    fn expected_len(&self, first: usize) -> usize {
        let left = usize::try_from(self.body.size_hint().lower()).unwrap_or(usize::MAX);
        first + left.min(64 * 1024).min(self.len_max - first)
    }

    /// The next piece of data; `None` at the end.
    async fn piece(&mut self) -> Result<Option<Bytes>, Problem> {
        loop {
            match poll_fn(|cx| self.poll_piece(cx)).await? {
                // Empty pieces are no end, and trailers no data.
                Some(piece) if piece.is_empty() => (),
                other => return Ok(other),
            }
        }
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Problem>> {
        match Pin::new(&mut *self.body).poll_frame(cx) {
            Poll::Ready(None) => Poll::Ready(Ok(None)),
            Poll::Ready(Some(Ok(frame))) => {
                Poll::Ready(Ok(Some(frame.into_data().unwrap_or_default())))
            }
            Poll::Ready(Some(Err(_))) => {
                let detail = "the body is not what its head promised, or ended early";
                Poll::Ready(Err(Problem::malformed(detail).closing()))
            }
            Poll::Pending => self.wait(cx),
        }
    }

    /// Lets the sweep watch this body, and ends it where its time is over.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Problem>> {
        let (_, gathering) = self.watched.get_or_insert_with(|| {
            let gathering = Rc::new(Gathering {
                since: self.worker.now(),
                is_wanted: self.is_wanted,
                is_over: Cell::new(false),
                waker: RefCell::new(None),
            });
            let mut bodies = self.worker.watched.bodies.borrow_mut();
            (bodies.insert(gathering.clone()), gathering)
        });
        if gathering.is_over.get() {
            let detail = "the body of the request took too long";
            return Poll::Ready(Err(Problem::new(StatusCode::REQUEST_TIMEOUT, detail).closing()));
        }
        gathering.waker.replace(Some(cx.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Gather<'_> {
    fn drop(&mut self) {
        if let Some((key, _)) = self.watched.take() {
            self.worker.watched.bodies.borrow_mut().remove(key);
        }
    }
}

fn grow(charge: &mut Charge, len: usize) -> Result<(), Problem> {
    if charge.grow_to(len.saturating_sub(FREE_LEN)) {
        Ok(())
    } else {
        Err(Problem::unavailable("too many large requests at once").closing())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn only_json_is_taken() {
        for (value, is_taken) in [
            ("application/json", true),
            ("Application/JSON ; charset=utf-8", true),
            ("application/problem+json", false),
            ("text/plain", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(value));
            assert_eq!(check_type(&headers).is_ok(), is_taken, "{value}");
            headers.append(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            assert!(check_type(&headers).is_err(), "{value} and another");
        }
        assert!(check_type(&HeaderMap::new()).is_err(), "none");
    }
}
