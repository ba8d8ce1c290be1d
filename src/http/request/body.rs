//! Receives bodies of requests, within limits of length, time and memory.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, IF_NONE_MATCH};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use hyper::body::{Body as _, Incoming};

use crate::http::answer::problem::Problem;
use crate::http::conn::context::Worker;
use crate::http::conn::state::ConnState;
use crate::http::conn::timeouts::Gathering;
use crate::http::request::content_type::{MediaType, check_type};
use crate::http::request::json;
use crate::service::memory_budget::{Charge, Holder};
use crate::service::refusal::Refusal;

/// Maximum body of a request that has only small fields, in bytes.
pub(in crate::http) const SMALL_LEN_MAX: usize = 4096;
/// Maximum form, in bytes. Gateways also ask for what is no token of this server.
const FORM_LEN_MAX: usize = 64 * 1024;
/// Maximum bytes that are read and discarded of the body of a refused request.
const UNWANTED_LEN_MAX: usize = 16 << 20;
/// Maximum bytes that are read of the body of a refused request in order to keep the connection.
pub(in crate::http) const SKIPPED_LEN_MAX: usize = 16 * 1024;
/// Byte order marks of UTF-8 and, in both orders, UTF-16; those of UTF-32 contain one of these.
const BYTE_ORDER_MARKS: [&[u8]; 3] = [b"\xEF\xBB\xBF", b"\xFE\xFF", b"\xFF\xFE"];
/// Bytes of an HTTP/1 body that are not charged, because they count as memory of the connection.
const FREE_LEN: usize = 4096;
/// Memory of a request while it waits for its body, besides its header values, in bytes: its future
/// and hyper's state of a stream.
const WAITING_LEN: usize = 4096;
/// Maximum memory of requests without a key that wait for their bodies, for each HTTP/2 connection,
/// in bytes.
const KEYLESS_HEADS_LEN_MAX: usize = 256 * 1024;

/// The body that a request may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum BodyKind {
    /// JSON of at most this many bytes.
    Json(usize),
    /// A form of at most [`FORM_LEN_MAX`] bytes, or no body, which is a form without parameters.
    Form,
    /// No body, or an object without fields.
    EmptyObject,
    /// Nothing.
    None,
}

/// A complete body, and its memory charge.
pub(in crate::http) struct Gathered {
    bytes: Bytes,
    charge: Option<Charge>,
}

impl Gathered {
    pub(in crate::http) fn into_parts(self) -> (Bytes, Option<Charge>) {
        (self.bytes, self.charge)
    }

    fn new(bytes: Bytes) -> Self {
        Self { bytes, charge: None }
    }
}

/// The sender of a body, as far as it is known before the body is there.
#[derive(Clone, Copy)]
pub(in crate::http) struct Sender<'a> {
    pub(in crate::http) conn: &'a ConnState,
    /// The holder that the memory is charged to.
    pub(in crate::http) holder: &'a Holder,
    /// Whether it has not presented a valid key.
    pub(in crate::http) is_keyless: bool,
}

/// Receives a body of `kind`.
pub(in crate::http) async fn gather(
    worker: &Worker,
    sender: Sender<'_>,
    headers: &mut HeaderMap,
    body: &mut Incoming,
    kind: BodyKind,
) -> Result<Gathered, Problem> {
    if body.is_end_stream() {
        return match kind {
            BodyKind::Json(_) => Err(Problem::malformed("the request needs a JSON body")),
            BodyKind::Form | BodyKind::EmptyObject | BodyKind::None => {
                Ok(Gathered::new(Bytes::new()))
            }
        };
    }
    let (len_max, media_type) = match kind {
        BodyKind::Json(len_max) => (len_max, MediaType::Json),
        BodyKind::Form => (FORM_LEN_MAX, MediaType::Form),
        BodyKind::EmptyObject => (SMALL_LEN_MAX, MediaType::Json),
        BodyKind::None => return none(worker, body).await,
    };
    // An empty body needs no type, and sometimes only a later read shows that it is empty.
    let mut typed = check_type(headers, media_type);
    if body.size_hint().lower() > 0 {
        mem::replace(&mut typed, Ok(()))?;
    }
    if body.size_hint().lower() > len_max as u64 {
        return Err(too_long(len_max));
    }
    let mut gather = Gather::new(worker, body, len_max);
    gather.waiting = Some(Waiting { sender, headers });
    checked(gather.run(typed, sender.holder).await?, kind)
}

