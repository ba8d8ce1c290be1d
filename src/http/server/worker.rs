//! A worker: a thread with its own listener, runtime and connections.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crossbeam::utils::CachePadded;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::http::answer::canned;
use crate::http::conn::context::{Common, Worker, date};
use crate::http::conn::phase::{TICK, Tick};
use crate::http::server::connection::Connection;
use crate::http::server::{proxied, tls};
use crate::net::listen::{Accepted, Listener, Listeners, is_of_the_peer};
use crate::net::stop::Stop;
use crate::net::tls::NO_PLACE;
use crate::service::counters::Counters;

/// How long accepting rests after a failure, at first and at most.
const ACCEPT_REST_MIN: Duration = Duration::from_millis(50);
const ACCEPT_REST_MAX: Duration = Duration::from_secs(1);
/// How often a drain looks whether all connections are gone.
const DRAIN_LOOK: Duration = Duration::from_millis(10);
/// How long a drain waits for requests that are on their way, on connections that seem idle.
const GRACE: Duration = Duration::from_secs(1);

impl Worker {
    async fn sweep(self: Rc<Self>) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let now = Tick(self.tick.get().0.wrapping_add(1));
            self.tick.set(now);
            self.counters.swept();
            self.plan_samples();
            self.date.replace(date(self.service.now()));
            self.watched.sweep(&self.config.limits, now, self.service.budget.is_short());
            self.service.caller.free_retired();
        }
    }

    async fn accept(self: Rc<Self>, listener: Listener) {
        let mut rest = ACCEPT_REST_MIN;
        loop {
            match listener.accept().await {
                Ok(accepted) => {
                    rest = ACCEPT_REST_MIN;
                    self.take_on(accepted);
                }
                // The connection was gone before we came to it.
                Err(error) if is_of_the_peer(&error) => (),
                Err(error) => {
                    self.counters.accept_error();
                    tracing::warn!(%error, rest_ms = rest.as_millis(), "cannot accept connections");
                    sleep(rest).await;
                    rest = (2 * rest).min(ACCEPT_REST_MAX);
                }
            }
        }
    }

    fn take_on(self: &Rc<Self>, accepted: Accepted) {
        let Some(slot) = self.slot() else {
            self.counters.refused();
            return self.turn_away(&accepted);
        };
        self.counters.accepted();
        match (accepted, &self.config.tls) {
            (Accepted::Tcp(socket, peer), tls) => {
                // Answers are written whole; waiting to fill a packet would only delay them.
                let _ = socket.set_nodelay(true);
                slot.state.client.is_at(peer);
                let is_proxied = self.config.proxies.trusts(peer.ip());
                match tls {
                    _ if is_proxied => {
                        spawn_local(proxied::serve(socket, peer, self.clone(), slot))
                    }
                    None => spawn_local(Connection::new(socket, self.clone(), slot)),
                    Some(tls) => spawn_local(tls::serve(socket, tls.data(), self.clone(), slot)),
                };
            }
            // All peers of a Unix socket are one address, 0.0.0.0. They do not speak TLS.
            (Accepted::Unix(socket), _) => {
                slot.state.client.is_beyond_pages.set(true);
                spawn_local(Connection::new(socket, self.clone(), slot));
            }
        }
    }

    /// Says why, as far as that goes without waiting.
    fn turn_away(&self, accepted: &Accepted) {
        let _ = accepted.try_read(&mut self.scratch.borrow_mut());
        let _ = match (accepted, &self.config.tls) {
            (Accepted::Tcp(..), Some(_)) => accepted.try_write(NO_PLACE),
            _ => accepted.try_write(&canned::TOO_MANY_CONNECTIONS),
        };
    }

    async fn all_gone(&self) {
        loop {
            // Connections that wait to be accepted are, before it is looked.
            sleep(DRAIN_LOOK).await;
            if self.watched.conns.borrow().is_empty() {
                return;
            }
        }
    }

    /// Answers what was sent. A client cannot know that the server is stopping, so for a short time
    /// requests are still taken, also on new connections; each connection ends after an answer that
    /// says so. Then idle connections are closed, and only requests in flight are waited for.
    async fn drain(&self, accepting: &[JoinHandle<()>]) {
        self.close_hot_path();
        self.is_draining.set(true);
        self.watched.wind_down();
        let grace = GRACE.min(self.config.drain_timeout / 2);
        let is_quiet = timeout(grace, self.all_gone()).await.is_ok();
        accepting.iter().for_each(JoinHandle::abort);
        self.is_grace_over.set(true);
        self.watched.drain();
        let left = self.config.drain_timeout - grace;
        if !is_quiet && timeout(left, self.all_gone()).await.is_err() {
            let left = self.watched.conns.borrow().len();
            tracing::warn!(connections = left, "not all requests were finished in time");
        }
    }
}

/// Serves `listeners` until `stop` says so, and then until what is in flight is finished.
///
/// # Errors
/// The runtime or a listener cannot be set up.
pub(super) fn run(
    listeners: Listeners,
    common: &Common,
    counters: Arc<CachePadded<Counters>>,
    mut stop: watch::Receiver<Stop>,
) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    runtime.block_on(async {
        // The file of a Unix socket is removed when this worker, as the last one, ends.
        let (listeners, _file) = listeners.into_tokio()?;
        let worker = Rc::new(Worker::new(common, counters));
        let caller = worker.service.caller.clone();
        spawn_local(async move { caller.pump().await });
        spawn_local(worker.clone().sweep());
        let accept = |listener| spawn_local(worker.clone().accept(listener));
        let accepting: Vec<_> = listeners.into_iter().map(accept).collect();
        // An error means that nobody can stop us any more: then stop as well.
        let _ = stop.wait_for(|stop| *stop != Stop::No).await;
        tokio::select! {
            () = worker.drain(&accepting) => (),
            _ = stop.wait_for(|stop| *stop == Stop::AtOnce) => {
                let left = worker.watched.conns.borrow().len();
                tracing::warn!(connections = left, "the drain was ended");
            }
        }
        Ok(())
    })
}
