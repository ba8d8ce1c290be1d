//! Tests of the checker: it accepts every history that is linearizable by construction, it agrees
//! with an existing checker (stateright) about thousands of random ones, possible and impossible,
//! and it finds each of the mistakes that a token server can make.

use stateright::semantics::{ConsistencyTester, LinearizabilityTester, SequentialSpec};

use super::checker::{Verdict, check, shorten};
use super::history::{Answer, Call, Op, show};
use super::model::{Rules, State};
use super::simulated::{Mistake, Size, TTLS, any_op, run};
use crate::support::Rng;
use crate::volume::{replay, seeds, tell};

const RULES: Rules = Rules { max_ttl_ms: 1_500, extends_late: false };

/// The model in the form that stateright needs: a deterministic object. Open choices of the model
/// become a set of states. A call is possible if any of them allows it.
#[derive(Clone, Debug)]
struct Possible(Vec<State>);

impl SequentialSpec for Possible {
    type Op = Call;
    type Ret = Answer;

    /// Called for calls that never ended: any result is possible.
    fn invoke(&mut self, call: &Call) -> Answer {
        self.step(&call.forgotten());
        Answer::Lost
    }

    fn is_valid_step(&mut self, call: &Call, answer: &Answer) -> bool {
        let unmoved = if *answer == Answer::Lost { self.0.clone() } else { Vec::new() };
        self.step(&Call { answer: *answer, ..*call });
        // One that ended without an answer, in a crash, may not have happened.
        self.0.extend(unmoved);
        !self.0.is_empty()
    }
}

impl Possible {
    fn step(&mut self, call: &Call) {
        self.0 = self.0.iter().flat_map(|state| state.after(call, RULES)).collect();
    }
}

/// The verdict of stateright about the history.
fn stateright_takes(calls: &[Call]) -> bool {
    let mut tester = LinearizabilityTester::new(Possible(vec![State::absent()]));
    let mut events: Vec<(u64, usize, bool)> = Vec::new();
    for (at, call) in calls.iter().enumerate() {
        events.push((call.began.tick, at, true));
        if call.ended.tick < u64::MAX {
            events.push((call.ended.tick, at, false));
        }
    }
    events.sort_unstable();
    for (_, at, is_begin) in events {
        // A client continues after an answer was lost. For stateright that is another thread.
        let call = calls[at];
        let thread = if call.is_lost() { 1_000 + at } else { call.client };
        let told = if is_begin {
            tester.on_invoke(thread, call.forgotten()).map(|_| ())
        } else {
            tester.on_return(thread, call.answer).map(|_| ())
        };
        told.expect("begins and ends come in turn");
    }
    tester.is_consistent()
}

/// Changes one thing about one call: its answer, or when it began or ended.
fn mutate(calls: &mut [Call], rng: &mut Rng) {
    if calls.is_empty() {
        return;
    }
    let (at, other) = (rng.below(calls.len()), rng.below(calls.len()));
    if calls[at].is_lost() || calls[other].is_lost() {
        return;
    }
    let shifted = |ms: u64, rng: &mut Rng| (ms + rng.below(40) as u64).saturating_sub(20);
    match (&mut calls[at].answer, rng.below(4)) {
        (Answer::Payload(payload), 0) => *payload ^= 1,
        (answer @ Answer::Payload(_), 1) => *answer = Answer::Missing,
        (answer @ Answer::Missing, 0..2) => *answer = Answer::Payload(0),
        (answer @ Answer::Refused, 0..2) => *answer = Answer::Issued { deadline_ms: 1_100 },
        (Answer::Status { uses_left, .. }, 0..2) => *uses_left = *uses_left % 3 + 1,
        (Answer::Extended { deadline_ms } | Answer::Exists { deadline_ms }, 0..2) => {
            *deadline_ms = shifted(*deadline_ms, rng);
        }
        _ if calls[at].op == calls[other].op => {
            let answer = calls[at].answer;
            calls[at].answer = calls[other].answer;
            calls[other].answer = answer;
        }
        _ => calls[at].op = any_op(rng, TTLS),
    }
}

