//! The plan against a server in memory: a right one is never blamed, whatever the order of its
//! answers; one with a fault is found out, and the fault is called by its name.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use rand::RngExt;

use super::{Ask, Plan, Tokens};
use crate::protocol::{Answer, Call, Key, Protocol, Refusal};
use crate::quantity::Span;
use crate::traffic::arrivals::Share;
use crate::traffic::payload::Payloads;
use crate::traffic::verdict::{Errors, Kind};
use crate::traffic::{Rng, rng};
use crate::workload::{Mix, Operation, Ttl, Workload};

const STEP_NS: u64 = 1_000_000;

/// What a faulty server does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fault {
    None,
    /// Forgets a token it confirmed.
    Forgets,
    /// Gives the payload of another token.
    MixesUp,
    /// Changes one byte.
    FlipsAByte,
    /// Gives a token to everyone who consumes it.
    ConsumesTwice,
    /// Consumes and keeps it.
    KeepsConsumed,
    /// Revokes and keeps it.
    KeepsRevoked,
    /// Never lets anything expire.
    NeverExpires,
    /// Lets everything expire at half its time.
    ExpiresEarly,
    /// Confirms an extend and does not extend.
    ForgetsExtends,
    /// Declines now and then.
    Declines,
}

struct Entry {
    payload: Vec<u8>,
    deadline_ns: u64,
}

struct Server {
    fault: Fault,
    entries: HashMap<Key, Entry>,
    consumes: HashMap<Key, u32>,
    last: Vec<u8>,
    turn: u64,
}

/// An answer that owns its bytes.
enum Said {
    Found(Vec<u8>),
    Issued(Key),
    Done,
    Absent,
    Many(Vec<Option<Vec<u8>>>),
    Refused,
}

impl Server {
    fn new(fault: Fault) -> Self {
        Self { fault, entries: HashMap::new(), consumes: HashMap::new(), last: Vec::new(), turn: 0 }
    }

    fn find(&mut self, key: &Key, now_ns: u64) -> Option<Vec<u8>> {
        let entry = self.entries.get(key)?;
        if now_ns >= entry.deadline_ns && self.fault != Fault::NeverExpires {
            return None;
        }
        let mut payload = entry.payload.clone();
        match self.fault {
            Fault::MixesUp if self.turn.is_multiple_of(50) => payload = self.last.clone(),
            Fault::FlipsAByte if self.turn.is_multiple_of(50) => payload[40] ^= 1,
            _ => {}
        }
        self.last = entry.payload.clone();
        Some(payload)
    }

    fn handle(&mut self, call: Call<'_>, now_ns: u64) -> Said {
        self.turn += 1;
        if self.fault == Fault::Declines && self.turn.is_multiple_of(50) {
            return Said::Refused;
        }
        match call {
            Call::Issue { key, payload, ttl_ms } => {
                let life_ns = ttl_ms * 1_000_000;
                let life_ns = if self.fault == Fault::ExpiresEarly { life_ns / 2 } else { life_ns };
                let entry = Entry { payload: payload.to_vec(), deadline_ns: now_ns + life_ns };
                if self.fault != Fault::Forgets || !self.turn.is_multiple_of(50) {
                    self.entries.insert(*key, entry);
                }
                Said::Issued(*key)
            }
            Call::Resolve(key) => self.find(key, now_ns).map_or(Said::Absent, Said::Found),
            Call::ResolveMany(keys) => {
                Said::Many(keys.iter().map(|key| self.find(key, now_ns)).collect())
            }
            Call::Consume(key) => {
                let found = self.find(key, now_ns);
                let (rivals, keeps) = match self.fault {
                    Fault::ConsumesTwice => (3, false),
                    Fault::KeepsConsumed => (1, true),
                    _ => (1, false),
                };
                let asked = self.consumes.entry(*key).or_insert(0);
                *asked += 1;
                if *asked >= rivals && !(keeps && self.turn.is_multiple_of(10)) {
                    self.entries.remove(key);
                }
                found.map_or(Said::Absent, Said::Found)
            }
            Call::Revoke(key) => {
                if self.fault != Fault::KeepsRevoked {
                    self.entries.remove(key);
                }
                Said::Done
            }
            Call::Extend { key, ttl_ms } => {
                if self.find(key, now_ns).is_none() {
                    return Said::Absent;
                }
                if let Some(entry) = self.entries.get_mut(key)
                    && self.fault != Fault::ForgetsExtends
                {
                    entry.deadline_ns = entry.deadline_ns.max(now_ns + ttl_ms * 1_000_000);
                }
                Said::Done
            }
        }
    }
}

