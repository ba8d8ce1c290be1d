//! Linearizability over three nodes of a cluster on one simulated stream: callers on all nodes ask
//! about the same tokens, with linear reads. Proposals are lost, repeated and delayed, nodes are
//! killed, and elections last longer than callers wait, so some calls end as unknown: each of them
//! happened once, or never, now or later. One seed decides every event.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use jeton::engine::{Config, DeadlineWhen, Outcome, Pending, Rejected, SyncMode, When};
use jeton::model::time::UnixMillis;
use jeton::testkit::disk::Keep;
use jeton::testkit::stream::Faults;
use jeton::wal::{self, Preparing};

use super::checker::{Verdict, check, shorten};
use super::embedded::answer;
use super::history::{Answer, Call, Moment, Op, show};
use super::model::Rules;
use super::simulated::{Ttls, any_op, any_op_on_a_name};
use crate::nodes::lab::Lab;
use crate::seeds::{self, counts};
use crate::simulation::model::{Change, MAX_TTL_MS, What, digest};
use crate::support::Rng;
use crate::volume;

const SEEDS: u64 = 60;
const NODES: usize = 3;
const CLIENTS: usize = 6;
/// Tokens under references: a consumed one is not issued again before its deadline.
const TOKENS: [u64; 4] = [5, 10, 15, 20];
/// Names that are put, read and set anew, by themselves and together.
const NAMES: [u64; 2] = [10_000, 10_001];
const CALLS: usize = 180;
const RULES: Rules = Rules { max_ttl_ms: MAX_TTL_MS, extends_late: false };
const TTLS: Ttls = Ttls { issue: [50, 1_000, 5_000, 40_000], extend: [100, 5_000, 200_000] };
/// Longer than a caller waits for what it has asked.
const LONG_ELECTION_MS: u64 = 11_000;

counts! { seeds, histories, calls, swaps, unknown, refused, elections, long_elections, kills, repeats }

/// How a node is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Read {
    /// After a message of the node that was proposed after the request.
    Linear,
    /// From the memory of the node, as it is.
    Local,
}

/// A call that has no answer yet.
struct Open {
    token: usize,
    node: usize,
    op: Op,
    began: Moment,
    pending: Pin<Box<Pending>>,
}

struct Run {
    lab: Lab,
    rng: Rng,
    read: Read,
    ticks: u64,
    open: Vec<Option<Open>>,
    histories: Vec<Vec<Call>>,
    /// The last value that was put under a name.
    value: u8,
    counts: Counts,
}

fn config() -> Config {
    Config {
        max_ttl: Duration::from_millis(MAX_TTL_MS),
        recovery_threads: 1,
        sync: SyncMode::Always,
        wal: wal::Config {
            segment_size: 16 << 10,
            log_min_size: 64 << 10,
            max_age: None,
            preparing: Preparing::Inline,
        },
        ..Config::default()
    }
}

/// A token, or behind them a name.
fn id_of(token: usize) -> u64 {
    TOKENS.get(token).copied().unwrap_or_else(|| NAMES[token - TOKENS.len()])
}

fn put(payload: u8, ttl_ms: u64, when: When) -> What {
    let (payload, ttl_ms) = ([payload].as_slice().into(), Some(ttl_ms));
    What::Put { payload, ttl_ms, uses: 1, peek: true, when, asks: false }
}

/// The changes of an operation, which are performed together; `None` for a read.
fn changes(id: u64, op: Op) -> Option<Vec<Change>> {
    let what = match op {
        Op::Issue { payload, ttl_ms, uses, peek } => {
            let (payload, uses) = ([payload].as_slice().into(), u32::from(uses));
            What::Issue { payload, ttl_ms, uses, peek, derived: true }
        }
        Op::Consume { key } => What::Consume { key },
        Op::Extend { ttl_ms } => What::Extend { ttl_ms },
        Op::Revoke => What::Revoke,
        Op::Put { payload, ttl_ms, when } => put(payload, ttl_ms, when),
        Op::SetDeadline { at_ms } => What::Deadline { at: at_ms, when: DeadlineWhen::Always },
        Op::Swap { payload, ttl_ms } => {
            let put = put(payload, ttl_ms, When::Always);
            return Some([What::Read, put].map(|what| Change { id, what }).into());
        }
        Op::Resolve | Op::Status => return None,
    };
    Some(vec![Change { id, what }])
}