#[test]
fn linear_checker_takes_what_is_linearizable_by_construction() {
    let (mut calls_checked, mut histories, mut given_up) = (0, 0, 0);
    for seed in seeds("linear_valid", 1_500) {
        let size = Size { clients: 2 + seed as usize % 5, calls: 10 + seed as usize % 50 };
        let calls = run(seed, size, Mistake::None, RULES);
        calls_checked += calls.len() as u64;
        histories += 1;
        match check(&calls, RULES) {
            Verdict::Linearizable(order) => assert_is_an_order(&calls, &order),
            Verdict::GivenUp => given_up += 1,
            Verdict::Impossible => {
                let name = "linear_checker_takes_what_is_linearizable_by_construction";
                panic!("refused:\n{}\n{}", show(&calls), replay(name, seed));
            }
        }
    }
    // With many lost answers there are too many orders to search. That must stay rare.
    assert!(given_up * 10_000 <= histories.max(10_000), "{given_up} of {histories} given up");
    let counts = [("histories", histories), ("calls", calls_checked), ("given_up", given_up)];
    tell("linear_valid", &counts);
}

/// Checks the order that the checker found: no call stands ahead of one that had ended before it
/// began.
fn assert_is_an_order(calls: &[Call], order: &[usize]) {
    for (at, &early) in order.iter().enumerate() {
        for &late in &order[at + 1..] {
            assert!(calls[late].ended.tick > calls[early].began.tick, "out of order");
        }
    }
    let in_order = |at: &usize| order.contains(at) || calls[*at].is_lost();
    assert!((0..calls.len()).all(|at| in_order(&at)), "a call was left out");
}

#[test]
fn linear_checker_agrees_with_stateright() {
    let (mut possible, mut impossible) = (0, 0);
    for seed in seeds("linear_cross", 4_000) {
        let size = Size { clients: 2 + seed as usize % 3, calls: 4 + seed as usize % 5 };
        let mistake = match seed % 5 {
            0 => Mistake::ALL[seed as usize / 5 % Mistake::ALL.len()],
            _ => Mistake::None,
        };
        let mut calls = run(seed, size, mistake, RULES);
        let mut rng = Rng::new(seed ^ 0x5EED);
        for _ in 0..seed % 3 {
            mutate(&mut calls, &mut rng);
        }
        let ours = check(&calls, RULES) != Verdict::Impossible;
        let theirs = stateright_takes(&calls);
        assert_eq!(
            ours,
            theirs,
            "the checkers (ours, stateright) do not agree:\n{}\n{}",
            show(&calls),
            replay("linear_checker_agrees_with_stateright", seed)
        );
        *(if ours { &mut possible } else { &mut impossible }) += 1;
    }
    assert!(std::env::var("JETON_SEED").is_ok() || possible.min(impossible) > 500);
    tell("linear_cross", &[("possible", possible), ("impossible", impossible)]);
}

#[test]
fn linear_checker_finds_every_seeded_mistake() {
    let size = Size { clients: 4, calls: 40 };
    for mistake in Mistake::ALL {
        let is_refused =
            |seed: &u64| check(&run(*seed, size, mistake, RULES), RULES) == Verdict::Impossible;
        let found: Vec<u64> = (1..=500).filter(is_refused).take(3).collect();
        assert_eq!(found.len(), 3, "{mistake:?} is hardly ever found: {found:?}");
        tell(&format!("linear_mistake {mistake:?}"), &[("found_third_at_history", found[2])]);
    }
}

#[test]
fn linear_failures_are_told_in_few_lines() {
    let size = Size { clients: 4, calls: 60 };
    let told = |seed: u64| {
        let calls = run(seed, size, Mistake::ReissuedAfterConsumed, RULES);
        (check(&calls, RULES) == Verdict::Impossible).then(|| shorten(&calls, RULES).0)
    };
    let core = (1..200).find_map(told).expect("one of them is refused");
    let is_issue = |call: &&Call| matches!(call.op, Op::Issue { .. });
    assert!(core.len() <= 6, "not short:\n{}", show(&core));
    assert!(core.iter().filter(is_issue).count() >= 1, "not what is wrong:\n{}", show(&core));
}