/// The same for a body that has arrived as a whole and has the right type. `None` if `kind` has none, or
/// a shorter one, or if there is no memory for it: [`gather`] says so.
pub(in crate::http) fn whole(
    worker: &Worker,
    holder: &Holder,
    bytes: &[u8],
    kind: BodyKind,
) -> Option<Result<Gathered, Problem>> {
    let len_max = match kind {
        BodyKind::Json(len_max) => len_max,
        BodyKind::EmptyObject => SMALL_LEN_MAX,
        BodyKind::Form | BodyKind::None => return None,
    };
    if bytes.len() > len_max {
        return None;
    }
    let is_free = bytes.len() <= FREE_LEN && holder.totals.held() <= FREE_LEN;
    let charge = match is_free {
        true => None,
        false => Some(worker.service.budget.take(holder, bytes.len())?),
    };
    Some(checked(Gathered { bytes: Bytes::copy_from_slice(bytes), charge }, kind))
}

/// Checks what can be said of a body without its operation.
fn checked(gathered: Gathered, kind: BodyKind) -> Result<Gathered, Problem> {
    if gathered.bytes.is_empty() && matches!(kind, BodyKind::Json(_)) {
        return Err(Problem::malformed("the request needs a JSON body"));
    }
    if BYTE_ORDER_MARKS.iter().any(|mark| gathered.bytes.starts_with(mark)) {
        let detail = "the body begins with a byte order mark; it must be UTF-8 without one";
        return Err(Problem::malformed(detail));
    }
    if kind == BodyKind::EmptyObject && !gathered.bytes.trim_ascii().is_empty() {
        json::object(&gathered.bytes, &[])?;
    }
    Ok(gathered)
}

/// An empty body counts as none, whether its end is given by a length or by chunks.
async fn none(worker: &Worker, body: &mut Incoming) -> Result<Gathered, Problem> {
    let is_announced = body.size_hint().lower() > 0;
    if is_announced || Gather::new(worker, body, 0).piece().await?.is_some() {
        return Err(Problem::malformed("this request must not have a body").closing());
    }
    Ok(Gathered::new(Bytes::new()))
}

/// Reads and discards the body of a refused request. Returns an error if the body is too long, too
/// slow or incomplete: then the connection cannot be kept.
pub(in crate::http) async fn skip(worker: &Worker, body: &mut Incoming) -> Result<(), Problem> {
    let mut unwanted = Gather::new(worker, body, SKIPPED_LEN_MAX);
    unwanted.is_wanted = false;
    let mut len = 0;
    while let Some(piece) = unwanted.piece().await? {
        len += piece.len();
        if len > SKIPPED_LEN_MAX {
            return Err(too_long(SKIPPED_LEN_MAX));
        }
    }
    Ok(())
}

fn too_long(len_max: usize) -> Problem {
    Problem::too_large(format!("the body must have at most {len_max} bytes")).closing()
}

