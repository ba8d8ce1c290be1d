//! The loop against small servers, in a protocol of one line for each request and answer.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::*;
use crate::drive::connects::Made;
use crate::drive::record::Record;
use crate::drive::session::{Endpoint, Session, Silent, Spec};
use crate::protocol::{Answer, Answers, Call, Caller, Fault, Protocol};
use crate::quantity::Span;
use crate::traffic::payload::Payloads;
use crate::workload::{Connect, Mix, Workload};

/// Each request is a line, and so is each answer; one that was given up needs no answer any more.
#[derive(Default)]
struct Lines {
    asked: VecDeque<Ticket>,
    /// How long it takes to understand an answer.
    slow: Duration,
}

impl Codec for Lines {
    fn request(&mut self, ticket: Ticket, _: Call<'_>, output: &mut Vec<u8>) -> Result2<()> {
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

fn measure(address: SocketAddr, connections: usize, timeout_ms: u64, slow: Duration) -> Record {
    let mut workload =
        Workload { mix: Mix { resolve: 1.0, ..Mix::default() }, ..Workload::default() };
    workload.keys.population = 1;
    workload.load.connections = connections;
    workload.load.threads = 1;
    workload.load.depth = 1;
    workload.load.rate = None;
    workload.load.connect = Connect::Full;
    workload.load.timeout = Span(Duration::from_millis(timeout_ms));
    let endpoint = Endpoint {
        make_codec: Arc::new(move || Box::new(Lines { slow, ..Lines::default() })),
        ..Endpoint::new(Protocol::Floor, address, Caller::default())
    };
    let payloads = Arc::new(Payloads::new(&workload.payload, 1).unwrap());
    let stop = Arc::new(AtomicBool::new(false));
    let mut session = Session::open(&workload, &endpoint, &payloads, &stop).unwrap();
    session.load(&mut Silent, None).unwrap();
    let (warm_up, ramp) = (Duration::ZERO, Duration::ZERO);
    let spec = Spec { rate: None, warm_up, duration: Duration::from_secs(2), ramp };
    session.measure(spec, &mut Silent, None).unwrap().record
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
