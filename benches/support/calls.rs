//! Calls of an engine: many operations in few calls, and many callers as the server has them.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use jeton::engine::{Engine, Op, Outcome, Pending};
use jeton::model::token::Digest;
use tokio::runtime;
use tokio::task::{LocalSet, spawn_local};

/// Operations in a call where the calls themselves are not measured.
const CALL_LEN: usize = 1_000;
/// Calls that wait at the same time there.
const CALLS_IN_FLIGHT: usize = 4;

/// The issue of token number `n`.
pub fn issue(digest: Digest, n: usize, ttl: Duration) -> Op {
    Op::Issue {
        digest,
        payload: super::payload(n).to_vec(),
        ttl,
        uses: 1,
        peek: true,
        derived: false,
    }
}

/// Issues the tokens with these numbers; `ttl` gives the life of each, `check` sees each outcome.
pub fn issue_range(
    engine: &Engine,
    numbers: Range<usize>,
    ttl: &mut dyn FnMut(usize) -> Duration,
    check: impl Fn(&Outcome),
) {
    let digester = super::digester();
    let ops = numbers.map(|n| issue(super::digest(&digester, n), n, ttl(n)));
    in_calls(engine, CALL_LEN, ops, check);
}

/// Carries out operations in calls of `call_len`; `check` sees each outcome.
pub fn in_calls(
    engine: &Engine,
    call_len: usize,
    mut ops: impl Iterator<Item = Op>,
    check: impl Fn(&Outcome),
) {
    let mut waiting: VecDeque<(usize, Pending)> = VecDeque::new();
    loop {
        let call: Vec<Op> = ops.by_ref().take(call_len).collect();
        let is_last = call.is_empty();
        while is_last && !waiting.is_empty() || waiting.len() == CALLS_IN_FLIGHT {
            let (len, pending) = waiting.pop_front().expect("it is not empty");
            let outcomes = pending.wait().expect("the engine is open");
            assert_eq!(outcomes.len(), len, "an outcome for each operation");
            outcomes.iter().for_each(&check);
        }
        if is_last {
            return;
        }
        let len = call.len();
        let pending = engine.submit(call).expect("the queue has room for a few calls");
        waiting.push_back((len, pending));
    }
}

/// Carries out operations one a call, by so many callers of one thread with one mailbox, as the
/// connections of a worker do; `check` sees each outcome.
pub fn by_callers(engine: &Engine, callers: usize, ops: Vec<Op>, check: fn(&Outcome)) {
    let runtime = runtime::Builder::new_current_thread().build().expect("a runtime");
    let ops = Rc::new(RefCell::new(ops.into_iter()));
    LocalSet::new().block_on(&runtime, async {
        let caller = engine.caller();
        let pumping = caller.clone();
        let pump = spawn_local(async move { pumping.pump().await });
        let tasks: Vec<_> = (0..callers)
            .map(|_| {
                let (caller, ops) = (caller.clone(), Rc::clone(&ops));
                spawn_local(async move {
                    let next = || ops.borrow_mut().next();
                    while let Some(op) = next() {
                        check(&caller.call_one(op).await.expect("the engine takes it"));
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("no caller panics");
        }
        pump.abort();
    });
}
