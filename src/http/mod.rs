//! HTTP: the data listener and the admin listener.
//!
//! | folder | what |
//! |---|---|
//! | `server` | sockets, workers, connections, TLS, time limits, the memory budget |
//! | `h1` | HTTP/1.1 before hyper: what has one reading, and the hot path of a resolve |
//! | `h2` | windows of HTTP/2 connections |
//! | `api` | paths, bodies, JSON, answers, problem documents; one exchange |
//! | `ops` | one file for each operation |
//! | `callers` | keys, the limit of misses, quotas, pages in browsers, the audit trail |
//! | `admin` | the admin listener: metrics, statistics, backups, the API's description |
//!
//! How a resolve travels: the worker's epoll wakes the connection, which reads once into its input;
//! hyper parses; `api::exchange` matches the path's bytes, hashes the token, looks it up, and copies the
//! payload into the answer; hyper appends it to the output; the connection writes the output once
//! hyper has nothing more to do. No lock, no channel, no wait, no timer.
//!
//! # Limits (promise P8)
//!
//! | what | default | where |
//! |---|---|---|
//! | connections | 10,000, fewer where descriptors are few | `--max-connections`; one more gets 503 |
//! | head of a request | 64 KiB (HTTP/2: 16 KiB) | 431 |
//! | body | by operation and `--max-payload` × `--max-batch`, at most 16 MiB | 413 |
//! | fields of a head | 100 | 431 |
//! | memory for heads, bodies and answers | 256 MiB | `--max-inflight`; 503 |
//! | of that while more than half is used | an eighth a connection, a quarter a key | 503 |
//! | HTTP/2 heads without a key that wait for their bodies | 256 KiB a connection | 503 |
//! | HTTP/2 stream that takes nothing of its answer | 10 s | `--write-timeout`; reset |
//! | a line with a chunk's size, all trailers | 1 KiB, 8 KiB | 400 |
//! | time for a head, a body, idle, a stalled write | 10 s, 30 s, 60 s, 10 s | `--header-timeout` … |
//! | time for a TLS handshake, which counts as a connection | 5 s | `--tls-handshake-timeout` |
//! | HTTP/2 streams, resets | 128 a connection, 20 | |

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use bytesize::ByteSize;
use crossbeam::utils::CachePadded;
use tokio::sync::watch;

use crate::audit::{self, Audit};
use crate::engine::Engine;
use crate::keys::Keys;
use crate::model::entry::PAYLOAD_LEN_MAX;
use crate::model::namespace::Namespace;
use crate::tls::Tls;

pub mod admin;
pub(crate) mod api;
pub mod callers;
pub mod counters;
#[doc(hidden)]
pub mod h1;
mod h2;
mod ops;
pub mod server;
#[cfg(test)]
mod tests;

use callers::authentication::Anonymous;
use callers::browser::Web;
use callers::miss_limiter::{Guard, MissLimits};
use callers::quotas::Quotas;
use counters::{Counters, Totals};
use ops::resolve::ANSWER_LEN_MAX;
use server::listen::{ListenAddress, Listeners};
use server::memory_budget::Budget;
use server::worker::Common;

/// The most tokens that `--max-batch` can allow.
const BATCH_MAX: usize = 100_000;
/// The longest body of any request, in bytes.
const BODY_LEN_MAX: usize = 16 << 20;
/// What an issue may have beside its payload, in bytes.
const ISSUE_BESIDE_LEN: usize = 4 << 10;
/// What a token of a list may take at most: a reference with every character escaped.
const LISTED_LEN_MAX: usize = 1 << 10;
/// What a token takes at most in the answer to a batch of issues, or why it was not issued.
const ISSUED_LEN_MAX: usize = 512;

/// Time limits of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From the first byte of a request to the end of its head.
    pub header_timeout: Duration,
    /// For the whole body of a request.
    pub body_timeout: Duration,
    /// For a connection on which nothing happens.
    pub idle_timeout: Duration,
    /// For a peer that takes nothing of what is sent to it.
    pub write_timeout: Duration,
    /// From the begin of a connection to the end of its TLS handshake.
    pub tls_handshake_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(10),
            tls_handshake_timeout: Duration::from_secs(5),
        }
    }
}

