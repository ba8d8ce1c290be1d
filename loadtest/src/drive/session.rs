//! Threads that stay for several phases: the population is issued once, then load is measured once
//! or, for a search or for rounds, several times.

mod endpoint;
mod observer;

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::drive::clock::{Clock, nanos};
use crate::drive::connects::Connecting;
use crate::drive::histogram::{add, coarse_latencies};
use crate::drive::pace::Pace;
use crate::drive::record::Record;
use crate::drive::shared::Shared;
use crate::drive::window::Window;
use crate::drive::worker::{Phase, Reach, Worker};
use crate::failure::{Failure, Result, io};
use crate::target::usage::{self, Cpu, Watched};
use crate::tls::Handshake;
use crate::traffic::arrivals::{Arrivals, Share};
use crate::traffic::payload::Payloads;
use crate::traffic::plan::{Plan, Tokens};
use crate::traffic::rng;
use crate::workload::{Connect, Operation, Workload};

pub use endpoint::Endpoint;
pub use observer::{Length, News, Observer, Silent};

/// The main thread looks at the counters so often.
const LOOK: Duration = Duration::from_millis(200);
/// Streams of random numbers for arrivals lie here, apart from those of the plans.
const ARRIVALS: u64 = 1 << 32;
/// All threads begin a phase together, this long after it was sent to them.
const LEAD_NS: u64 = 2_000_000;

/// CPU times and counts of one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading {
    /// On the session's clock.
    pub at_ns: u64,
    /// Answers so far.
    pub answers: u64,
    /// Tokens so far.
    pub tokens: u64,
    /// Of the server.
    pub server: Option<Cpu>,
    /// Of this process.
    pub client: Cpu,
    /// Seconds that the whole machine was busy.
    pub machine_s: Option<f64>,
}

/// How a phase is to be.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// Requests a second; none for a closed loop.
    pub rate: Option<f64>,
    /// Not measured.
    pub warm_up: Duration,
    /// Measured.
    pub duration: Duration,
    /// Part of the warm-up.
    pub ramp: Duration,
}

/// The results of a phase.
pub struct Measured {
    /// Counts of all threads.
    pub record: Record,
    /// At the begin of the measured part, at each end of a slice, and at its end.
    pub readings: Vec<Reading>,
}

struct Thread {
    phases: Sender<Phase>,
    shared: Arc<Shared>,
    handle: Option<JoinHandle<()>>,
}

/// Connections with their tokens, ready for load.
pub struct Session {
    clock: Clock,
    workload: Workload,
    /// Servers.
    nodes: usize,
    tokens: Tokens,
    threads: Vec<Thread>,
    records: Receiver<Result<Record>>,
}

impl Session {
    /// Connects. `stop` ends any phase early.
    ///
    /// # Errors
    /// No server is there, a file of payloads can't be read, or there are too few descriptors.
    pub fn open(
        workload: &Workload,
        endpoints: &[Endpoint],
        payloads: &Arc<Payloads>,
        stop: &Arc<AtomicBool>,
    ) -> Result<Self> {
        Self::open_with(workload, Tokens::default(), endpoints, payloads, stop)
    }

