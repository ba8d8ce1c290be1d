//! Checks that a history is linearizable (Herlihy and Wing 1990): its operations, each put at one
//! instant between its begin and its end, make a sequence that the model allows.
//!
//! The search is that of Wing and Gong (1993). Of the remaining calls, each that began before the
//! first of the others ended may be the next one. The search tries each that the model allows, and
//! goes back if there is none. Lowe's addition (2017) remembers each pair of *the set of calls put
//! in order* and *the state reached*, so that no pair is tried twice.
//!
//! A call whose answer was lost may be left out of the order and delays no other call. If it is put
//! in order, it stands before every call that began after the last instant at which it can have
//! happened.

use std::collections::HashSet;

use super::history::{Call, show};
use super::model::{Rules, State};

/// A search that looks at more situations than this stops, and the test fails.
const SITUATIONS_MAX: usize = 500_000;
/// While a failure is shortened, a step that is undecided after this many situations is skipped.
const SITUATIONS_MAX_TO_SHORTEN: usize = 30_000;

/// The result of a search.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// An order that the model allows, as indices into the history.
    Linearizable(Vec<usize>),
    /// No order is possible.
    Impossible,
    /// The search stopped at its limit.
    GivenUp,
}

/// A way into the history: the calls in order so far, and a state that they lead to.
struct Situation {
    done: Done,
    /// The latest begin of the calls put in order.
    latest_begin: u64,
    state: State,
    /// The call that led here, and the link before it.
    order: Option<usize>,
}

/// A set of calls, one bit each.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Done(Box<[u64]>);

impl Done {
    fn none(count: usize) -> Self {
        Self(vec![0; count.div_ceil(64)].into())
    }

    fn has(&self, at: usize) -> bool {
        self.0[at / 64] & (1 << (at % 64)) != 0
    }

    fn with(&self, at: usize) -> Self {
        let mut more = self.clone();
        more.0[at / 64] |= 1 << (at % 64);
        more
    }
}

/// Links of the orders that were tried: each call points to the one ahead of it.
struct Link {
    call: usize,
    ahead: Option<usize>,
}

/// Searches for an order of `calls`, which must be sorted by their begin.
pub fn check(calls: &[Call], rules: Rules) -> Verdict {
    check_within(SITUATIONS_MAX, calls, rules)
}

fn check_within(situations_max: usize, calls: &[Call], rules: Rules) -> Verdict {
    assert!(calls.is_sorted_by_key(|call| call.began.tick), "calls come in the order they began");
    let mut seen = HashSet::new();
    let mut links: Vec<Link> = Vec::new();
    let (done, state) = (Done::none(calls.len()), State::absent());
    let mut open = vec![Situation { done, latest_begin: 0, state, order: None }];
    while let Some(situation) = open.pop() {
        let candidates = candidates(calls, &situation);
        if candidates.is_complete {
            return Verdict::Linearizable(order(&links, situation.order));
        }
        for (at, state) in steps(calls, &situation, &candidates.calls, rules) {
            let done = situation.done.with(at);
            if !seen.insert((done.clone(), state.clone())) {
                continue;
            }
            if seen.len() > situations_max {
                return Verdict::GivenUp;
            }
            links.push(Link { call: at, ahead: situation.order });
            let latest_begin = situation.latest_begin.max(calls[at].began.tick);
            open.push(Situation { done, latest_begin, state, order: Some(links.len() - 1) });
        }
    }
    Verdict::Impossible
}

/// The next calls that a situation allows, the best one last.
///
/// A call is put in order at once if its answer says that it changed nothing, it fits here, it
/// leaves the model one state, and it adds no knowledge (not even a later time). If the rest has an
/// order with that call later, it has one with the call here, because no other call finds another
/// state by that. Only a lost call that cannot have happened after its begin may have to be ahead
/// of it.
fn steps(
    calls: &[Call],
    situation: &Situation,
    candidates: &[usize],
    rules: Rules,
) -> Vec<(usize, State)> {
    let mut steps = Vec::new();
    // The last one pushed is tried first: the call that ended first most likely happened first.
    for &at in candidates.iter().rev() {
        let call = &calls[at];
        let mut states = situation.state.after(call, rules);
        let is_idle = states.len() == 1
            && states[0] == situation.state
            && call.is_idle()
            && candidates.iter().all(|&other| calls[other].ended.tick > call.began.tick);
        if is_idle {
            return states.pop().map(|state| (at, state)).into_iter().collect();
        }
        steps.extend(states.into_iter().map(|state| (at, state)));
    }
    steps
}

