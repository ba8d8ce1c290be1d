//! The loop against small servers, in a protocol of one line for each request and answer.

mod stalls;

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::*;
use crate::drive::connects::Made;
use crate::drive::record::Record;
use crate::drive::session::{Endpoint, Session, Silent, Spec};
use crate::protocol::{Answer, Answers, Call, Caller, Fault, Protocol, Ticket};
use crate::quantity::Span;
use crate::traffic::payload::Payloads;
use crate::traffic::verdict::Kind;
use crate::workload::{Connect, Mix, Workload};

/// Each request is a line, and so is each answer; one that was given up needs no answer any more.
#[derive(Default)]
struct Lines {
    asked: VecDeque<Ticket>,
    /// How long it takes to understand an answer.
    slow: Duration,
    /// Where the harness stands still once.
    stall: Option<Arc<Stall>>,
}

/// A pause of the harness itself, once.
#[derive(Debug)]
struct Stall {
    place: Place,
    /// It comes with the call of this number, counted from 1 over all connections.
    at: u64,
    length: Duration,
    calls: AtomicU64,
}

/// Where in a turn of the loop the pause is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Place {
    Request,
    Answer,
    Connect,
}

impl Stall {
    fn new(place: Place, at: u64, length: Duration) -> Option<Arc<Self>> {
        Some(Arc::new(Self { place, at, length, calls: AtomicU64::new(0) }))
    }

    fn come_by(stall: &Option<Arc<Self>>, place: Place) {
        let Some(stall) = stall.as_ref().filter(|one| one.place == place) else { return };
        if stall.calls.fetch_add(1, Ordering::SeqCst) + 1 == stall.at {
            std::thread::sleep(stall.length);
        }
    }
}

impl Codec for Lines {
    fn open(&mut self, _: &mut Vec<u8>) {
        Stall::come_by(&self.stall, Place::Connect);
    }

    fn request(&mut self, ticket: Ticket, _: Call<'_>, output: &mut Vec<u8>) -> Result2<()> {
        Stall::come_by(&self.stall, Place::Request);
        self.asked.push_back(ticket);
        output.extend_from_slice(b"ask\n");
        Ok(())
    }

    fn receive(
        &mut self,
        input: &[u8],
        _: &mut Vec<u8>,
        answers: &mut dyn Answers,
    ) -> Result2<usize> {
        let mut done = 0;
        for line in input.split_inclusive(|&byte| byte == b'\n').filter(|one| one.ends_with(b"\n"))
        {
            done += line.len();
            if line == b"answer\n"
                && let Some(ticket) = self.asked.pop_front()
            {
                std::thread::sleep(self.slow);
                Stall::come_by(&self.stall, Place::Answer);
                answers.answer(ticket, Answer::Found(b"x"));
            }
        }
        Ok(done)
    }

    fn cancel(&mut self, ticket: Ticket, _: &mut Vec<u8>) -> bool {
        self.asked.retain(|asked| *asked != ticket);
        true
    }
}

type Result2<T> = std::result::Result<T, Fault>;

/// Serves each connection with `serve`, which is given its number.
fn server(serve: impl Fn(u64, TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (serve, number) = (Arc::new(serve), AtomicU64::new(0));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (serve, number) = (Arc::clone(&serve), number.fetch_add(1, Ordering::SeqCst));
            std::thread::spawn(move || serve(number, stream));
        }
    });
    address
}

/// Answers each line.
fn answer_all(stream: &TcpStream) {
    let mut to = stream;
    for _ in BufReader::new(stream).lines().map_while(std::io::Result::ok) {
        if to.write_all(b"answer\n").is_err() {
            return;
        }
    }
}

/// What is measured, by one thread with one request at a time on each connection.
struct Setting {
    connections: usize,
    timeout_ms: u64,
    rate: Option<f64>,
    connect: Connect,
    population: u64,
    duration_ms: u64,
    slow: Duration,
    stall: Option<Arc<Stall>>,
}