fn judge(plan: &mut Plan, ask: &Ask, said: &Said, now_ns: u64, errors: &mut Errors) {
    let many: Vec<Option<&[u8]>>;
    let busy = Refusal::new(503, "busy");
    let answer = match said {
        Said::Found(payload) => Answer::Found(payload),
        Said::Issued(key) => Answer::Issued(Some(*key)),
        Said::Done => Answer::Done,
        Said::Absent => Answer::Absent,
        Said::Many(values) => {
            many = values.iter().map(Option::as_deref).collect();
            Answer::Many(&many)
        }
        Said::Refused => Answer::Refused(&busy),
    };
    if let Err(wrong) = plan.answer(ask, &answer, now_ns) {
        errors.add(wrong);
    }
}

fn workload(mix: Mix, population: u64, ttl_ms: u64) -> Workload {
    let mut workload = Workload { mix, ..Workload::default() };
    workload.keys.population = population;
    workload.ttl = Ttl::Fixed(Span(Duration::from_millis(ttl_ms)));
    workload
}

fn everything() -> Mix {
    Mix {
        issue: 4.0,
        resolve: 6.0,
        batch: 1.0,
        consume: 2.0,
        revoke: 1.0,
        extend: 1.0,
        miss: 3.0,
        replay: 2.0,
        batch_size: 5,
        rivals: 3,
    }
}

/// Runs a number of requests, up to `width` at a time, answered in any order.
fn errors_of(fault: Fault, workload: &Workload, width: usize, steps: usize, seed: u64) -> Errors {
    let payloads = Arc::new(Payloads::new(&workload.payload, workload.seed).unwrap());
    let share = Share { thread: 0, threads: 1 };
    let mut plan =
        Plan::new(workload, Protocol::Http1, payloads, share, Tokens::default()).unwrap();
    let mut server = Server::new(fault);
    let mut rng: Rng = rng(seed, 7);
    let mut errors = Errors::default();
    let mut under_way: Vec<(Ask, Option<Said>)> = Vec::new();
    for step in 0..steps as u64 {
        let now_ns = step * STEP_NS;
        let next = match plan.next_load(now_ns) {
            Some(next) => Some(next),
            None => plan.next(now_ns),
        };
        if let Some((ask, call)) = next {
            // Handled at once, answered whenever it comes: between the two lies the race.
            let said = server.handle(call, now_ns);
            under_way.push((ask, Some(said)));
        }
        while under_way.len() >= width {
            let (ask, said) = under_way.swap_remove(rng.random_range(0..under_way.len()));
            judge(&mut plan, &ask, said.as_ref().unwrap(), now_ns, &mut errors);
        }
    }
    errors
}

fn kinds(errors: &Errors) -> Vec<Kind> {
    errors.iter().map(|(kind, _, _)| kind).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_right_server_is_never_blamed(
        weights in prop::array::uniform8(0.0_f64..3.0),
        rivals in 1_usize..5,
        population in 1_u64..300,
        ttl_ms in 1_u64..5000,
        width in 1_usize..40,
        seed: u64,
    ) {
        let [issue, resolve, batch, consume, revoke, extend, miss, replay] = weights;
        let issue = issue + 0.1;
        let mix = Mix {
            issue, resolve, batch, consume, revoke, extend, miss, replay, batch_size: 7, rivals,
        };
        let errors = errors_of(Fault::None, &workload(mix, population, ttl_ms), width, 5000, seed);
        prop_assert!(kinds(&errors).is_empty(), "{errors:?}");
    }
}

#[test]
fn each_fault_is_found_and_called_by_its_name() {
    let cases = [
        (Fault::Forgets, vec![Kind::Lost]),
        (Fault::MixesUp, vec![Kind::WrongPayload]),
        (Fault::FlipsAByte, vec![Kind::WrongPayload]),
        (Fault::ConsumesTwice, vec![Kind::ConsumedTwice]),
        (Fault::KeepsConsumed, vec![Kind::Resurrected]),
        (Fault::KeepsRevoked, vec![Kind::Resurrected]),
        (Fault::NeverExpires, vec![Kind::Resurrected]),
        (Fault::ExpiresEarly, vec![Kind::Lost]),
        (Fault::ForgetsExtends, vec![Kind::Lost]),
        (Fault::Declines, vec![Kind::Refused(503)]),
    ];
    for (fault, expected) in cases {
        for width in [1, 16] {
            let mut workload = workload(everything(), 200, 600);
            // One consumer alone can't see that a token stays; only a later one can.
            workload.mix.rivals = if fault == Fault::KeepsConsumed { 1 } else { 3 };
            let found = kinds(&errors_of(fault, &workload, width, 40_000, 1));
            assert_eq!(found, expected, "{fault:?} with {width} at a time");
        }
    }
}