    /// The same with tokens of its own, beside other sessions.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_with(
        workload: &Workload,
        tokens: Tokens,
        endpoints: &[Endpoint],
        payloads: &Arc<Payloads>,
        stop: &Arc<AtomicBool>,
    ) -> Result<Self> {
        let clock = Clock::start();
        let (results, records) = channel();
        let failed = Arc::new(AtomicBool::new(false));
        let count = workload.load.threads.min(workload.load.connections).max(1);
        let mut threads = Vec::with_capacity(count);
        for thread in 0..count {
            let share = Share { thread, threads: count };
            let shared = Arc::new(Shared::new(Arc::clone(stop), Arc::clone(&failed)));
            let payloads = Arc::clone(payloads);
            let Some(first) = endpoints.first() else {
                return Err(Failure::Input("no server is given".to_owned()));
            };
            let plan = Plan::new(workload, first.protocol, payloads, share, tokens)?;
            let plan = plan.of_nodes(endpoints.len());
            let connections = share.of(workload.load.connections as u64) as usize;
            let reach = Reach {
                places: endpoints.iter().map(Endpoint::place).collect(),
                first: thread,
                timeout_ns: nanos(workload.load.timeout.0),
            };
            let worker = Worker::connect(reach, clock, plan, connections, Arc::clone(&shared))?;
            let (phases, orders) = channel();
            let (results, failed) = (results.clone(), Arc::clone(&failed));
            let handle = std::thread::Builder::new()
                .name(format!("load-{thread}"))
                .spawn(move || work(worker, &orders, &results, &failed))
                .map_err(io("a thread"))?;
            threads.push(Thread { phases, shared, handle: Some(handle) });
        }
        let (workload, nodes) = (workload.clone(), endpoints.len());
        Ok(Self { clock, workload, nodes, tokens, threads, records })
    }

    /// Issues the population.
    ///
    /// `server` is the process of the server, where it is known.
    ///
    /// # Errors
    /// The server went away.
    pub fn load(
        &mut self,
        observer: &mut dyn Observer,
        server: Option<Watched>,
    ) -> Result<Measured> {
        observer.phase("issue tokens", Length::Requests(self.workload.keys.population));
        let depth = self.tokens.load_depth.unwrap_or(self.workload.load.depth);
        self.complete(|_| Pace::Load, depth, observer, server)
    }

    /// Makes `requests` requests of one operation, whatever the mix says, as fast as they are
    /// answered; a consume of several rivals counts once. What finds no token issues one and counts as
    /// substituted.
    ///
    /// # Errors
    /// The server went away.
    pub fn perform(
        &mut self,
        operation: Operation,
        requests: u64,
        observer: &mut dyn Observer,
    ) -> Result<Measured> {
        observer.phase(operation.name(), Length::Requests(requests));
        let threads = self.threads.len();
        let pace = |thread| Pace::Times { operation, left: Share { thread, threads }.of(requests) };
        self.complete(pace, self.workload.load.depth, observer, None)
    }

    /// A phase that ends when all was sent and answered, however long that takes.
    fn complete(
        &mut self,
        pace: impl Fn(usize) -> Pace,
        depth: usize,
        observer: &mut dyn Observer,
        server: Option<Watched>,
    ) -> Result<Measured> {
        let begin_ns = self.clock.now_ns();
        // How long it takes is the server's to say; a server that is gone is noticed by the worker.
        let end_ns = u64::MAX / 4;
        let window = Window { from_ns: begin_ns, to_ns: begin_ns + 1_000_000_000 };
        let joining_ns = (begin_ns, begin_ns);
        let phases = (0..self.threads.len())
            .map(|thread| {
                let (pace, connecting) = (pace(thread), Connecting::Once);
                Phase { pace, connecting, depth, end_ns, window, joining_ns }
            })
            .collect();
        self.run(phases, window, false, observer, server)
    }

    /// Puts load on the server and measures.
    ///
    /// `server` is the process of the server, where it is known.
    ///
    /// # Errors
    /// The system refuses to wait.
    pub fn measure(
        &mut self,
        spec: Spec,
        observer: &mut dyn Observer,
        server: Option<Watched>,
    ) -> Result<Measured> {
        let begin_ns = self.clock.now_ns() + LEAD_NS;
        let from_ns = begin_ns + nanos(spec.warm_up);
        let window = Window { from_ns, to_ns: from_ns + nanos(spec.duration) };
        let length = Length::Time(spec.warm_up + spec.duration);
        let name = spec.rate.map_or("load".to_owned(), |rate| format!("{rate:.0} requests/s"));
        observer.phase(&name, length);
        let count = self.threads.len();
        let connecting = match self.workload.load.connect {
            Connect::Once => Connecting::Once,
            Connect::Full => Connecting::Each(Handshake::Full),
            Connect::Resumed => Connecting::Each(Handshake::Resumed),
            Connect::Both => Connecting::InTurn(window),
        };
        let phases = (0..count)
            .map(|thread| {
                let ramp_end_ns = begin_ns + nanos(spec.ramp);
                let (pace, joined_ns) = match spec.rate {
                    None => (Pace::Closed, ramp_end_ns),
                    Some(rate) => {
                        let share = Share { thread, threads: count };
                        let kind = self.workload.load.arrivals;
                        let rng = rng(self.workload.seed, ARRIVALS + thread as u64);
                        let arrivals = Arrivals::new(rate, kind, spec.ramp, share, rng);
                        (Pace::open(arrivals, begin_ns), begin_ns)
                    }
                };
                let joining_ns = (begin_ns, joined_ns);
                let depth = self.workload.load.depth;
                let end_ns = window.to_ns;
                Phase { pace, connecting, depth, end_ns, window, joining_ns }
            })
            .collect();
        self.run(phases, window, true, observer, server)
    }

    fn run(
        &mut self,
        phases: Vec<Phase>,
        window: Window,
        slices: bool,
        observer: &mut dyn Observer,
        server: Option<Watched>,
    ) -> Result<Measured> {
        let begin_ns = self.clock.now_ns();
        let (answers, errors) = (self.answers(), self.errors());
        for (thread, phase) in self.threads.iter().zip(phases) {
            if thread.phases.send(phase).is_err() {
                return Err(Failure::Input("a thread of the harness ended".to_owned()));
            }
        }
        let mut watch = Watch { begin_ns, answers, errors, readings: Vec::new() };
        if slices {
            for slice in 0..=window.slices() as u64 {
                let at_ns = (window.from_ns + slice * window.slice_ns()).min(window.to_ns);
                self.look_until(at_ns, &watch, observer);
                watch.readings.push(self.reading(server));
            }
        }
        let mut merged = Record::of_nodes(window, self.nodes);
        let mut left = self.threads.len();
        while left > 0 {
            match self.records.recv_timeout(LOOK) {
                Ok(record) => {
                    merged.merge(&record?);
                    left -= 1;
                }
                Err(RecvTimeoutError::Timeout) => self.tell(&watch, observer),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Failure::Input("the threads of the harness ended".to_owned()));
                }
            }
        }
        Ok(Measured { record: merged, readings: watch.readings })
    }

    /// Waits, with news now and then; a stop ends it early, and so does a thread that failed.
    fn look_until(&self, at_ns: u64, watch: &Watch, observer: &mut dyn Observer) {
        loop {
            let now_ns = self.clock.now_ns();
            let stopped = self.threads.iter().any(|thread| thread.shared.is_stopped());
            if now_ns >= at_ns || stopped {
                return;
            }
            let next_ns = now_ns + nanos(LOOK);
            self.clock.sleep_until(next_ns.min(at_ns));
            if next_ns <= at_ns || watch.readings.len().is_multiple_of(2) {
                self.tell(watch, observer);
            }
        }
    }

    fn tell(&self, watch: &Watch, observer: &mut dyn Observer) {
        let mut recent_ns = coarse_latencies();
        for thread in &self.threads {
            let mut recent = thread.shared.recent.lock().unwrap_or_else(PoisonError::into_inner);
            add(&mut recent_ns, &recent);
            recent.reset();
        }
        observer.tick(&News {
            elapsed: Duration::from_nanos(self.clock.now_ns().saturating_sub(watch.begin_ns)),
            answers: self.answers() - watch.answers,
            errors: self.errors() - watch.errors,
            recent_ns,
        });
    }

    fn reading(&self, server: Option<Watched>) -> Reading {
        Reading {
            at_ns: self.clock.now_ns(),
            answers: self.answers(),
            tokens: self.sum(|shared| &shared.tokens),
            server: server.and_then(|process| process.cpu().ok()),
            client: usage::cpu(std::process::id()).unwrap_or_default(),
            machine_s: usage::machine_busy_s(),
        }
    }

    fn answers(&self) -> u64 {
        self.sum(|shared| &shared.answers)
    }

    fn errors(&self) -> u64 {
        self.sum(|shared| &shared.errors)
    }

    fn sum(&self, counter: impl Fn(&Shared) -> &AtomicU64) -> u64 {
        self.threads.iter().map(|one| counter(&one.shared).load(Ordering::Relaxed)).sum()
    }
}

struct Watch {
    begin_ns: u64,
    answers: u64,
    errors: u64,
    readings: Vec<Reading>,
}

impl Drop for Session {
    fn drop(&mut self) {
        for thread in self.threads.drain(..) {
            drop(thread.phases);
            if let Some(handle) = thread.handle {
                // A panic of the thread was printed when it happened.
                let _ = handle.join();
            }
        }
    }
}

fn work(
    mut worker: Worker,
    phases: &Receiver<Phase>,
    results: &Sender<Result<Record>>,
    failed: &AtomicBool,
) {
    // The kernel lets a waiting thread sleep 50 µs too long, which an open loop would count as the
    // server's latency. Where it refuses, that stays so.
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
    while let Ok(phase) = phases.recv() {
        let result = worker.run(phase);
        failed.fetch_or(result.is_err(), Ordering::Relaxed);
        if results.send(result).is_err() {
            return;
        }
    }
}