/// How requests are served.
#[derive(Clone, Debug)]
pub struct Config {
    /// Threads, each with a listener of its own.
    pub workers: usize,
    /// The life of a token that is issued without one.
    pub default_ttl: Duration,
    /// The longest life that a token can be issued for.
    pub max_ttl: Duration,
    /// The longest payload, in bytes.
    pub max_payload: usize,
    /// The most tokens in a batch.
    pub max_batch: usize,
    /// The most connections, over all workers.
    pub max_connections: usize,
    /// Bytes of bodies and answers held for clients, over all workers.
    pub max_inflight: usize,
    /// Time limits.
    pub limits: Limits,
    /// How long requests in flight may take when the server is stopped.
    pub drain_timeout: Duration,
    /// Who may do what; `None`: everybody everything.
    pub keys: Option<Keys>,
    /// Where it is told who did what.
    pub audit: Option<Audit>,
    /// What may be done without a key where there are keys.
    pub anonymous: Option<Anonymous>,
    /// Which pages in a browser may ask.
    pub web: Web,
    /// How many misses are allowed.
    pub miss_limits: MissLimits,
    /// What namespaces may use.
    pub quotas: Quotas,
    /// What connections begin with; `None`: plain TCP.
    pub tls: Option<Tls>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            default_ttl: Duration::from_secs(15 * 60),
            max_ttl: Duration::from_secs(30 * 24 * 3600),
            max_payload: 64 << 10,
            max_batch: 1000,
            max_connections: 10_000,
            max_inflight: 256 << 20,
            limits: Limits::default(),
            drain_timeout: Duration::from_secs(10),
            keys: None,
            audit: None,
            anonymous: None,
            web: Web::default(),
            miss_limits: MissLimits::default(),
            quotas: Quotas::default(),
            tls: None,
        }
    }
}

impl Config {
    /// Adds what is wrong with this configuration to `mistakes`, each with its flag.
    pub fn validate(&self, mistakes: &mut Vec<String>) {
        let mut range = |flag: &str, value: usize, min: usize, max: usize| {
            if !(min..=max).contains(&value) {
                mistakes.push(format!("{flag} must be {min} to {max}, not {value}"));
            }
        };
        range("--workers", self.workers, 1, 1024);
        range("--max-payload", self.max_payload, 1, PAYLOAD_LEN_MAX);
        range("--max-batch", self.max_batch, 1, BATCH_MAX);
        range("--max-connections", self.max_connections, 1, 1_000_000);
        range("--max-inflight", self.max_inflight, BODY_LEN_MAX, 1 << 40);
        let inflight_min = Budget::limit_min(self.exchange_len_max());
        let are_limits_right = (1..=BATCH_MAX).contains(&self.max_batch)
            && (1..=PAYLOAD_LEN_MAX).contains(&self.max_payload);
        // Of limits that are out of range nothing follows.
        if are_limits_right && (BODY_LEN_MAX..inflight_min).contains(&self.max_inflight) {
            // Rounded up, so that what is named is enough.
            let min = inflight_min.div_ceil(1 << 20);
            let largest = ByteSize(self.exchange_len_max() as u64).display().iec();
            mistakes.push(format!(
                "--max-inflight must be at least {min}MiB with this --max-batch and --max-payload: \
                 a request and its answer may take {largest}, and a client's share is a quarter"
            ));
        }
        if self.default_ttl < Duration::from_millis(1) || self.default_ttl > self.max_ttl {
            let max = humantime::format_duration(self.max_ttl);
            mistakes.push(format!("--default-ttl must be 1ms to --max-ttl, which is {max}"));
        }
        let limits = &self.limits;
        for (flag, limit) in [
            ("--header-timeout", limits.header_timeout),
            ("--body-timeout", limits.body_timeout),
            ("--idle-timeout", limits.idle_timeout),
            ("--write-timeout", limits.write_timeout),
            ("--tls-handshake-timeout", limits.tls_handshake_timeout),
        ] {
            if limit < Duration::from_millis(250) || limit > Duration::from_secs(3600) {
                mistakes.push(format!("{flag} must be 250ms to 1h"));
            }
        }
    }

    fn issue_body_len_max(&self) -> usize {
        self.max_payload.saturating_add(ISSUE_BESIDE_LEN)
    }

    fn issue_batch_body_len_max(&self) -> usize {
        (self.issue_body_len_max().saturating_mul(self.max_batch)).min(BODY_LEN_MAX)
    }

    /// What the largest request takes together with its answer.
    fn exchange_len_max(&self) -> usize {
        let issued = ISSUED_LEN_MAX.saturating_mul(self.max_batch);
        let answer_len_max = self.max_payload.saturating_add(1).max(ISSUED_LEN_MAX);
        let payloads = self.max_batch.saturating_mul(answer_len_max);
        let listed = self.list_body_len_max().saturating_add(payloads.min(ANSWER_LEN_MAX));
        listed.max(self.issue_batch_body_len_max().saturating_add(issued))
    }