#[test]
fn answers_that_never_come_blame_nobody_later() {
    let workload = workload(everything(), 100, 1000);
    let payloads = Arc::new(Payloads::new(&workload.payload, workload.seed).unwrap());
    let share = Share { thread: 0, threads: 1 };
    let mut plan =
        Plan::new(&workload, Protocol::Http1, payloads, share, Tokens::default()).unwrap();
    let mut server = Server::new(Fault::None);
    let mut rng: Rng = rng(3, 7);
    let mut errors = Errors::default();
    let mut forfeited = 0;
    for step in 0..40_000_u64 {
        let now_ns = step * STEP_NS;
        let Some((ask, call)) = plan.next(now_ns) else { continue };
        // Half of the lost ones were handled, half never reached the server.
        let lost = rng.random_range(0..20);
        if lost == 0 {
            server.handle(call, now_ns);
        }
        if lost <= 1 {
            plan.forfeit(&ask);
            forfeited += 1;
            continue;
        }
        let said = server.handle(call, now_ns);
        judge(&mut plan, &ask, &said, now_ns, &mut errors);
    }
    assert!(forfeited > 1000);
    assert!(kinds(&errors).is_empty(), "{errors:?}");
}

#[test]
fn an_answer_of_another_operation_is_unexpected() {
    let mix = Mix { issue: 1.0, ..Mix::default() };
    let workload = workload(mix, 10, 1000);
    let payloads = Arc::new(Payloads::new(&workload.payload, workload.seed).unwrap());
    let share = Share { thread: 0, threads: 1 };
    let mut plan =
        Plan::new(&workload, Protocol::Http1, payloads, share, Tokens::default()).unwrap();
    let (ask, _) = plan.next(0).unwrap();
    let wrong = plan.answer(&ask, &Answer::Done, 1).unwrap_err();
    assert_eq!(wrong.kind, Kind::Unexpected);
}

#[test]
fn a_server_whose_clock_drifts_is_not_blamed_but_one_that_forgets_is() {
    let ttl_ms = 900_000;
    let workload = workload(Mix { resolve: 1.0, ..Mix::default() }, 1, ttl_ms);
    let payloads = Arc::new(Payloads::new(&workload.payload, workload.seed).unwrap());
    let share = Share { thread: 0, threads: 1 };
    // 600 in a million are 540 ms of 15 minutes.
    for (early_ms, blamed) in [(540, false), (2_000, true)] {
        let mut plan =
            Plan::new(&workload, Protocol::Http1, Arc::clone(&payloads), share, Tokens::default())
                .unwrap();
        let (issue, _) = plan.next_load(0).unwrap();
        plan.answer(&issue, &Answer::Issued(None), 0).unwrap();
        let now_ns = (ttl_ms - early_ms) * STEP_NS;
        let (ask, _) = plan.next(now_ns.min((ttl_ms - 1_000) * STEP_NS)).unwrap();
        assert_eq!(ask.operation, Operation::Resolve);
        assert_eq!(plan.answer(&ask, &Answer::Absent, now_ns).is_err(), blamed, "{early_ms} ms");
    }
}

#[test]
fn what_could_not_be_asked_is_no_substitute() {
    let workload = workload(Mix { resolve: 1.0, ..Mix::default() }, 1, 60_000);
    let payloads = Arc::new(Payloads::new(&workload.payload, workload.seed).unwrap());
    let share = Share { thread: 0, threads: 1 };
    let mut plan =
        Plan::new(&workload, Protocol::Http1, payloads, share, Tokens::default()).unwrap();
    // No token lives: the first resolve becomes an issue, and the only slot is taken by it.
    assert!(plan.next(0).is_some());
    assert!((0..10).all(|_| plan.next(0).is_none()));
    assert_eq!(plan.substituted(), 1);
}

#[test]
fn a_node_may_give_what_ended_a_moment_ago_elsewhere_and_a_single_server_may_not() {
    const SECOND_NS: u64 = 1_000_000_000;
    for (nodes, seconds, right) in [(1, 0, 0), (3, 0, 1), (3, 29, 1), (3, 31, 0)] {
        let mut workload = Workload::default();
        workload.keys.population = 1;
        let payloads = Arc::new(Payloads::new(&workload.payload, 1).unwrap());
        let share = Share { thread: 0, threads: 1 };
        let plan = Plan::new(&workload, Protocol::Http1, payloads, share, Tokens::default());
        let mut plan = plan.unwrap().of_nodes(nodes);
        let issue = plan.next_load(0).unwrap().0;
        plan.answer(&issue, &Answer::Issued(Some([b'x'; 32])), 1).unwrap();
        let revoke = plan.next_of(Operation::Revoke, 2).unwrap().0;
        plan.answer(&revoke, &Answer::Done, 3).unwrap();
        let now_ns = 4 + seconds * SECOND_NS;
        // By turns one that was revoked and one that never was, which no node may know.
        let found = [0, 1].map(|_| {
            let miss = plan.next_of(Operation::Miss, now_ns).unwrap().0;
            plan.answer(&miss, &Answer::Found(b"1"), now_ns).is_ok()
        });
        let found = found.into_iter().filter(|is_right| *is_right).count();
        assert_eq!(found, right, "{nodes} nodes after {seconds} s");
    }
}
