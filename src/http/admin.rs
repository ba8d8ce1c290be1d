//! The admin listener: whether the server lives, whether it is ready, and what it measures.
//!
//! It begins before the log is read, so that `/readyz` can say so; meanwhile it also answers the
//! data listener's connections, with 503. Its load is small and its clients are ours, so it has one
//! thread and plain limits. Where TLS is spoken, it is spoken here too: keys travel here as well.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, ORIGIN, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{sleep, timeout};

use super::access::bearer;
use super::exposition::Reading;
use super::tls::{self, Opened};
use super::{Gauges, backup, namespaces, openapi, respond};
use crate::audit::{self, Permit};
use crate::engine::Engine;
use crate::keys::{Access, Keys, Table};
use crate::scope::Scope;
use crate::time::UnixMillis;
use crate::tls::{Peer, Tls};

/// The most connections at once, on each of the two listeners.
const CONNECTIONS_MAX: usize = 64;
/// How long a connection may take for a head, idle time included.
const HEADER_TIMEOUT: Duration = Duration::from_secs(75);
/// How long a TLS handshake may take.
const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a client that is turned away may take to say what it wanted.
const TURN_AWAY_TIMEOUT: Duration = Duration::from_secs(1);
const TEXT: &str = "text/plain; charset=utf-8";
const PROMETHEUS_TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the admin listener knows of the rest.
#[derive(Default)]
struct View {
    engine: OnceLock<Engine>,
    gauges: OnceLock<Gauges>,
    keys: OnceLock<Keys>,
    /// Metrics and statistics are for keys with the scope admin.
    is_guarded: bool,
}

/// How far the server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Recovering,
    Serving,
    Over,
}

/// The admin listener, answering.
pub struct Admin {
    view: Arc<View>,
    stage: watch::Sender<Stage>,
    thread: JoinHandle<io::Result<()>>,
}

impl Admin {
    /// Starts to answer on `listener`, and with 503 on `data` until [`Admin::serving`]. Where it
    /// `is_guarded`, metrics and statistics ask for a key with the scope admin.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(
        listener: TcpListener,
        data: TcpListener,
        is_guarded: bool,
        tls: Option<Tls>,
    ) -> io::Result<Admin> {
        let view = Arc::new(View { is_guarded, ..View::default() });
        let (stage, stages) = watch::channel(Stage::Recovering);
        let shown = view.clone();
        let thread = std::thread::Builder::new()
            .name("jeton-admin".to_owned())
            .spawn(move || run(listener, data, &shown, stages, tls))?;
        Ok(Admin { view, stage, thread })
    }

    /// Recovery is over: shows `engine`, and leaves the data listener to the workers.
    pub fn serving(&self, engine: Engine, gauges: Gauges, keys: Option<Keys>) {
        // Set once; a second call would change nothing.
        let _ = self.view.engine.set(engine);
        let _ = self.view.gauges.set(gauges);
        if let Some(keys) = keys {
            let _ = self.view.keys.set(keys);
        }
        let _ = self.stage.send(Stage::Serving);
    }

    /// Ends it.
    ///
    /// # Errors
    /// It had failed.
    pub fn stop(self) -> io::Result<()> {
        // Nobody listening means that it has ended already.
        let _ = self.stage.send(Stage::Over);
        self.thread.join().unwrap_or_else(|_| Err(io::Error::other("the admin thread panicked")))
    }
}

fn run(
    listener: TcpListener,
    data: TcpListener,
    view: &Arc<View>,
    mut stages: watch::Receiver<Stage>,
    tls: Option<Tls>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let shown = (view.clone(), tls.clone());
        let turning_away = tokio::spawn(accept(data, move |socket| turn_away(socket, tls.clone())));
        let answering = tokio::spawn(accept(listener, move |socket| {
            let (view, tls) = shown.clone();
            serve(socket, view, tls)
        }));
        // An error means that nobody can tell us any more: then the server is over.
        let _ = stages.wait_for(|stage| *stage != Stage::Recovering).await;
        turning_away.abort();
        let _ = stages.wait_for(|stage| *stage == Stage::Over).await;
        answering.abort();
    });
    Ok(())
}