/// What the outcomes of a swap say.
fn swapped(outcomes: &[Outcome]) -> Answer {
    match outcomes {
        [Outcome::Found { payload, .. }, Outcome::Put { deadline, .. }] => {
            let before = payload.as_ref().map(|payload| payload[0]);
            Answer::Swapped { before, deadline_ms: deadline.0 }
        }
        [Outcome::NotFound, Outcome::Put { deadline, .. }] => {
            Answer::Swapped { before: None, deadline_ms: deadline.0 }
        }
        other => panic!("{other:?}"),
    }
}

impl Run {
    fn new(seed: u64, read: Read) -> Result<Self, String> {
        let mut run = Self {
            lab: Lab::new(seed, vec![config(); NODES]),
            rng: Rng::new(seed),
            read,
            ticks: 0,
            open: (0..CLIENTS).map(|_| None).collect(),
            histories: vec![Vec::new(); TOKENS.len() + NAMES.len()],
            value: 0,
            counts: Counts { seeds: 1, ..Counts::default() },
        };
        for at in 0..NODES {
            if !run.lab.open(at) {
                return Err(format!("node {at} does not open"));
            }
        }
        run.lab.run(500)?;
        Ok(run)
    }

    fn moment(&mut self) -> Moment {
        self.ticks += 1;
        Moment { tick: self.ticks, ms: self.lab.stream.now().0 }
    }

    fn step(&mut self) -> Result<(), String> {
        let at = self.rng.below(NODES);
        match self.rng.below(200) {
            0..70 => self.ask(at),
            70..150 => self.turn(at)?,
            150..190 => {
                let millis = [1, 5, 20, 100, 400][self.rng.below(5)];
                self.lab.pass(millis);
            }
            190..194 => {
                let faults = Faults {
                    dropped: [0, 10, 40][self.rng.below(3)],
                    repeated: [0, 20, 50][self.rng.below(3)],
                    unanswered: 20,
                    delay_ms: [0, 20, 300][self.rng.below(3)],
                };
                self.lab.stream.set_faults(faults);
            }
            194..197 => {
                self.counts.elections += 1;
                self.lab.stream.elect(100 + self.rng.below(2_000) as u64);
            }
            197 if self.rng.below(4) == 0 => {
                self.counts.long_elections += 1;
                self.lab.stream.elect(LONG_ELECTION_MS);
                self.lab.run(LONG_ELECTION_MS + 1_000)?;
                self.collect();
            }
            198 if self.rng.below(3) == 0 => self.kill(at)?,
            _ => {}
        }
        Ok(())
    }

    fn turn(&mut self, at: usize) -> Result<(), String> {
        if let Some(error) = self.lab.turn(at, [1, 4, 64][self.rng.below(3)], false)? {
            return Err(format!("node {at} cannot follow: {error}"));
        }
        self.collect();
        Ok(())
    }

    /// A client that waits for nothing asks this node.
    fn ask(&mut self, at: usize) {
        let client = self.rng.below(CLIENTS);
        if self.open[client].is_some() {
            return;
        }
        let token = self.rng.below(self.histories.len());
        let began = self.moment();
        let op = match token < TOKENS.len() {
            true => any_op(&mut self.rng, TTLS),
            false => {
                self.value = self.value.wrapping_add(1);
                any_op_on_a_name(&mut self.rng, self.value, began.ms)
            }
        };
        self.counts.swaps += u64::from(matches!(op, Op::Swap { .. }));
        let Some(live) = &self.lab.nodes[at].live else { return };
        let asked = match changes(id_of(token), op) {
            Some(changes) => {
                let ops: Vec<_> = changes.iter().map(Change::op).collect();
                match ops.len() {
                    1 => live.stepped.engine().submit(ops),
                    _ => live.stepped.engine().submit_together(ops),
                }
            }
            None if self.read == Read::Local => {
                let answer = self.look(at, token, op);
                return self.saw(client, token, op, answer, began);
            }
            None => live.stepped.follower().barrier(),
        };
        let Ok(pending) = asked else { return };
        self.open[client] = Some(Open { token, node: at, op, began, pending: Box::pin(pending) });
    }

    /// What a node has in its memory, at its log time.
    fn look(&self, at: usize, token: usize, op: Op) -> Answer {
        let (Some(live), Some(state)) = (&self.lab.nodes[at].live, self.lab.state(at)) else {
            return Answer::Lost;
        };
        let (engine, digest) = (live.stepped.engine(), digest(id_of(token)));
        match op {
            Op::Status => {
                engine.status(&digest, state.log_time).map_or(Answer::Missing, |status| {
                    let UnixMillis(deadline_ms) = status.expires_at;
                    let uses_left = u8::try_from(status.uses_left).expect("few uses");
                    Answer::Status { deadline_ms, uses_left }
                })
            }
            _ => engine
                .resolve(&digest, state.log_time, |payload| payload[0])
                .map_or(Answer::Missing, Answer::Payload),
        }
    }