impl Setting {
    fn workload(&self) -> Workload {
        let mut workload =
            Workload { mix: Mix { resolve: 1.0, ..Mix::default() }, ..Workload::default() };
        workload.keys.population = self.population;
        workload.load.connections = self.connections;
        workload.load.threads = 1;
        workload.load.depth = 1;
        workload.load.rate = self.rate;
        workload.load.arrivals = crate::workload::Arrivals::Uniform;
        workload.load.connect = self.connect;
        workload.load.timeout = Span(Duration::from_millis(self.timeout_ms));
        workload
    }

    fn endpoint(&self, address: SocketAddr) -> Endpoint {
        let (slow, stall) = (self.slow, self.stall.clone());
        Endpoint {
            make_codec: Arc::new(move || {
                Box::new(Lines { slow, stall: stall.clone(), ..Lines::default() })
            }),
            ..Endpoint::new(Protocol::Floor, address, Caller::default())
        }
    }

    /// The records of the issuing and of the load.
    fn run(&self, address: SocketAddr) -> (Record, Record) {
        let workload = self.workload();
        let payloads = Arc::new(Payloads::new(&workload.payload, 1).unwrap());
        let stop = Arc::new(AtomicBool::new(false));
        let endpoint = self.endpoint(address);
        let mut session = Session::open(&workload, &[endpoint], &payloads, &stop).unwrap();
        let load = session.load(&mut Silent, None).unwrap().record;
        let (warm_up, ramp) = (Duration::ZERO, Duration::ZERO);
        let duration = Duration::from_millis(self.duration_ms);
        let spec = Spec { rate: self.rate, warm_up, duration, ramp };
        (load, session.measure(spec, &mut Silent, None).unwrap().record)
    }
}

fn measure(address: SocketAddr, connections: usize, timeout_ms: u64, slow: Duration) -> Record {
    let setting = Setting {
        connections,
        timeout_ms,
        rate: None,
        connect: Connect::Full,
        population: 1,
        duration_ms: 2_000,
        slow,
        stall: None,
    };
    setting.run(address).1
}

/// As over HTTP/2: what was given up leaves the connection as it was, and the server was heard on it.
#[test]
fn a_connection_for_one_request_is_not_used_for_the_next_after_a_timeout() {
    const SILENT: u64 = 3;
    const LIMIT_MS: u64 = 400;
    let used_again = Arc::new(AtomicU64::new(0));
    let again = Arc::clone(&used_again);
    let address = server(move |number, stream| {
        let mut to = &stream;
        let lines = BufReader::new(&stream).lines().map_while(std::io::Result::ok);
        for (asked, _) in lines.enumerate() {
            // The first connection issues the population.
            if number > 0 && asked > 0 {
                again.fetch_add(1, Ordering::SeqCst);
            }
            let is_silent = (1..=SILENT).contains(&number) && asked == 0;
            let said: &[u8] = if is_silent { b"hello\n" } else { b"answer\n" };
            if to.write_all(said).is_err() {
                return;
            }
        }
    });
    let record = measure(address, 1, LIMIT_MS, Duration::ZERO);
    assert_eq!(record.errors.count(Kind::Timeout), SILENT);
    let [Some(made), None] = &record.connects.made else { panic!("full ones alone") };
    assert!(made.connections > 0);
    assert_eq!(used_again.load(Ordering::SeqCst), 0, "times hold that of the request before");
}

#[test]
fn what_the_harness_lets_a_connection_wait_is_told_apart() {
    let address = server(|_, stream| answer_all(&stream));
    let slow = Duration::from_millis(10);
    let own = |made: &Made| made.queued_ns.mean() / made.answered_ns.mean();
    let record = measure(address, 8, 10_000, slow);
    let [Some(made), None] = &record.connects.made else { panic!("full ones alone") };
    // Of eight that are answered at once, each waits until the others before it were understood.
    assert!(own(made) > 0.3, "{} of its time", own(made));
    assert!(made.queued_shaking_ns.mean() <= made.queued_ns.mean());
    assert!(record.clean_latencies().len() < record.requests / 2, "they decide on no objective");
    let record = measure(address, 1, 10_000, slow);
    let [Some(made), None] = &record.connects.made else { panic!("full ones alone") };
    assert!(own(made) < 0.3, "one alone waits for nobody: {} of its time", own(made));
}