/// Reads and discards the rest of the body of a refused request, up to [`UNWANTED_LEN_MAX`] and
/// `--body-timeout`.
///
/// An HTTP/2 stream that is answered before the client has sent everything would be reset (RFC
/// 9113, 8.1: with NO_ERROR, and the answer remains valid), and some clients, curl 7.88 among them,
/// lose the answer then. For HTTP/1.1 the rest is read when the connection is closed.
pub(in crate::http) fn let_run_out(worker: &Rc<Worker>, conn: &ConnState, mut body: Incoming) {
    if !conn.is_http2.get() || body.is_end_stream() || worker.is_draining() {
        return;
    }
    let worker = worker.clone();
    tokio::task::spawn_local(async move {
        let mut unwanted = Gather::new(&worker, &mut body, UNWANTED_LEN_MAX);
        unwanted.is_wanted = false;
        let mut len = 0;
        // The body is too slow, too long or incomplete, so the stream is reset.
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
    /// To be run before the first wait.
    waiting: Option<Waiting<'w>>,
    /// Memory of the head during the wait.
    _head: Option<WaitingHead<'w>>,
    /// The timer entry of this body; `None` until it has to wait.
    watched: Option<(usize, Rc<Gathering>)>,
}

impl<'w> Gather<'w> {
    fn new(worker: &'w Worker, body: &'w mut Incoming, len_max: usize) -> Self {
        let (waiting, head) = (None, None);
        Gather { worker, body, len_max, is_wanted: true, waiting, _head: head, watched: None }
    }

    /// Most bodies are one piece, which is used without a copy.
    async fn run(
        mut self,
        typed: Result<(), Problem>,
        holder: &Holder,
    ) -> Result<Gathered, Problem> {
        let Some(first) = self.piece().await? else {
            return Ok(Gathered::new(Bytes::new()));
        };
        typed?;
        if first.len() > self.len_max {
            return Err(too_long(self.len_max));
        }
        let mut next = self.piece().await?;
        let is_free = first.len() <= FREE_LEN && holder.totals.held() <= FREE_LEN;
        if next.is_none() && is_free {
            return Ok(Gathered::new(first));
        }
        let mut charge = self.worker.service.budget.charge(holder);
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
        Ok(Gathered { bytes: bytes.into(), charge: Some(charge) })
    }

    /// Capacity to reserve: at most the first piece plus 64 KiB, because the client may send less
    /// than the stated length.
    fn expected_len(&self, first: usize) -> usize {
        let left = usize::try_from(self.body.size_hint().lower()).unwrap_or(usize::MAX);
        first + left.min(64 * 1024).min(self.len_max - first)
    }

    /// The next piece of data; `None` at the end.
    async fn piece(&mut self) -> Result<Option<Bytes>, Problem> {
        loop {
            match poll_fn(|cx| self.poll_piece(cx)).await? {
                // Empty pieces do not end the body, and trailers are not data.
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
                let detail = "the body does not match the head of the request, or ended early";
                Poll::Ready(Err(Problem::malformed(detail).closing()))
            }
            Poll::Pending => self.wait(cx),
        }
    }

    /// Registers this body for the timeout check, and fails if its time is over.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Problem>> {
        if let Some(waiting) = self.waiting.take() {
            self._head = Some(waiting.begin(self.worker)?);
        }
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
    if charge.grow_to(len) { Ok(()) } else { Err(Problem::from(Refusal::NoRoom).closing()) }
}

/// A request that is about to wait for its body: its sender and its head.
struct Waiting<'w> {
    sender: Sender<'w>,
    headers: &'w mut HeaderMap,
}

/// Memory of a request while it waits for its body; dropping it releases the memory.
struct WaitingHead<'w> {
    /// The connection's counter, for a request without a key on HTTP/2.
    keyless_on: Option<&'w ConnState>,
    len: usize,
    _charge: Charge,
}

impl<'w> Waiting<'w> {
    /// Keeps the needed part of the head, and charges it.
    fn begin(self, worker: &Worker) -> Result<WaitingHead<'w>, Problem> {
        let Waiting { sender, headers } = self;
        let len = WAITING_LEN + keep_needed(headers);
        let conn = sender.conn;
        let is_keyless = conn.is_http2.get() && sender.is_keyless;
        if is_keyless && conn.http2.keyless_heads.get() + len > KEYLESS_HEADS_LEN_MAX {
            let detail = "too many requests without a key are waiting for their bodies on this \
                connection";
            return Err(Problem::unavailable(detail));
        }
        let charge = worker.service.budget.take(sender.holder, len);
        let charge = charge.ok_or(Refusal::NoRoom)?;
        let keyless_on = is_keyless.then_some(conn);
        if let Some(conn) = keyless_on {
            conn.http2.keyless_heads.set(conn.http2.keyless_heads.get() + len);
        }
        Ok(WaitingHead { keyless_on, len, _charge: charge })
    }
}

impl Drop for WaitingHead<'_> {
    fn drop(&mut self) {
        if let Some(conn) = self.keyless_on {
            conn.http2.keyless_heads.set(conn.http2.keyless_heads.get() - self.len);
        }
    }
}

/// Removes all headers except those that are needed after the body, and copies these into memory of
/// their own: fields may share memory with a whole long head. Returns the length of their values.
fn keep_needed(headers: &mut HeaderMap) -> usize {
    const NEEDED: [HeaderName; 4] =
        [AUTHORIZATION, CONTENT_TYPE, IF_NONE_MATCH, HeaderName::from_static("idempotency-key")];
    let mut kept = HeaderMap::new();
    let mut len = 0;
    for name in NEEDED {
        for value in headers.get_all(&name) {
            // The bytes of a valid header value are valid.
            let Ok(copy) = HeaderValue::from_bytes(value.as_bytes()) else { continue };
            len += copy.len();
            kept.append(name.clone(), copy);
        }
    }
    *headers = kept;
    len
}