/// Accepts connections and spawns `handle` for each, a limited number at once.
async fn accept<F>(
    listener: TcpListener,
    handle: impl Fn(TcpStream) -> F + Send + 'static,
) -> io::Result<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return Ok(());
        };
        match listener.accept().await {
            Ok((socket, _)) => {
                let handled = handle(socket);
                tokio::spawn(async move {
                    handled.await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections");
                sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

/// Reads what the client wanted, as far as it comes, and tells it to come again.
async fn turn_away(socket: TcpStream, tls: Option<Tls>) {
    let whole = async {
        let mut answer: &[u8] = &respond::RECOVERING;
        let mut socket: Box<dyn Stream> = match tls {
            None => Box::new(socket),
            Some(tls) => match tls::open(socket, tls.data(), |socket| socket).await? {
                Opened::Tls(stream) => stream,
                Opened::Plain(socket) => {
                    answer = &respond::SPEAKS_TLS;
                    Box::new(socket)
                }
            },
        };
        let mut head = Vec::new();
        let mut buf = [0; 2048];
        while head.len() < 16 * buf.len() && !head.ends_with(b"\r\n\r\n") {
            match socket.read(&mut buf).await? {
                0 => break,
                len => head.extend_from_slice(&buf[..len]),
            }
        }
        socket.write_all(answer).await?;
        socket.shutdown().await
    };
    // Whatever goes wrong here is the client's: it is turned away all the same.
    let _ = timeout(TURN_AWAY_TIMEOUT, whole).await;
}

/// What is read and written, encrypted or not: here one call more does not matter.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

async fn serve(socket: TcpStream, view: Arc<View>, tls: Option<Tls>) {
    let Ok(address) = socket.peer_addr() else { return };
    let Some(tls) = tls else {
        return serve_stream(socket, address, None, view).await;
    };
    let opening = tls::open(socket, tls.admin(), |socket| socket);
    match timeout(TLS_HANDSHAKE_TIMEOUT, opening).await {
        Ok(Ok(Opened::Tls(stream))) => {
            let peer = tls::peer_of(&stream);
            serve_stream(stream, address, peer, view).await;
        }
        Ok(Ok(Opened::Plain(socket))) => {
            audit(&view, address, "connect", "plain_http", None, None);
            speaks_tls(socket).await;
        }
        Ok(Err(error)) => {
            if error.kind() == io::ErrorKind::InvalidData {
                audit(&view, address, "connect", "tls_refused", None, None);
            }
            tracing::debug!(%error, "no TLS connection to the admin listener");
        }
        Err(_) => tracing::debug!("a TLS handshake was not finished in time"),
    }
}

/// Tells a client that it should have spoken TLS.
async fn speaks_tls(mut socket: TcpStream) {
    let whole = async {
        // What it has sent so far: a socket that is closed over unread bytes loses the answer.
        let _ = socket.read(&mut [0; 2048]).await?;
        socket.write_all(&respond::SPEAKS_TLS).await?;
        socket.shutdown().await
    };
    let _ = timeout(TURN_AWAY_TIMEOUT, whole).await;
}

async fn serve_stream(
    socket: impl Stream,
    address: SocketAddr,
    peer: Option<Peer>,
    view: Arc<View>,
) {
    let given_up = Arc::new(Notify::new());
    let gone = given_up.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let key = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes);
        let shown = Shown { key, peer: peer.as_ref(), address: Some(address) };
        let (method, path) = (request.method(), request.uri().path());
        let is_backup = method == Method::POST && path == backup::PATH;
        let response = match is_backup {
            true if request.headers().contains_key(ORIGIN) => Some(from_a_page(address, &view)),
            true => refusal(shown, &view),
            false => Some(answer(method, path, shown, &view)),
        };
        // Whose backup it is; they were let in just now, whatever the time.
        let access = view.keys.get().and_then(|keys| {
            let table = response.is_none().then(|| keys.table())?;
            shown.access(&table, UnixMillis(0))
        });
        let (view, given_up) = (view.clone(), gone.clone());
        async move {
            if let Some(response) = response {
                return Ok::<_, Infallible>(response.map(Either::Left));
            }
            let response = backup::answer(view.engine.get().cloned(), given_up).await;
            let status = response.status();
            let outcome = backup::meaning(status);
            audit(&view, address, "backup", outcome, Some(status), access);
            Ok(response)
        }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(16 * 1024);
    tokio::select! {
        served = builder.serve_connection(TokioIo::new(socket), service) => {
            if let Err(error) = served {
                tracing::debug!(%error, "an admin connection ended");
            }
        }
        () = given_up.notified() => tracing::debug!("a client took nothing of its backup"),
    }
}

/// A page that a browser shows has no business with a backup, also where no key is asked for and its
/// name was made to lead here (RFC 6454, 7.3: it sends `Origin` with each POST).
fn from_a_page(address: SocketAddr, view: &View) -> Response<Full<Bytes>> {
    audit(view, address, "backup", "forbidden", Some(StatusCode::FORBIDDEN), None);
    text(StatusCode::FORBIDDEN, TEXT, "a page in a browser may not take a backup\n")
}

/// What says who is asking.
#[derive(Clone, Copy, Default)]
struct Shown<'a> {
    /// The value of `Authorization`.
    key: Option<&'a [u8]>,
    /// Whose certificate was verified.
    peer: Option<&'a Peer>,
    /// Where the client is.
    address: Option<SocketAddr>,
}

impl Shown<'_> {
    /// What that is worth at `now`. A key that is shown is the one that counts.
    fn access(&self, table: &Table, now: UnixMillis) -> Option<Arc<Access>> {
        if let Some(header) = self.key {
            return table.access(bearer(header)?);
        }
        let peer = self.peer.filter(|peer| now < peer.not_after)?;
        table.certified(peer.name.as_deref()?)
    }
}

fn answer(method: &Method, path: &str, shown: Shown<'_>, view: &View) -> Response<Full<Bytes>> {
    let is_open = matches!(path, "/healthz" | "/readyz");
    if let Some(refused) = (!is_open).then(|| refusal(shown, view)).flatten() {
        return refused;
    }
    let answers: fn(&View) -> Response<Full<Bytes>> = match path {
        "/healthz" => |_| text(StatusCode::OK, TEXT, "alive\n"),
        "/readyz" => ready,
        "/metrics" => metrics,
        "/v1/stats" => stats,
        "/openapi.json" => |_| text(StatusCode::OK, "application/json", openapi::DOCUMENT),
        _ => |_| text(StatusCode::NOT_FOUND, TEXT, "nothing is here\n"),
    };
    if path == backup::PATH {
        return only("POST");
    }
    if method == Method::GET || method == Method::HEAD {
        return answers(view);
    }
    only("GET, HEAD")
}

/// 405.
fn only(methods: &'static str) -> Response<Full<Bytes>> {
    let detail = format!("the methods here are {methods}\n");
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, TEXT, detail);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    response
}

