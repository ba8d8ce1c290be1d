//! The attack on the embedded engine: threads in one process, without a socket between them and the
//! store, so that ten times as many operations meet within the same microseconds.

use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use jeton::engine::{Config, Engine, Op as EngineOp, Outcome};
use jeton::model::token::{ConsumeKey, Digest, Token};

use super::checker::assert_linearizable;
use super::history::{Answer, Call, Moment, Op, Ticks};
use super::model::Rules;
use super::simulated::{Ttls, any_op};
use crate::support::Rng;
use crate::volume::{replay, seeds, tell};

const RULES: Rules = Rules { max_ttl_ms: 60, extends_late: true };
/// A call takes microseconds: half of the tokens expire within a round.
const TTLS: Ttls = Ttls { issue: [1, 3, 10, 60], extend: [2, 10, 90] };
const RIVALS: usize = 6;
const TOKENS: usize = 3;
const STEPS: usize = 60;

/// The state that all rivals of a round share.
struct Round<'e> {
    engine: &'e Engine,
    digests: Vec<Digest>,
    keys: Vec<ConsumeKey>,
    ticks: Ticks,
}

/// One thread, and the calls it made, each with its token.
struct Rival<'r> {
    round: &'r Round<'r>,
    id: usize,
    rng: Rng,
    seen: Vec<(usize, Call)>,
}

impl Rival<'_> {
    fn work(mut self) -> Vec<(usize, Call)> {
        for _ in 0..STEPS {
            let (token, op) = (self.rng.below(TOKENS), any_op(&mut self.rng, TTLS));
            match op {
                Op::Resolve if self.rng.below(4) == 0 => self.resolve_all(),
                Op::Resolve | Op::Status => self.read(token, op),
                _ => self.change(token, op),
            }
        }
        self.seen
    }

    fn read(&mut self, token: usize, op: Op) {
        let (engine, digest) = (self.round.engine, &self.round.digests[token]);
        let began = self.round.ticks.begin();
        let answer = match op {
            Op::Status => engine.status(digest, engine.now()).map_or(Answer::Missing, |status| {
                Answer::Status {
                    deadline_ms: status.expires_at.0,
                    uses_left: u8::try_from(status.uses_left).expect("few uses"),
                }
            }),
            _ => engine
                .resolve(digest, engine.now(), |payload| payload[0])
                .map_or(Answer::Missing, Answer::Payload),
        };
        let ended = self.round.ticks.end();
        self.saw(token, op, answer, began, ended);
    }

    fn resolve_all(&mut self) {
        let (engine, mut answers) = (self.round.engine, Vec::new());
        let began = self.round.ticks.begin();
        engine.resolve_many(&self.round.digests, engine.now(), |payload| {
            answers.push(payload.map_or(Answer::Missing, |payload| Answer::Payload(payload[0])));
        });
        let ended = self.round.ticks.end();
        for (token, answer) in answers.into_iter().enumerate() {
            self.saw(token, Op::Resolve, answer, began, ended);
        }
    }

    /// One change, or two in one call. Now and then the answer is not awaited.
    fn change(&mut self, token: usize, op: Op) {
        let mut asked = vec![(token, op)];
        let also = any_op(&mut self.rng, TTLS);
        if self.rng.below(4) == 0 && !also.only_reads() {
            asked.push((self.rng.below(TOKENS), also));
        }
        let ops = asked.iter().map(|(token, op)| self.engine_op(*token, *op)).collect();
        let began = self.round.ticks.begin();
        let pending = self.round.engine.submit(ops).expect("the queue is long enough");
        if self.rng.below(60) == 0 {
            drop(pending);
            for (token, op) in asked {
                self.saw(token, op, Answer::Lost, began, Moment::NEVER);
            }
            return;
        }
        let outcomes = pending.wait().expect("the engine is open");
        let ended = self.round.ticks.end();
        for ((token, op), outcome) in asked.into_iter().zip(outcomes) {
            let answer = match (op, &outcome) {
                // From outside a revocation is the same where there was nothing.
                (Op::Revoke, Outcome::NotFound) => Answer::Revoked,
                _ => answer(&outcome),
            };
            self.saw(token, op, answer, began, ended);
        }
    }

    fn saw(&mut self, token: usize, op: Op, answer: Answer, began: Moment, ended: Moment) {
        self.seen.push((token, Call { client: self.id, op, answer, began, ended }));
    }

    fn engine_op(&self, token: usize, op: Op) -> EngineOp {
        let digest = self.round.digests[token];
        match op {
            Op::Issue { payload, ttl_ms, uses, peek } => EngineOp::Issue {
                digest,
                payload: vec![payload],
                ttl: Duration::from_millis(ttl_ms),
                uses: u32::from(uses),
                peek,
                derived: true,
            },
            Op::Consume { key } => {
                let key = key.map(|key| self.round.keys[usize::from(key)]);
                EngineOp::Consume { digest, key }
            }
            Op::Extend { ttl_ms } => {
                EngineOp::Extend { digest, ttl: Duration::from_millis(ttl_ms) }
            }
            Op::Revoke => EngineOp::Revoke { digest },
            Op::Resolve | Op::Status => panic!("{op} is no change"),
            Op::Put { .. } | Op::SetDeadline { .. } | Op::Swap { .. } => {
                panic!("{op} is for names")
            }
        }
    }
}