    fn saw(&mut self, client: usize, token: usize, op: Op, answer: Answer, began: Moment) {
        let ended = if answer == Answer::Lost { Moment::NEVER } else { self.moment() };
        self.counts.unknown += u64::from(answer == Answer::Lost);
        self.histories[token].push(Call { client, op, answer, began, ended });
    }

    /// Takes the answers that have come.
    fn collect(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        for client in 0..CLIENTS {
            let Some(open) = &mut self.open[client] else { continue };
            let Poll::Ready(result) = open.pending.as_mut().poll(&mut cx) else { continue };
            let Some(Open { token, node, op, began, .. }) = self.open[client].take() else {
                continue;
            };
            let answer = match result {
                // It did not happen.
                Err(Rejected::NoQuorum | Rejected::QueueFull) => {
                    self.counts.refused += 1;
                    continue;
                }
                Ok(_) if op.only_reads() => self.look(node, token, op),
                Err(_) if op.only_reads() => continue,
                Err(_) => Answer::Lost,
                Ok(outcomes) => match (op, &outcomes[0]) {
                    (_, Outcome::Unknown) => Answer::Lost,
                    (Op::Swap { .. }, _) => swapped(&outcomes),
                    (Op::Revoke, Outcome::NotFound) => Answer::Revoked,
                    (_, outcome) => answer(outcome),
                },
            };
            self.saw(client, token, op, answer, began);
        }
    }

    /// Ends the process of a node, with the calls that wait there, and starts it again.
    fn kill(&mut self, at: usize) -> Result<(), String> {
        self.counts.kills += 1;
        for client in 0..CLIENTS {
            let Some(open) = self.open[client].take_if(|open| open.node == at) else { continue };
            if !open.op.only_reads() {
                self.saw(client, open.token, open.op, Answer::Lost, open.began);
            }
        }
        let keep = match self.rng.below(2) {
            0 => Keep::Everything,
            _ => Keep::Some(self.rng.below(1 << 30) as u64),
        };
        self.lab.kill(at, keep);
        match self.lab.open(at) {
            true => Ok(()),
            false => Err(format!("node {at} does not open again")),
        }
    }

    /// Waits for all answers, and returns the history of each token.
    fn end(mut self) -> Result<(Vec<Vec<Call>>, Counts), String> {
        self.lab.stream.set_faults(Faults::default());
        self.lab.heal()?;
        self.collect();
        if self.open.iter().any(Option::is_some) {
            return Err("a call has no answer".to_owned());
        }
        self.lab.stream.set_faults(Faults { dropped: 100, ..Faults::default() });
        self.lab.check_equal()?;
        self.counts.repeats = self.lab.truth.repeats;
        for history in &mut self.histories {
            history.sort_by_key(|call| call.began.tick);
            self.counts.histories += 1;
            self.counts.calls += history.len() as u64;
        }
        Ok((self.histories, self.counts))
    }
}

/// The histories of one seed.
fn race(seed: u64, read: Read) -> Result<(Vec<Vec<Call>>, Counts), String> {
    let mut run = Run::new(seed, read)?;
    while run.histories.iter().map(Vec::len).sum::<usize>() < CALLS {
        run.step()?;
    }
    run.end()
}

fn judged(seed: u64) -> Result<Counts, String> {
    let (histories, counts) = race(seed, Read::Linear)?;
    for history in &histories {
        match check(history, RULES) {
            Verdict::Linearizable(_) => {}
            Verdict::GivenUp => return Err(format!("too hard:\n{}", show(history))),
            Verdict::Impossible => {
                let (core, more) = shorten(history, RULES);
                return Err(format!("no order explains this ({more} more):\n{}", show(&core)));
            }
        }
    }
    Ok(counts)
}

#[test]
fn p1_p2_p3_p4_callers_of_three_nodes_are_linearizable() {
    let runs = seeds::run_all("linear_nodes", SEEDS, judged, Counts::add);
    let counts = runs.counts.list();
    volume::tell("linear_nodes", &counts);
    runs.assert_none_broken("p1_p2_p3_p4_callers_of_three_nodes_are_linearizable");
    runs.assert_all_reached(&counts, SEEDS);
}

/// That the test above finds something: what it forbids happens where reads ask nobody.
#[test]
fn linear_checker_refuses_reads_from_the_memory_of_a_node() {
    let is_refused = |seed: &u64| {
        let (histories, _) = race(*seed, Read::Local).expect("it runs");
        histories.iter().any(|history| check(history, RULES) == Verdict::Impossible)
    };
    assert!((1..=20).any(|seed| is_refused(&seed)), "no read was stale");
}
