//! The admin listener: its connections, and the stage of the server's start.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, ORIGIN};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, spawn_blocking, spawn_local, yield_now};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::answers::{Asked, Slow, at_once};
use super::backup::{self, AdminBody, Purpose, whole};
use super::entrance::{Credentials, audit, enter, from_a_page, page};
use super::format::Format;
use super::membership;
use super::recovery::Recovery;
use super::seats::stream::{SeatStream, Seated};
use super::seats::{Doing, Seat, Seats};
use super::turned_away::{Stream, speaks_tls, turn_away};
use super::view::{Started, TEXT, UNIX_PEER, View, text};
use crate::audit::EventOutcome;
use crate::cluster::node::NodeView;
use crate::engine::Engine;
use crate::http::answer::canned;
use crate::http::answer::problem::Problem;
use crate::http::request::browser::Web;
use crate::http::request::head as request_head;
use crate::http::server::gauges::Gauges;
use crate::keys::{Keys, Table};
use crate::model::time::UnixMillis;
use crate::net::limits::Limits;
use crate::net::listen::{Accepted, Listener, Listeners};
use crate::net::proxy_header::TrustedProxies;
use crate::net::tls::{self, Opened};
use crate::tls::{Peer, Tls};

/// Interval of looks at the disk of the log.
const DISK_PERIOD: Duration = Duration::from_secs(5);
/// Number of task polls after which the runtime checks for I/O. It is lower than the number of
/// places, so that a connection is read before later ones take its place.
const EVENT_INTERVAL: u32 = 8;

/// Stage of the server's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Recovering,
    Serving,
    Over,
}

/// Who may send requests to the admin listener.
#[derive(Clone, Debug)]
pub struct Guard {
    /// Whether every path but health needs a key with that path's scope.
    pub is_guarded: bool,
    /// Browser pages that may send requests.
    pub web: Web,
    /// Proxies whose connections begin with their client's address.
    pub proxies: TrustedProxies,
}

/// The running admin listener.
pub struct Admin {
    view: Arc<View>,
    stage: watch::Sender<Stage>,
    thread: std::thread::JoinHandle<io::Result<()>>,
}

impl Admin {
    /// Starts to answer on `listeners`, and with 503 on `data` until [`Admin::serving`].
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(
        listeners: Listeners,
        data: Listeners,
        guard: Guard,
        tls: Option<Tls>,
        limits: Limits,
    ) -> io::Result<Self> {
        let Guard { is_guarded, web, proxies } = guard;
        let view = Arc::new(View { is_guarded, web, proxies, limits, ..View::default() });
        let (stage, stages) = watch::channel(Stage::Recovering);
        let shown = view.clone();
        let thread = std::thread::Builder::new()
            .name("jeton-admin".to_owned())
            .spawn(move || run(listeners, data, &shown, stages, tls))?;
        Ok(Self { view, stage, thread })
    }

    /// Where recovery says how far it is.
    #[must_use]
    pub fn recovery(&self) -> Arc<Recovery> {
        self.view.recovery.clone()
    }

    /// Adds this to the statistics.
    pub fn configured(&self, started: Started) {
        // Set once; a second call has no effect.
        let _ = self.view.started.set(started);
    }

    /// The keys until [`Admin::serving`], and the folder of the log, whose disk is watched.
    pub fn starting(&self, keys: Option<Table>, data_dir: Option<PathBuf>) {
        // Set once; a second call has no effect.
        if let Some(keys) = keys {
            let _ = self.view.early_keys.set(Arc::new(keys));
        }
        self.view.disk.is_of(data_dir);
    }

    /// The server is a node of a cluster: readiness and `/cluster` tell of it.
    pub fn of_cluster(&self, node: NodeView) {
        // Set once; a second call has no effect.
        let _ = self.view.node.set(node);
    }

    /// Called after recovery: publishes the statistics of `engine`, and leaves the data listener to
    /// the workers.
    pub fn serving(&self, engine: Engine, gauges: Gauges, keys: Option<Keys>) {
        // Set once; a second call has no effect.
        let _ = self.view.engine.set(engine);
        let _ = self.view.gauges.set(gauges);
        if let Some(keys) = keys {
            let _ = self.view.keys.set(keys);
        }
        let _ = self.stage.send(Stage::Serving);
    }

    /// The server is shutting down: it is not ready from here on, and alive to the end.
    pub fn draining(&self) {
        self.view.drain();
    }

