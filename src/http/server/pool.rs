//! The workers together: started, and stopped.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam::utils::CachePadded;
use tokio::sync::watch;

use crate::engine::Engine;
use crate::http::config::Config;
use crate::http::conn::context::Common;
use crate::http::server::gauges::Gauges;
use crate::http::server::worker;
use crate::net::listen::{ListenAddress, Listeners};
use crate::net::places::Places;
use crate::net::stop::{EndDrain, Stop, begin_drain};
use crate::service::counters::Counters;
use crate::service::state::Shared;

/// The workers, serving.
pub struct Server {
    stop: watch::Sender<Stop>,
    threads: Vec<JoinHandle<io::Result<()>>>,
    gauges: Gauges,
    common: Common,
    address: ListenAddress,
}

impl Server {
    /// Starts a worker for each of `listeners` (see [`bind`](crate::net::listen::bind)).
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn start(engine: &Engine, config: &Config, listeners: Vec<Listeners>) -> io::Result<Self> {
        let address = match listeners.first() {
            Some(first) => first.address().clone(),
            None => return Err(io::ErrorKind::InvalidInput.into()),
        };
        if let (Some(audit), Some(reads)) = (&config.audit, &config.reads) {
            audit.of_node(reads.node());
        }
        let common = Common::new(engine, config);
        let (stop, stopped) = watch::channel(Stop::No);
        let threads = Vec::with_capacity(listeners.len());
        let gauges = Gauges::new(&common.shared, common.places.clone());
        let mut server = Self { stop, threads, gauges, common, address };
        for (number, listeners) in listeners.into_iter().enumerate() {
            let counters = Arc::<CachePadded<Counters>>::default();
            server.gauges.count_with(counters.clone());
            let common = server.common.clone();
            let stopped = stopped.clone();
            let thread = std::thread::Builder::new()
                .name(format!("jeton-worker-{number}"))
                .spawn(move || worker::run(listeners, &common, counters, stopped))?;
            server.threads.push(thread);
        }
        Ok(server)
    }

    /// Where the workers listen.
    #[must_use]
    pub fn address(&self) -> &ListenAddress {
        &self.address
    }

    /// What the workers of another protocol in front of the same tokens share with these.
    #[must_use]
    pub fn shared(&self) -> (Shared, Places) {
        (self.common.shared.clone(), self.common.places.clone())
    }

    /// What can be asked of them while they serve.
    #[must_use]
    pub fn gauges(&self) -> Gauges {
        self.gauges.clone()
    }

    /// Ends the drain of [`Server::stop`] from another thread.
    #[must_use]
    pub fn end_drain(&self) -> EndDrain {
        EndDrain(self.stop.clone())
    }

    /// Takes requests for at most one more second, finishes what is in flight (for at most
    /// [`Config::drain_timeout`], or until [`EndDrain::end`]), and returns when all workers have
    /// ended.
    ///
    /// # Errors
    /// A worker had failed.
    pub fn stop(self) -> io::Result<()> {
        begin_drain(&self.stop);
        let mut result = Ok(());
        for thread in self.threads {
            let ended = thread.join();
            result =
                result.and(ended.unwrap_or_else(|_| Err(io::Error::other("a worker panicked"))));
        }
        result
    }
}