struct Candidates {
    /// The calls that may be next, in the order in which they ended.
    calls: Vec<usize>,
    /// Only calls remain that may never have happened.
    is_complete: bool,
}

fn candidates(calls: &[Call], situation: &Situation) -> Candidates {
    let mut found = Candidates { calls: Vec::new(), is_complete: true };
    let mut first_end = u64::MAX;
    for (at, call) in calls.iter().enumerate() {
        if call.began.tick > first_end {
            break;
        }
        if situation.done.has(at) {
            continue;
        }
        if !call.is_lost() {
            first_end = first_end.min(call.ended.tick);
            found.is_complete = false;
        } else if call.ended.tick < situation.latest_begin {
            continue;
        }
        found.calls.push(at);
    }
    found.calls.retain(|&at| calls[at].began.tick < first_end);
    // Lost calls last: most often they are not needed.
    found.calls.sort_by_key(|&at| (calls[at].is_lost(), calls[at].ended.tick));
    found
}

fn order(links: &[Link], mut last: Option<usize>) -> Vec<usize> {
    let mut order = Vec::new();
    while let Some(at) = last {
        order.push(links[at].call);
        last = links[at].ahead;
    }
    order.reverse();
    order
}

/// Fails with the shortest impossible history if the history is impossible.
pub fn assert_linearizable(calls: &[Call], rules: Rules, replay: &str) {
    match check(calls, rules) {
        Verdict::Linearizable(_) => {}
        Verdict::GivenUp => panic!("too hard to check: {} calls\n{replay}", calls.len()),
        Verdict::Impossible => {
            let (core, beside) = shorten(calls, rules);
            panic!(
                "not linearizable: no order of these {} calls explains their answers, whether or \
                 not any of {beside} other changes of the same token happened meanwhile\n{}\n{replay}\n\
                 the whole history:\n{}",
                core.len(),
                show(&core),
                show(calls)
            );
        }
    }
}

/// The shortest impossible history within an impossible one, and the number of other changes that
/// make it no more possible, whatever their answers.
///
/// No step turns a possible history into an impossible one. An operation that only reads is left
/// out. The answer of any other is forgotten, so that it may have happened at any time or not at
/// all.
pub fn shorten(calls: &[Call], rules: Rules) -> (Vec<Call>, usize) {
    let is_impossible = |calls: &[Call]| {
        check_within(SITUATIONS_MAX_TO_SHORTEN, calls, rules) == Verdict::Impossible
    };
    let mut core = cut(calls, &is_impossible);
    // The last answers are the surprising ones, so the earliest calls are tried first.
    let mut at = 0;
    while at < core.len() {
        let mut fewer = core.clone();
        let call = fewer.remove(at);
        if !call.op.only_reads() {
            fewer.insert(at, call.forgotten());
        }
        let has_changed = fewer != core;
        if has_changed && is_impossible(&fewer) {
            at += usize::from(fewer.len() == core.len());
            core = fewer;
        } else {
            at += 1;
        }
    }
    let beside = core.iter().filter(|call| call.is_lost()).count();
    core.retain(|call| !call.is_lost());
    (core, beside)
}

/// The shortest beginning of a history that is impossible by itself. Calls that had not ended by
/// then have no answer in it.
fn cut(calls: &[Call], is_impossible: &impl Fn(&[Call]) -> bool) -> Vec<Call> {
    let mut ends: Vec<u64> = calls.iter().map(|call| call.ended.tick).collect();
    ends.sort_unstable();
    let beginning = |end: u64| -> Vec<Call> {
        let begun = calls.iter().filter(|call| call.began.tick <= end);
        let known = begun.map(|call| if call.ended.tick <= end { *call } else { call.forgotten() });
        known.filter(|call| !(call.is_lost() && call.op.only_reads())).collect()
    };
    let shortest = ends.partition_point(|&end| !is_impossible(&beginning(end)));
    beginning(ends.get(shortest).copied().unwrap_or(u64::MAX))
}