    /// The memory for clients, of which nothing is taken.
    fn budget(&self) -> Budget {
        Budget::new(self.max_inflight, self.exchange_len_max(), self.keys.is_some())
    }

    fn list_body_len_max(&self) -> usize {
        LISTED_LEN_MAX
            .saturating_mul(self.max_batch)
            .saturating_add(ISSUE_BESIDE_LEN)
            .min(BODY_LEN_MAX)
    }
}

/// How far stopping is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    No,
    /// What is in flight is finished first.
    Drained,
    AtOnce,
}

/// Ends the drain of a server that is being stopped.
pub struct EndDrain(watch::Sender<Stop>);

impl EndDrain {
    /// Requests in flight are no longer waited for. Does nothing once the workers have ended.
    pub fn end(&self) {
        self.0.send_replace(Stop::AtOnce);
    }
}

/// The workers, serving.
pub struct Server {
    stop: watch::Sender<Stop>,
    threads: Vec<JoinHandle<io::Result<()>>>,
    gauges: Gauges,
    address: ListenAddress,
}

/// What can be asked of the workers while they serve.
#[derive(Clone)]
pub struct Gauges {
    counters: Vec<Arc<CachePadded<Counters>>>,
    open: Arc<AtomicUsize>,
    budget: Budget,
    guard: Guard,
    quotas: Quotas,
    audit: Option<Audit>,
}

impl Gauges {
    /// All counters of all workers together.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for counters in &self.counters {
            counters.add_to(&mut totals);
        }
        totals
    }

    /// Connections open at the moment.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Where it is told who did what.
    fn audit(&self) -> Option<&Audit> {
        self.audit.as_ref()
    }

    /// What is counted about the audit log; nothing where there is none.
    #[must_use]
    pub fn audited(&self) -> Option<audit::Stats> {
        self.audit.as_ref().map(Audit::stats)
    }

    /// Misses that were refused for their number.
    #[must_use]
    pub fn misses_refused(&self) -> u64 {
        self.guard.refused()
    }

    /// Each namespace with limits, and how often it was refused to issue for its rate.
    pub fn issues_refused(&self) -> impl Iterator<Item = (&Namespace, u64)> {
        self.quotas.refused()
    }

    /// Bytes of bodies and answers held for clients at the moment; small ones do not count.
    #[must_use]
    pub fn inflight_bytes(&self) -> usize {
        self.budget.used()
    }
}

impl Server {
    /// Starts a worker for each of `listeners` (see [`bind`](server::listen::bind)).
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn start(
        engine: &Engine,
        config: &Config,
        listeners: Vec<Listeners>,
    ) -> io::Result<Server> {
        let address = match listeners.first() {
            Some(first) => first.address().clone(),
            None => return Err(io::ErrorKind::InvalidInput.into()),
        };
        let (stop, stopped) = watch::channel(Stop::No);
        let mut server = Server {
            stop,
            threads: Vec::with_capacity(listeners.len()),
            gauges: Gauges {
                counters: Vec::new(),
                open: Arc::default(),
                budget: config.budget(),
                guard: Guard::new(config.miss_limits),
                quotas: config.quotas.clone(),
                audit: config.audit.clone(),
            },
            address,
        };
        for (number, listeners) in listeners.into_iter().enumerate() {
            let counters = Arc::<CachePadded<Counters>>::default();
            server.gauges.counters.push(counters.clone());
            let common = Common {
                engine: engine.clone(),
                config: config.clone(),
                budget: server.gauges.budget.clone(),
                guard: server.gauges.guard.clone(),
                open: server.gauges.open.clone(),
            };
            let stopped = stopped.clone();
            let thread = std::thread::Builder::new()
                .name(format!("jeton-worker-{number}"))
                .spawn(move || server::worker::run(listeners, &common, counters, stopped))?;
            server.threads.push(thread);
        }
        Ok(server)
    }

    /// Where the workers listen.
    #[must_use]
    pub fn address(&self) -> &ListenAddress {
        &self.address
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
        // One that was ended before it began stays so.
        self.stop.send_if_modified(|stop| {
            let begins = *stop == Stop::No;
            if begins {
                *stop = Stop::Drained;
            }
            begins
        });
        let mut result = Ok(());
        for thread in self.threads {
            let ended = thread.join();
            result =
                result.and(ended.unwrap_or_else(|_| Err(io::Error::other("a worker panicked"))));
        }
        result
    }
}
