//! Connections, and one try of a request on one of them.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_rustls::TlsConnector;

use crate::config::{Address, Config, Origin};
use crate::core::{lock, now};
use crate::error::{NoConnection, Problem};

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Why a request that was sent has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// A kept connection had died: nothing of the answer came.
    KeptDied,
    NoAnswer,
    /// Something came that is no HTTP/1.1.
    NotHttp,
    Timeout,
    TooLarge,
}

/// How long a try may take.
#[derive(Clone, Copy)]
pub(crate) struct Try {
    /// For the try, once it has a connection.
    pub(crate) timeout: Duration,
    /// When the call ends. A wait for a connection ends then too.
    pub(crate) ends_at: Instant,
}

/// How a try ended.
pub(crate) enum End {
    Answer(Answer),
    /// Nothing was sent.
    NotSent {
        why: Arc<NoConnection>,
        had_died: bool,
    },
    Lost(Lost),
    /// The client was closed.
    Closed {
        is_sent: bool,
    },
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The problem document of a failure, if it is one.
    pub(crate) fn problem(&self) -> Option<Problem> {
        let kind = self.header("content-type")?.split(';').next()?.trim();
        let is_problem = kind.eq_ignore_ascii_case("application/problem+json");
        let read = || Problem::read(self.status, &self.body, self.retry_after());
        (is_problem && !self.is_success()).then(read)?
    }

    /// `Retry-After`, as seconds or as a date.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        let text = self.headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            let seconds = text.get(..12).unwrap_or(text);
            return seconds.parse().ok().map(Duration::from_secs);
        }
        let date = httpdate::parse_http_date(text).ok()?;
        #[expect(clippy::disallowed_methods, reason = "a date in an answer is compared with now")]
        Some(date.duration_since(SystemTime::now()).unwrap_or_default())
    }
}

/// An open connection. Dropping it closes it.
struct Connection {
    origin: Arc<Origin>,
    sender: SendRequest<Full<Bytes>>,
    task: JoinHandle<()>,
    made_at: Instant,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The connections of a client.
pub(crate) struct Pool {
    config: Arc<Config>,
    /// The last one used is the last.
    idle: Mutex<VecDeque<Connection>>,
    /// One for each connection that is not in use.
    free: Semaphore,
    /// How long a connection gets requests. The last one ends before the connection is too old.
    usable: Duration,
    closed: watch::Sender<bool>,
}

impl Pool {
    pub(crate) fn new(config: Arc<Config>) -> Self {
        let free = Semaphore::new(config.connections_max.min(Semaphore::MAX_PERMITS));
        let age = config.connection_age;
        let usable = age.saturating_sub(config.try_timeout).max(age / 2);
        Self { config, idle: Mutex::default(), free, usable, closed: watch::Sender::new(false) }
    }

    pub(crate) fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }

    /// Ends every try, and closes all connections.
    pub(crate) fn close(&self) {
        self.closed.send_replace(true);
        self.idle().clear();
    }

    /// Waits until the client is closed.
    pub(crate) async fn when_closed(&self) {
        // An error is impossible: the sender is here.
        let _ = self.closed.subscribe().wait_for(|is| *is).await;
    }

