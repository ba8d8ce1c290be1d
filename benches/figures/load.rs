//! The load generator: one thread, one epoll instance, any number of connections.
//!
//! It only knows how to move bytes and when. What is asked and what must be answered is a
//! [`Work`]'s to say, so that every server is asked in the same way.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};

use crate::failure::{Failure, Result, io};
use crate::wire::{self, Protocol};

/// A server that has not answered for this long is taken for dead.
const SILENCE: Duration = Duration::from_secs(60);
const TIMER: u64 = u64::MAX;
const INPUT_BYTES: usize = 16 * 1024;

/// What is asked, and what must come back.
pub trait Work {
    /// Appends one request; gives a ticket that its answer is checked against, or `None` when
    /// there is nothing left to ask.
    fn request(&mut self, output: &mut Vec<u8>) -> Option<u64>;

    /// Checks one whole answer; gives the number of operations it completed, or what differs.
    fn answer(&mut self, ticket: u64, answer: &[u8]) -> std::result::Result<u64, String>;
}

/// When requests are sent.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Requests sent together on a connection that has no answer outstanding.
    pub depth: usize,
    /// Time between two such sendings over all connections; `None` sends as soon as a connection
    /// is free. With a time, latency counts from when the request was due, not from when a slow
    /// server let it be sent.
    pub every: Option<Duration>,
}

impl Pace {
    /// Each connection always has `depth` requests under way.
    pub fn closed(depth: usize) -> Self {
        Self { depth, every: None }
    }

    /// `bursts_per_s` times a second `depth` requests, whatever the server does.
    pub fn open(depth: usize, bursts_per_s: f64) -> Self {
        Self { depth, every: Some(Duration::from_secs_f64(1.0 / bursts_per_s)) }
    }
}

/// What a run of the generator came to.
pub struct Measured {
    /// Operations completed; a batch of 100 is 100 of them.
    pub operations: u64,
    /// From the first request to the last answer.
    pub elapsed: Duration,
    /// Nanoseconds from request to answer, one value for each answer.
    pub latency_ns: Histogram<u64>,
}

impl Measured {
    fn new() -> Self {
        Self { operations: 0, elapsed: Duration::ZERO, latency_ns: latency_histogram() }
    }
}

/// A histogram for latencies from 1 ns to 10 minutes, with three significant digits.
pub fn latency_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 600_000_000_000, 3).expect("the bounds and digits are constants")
}

/// The connections to one server.
pub struct Client {
    protocol: Protocol,
    epoll: OwnedFd,
    timer: OwnedFd,
    connections: Vec<Connection>,
}

/// The state of one run.
struct Run {
    pace: Pace,
    until: Option<Instant>,
    due: Instant,
    finished: bool,
    idle: Vec<usize>,
    in_flight: usize,
    measured: Measured,
}