    /// Stops the listener.
    ///
    /// # Errors
    /// The listener had failed.
    pub fn stop(self) -> io::Result<()> {
        // A missing receiver means that the thread has ended already.
        let _ = self.stage.send(Stage::Over);
        self.thread.join().unwrap_or_else(|_| Err(io::Error::other("the admin thread panicked")))
    }
}

fn run(
    listeners: Listeners,
    data: Listeners,
    view: &Arc<View>,
    mut stages: watch::Receiver<Stage>,
    tls: Option<Tls>,
) -> io::Result<()> {
    let mut builder = Builder::new_current_thread();
    builder.enable_all().event_interval(EVENT_INTERVAL);
    let runtime = builder.build_local(LocalOptions::default())?;
    runtime.block_on(async {
        let shown = (view.clone(), tls.clone());
        if let Some(tls) = &tls {
            // Set once, here.
            let _ = view.tls.set(tls.clone());
        }
        let (data, _) = data.into_tokio()?;
        let (listeners, _file) = listeners.into_tokio()?;
        let proxies = view.proxies.clone();
        spawn_local(watch_disk(view.clone()));
        let turning_away =
            accept_all(data, move |socket, _| turn_away(socket, proxies.clone(), tls.clone()));
        let answering = accept_all(listeners, move |socket, seat| {
            let (view, tls) = shown.clone();
            serve(socket, seat, view, tls)
        });
        // An error means that the sender is gone, so the server has ended.
        let _ = stages.wait_for(|stage| *stage != Stage::Recovering).await;
        turning_away.iter().for_each(JoinHandle::abort);
        let _ = stages.wait_for(|stage| *stage == Stage::Over).await;
        answering.iter().for_each(JoinHandle::abort);
        Ok(())
    })
}

/// Looks at the disk of the log from time to time, in another thread: a disk may hang.
async fn watch_disk(view: Arc<View>) {
    let mut times = interval(DISK_PERIOD);
    times.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        times.tick().await;
        let view = view.clone();
        // It cannot fail, and a panic would be reported by itself.
        let _ = spawn_blocking(move || view.disk.look()).await;
    }
}

/// Accepts connections on all `listeners`, which share the places.
fn accept_all<F>(
    listeners: Vec<Listener>,
    handle: impl Fn(Accepted, Rc<Seat>) -> F + Clone + 'static,
) -> Vec<JoinHandle<()>>
where
    F: Future<Output = ()> + 'static,
{
    let seats = Rc::<Seats>::default();
    let accept = |listener| spawn_local(accept(listener, seats.clone(), handle.clone()));
    listeners.into_iter().map(accept).collect()
}