/// Who has no key with the scope admin is refused.
fn refusal(shown: Shown<'_>, view: &View) -> Option<Response<Full<Bytes>>> {
    if !view.is_guarded {
        return None;
    }
    let now = view.engine.get().map(Engine::now).unwrap_or_default();
    let access = view.keys.get().and_then(|keys| shown.access(&keys.table(), now));
    let access = access.filter(|access| now < access.expires_at);
    let mut refused = match &access {
        Some(access) if access.may(Scope::Admin) => return None,
        Some(_) => text(StatusCode::FORBIDDEN, TEXT, "this needs the scope admin\n"),
        None => {
            text(StatusCode::UNAUTHORIZED, TEXT, "a key is needed: Authorization: Bearer KEY\n")
        }
    };
    let challenge = HeaderValue::from_static("Bearer realm=\"jeton\"");
    refused.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    if let Some(address) = shown.address {
        let outcome = if access.is_some() { "forbidden" } else { "unauthorized" };
        audit(view, address, "admin", outcome, Some(refused.status()), access);
    }
    Some(refused)
}

/// Tells the audit log of what was refused here.
fn audit(
    view: &View,
    address: SocketAddr,
    operation: &'static str,
    outcome: &'static str,
    status: Option<StatusCode>,
    access: Option<Arc<Access>>,
) {
    let (Some(engine), Some(gauges)) = (view.engine.get(), view.gauges.get()) else { return };
    let Some(audit) = gauges.audit() else { return };
    let address = SocketAddr::new(address.ip().to_canonical(), address.port());
    let mut event = audit::event(engine.now(), address, access, None);
    (event.operation, event.outcome) = (operation, outcome);
    event.status = status.map(|status| status.as_u16());
    audit.tell(&mut Permit::default(), event);
}