pub fn answer(outcome: &Outcome) -> Answer {
    match outcome {
        Outcome::Issued { deadline } => Answer::Issued { deadline_ms: deadline.0 },
        Outcome::Exists { deadline } => Answer::Exists { deadline_ms: deadline.0 },
        Outcome::Conflict | Outcome::AlreadyConsumed => Answer::Refused,
        Outcome::Consumed { payload } | Outcome::Replayed { payload } => {
            Answer::Payload(payload[0])
        }
        Outcome::NotFound => Answer::Missing,
        Outcome::Extended { deadline } => Answer::Extended { deadline_ms: deadline.0 },
        Outcome::Revoked => Answer::Revoked,
        Outcome::Put { deadline, .. } => Answer::Put { deadline_ms: deadline.0 },
        Outcome::NotPut { .. } => Answer::Kept,
        Outcome::DeadlineSet { deadline } => Answer::Extended { deadline_ms: deadline.0 },
        Outcome::DeadlineKept { .. }
        | Outcome::Found { .. }
        | Outcome::MemoryFull
        | Outcome::QuotaFull
        | Outcome::DiskFull
        | Outcome::ClockWrong
        | Outcome::LogUnavailable
        | Outcome::ReadOnly
        | Outcome::Unsynced
        | Outcome::Unknown => {
            panic!("{outcome:?}")
        }
    }
}

/// The histories of the tokens of one round.
fn race(engine: &Engine, seed: u64) -> Vec<Vec<Call>> {
    let token = |_| engine.digest(&Token::random().expect("the system has random bytes"));
    let round = Round {
        engine,
        digests: (0..TOKENS).map(token).collect(),
        keys: [b"0", b"1"].map(|key| engine.digester().consume_key(b"", 0, key)).to_vec(),
        ticks: Ticks::default(),
    };
    let barrier = Barrier::new(RIVALS);
    let seen: Vec<_> = thread::scope(|scope| {
        let (round, barrier) = (&round, &barrier);
        let rivals = (0..RIVALS).map(|id| {
            let rng = Rng::new(seed * RIVALS as u64 + id as u64);
            let rival = Rival { round, id, rng, seen: Vec::new() };
            scope.spawn(move || {
                barrier.wait();
                rival.work()
            })
        });
        let rivals: Vec<_> = rivals.collect();
        rivals.into_iter().flat_map(|rival| rival.join().expect("a rival ends well")).collect()
    });
    let mut histories = vec![Vec::new(); TOKENS];
    seen.into_iter().for_each(|(token, call)| histories[token].push(call));
    histories.iter_mut().for_each(|calls| calls.sort_by_key(|call| call.began.tick));
    histories
}

fn attack(name: &str, config: Config, test: &str, rounds: u64) {
    let config = Config { max_ttl: Duration::from_millis(RULES.max_ttl_ms), ..config };
    let engine = Engine::open(config).expect("it opens");
    let (mut calls, mut longest, mut lost, mut histories) = (0, 0, 0, 0);
    for seed in seeds(name, rounds) {
        for history in race(&engine, seed) {
            assert_linearizable(&history, RULES, &replay(test, seed));
            histories += 1;
            calls += history.len() as u64;
            longest = longest.max(history.len() as u64);
            lost += history.iter().filter(|call| call.is_lost()).count() as u64;
        }
    }
    engine.close().expect("it closes");
    let counts = [("histories", histories), ("calls", calls), ("longest", longest), ("lost", lost)];
    tell(name, &counts);
}

#[test]
fn p2_p3_rivals_on_an_embedded_engine_are_linearizable() {
    let test = "p2_p3_rivals_on_an_embedded_engine_are_linearizable";
    attack("linear_memory", Config::memory_only(), test, 150);
}

#[test]
fn p2_p3_rivals_on_an_embedded_engine_with_a_log_are_linearizable() {
    let test = "p2_p3_rivals_on_an_embedded_engine_with_a_log_are_linearizable";
    let dir = tempfile::tempdir().expect("a temporary folder");
    attack("linear_log", Config::at(dir.path()), test, 30);
}