impl Client {
    /// Opens the connections.
    pub fn connect(address: SocketAddr, protocol: Protocol, connections: usize) -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(io("epoll"))?;
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags).map_err(io("timerfd"))?;
        epoll::add(&epoll, &timer, epoll::EventData::new_u64(TIMER), epoll::EventFlags::IN)
            .map_err(io("epoll"))?;
        let mut client =
            Self { protocol, epoll, timer, connections: Vec::with_capacity(connections) };
        for index in 0..connections {
            let connection = Connection::open(address).map_err(io(format!("connect {address}")))?;
            let data = epoll::EventData::new_u64(index as u64);
            epoll::add(&client.epoll, &connection.stream, data, epoll::EventFlags::IN)
                .map_err(io("epoll"))?;
            client.connections.push(connection);
        }
        Ok(client)
    }

    /// Works until `until`, or until the work is exhausted, and then until every answer is in.
    pub fn run(
        &mut self,
        work: &mut dyn Work,
        pace: Pace,
        until: Option<Instant>,
    ) -> Result<Measured> {
        let started = Instant::now();
        let mut run = Run {
            pace,
            until,
            due: started,
            finished: false,
            idle: (0..self.connections.len()).rev().collect(),
            in_flight: 0,
            measured: Measured::new(),
        };
        let mut events = Vec::with_capacity(self.connections.len() + 1);
        self.feed(work, &mut run)?;
        while run.in_flight > 0 || !run.finished {
            self.wait(&run, &mut events)?;
            for event in &events {
                let index = event.data.u64();
                if index == TIMER {
                    self.quiet_timer()?;
                } else {
                    self.serve(index as usize, event.flags, work, &mut run)?;
                }
                self.feed(work, &mut run)?;
            }
        }
        run.measured.elapsed = started.elapsed();
        Ok(run.measured)
    }

    /// Sends on idle connections what is due.
    fn feed(&mut self, work: &mut dyn Work, run: &mut Run) -> Result<()> {
        while !run.finished
            && let Some(&index) = run.idle.last()
        {
            let now = Instant::now();
            let since = if run.pace.every.is_some() { run.due } else { now };
            if run.until.is_some_and(|until| since >= until) {
                run.finished = true;
                break;
            }
            if since > now {
                break;
            }
            let connection = &mut self.connections[index];
            for _ in 0..run.pace.depth {
                match work.request(&mut connection.output) {
                    Some(ticket) => connection.waiting.push_back(Waiting { ticket, since }),
                    None => run.finished = true,
                }
            }
            if connection.waiting.is_empty() {
                break;
            }
            run.in_flight += connection.waiting.len();
            run.idle.pop();
            run.due += run.pace.every.unwrap_or_default();
            self.flush(index)?;
        }
        Ok(())
    }

    fn wait(&self, run: &Run, events: &mut Vec<epoll::Event>) -> Result<()> {
        let mut patience = SILENCE;
        if run.pace.every.is_some() && !run.finished && !run.idle.is_empty() {
            let pause = run.due.saturating_duration_since(Instant::now());
            patience += pause;
            // A time of zero would disarm the timer instead of firing it at once.
            self.arm_timer(pause.max(Duration::from_nanos(1)))?;
        }
        events.clear();
        let timeout = timespec(patience);
        match epoll::wait(&self.epoll, spare_capacity(events), Some(&timeout)) {
            Ok(0) => Err(Failure::Wrong(format!(
                "{} answers are outstanding and none came for {} s",
                run.in_flight,
                SILENCE.as_secs()
            ))),
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(io("epoll")(error)),
        }
    }

    fn arm_timer(&self, pause: Duration) -> Result<()> {
        let spec = Itimerspec { it_interval: timespec(Duration::ZERO), it_value: timespec(pause) };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &spec).map_err(io("timerfd"))?;
        Ok(())
    }

    fn quiet_timer(&self) -> Result<()> {
        match rustix::io::read(&self.timer, &mut [0; 8]) {
            Ok(_) | Err(rustix::io::Errno::AGAIN) => Ok(()),
            Err(error) => Err(io("timerfd")(error)),
        }
    }

    /// Moves bytes on one connection and checks the answers that came.
    fn serve(
        &mut self,
        index: usize,
        flags: epoll::EventFlags,
        work: &mut dyn Work,
        run: &mut Run,
    ) -> Result<()> {
        if flags.contains(epoll::EventFlags::OUT) {
            self.flush(index)?;
        }
        if flags.intersects(epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR)
        {
            let connection = &mut self.connections[index];
            connection.receive()?;
            let answers = connection.take_answers(self.protocol, work, &mut run.measured)?;
            run.in_flight -= answers;
            if answers > 0 && connection.waiting.is_empty() {
                run.idle.push(index);
            }
        }
        Ok(())
    }

    /// Writes what is pending; asks to be told when the socket takes more.
    fn flush(&mut self, index: usize) -> Result<()> {
        let connection = &mut self.connections[index];
        let blocked = !connection.send()?;
        if blocked != connection.blocked {
            connection.blocked = blocked;
            let mut flags = epoll::EventFlags::IN;
            flags.set(epoll::EventFlags::OUT, blocked);
            let data = epoll::EventData::new_u64(index as u64);
            epoll::modify(&self.epoll, &connection.stream, data, flags).map_err(io("epoll"))?;
        }
        Ok(())
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec::try_from(duration).expect("waits here are minutes at most")
}

struct Waiting {
    ticket: u64,
    since: Instant,
}

struct Connection {
    stream: TcpStream,
    output: Vec<u8>,
    written: usize,
    blocked: bool,
    input: Vec<u8>,
    /// The bytes of `input` that are received and not yet taken.
    received: std::ops::Range<usize>,
    waiting: VecDeque<Waiting>,
}

impl Connection {
    fn open(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            output: Vec::new(),
            written: 0,
            blocked: false,
            input: vec![0; INPUT_BYTES],
            received: 0..0,
            waiting: VecDeque::new(),
        })
    }

    /// Gives whether everything is written.
    fn send(&mut self) -> Result<bool> {
        while self.written < self.output.len() {
            match self.stream.write(&self.output[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(io("send")(error)),
            }
        }
        self.output.clear();
        self.written = 0;
        Ok(true)
    }

    /// Reads once: a level-triggered epoll tells again when more is there.
    fn receive(&mut self) -> Result<()> {
        if self.received.is_empty() {
            self.received = 0..0;
        } else if self.received.end == self.input.len() {
            self.input.copy_within(self.received.clone(), 0);
            self.received = 0..self.received.len();
            if self.received.end > self.input.len() / 2 {
                self.input.resize(self.input.len() * 2, 0);
            }
        }
        match self.stream.read(&mut self.input[self.received.end..]) {
            Ok(0) => Err(Failure::Wrong("the server closed a connection".to_owned())),
            Ok(count) => {
                self.received.end += count;
                Ok(())
            }
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                Ok(())
            }
            Err(error) => Err(io("receive")(error)),
        }
    }

    /// Checks and counts the whole answers received; gives how many there were.
    fn take_answers(
        &mut self,
        protocol: Protocol,
        work: &mut dyn Work,
        measured: &mut Measured,
    ) -> Result<usize> {
        let now = Instant::now();
        let mut answers = 0;
        while !self.received.is_empty() {
            let input = &self.input[self.received.clone()];
            let Some(length) = wire::answer_len(protocol, input).map_err(Failure::Wrong)? else {
                break;
            };
            let Some(Waiting { ticket, since }) = self.waiting.pop_front() else {
                let what = format!("an answer nobody asked for: {}", wire::excerpt(input));
                return Err(Failure::Wrong(what));
            };
            measured.operations += work.answer(ticket, &input[..length]).map_err(Failure::Wrong)?;
            measured.latency_ns.saturating_record((now - since).as_nanos() as u64);
            self.received.start += length;
            answers += 1;
        }
        Ok(answers)
    }
}