    fn idle(&self) -> MutexGuard<'_, VecDeque<Connection>> {
        lock(&self.idle)
    }

    /// One try. A dropped future closes its connection.
    pub(crate) async fn send(
        &self,
        origin: &Arc<Origin>,
        request: Request<Full<Bytes>>,
        bounds: Try,
    ) -> End {
        let mut is_sent = false;
        tokio::select! {
            biased;
            end = self.attempt(origin, request, bounds, &mut is_sent) => return end,
            () = self.when_closed() => {}
        }
        End::Closed { is_sent }
    }

    async fn attempt(
        &self,
        origin: &Arc<Origin>,
        request: Request<Full<Bytes>>,
        bounds: Try,
        is_sent: &mut bool,
    ) -> End {
        let not_sent = |why| End::NotSent { why: Arc::new(why), had_died: false };
        let Ok(Ok(_permit)) = timeout_at(bounds.ends_at, self.free.acquire()).await else {
            return not_sent(NoConnection::AllInUse);
        };
        // A try begins when it has a connection.
        let ends_at = bounds.ends_at.min(now() + bounds.timeout);
        let (mut connection, is_kept) = match self.take(origin) {
            Some(connection) => (connection, true),
            None => match timeout_at(ends_at, self.open(origin, ends_at)).await {
                Ok(Ok(connection)) => (connection, false),
                Ok(Err(why)) => return not_sent(why),
                Err(_) => return not_sent(NoConnection::Slow),
            },
        };
        *is_sent = true;
        let exchange = exchange(&mut connection.sender, request, self.config.answer_max_bytes);
        match timeout_at(ends_at, exchange).await {
            Err(_) => End::Lost(Lost::Timeout),
            Ok(Ok(answer)) => {
                self.keep(connection, &answer);
                End::Answer(answer)
            }
            Ok(Err(Failed::NotSent)) => {
                *is_sent = false;
                End::NotSent { why: Arc::new(NoConnection::Died), had_died: is_kept }
            }
            Ok(Err(Failed::Handshake(error))) if !is_kept => {
                *is_sent = false;
                not_sent(NoConnection::Handshake(error))
            }
            Ok(Err(Failed::NotHttp)) => End::Lost(Lost::NotHttp),
            Ok(Err(Failed::NoHead)) if is_kept => End::Lost(Lost::KeptDied),
            Ok(Err(Failed::NoHead | Failed::Handshake(_) | Failed::Cut)) => {
                End::Lost(Lost::NoAnswer)
            }
            Ok(Err(Failed::TooLarge)) => End::Lost(Lost::TooLarge),
        }
    }

    /// A connection that was used before and still lives.
    fn take(&self, origin: &Arc<Origin>) -> Option<Connection> {
        let mut idle = self.idle();
        while let Some(at) = idle.iter().rposition(|it| Arc::ptr_eq(&it.origin, origin)) {
            let connection = idle.remove(at)?;
            if !connection.sender.is_closed() && connection.made_at.elapsed() < self.usable {
                return Some(connection);
            }
        }
        None
    }

    fn keep(&self, connection: Connection, answer: &Answer) {
        let ends = answer.header("connection").is_some_and(|it| it.eq_ignore_ascii_case("close"));
        let is_old = connection.made_at.elapsed() >= self.usable;
        let mut idle = self.idle();
        // Those that their age has closed meanwhile go.
        while idle.front().is_some_and(|first| first.sender.is_closed()) {
            idle.pop_front();
        }
        if !ends && !is_old && !self.is_closed() {
            idle.push_back(connection);
        }
    }

    async fn open(
        &self,
        origin: &Arc<Origin>,
        ends_at: Instant,
    ) -> Result<Connection, NoConnection> {
        // Those in use and the idle ones together are not too many.
        let in_use = self.config.connections_max.saturating_sub(self.free.available_permits());
        while self.idle().len() + in_use > self.config.connections_max {
            self.idle().pop_front();
        }
        let made_at = now();
        // An idle connection is closed at its age too. No try lasts as long.
        let dies_at =
            made_at + self.config.connection_age.max(self.usable + self.config.try_timeout);
        let begun = match &origin.address {
            #[cfg(unix)]
            Address::Unix(path) => {
                let socket = tokio::net::UnixStream::connect(path).await;
                begin(socket.map_err(NoConnection::Connect)?, dies_at).await
            }
            Address::Tcp(address) => {
                let socket = connect(address, ends_at).await?;
                socket.set_nodelay(true).map_err(NoConnection::Connect)?;
                match (&origin.name, &self.config.tls) {
                    (Some(name), Some(tls)) => {
                        let connecting = TlsConnector::from(tls.clone());
                        let stream = connecting.connect(name.clone(), socket).await;
                        begin(stream.map_err(NoConnection::Handshake)?, dies_at).await
                    }
                    _ => begin(socket, dies_at).await,
                }
            }
        };
        let (sender, task) = begun.map_err(NoConnection::Connect)?;
        Ok(Connection { origin: origin.clone(), sender, task, made_at })
    }
}

/// Connects to the first address of a name that answers. Each gets its share of the time, so one that is
/// silent does not take that of the others.
async fn connect(name: &str, ends_at: Instant) -> Result<TcpStream, NoConnection> {
    let addresses: Vec<_> = lookup_host(name).await.map_err(NoConnection::Name)?.collect();
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for (at, address) in addresses.iter().enumerate() {
        let left = u32::try_from(addresses.len() - at).unwrap_or(u32::MAX);
        let share = ends_at.saturating_duration_since(now()) / left;
        failed = match timeout_at(now() + share, TcpStream::connect(address)).await {
            Ok(Ok(socket)) => return Ok(socket),
            Ok(Err(error)) => error,
            Err(_) => io::ErrorKind::TimedOut.into(),
        };
    }
    Err(NoConnection::Connect(failed))
}

async fn begin<S>(
    stream: S,
    dies_at: Instant,
) -> io::Result<(SendRequest<Full<Bytes>>, JoinHandle<()>)>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let task = tokio::spawn(async move {
        tokio::select! {
            // Its error is that of the request.
            _ = connection => {}
            () = sleep_until(dies_at) => {}
        }
    });
    Ok((sender, task))
}

enum Failed {
    NotSent,
    /// The server refused the TLS handshake after this end had completed it, so it read no request.
    Handshake(io::Error),
    /// No head of an answer came.
    NoHead,
    /// No head of HTTP/1.1 came, but something else.
    NotHttp,
    Cut,
    TooLarge,
}

async fn exchange(
    sender: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
    max: usize,
) -> Result<Answer, Failed> {
    if sender.ready().await.is_err() {
        return Err(Failed::NotSent);
    }
    let response = sender.try_send_request(request).await;
    let response: Response<Incoming> =
        response.map_err(|mut error| match error.take_message() {
            Some(_) => Failed::NotSent,
            None => headless(error.error()),
        })?;
    let (head, body) = response.into_parts();
    let body = Limited::new(body, max).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() { Failed::TooLarge } else { Failed::Cut }
    })?;
    Ok(Answer { status: head.status.as_u16(), headers: head.headers, body: body.to_bytes() })
}

/// Why no head came. A server that demands a certificate says so only after the client has completed its
/// part of the handshake (RFC 8446, section 4.4.2.4), and has read no request then.
fn headless(error: &hyper::Error) -> Failed {
    use rustls::AlertDescription as Alert;
    if error.is_parse() {
        return Failed::NotHttp;
    }
    let of_io = std::error::Error::source(error).and_then(|it| it.downcast_ref::<io::Error>());
    let of_tls = of_io.and_then(|it| it.get_ref()?.downcast_ref::<rustls::Error>());
    match of_tls {
        Some(rustls::Error::AlertReceived(
            alert @ (Alert::CertificateRequired
            | Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied
            | Alert::HandshakeFailure),
        )) => Failed::Handshake(io::Error::other(rustls::Error::AlertReceived(*alert))),
        _ => Failed::NoHead,
    }
}
