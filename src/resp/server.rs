//! The workers: each is a thread with its own listener, runtime and connections.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam::utils::CachePadded;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::watch;
use tokio::task::spawn_local;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::net::listen::{Accepted, ListenAddress, Listener, Listeners, is_of_the_peer};
use crate::net::places::{Place, Places};
use crate::net::stop::{EndDrain, Stop, begin_drain};
use crate::net::tick::TICK;
use crate::net::tls::{NO_PLACE, Opened, open, peer_of};
use crate::resp::config::Config;
use crate::resp::conn::{Conn, Phase, Slot, Worker};
use crate::resp::connection::Connection;
use crate::service::audit_events;
use crate::service::counters::Counters;
use crate::service::state::Shared;

/// How long accepting rests after a failure, at first and at most.
const ACCEPT_REST_MIN: Duration = Duration::from_millis(50);
const ACCEPT_REST_MAX: Duration = Duration::from_secs(1);
/// How often a drain looks whether all connections are gone.
const DRAIN_LOOK: Duration = Duration::from_millis(10);

/// What is said to who finds no place, as Redis words it.
const TOO_MANY: &[u8] = b"-ERR max number of clients reached\r\n";
/// What is said to who speaks without TLS where it is needed.
const SPEAKS_TLS: &[u8] = b"-ERR this port speaks TLS: connect with rediss://\r\n";

/// The workers, serving.
pub struct Server {
    stop: watch::Sender<Stop>,
    threads: Vec<JoinHandle<io::Result<()>>>,
    counters: Vec<Arc<CachePadded<Counters>>>,
    address: ListenAddress,
}

impl Server {
    /// Starts a worker for each of `listeners`. `shared` and `places` are those of the other servers
    /// in front of the same tokens.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn start(
        shared: &Shared,
        places: &Places,
        config: &Config,
        listeners: Vec<Listeners>,
    ) -> io::Result<Self> {
        let address = match listeners.first() {
            Some(first) => first.address().clone(),
            None => return Err(io::ErrorKind::InvalidInput.into()),
        };
        let (stop, stopped) = watch::channel(Stop::No);
        let (mut threads, mut all) = (Vec::with_capacity(listeners.len()), Vec::new());
        let ids = Arc::<AtomicU64>::default();
        for (number, listeners) in listeners.into_iter().enumerate() {
            let counters = Arc::<CachePadded<Counters>>::default();
            all.push(counters.clone());
            let (shared, places, config) = (shared.clone(), places.clone(), config.clone());
            let (ids, stopped) = (ids.clone(), stopped.clone());
            let serve = move || {
                let new = || Worker::new(shared.service(), config, counters, places, ids);
                run(listeners, new, stopped)
            };
            let name = format!("jeton-resp-{number}");
            threads.push(std::thread::Builder::new().name(name).spawn(serve)?);
        }
        Ok(Self { stop, threads, counters: all, address })
    }

    /// Where the workers listen.
    #[must_use]
    pub fn address(&self) -> &ListenAddress {
        &self.address
    }

    /// What each worker counts.
    #[must_use]
    pub fn counters(&self) -> &[Arc<CachePadded<Counters>>] {
        &self.counters
    }

    /// Ends the drain of [`Server::stop`] from another thread.
    #[must_use]
    pub fn end_drain(&self) -> EndDrain {
        EndDrain(self.stop.clone())
    }

    /// Begins what [`Server::stop`] waits for.
    pub fn begin_stop(&self) {
        begin_drain(&self.stop);
    }

    /// Answers what has arrived, for at most [`Config::drain_timeout`], and returns when all workers
    /// have ended.
    ///
    /// # Errors
    /// A worker had failed.
    pub fn stop(self) -> io::Result<()> {
        self.begin_stop();
        let mut result = Ok(());
        for thread in self.threads {
            let ended = thread.join();
            result =
                result.and(ended.unwrap_or_else(|_| Err(io::Error::other("a worker panicked"))));
        }
        result
    }
}

/// Serves `listeners` until `stop` says so, and then until what has arrived is answered.
fn run(
    listeners: Listeners,
    new: impl FnOnce() -> Worker,
    mut stop: watch::Receiver<Stop>,
) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    runtime.block_on(async {
        // The file of a Unix socket is removed when this worker, as the last one, ends.
        let (listeners, _file) = listeners.into_tokio()?;
        let worker = Rc::new(new());
        let caller = worker.service.caller.clone();
        spawn_local(async move { caller.pump().await });
        spawn_local(sweep(worker.clone()));
        let start = |listener| spawn_local(accept(worker.clone(), listener));
        let accepting: Vec<_> = listeners.into_iter().map(start).collect();
        // An error means that nobody can stop us any more: then stop as well.
        let _ = stop.wait_for(|stop| *stop != Stop::No).await;
        accepting.iter().for_each(tokio::task::JoinHandle::abort);
        worker.drain();
        let all_gone = async {
            while worker.open() > 0 {
                sleep(DRAIN_LOOK).await;
            }
        };
        tokio::select! {
            drained = timeout(worker.config.drain_timeout, all_gone) => if drained.is_err() {
                let left = worker.open();
                tracing::warn!(connections = left, "not all commands were finished in time");
            },
            _ = stop.wait_for(|stop| *stop == Stop::AtOnce) => {
                let left = worker.open();
                tracing::warn!(connections = left, "the drain was ended");
            }
        }
        Ok(())
    })
}

