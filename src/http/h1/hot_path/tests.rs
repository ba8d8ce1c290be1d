//! Requests that are answered together are answered as each would be alone.

use std::sync::Arc;
use std::time::Duration;

use ahash::RandomState;

use super::*;
use crate::engine::Op;
use crate::engine::stepped::Stepped;
use crate::http::config::Config;
use crate::http::conn::context::Common;
use crate::http::conn::phase::Tick;
use crate::model::time::UnixMillis;
use crate::model::token::{Digester, Secret};
use crate::testkit::clock::ManualClock;

/// An engine, and one worker with one connection.
struct Fixture {
    stepped: Stepped,
    worker: Rc<Worker>,
    state: Rc<ConnState>,
}

fn fixture() -> Fixture {
    let clock = Arc::new(ManualClock::at(UnixMillis(1_800_000_000_000)));
    let digester = Digester::new(&Secret::from_bytes([7; 32]), "default");
    let stepped = Stepped::new(digester, &RandomState::with_seeds(1, 2, 3, 4), clock);
    let common = Common::new(stepped.engine(), &Config::default());
    let worker = Rc::new(Worker::new(&common, Arc::default()));
    Fixture { stepped, worker, state: Rc::new(ConnState::new(Tick(0))) }
}

fn token(n: usize) -> String {
    format!("{n:A>32}")
}

fn get(n: usize) -> String {
    format!("GET /v1/tokens/{} HTTP/1.1\r\nHost: a\r\n\r\n", token(n))
}

impl Fixture {
    fn issue(&mut self, n: usize, payload: Vec<u8>, peek: bool) {
        let digest = self.stepped.engine().digest(&Token::parse(token(n).as_bytes()).unwrap());
        let ttl = Duration::from_secs(900);
        let op = Op::Issue { digest, payload, ttl, uses: 1, peek, derived: false };
        self.stepped.carry_out(vec![op]).unwrap();
    }

    /// How far the hot path comes with all that has arrived, and what it answers.
    fn serve(&self) -> (Progress, Vec<u8>) {
        let progress = serve(&self.worker, &self.state, &mut None);
        let mut output = self.state.wire.output.borrow_mut();
        let answers = output.unread().to_vec();
        output.clear();
        (progress, answers)
    }

    fn push(&self, bytes: &str) {
        self.state.wire.input.borrow_mut().push(bytes.as_bytes());
    }

    fn counts(&self) -> [u64; 3] {
        let stats = self.stepped.engine().stats();
        [stats.resolves, stats.misses, stats.replays]
    }
}

#[test]
fn p10_requests_that_come_together_are_answered_as_each_alone() {
    let mut fixture = fixture();
    for n in 0..30 {
        let payload = if n % 7 == 3 { vec![0xff, 0, 1] } else { format!("[{n}]").into_bytes() };
        fixture.issue(n, payload, n % 5 != 4);
    }
    // Twenty of them live, the others are unknown or can only be consumed; some come twice.
    let asked: Vec<usize> = (0..100).map(|n| n * 11 % 37).collect();
    let mut alone = Vec::new();
    for n in &asked {
        fixture.push(&get(*n));
        let (progress, answer) = fixture.serve();
        assert_eq!(progress, Progress::Drained);
        alone.extend(answer);
    }
    let counted = fixture.counts();
    for together in 2..40 {
        let before = fixture.counts();
        let mut answers = Vec::new();
        for some in asked.chunks(together) {
            fixture.push(&some.iter().copied().map(get).collect::<String>());
            let (progress, some) = fixture.serve();
            assert_eq!(progress, Progress::Drained);
            answers.extend(some);
        }
        assert!(answers == alone, "{together} together");
        let after = fixture.counts();
        assert_eq!([0, 1, 2].map(|at| after[at] - before[at]), counted, "{together} together");
    }
}

#[test]
fn what_is_not_canonical_ends_what_is_answered_together() {
    let mut fixture = fixture();
    fixture.issue(1, b"1".to_vec(), true);
    let other = format!("HEAD /v1/tokens/{} HTTP/1.1\r\nHost: a\r\n\r\n", token(1));
    fixture.push(&[get(1), get(2), other.clone(), get(1)].concat());
    let (progress, answers) = fixture.serve();
    assert_eq!(progress, Progress::Other);
    assert_eq!(answers.windows(5).filter(|bytes| bytes == b"HTTP/").count(), 2);
    let left = fixture.state.wire.input.borrow().unread().to_vec();
    assert_eq!(left, [other, get(1)].concat().into_bytes(), "the rest waits for hyper");
}

#[test]
fn p8_answers_that_come_together_wait_for_room() {
    let mut fixture = fixture();
    let payload = vec![b'7'; 64 << 10];
    fixture.issue(1, payload.clone(), true);
    let count = 40;
    fixture.push(&get(1).repeat(count));
    let mut answered = 0;
    loop {
        let (progress, answers) = fixture.serve();
        assert!(answers.len() < OUTPUT_LEN_MAX + payload.len() + 1_024, "{}", answers.len());
        answered += answers.windows(9).filter(|bytes| bytes == b"HTTP/1.1 ").count();
        match progress {
            Progress::Full => assert!(answers.len() >= OUTPUT_LEN_MAX),
            progress => break assert_eq!(progress, Progress::Drained),
        }
    }
    assert_eq!((answered, fixture.counts()[0]), (count, count as u64));
}
