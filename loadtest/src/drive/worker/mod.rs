//! The loop of one thread: wait, read and judge answers, send what is due.

mod admission;
mod bytes;
mod connect;
mod desk;
mod exchange;
mod first;
mod limits;
mod mend;
mod wait;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use hdrhistogram::Histogram;
use rustix::event::epoll;

use crate::drive::clock::Clock;
use crate::drive::connects::{Connecting, Connects};
use crate::drive::delays::Delays;
use crate::drive::histogram::coarse_latencies;
use crate::drive::link::Link;
use crate::drive::pace::Pace;
use crate::drive::record::Record;
use crate::drive::shared::Shared;
use crate::drive::window::Window;
use crate::failure::{Result, io};
use crate::protocol::Codec;
use crate::tls::Tls;
use crate::traffic::plan::Plan;
use admission::Admission;
use limits::Limits;

/// Interval of the housekeeping: time limits, connection attempts, latencies for the main thread.
const TICK_NS: u64 = 100_000_000;
/// Bytes that one read may return.
const READ_BYTES: usize = 256 * 1024;
/// Events that one wait may return.
const EVENTS: usize = 256;
/// Waits for pending events before a phase, at most.
const CATCH_UPS_MAX: usize = 1_000;
/// The pause between two attempts to connect.
const RETRY_NS: u64 = 200_000_000;

/// Makes the codec of a new connection.
pub type MakeCodec = Arc<dyn Fn() -> Box<dyn Codec> + Send + Sync>;

/// Where a server listens, and how it is asked.
#[derive(Clone)]
pub struct Place {
    /// Where it listens.
    pub address: SocketAddr,
    /// The protocol.
    pub make_codec: MakeCodec,
    /// TLS below that, if any.
    pub tls: Option<Tls>,
}

/// How a thread reaches its servers.
#[derive(Clone)]
pub struct Reach {
    /// At least one. Connections are made to them in turn.
    pub places: Vec<Place>,
    /// The one of the first connection.
    pub first: usize,
    /// A request without an answer counts as lost after this time.
    pub timeout_ns: u64,
}

impl Reach {
    /// The server of a connection.
    fn node(&self, index: usize) -> usize {
        (self.first + index) % self.places.len().max(1)
    }

    fn place(&self, index: usize) -> &Place {
        &self.places[self.node(index)]
    }

    /// All addresses, for an error.
    fn text(&self) -> String {
        let addresses = self.places.iter().map(|place| place.address.to_string());
        addresses.collect::<Vec<_>>().join(", ")
    }
}

/// One part of a session's time, for one thread.
pub struct Phase {
    /// When requests are due.
    pub pace: Pace,
    /// How often connections are made.
    pub connecting: Connecting,
    /// Requests under way on one connection.
    pub depth: usize,
    /// Nothing is sent that is due from here on; on the session's clock.
    pub end_ns: u64,
    /// What is measured.
    pub window: Window,
    /// Connections join in one after the other from the first to the second of these.
    pub joining_ns: (u64, u64),
}

/// One thread's connections and plan.
pub struct Worker {
    reach: Reach,
    clock: Clock,
    epoll: OwnedFd,
    links: Vec<Link>,
    plan: Plan,
    shared: Arc<Shared>,
    buffer: Vec<u8>,
    /// Plain text of what came by TLS.
    opened: Vec<u8>,
    /// Of connections that were made before the phase.
    connects: Connects,
    /// Latencies since they were last published, for the progress line.
    recent: Histogram<u64>,
    in_flight: usize,
    /// When the time of each request under way is up, the next one first.
    limits: Limits,
    /// The connections that are served now became ready between these moments; used where each request
    /// has its own connection.
    ready_ns: (u64, u64),
}

/// What changes while a phase runs.
struct Run {
    phase: Phase,
    record: Record,
    /// Connections that can take a request, in the order in which they became free.
    ready: VecDeque<usize>,
    /// Connections that take part; grows during a ramp.
    joined: usize,
    next_tick_ns: u64,
    /// No request is left to send: the population is complete, or all were sent.
    exhausted: bool,
    /// When a connection was last seen open.
    alive_ns: u64,
    /// When an answer last came.
    answered_ns: u64,
    /// When what is still owed is given up.
    give_up_ns: u64,
    /// Whether the server accepts requests.
    admission: Admission,
    /// When a connection was last missing: since then one is free.
    free_since_ns: u64,
    /// Pauses of the harness.
    delays: Delays,
}