async fn sweep(worker: Rc<Worker>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        worker.sweep();
        worker.counters.swept();
    }
}

async fn accept(worker: Rc<Worker>, listener: Listener) {
    let mut rest = ACCEPT_REST_MIN;
    loop {
        match listener.accept().await {
            Ok(accepted) => {
                rest = ACCEPT_REST_MIN;
                take_on(&worker, accepted);
            }
            // The connection was gone before we came to it.
            Err(error) if is_of_the_peer(&error) => (),
            Err(error) => {
                worker.counters.accept_error();
                tracing::warn!(%error, rest_ms = rest.as_millis(), "cannot accept connections");
                sleep(rest).await;
                rest = (2 * rest).min(ACCEPT_REST_MAX);
            }
        }
    }
}

fn take_on(worker: &Rc<Worker>, accepted: Accepted) {
    let Some(place) = worker.places.take() else {
        worker.counters.refused();
        let said = match (&accepted, &worker.config.tls) {
            (Accepted::Tcp(..), Some(_)) => NO_PLACE,
            _ => TOO_MANY,
        };
        let _ = accepted.try_read(&mut worker.scratch.borrow_mut());
        let _ = accepted.try_write(said);
        return;
    };
    worker.counters.accepted();
    match accepted {
        Accepted::Tcp(socket, peer) => {
            // Answers are written whole; waiting to fill a packet would only delay them.
            let _ = socket.set_nodelay(true);
            if worker.config.proxies.trusts(peer.ip()) {
                spawn_local(serve_proxied(worker.clone(), socket, peer, place));
            } else {
                serve_tcp(worker, socket, peer, place);
            }
        }
        // All peers of a Unix socket are one address. They do not speak TLS.
        Accepted::Unix(socket) => {
            let peer = (Ipv4Addr::UNSPECIFIED, 0).into();
            let (conn, slot) = begin(worker, peer, None, place);
            spawn_local(Connection::new(socket, worker.clone(), conn).serve(slot));
        }
    }
}

/// One connection of a trusted proxy: the header with the client's address comes first, which has a
/// time limit of its own.
async fn serve_proxied(worker: Rc<Worker>, mut socket: TcpStream, proxy: SocketAddr, place: Place) {
    let client = worker.config.proxies.client(&mut socket, proxy).await;
    // It was not among the connections that a drain has told.
    if worker.is_draining.get() {
        return;
    }
    if let Some(client) = client {
        serve_tcp(&worker, socket, client, place);
    }
}

fn serve_tcp(worker: &Rc<Worker>, socket: TcpStream, peer: SocketAddr, place: Place) {
    let (conn, slot) = begin(worker, peer, socket.local_addr().ok(), place);
    if worker.config.tls.is_some() {
        spawn_local(serve_tls(worker.clone(), socket, conn, slot));
    } else {
        spawn_local(Connection::new(socket, worker.clone(), conn).serve(slot));
    }
}

fn begin(
    worker: &Rc<Worker>,
    peer: SocketAddr,
    local: Option<SocketAddr>,
    place: Place,
) -> (Rc<Conn>, Slot) {
    let conn = Rc::new(Conn::new(peer, local, worker.now()));
    let slot = worker.watch(&conn, place);
    (conn, slot)
}

/// One connection to a listener that speaks TLS, from its first byte to its end.
async fn serve_tls(worker: Rc<Worker>, socket: TcpStream, conn: Rc<Conn>, slot: Slot) {
    let Some(tls) = worker.config.tls.as_ref().map(crate::tls::Tls::data) else { return };
    conn.enter(Phase::Tls, worker.now());
    let opening = open(socket, tls, |socket| socket);
    match conn.until_verdict(opening).await {
        Some(Ok(Opened::Tls(stream))) => {
            if let Some(peer) = peer_of(&stream) {
                conn.credentials.certified(peer);
            }
            conn.enter(Phase::New, worker.now());
            Connection::new(*stream, worker, conn).serve(slot).await;
        }
        Some(Ok(Opened::Plain(socket))) => {
            let outcome = crate::audit::EventOutcome::PlainHttp;
            audit_events::turned_away(&worker.service, conn.peer, outcome);
            Connection::new(socket, worker, conn).farewell(SPEAKS_TLS, slot).await;
        }
        Some(Err(error)) => {
            if error.kind() == io::ErrorKind::InvalidData {
                let outcome = crate::audit::EventOutcome::TlsRefused;
                audit_events::turned_away(&worker.service, conn.peer, outcome);
            }
            tracing::debug!(%error, "no TLS connection came about");
        }
        None => tracing::debug!("a TLS handshake was not finished in time"),
    }
}