fn readiness(view: &View) -> Result<(), String> {
    match view.engine.get() {
        None => Err("recovering: the log is being read".to_owned()),
        Some(engine) => engine.readiness().map_err(|reason| reason.to_string()),
    }
}

fn ready(view: &View) -> Response<Full<Bytes>> {
    match readiness(view) {
        Ok(()) => text(StatusCode::OK, TEXT, "ready\n"),
        Err(reason) => text(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{reason}\n")),
    }
}

fn metrics(view: &View) -> Response<Full<Bytes>> {
    let stats = view.engine.get().map(Engine::stats);
    let mut reading = Reading::new(stats, view.gauges.get(), readiness(view).is_ok());
    if let Some(engine) = view.engine.get() {
        reading.namespaces = namespaces::tell(engine, view.gauges.get(), view.keys.get());
    }
    match reading.expose() {
        Ok(exposition) => text(StatusCode::OK, PROMETHEUS_TEXT, exposition),
        Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "cannot be written\n"),
    }
}

fn stats(view: &View) -> Response<Full<Bytes>> {
    let Some(engine) = view.engine.get() else {
        let reason = "recovering: the log is being read\n";
        return text(StatusCode::SERVICE_UNAVAILABLE, TEXT, reason);
    };
    match serde_json::to_vec_pretty(&engine.stats()) {
        Ok(json) => text(StatusCode::OK, "application/json", json),
        Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "cannot be written\n"),
    }
}

fn text(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Config;
    use http_body_util::BodyExt;

    async fn get(view: &View, path: &str) -> (u16, String) {
        let response = answer(&Method::GET, path, Shown::default(), view);
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn before_recovery_is_over_it_is_alive_and_not_ready() {
        let view = View::default();
        assert_eq!(get(&view, "/healthz").await.0, 200);
        let (status, reason) = get(&view, "/readyz").await;
        assert_eq!(status, 503);
        assert!(reason.contains("recovering"), "{reason}");
        assert_eq!(get(&view, "/v1/stats").await.0, 503);
        assert!(get(&view, "/metrics").await.1.contains("jeton_ready 0\n"));
    }

    #[tokio::test]
    async fn with_an_engine_it_shows_what_is_measured() {
        let view = View::default();
        let engine = Engine::open(Config::memory_only()).unwrap();
        view.engine.set(engine.clone()).ok().unwrap();
        assert_eq!(get(&view, "/readyz").await.0, 200);
        let (_, metrics) = get(&view, "/metrics").await;
        for line in [
            "jeton_ready 1\n",
            "jeton_tokens 0\n",
            "jeton_issues_total 0\n",
            "jeton_http_requests_total{operation=\"resolve\",status=\"2xx\"} 0\n",
            "jeton_commit_seconds_bucket{le=\"+Inf\"} ",
            "# EOF\n",
        ] {
            assert!(metrics.contains(line), "{line} in {metrics}");
        }
        let (_, stats) = get(&view, "/v1/stats").await;
        let stats: serde_json::Value = serde_json::from_str(&stats).unwrap();
        assert_eq!(stats["tokens"], 0);
        engine.close().unwrap();
        let (status, reason) = get(&view, "/readyz").await;
        assert_eq!((status, reason.contains("closing")), (503, true));
    }

    #[tokio::test]
    async fn other_paths_and_methods_are_refused() {
        let view = View::default();
        assert_eq!(get(&view, "/v1/tokens").await.0, 404);
        let response = answer(&Method::POST, "/healthz", Shown::default(), &view);
        assert_eq!(response.status(), 405);
        assert_eq!(response.headers()[ALLOW], "GET, HEAD");
    }
}