/// Accepts connections and spawns `handle` for each, up to a maximum number at once.
async fn accept<F>(
    listener: Listener,
    seats: Rc<Seats>,
    handle: impl Fn(Accepted, Rc<Seat>) -> F + 'static,
) where
    F: Future<Output = ()> + 'static,
{
    loop {
        match listener.accept().await {
            Ok(accepted) => {
                let address = match &accepted {
                    Accepted::Tcp(_, address) => address.ip(),
                    Accepted::Unix(_) => UNIX_PEER.ip(),
                };
                match seats.take(address) {
                    Some(seat) => take_on(handle(accepted, seat.clone()), seat),
                    None => drop(accepted.try_write(&canned::TOO_MANY_CONNECTIONS)),
                }
                // Connections that were accepted earlier are read before others may take their
                // places.
                yield_now().await;
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections");
                sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

/// Serves a connection until it ends or has to give way to another.
fn take_on(handled: impl Future<Output = ()> + 'static, seat: Rc<Seat>) {
    spawn_local(async move {
        tokio::select! {
            () = handled => (),
            () = seat.given_up() => tracing::debug!("admin connection closed to make room for \
                another"),
        }
    });
}

async fn serve(accepted: Accepted, seat: Rc<Seat>, view: Arc<View>, tls: Option<Tls>) {
    let (mut socket, peer) = match accepted {
        Accepted::Tcp(socket, address) => (socket, address),
        Accepted::Unix(socket) => return serve_stream(socket, seat, UNIX_PEER, None, view).await,
    };
    let Some(address) = view.proxies.client(&mut socket, peer).await else { return };
    seat.is_of(address.ip());
    let Some(tls) = tls else {
        return serve_stream(socket, seat, address, None, view).await;
    };
    let opening = tls::open(socket, tls.admin(), |socket| socket);
    match timeout(view.limits.tls_handshake_timeout, opening).await {
        Ok(Ok(Opened::Tls(stream))) => {
            let peer = tls::peer_of(&stream);
            serve_stream(stream, seat, address, peer, view).await;
        }
        Ok(Ok(Opened::Plain(socket))) => {
            audit(&view, address, "connect", EventOutcome::PlainHttp, None, None);
            speaks_tls(socket).await;
        }
        Ok(Err(error)) => {
            if error.kind() == io::ErrorKind::InvalidData {
                audit(&view, address, "connect", EventOutcome::TlsRefused, None, None);
            }
            tracing::debug!(%error, "TLS handshake failed on the admin listener");
        }
        Err(_) => tracing::debug!("TLS handshake timed out on the admin listener"),
    }
}

/// Why what takes time is refused, if it is.
fn refusal(
    slow: Slow,
    request: &Request<Incoming>,
    shown: Credentials<'_>,
    address: SocketAddr,
    view: &View,
) -> Option<Response<AdminBody>> {
    if request.headers().contains_key(ORIGIN) {
        return Some(whole(from_a_page(slow.operation(), address, view)));
    }
    enter(shown, view, slow.scope()).err().map(|refused| whole(*refused))
}

async fn serve_stream(
    socket: impl Stream,
    seat: Rc<Seat>,
    address: SocketAddr,
    peer: Option<Peer>,
    view: Arc<View>,
) {
    let given_up = Arc::new(Notify::new());
    let gone = given_up.clone();
    let socket = SeatStream::new(socket, seat.clone(), view.limits);
    let service = service_fn(move |request: Request<Incoming>| {
        seat.enter(Doing::Answering);
        let key = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes);
        let shown = Credentials { key, peer: peer.as_ref(), address: Some(address) };
        let (method, path) = (request.method(), request.uri().path());
        let format = Format::asked(request.headers());
        let asked = Asked { method, path, query: request.uri().query(), format };
        let slow = asked.slow();
        let (response, origin) = match (page(&request, address, &view), &slow) {
            (Err(Problem { status, detail, .. }), _) => {
                (Some(whole(text(status, TEXT, format!("{detail}\n")))), None)
            }
            (Ok(Some(origin)), _) if request_head::is_preflight(method, request.headers()) => {
                (Some(whole(preflight(request.headers()))), Some(origin))
            }
            (Ok(_), Some(slow)) => (refusal(*slow, &request, shown, address, &view), None),
            (Ok(origin), None) => (Some(at_once(asked, shown, &view, &seat)), origin),
        };
        // The key that requested the backup. It was checked just now, so its expiry is ignored
        // here.
        let table = response.is_none().then(|| view.key_table()).flatten();
        let access = table.and_then(|table| shown.access(&table, UnixMillis(0)));
        let (view, given_up, seat) = (view.clone(), gone.clone(), seat.clone());
        async move {
            let seated = |body| Seated::new(body, seat.clone());
            if let Some(mut response) = response {
                if let Some(origin) = origin {
                    request_head::readable_by(origin, response.headers_mut());
                }
                return Ok::<_, Infallible>(response.map(seated));
            }
            let purpose = match slow.unwrap_or(Slow::Backup(Ok(Purpose::Keeping))) {
                Slow::Decision(wish) => {
                    let response = membership::answer(&view, wish).await;
                    return Ok(whole(response).map(seated));
                }
                Slow::Backup(purpose) => purpose,
            };
            seat.streams();
            let response = backup::answer(&view, purpose, given_up, &seat).await;
            let status = response.status();
            let outcome = backup::meaning(status);
            audit(&view, address, "backup", outcome, Some(status), access);
            Ok(response.map(seated))
        }
    });
    let mut builder = http1::Builder::new();
    builder.header_read_timeout(None).max_buf_size(16 * 1024);
    tokio::select! {
        served = builder.serve_connection(TokioIo::new(socket), service) => {
            if let Err(error) = served {
                tracing::debug!(%error, "an admin connection ended");
            }
        }
        () = given_up.notified() => tracing::debug!("backup aborted: the client stopped reading"),
    }
}

/// The answer to a preflight from a page of an allowed origin, which may read the answers here.
fn preflight(asked: &HeaderMap) -> Response<Full<Bytes>> {
    let mut response = text(StatusCode::NO_CONTENT, TEXT, Bytes::new());
    response.headers_mut().remove(CONTENT_TYPE);
    request_head::grant("GET, HEAD", asked, response.headers_mut());
    response
}