impl Worker {
    /// Opens `connections` of them.
    ///
    /// # Errors
    /// No server is there, it is silent, the system has no more descriptors, or a signal came.
    pub fn connect(
        reach: Reach,
        clock: Clock,
        plan: Plan,
        connections: usize,
        shared: Arc<Shared>,
    ) -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(io("epoll"))?;
        let mut links = Vec::with_capacity(connections);
        for index in 0..connections {
            let place = reach.place(index);
            let tls = place.tls.as_ref().map(Tls::of_link);
            links.push(Link::new((place.make_codec)(), tls));
        }
        let buffer = vec![0; READ_BYTES];
        let recent = coarse_latencies();
        let mut worker = Self {
            reach,
            clock,
            epoll,
            links,
            plan,
            shared,
            buffer,
            opened: Vec::new(),
            connects: Connects::default(),
            recent,
            in_flight: 0,
            limits: Limits::default(),
            ready_ns: (0, 0),
        };
        worker.open_all()?;
        Ok(worker)
    }

    /// Works through a phase, until every answer is in or its time is up.
    ///
    /// # Errors
    /// The system refuses to wait.
    pub fn run(&mut self, phase: Phase) -> Result<Record> {
        let substituted = self.plan.substituted();
        let mut record = Record::of_nodes(phase.window, self.reach.places.len());
        record.connects = std::mem::take(&mut self.connects);
        let now_ns = self.clock.now_ns();
        // Requests are due from its begin on, whenever the thread wakes.
        let begin_ns = phase.joining_ns.0.min(now_ns);
        let mut run = Run {
            record,
            ready: VecDeque::new(),
            joined: 0,
            next_tick_ns: now_ns + TICK_NS,
            exhausted: false,
            alive_ns: now_ns,
            answered_ns: now_ns,
            give_up_ns: phase.end_ns + self.reach.timeout_ns,
            admission: Admission::new(now_ns),
            free_since_ns: 0,
            delays: Delays::of_this_thread(begin_ns),
            phase,
        };
        let mut events = Vec::with_capacity(EVENTS);
        self.catch_up(&mut run, &mut events)?;
        loop {
            let now_ns = self.reached(&mut run);
            self.join_in(&mut run, now_ns);
            self.send_due(&mut run);
            if now_ns >= run.next_tick_ns {
                self.tick(&mut run, now_ns);
                self.lets_in(&run, now_ns)?;
                self.still_answers(&run, now_ns)?;
                if let Err(failure) = self.still_there(&mut run, now_ns) {
                    if run.phase.pace.is_bounded_by_requests() {
                        return Err(failure);
                    }
                    // The measurement until now is still reported.
                    run.record.gone = Some(failure.to_string());
                    self.shared.fail();
                    break;
                }
            }
            if self.is_over(&run, now_ns) {
                break;
            }
            let asked_ns = self.wait(&mut run, &mut events)?;
            for event in &events {
                self.serve(&mut run, event.data.u64() as usize, event.flags);
            }
            // A full list of events may be cut off, and an answer may be among the rest.
            if events.len() < EVENTS {
                self.expire(&mut run, asked_ns);
            }
        }
        let now_ns = self.reached(&mut run);
        run.record.settle(run.delays.look(now_ns));
        run.record.ended_ns = now_ns;
        self.give_up_the_rest(&mut run);
        run.record.substituted = self.plan.substituted() - substituted;
        run.record.living = self.plan.living();
        Ok(run.record)
    }

    /// Handles connections that the server closed between two phases, before any is used.
    fn catch_up(&mut self, run: &mut Run, events: &mut Vec<epoll::Event>) -> Result<()> {
        // A server that closes every connection must not prevent the begin of the phase.
        for _ in 0..CATCH_UPS_MAX {
            self.wait_until(0, events)?;
            if events.is_empty() {
                break;
            }
            for event in events.drain(..) {
                self.serve(run, event.data.u64() as usize, event.flags);
            }
        }
        Ok(())
    }

    fn is_over(&self, run: &Run, now_ns: u64) -> bool {
        // The limit of a connection is looked at once a tick.
        let more_ns = if self.is_connecting(run) { 2 * TICK_NS } else { 0 };
        if self.shared.is_stopped() || now_ns >= run.give_up_ns + more_ns {
            return true;
        }
        let nothing_due = match run.phase.pace {
            Pace::Load | Pace::Times { .. } => run.exhausted,
            Pace::Closed => now_ns >= run.phase.end_ns,
            Pace::Open { next_ns, .. } => next_ns >= run.phase.end_ns,
        };
        nothing_due && self.in_flight == 0 && !self.is_connecting(run)
    }

    /// Lets connections take part whose time has come.
    fn join_in(&mut self, run: &mut Run, now_ns: u64) {
        if run.joined == self.links.len() {
            return;
        }
        let (from_ns, to_ns) = run.phase.joining_ns;
        let due = if now_ns >= to_ns {
            self.links.len()
        } else {
            let part = now_ns.saturating_sub(from_ns) as f64 / (to_ns - from_ns) as f64;
            ((self.links.len() as f64 * part) as usize).max(1)
        };
        while run.joined < due {
            let index = run.joined;
            run.joined += 1;
            match run.phase.connecting.at(now_ns) {
                Some(handshake) => self.connect_anew(run, index, handshake),
                None => {
                    self.links[index].queued = true;
                    run.ready.push_back(index);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
