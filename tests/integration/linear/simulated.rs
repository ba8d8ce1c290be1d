//! A token kept in three lines of memory, used by simulated clients with random delays: a source of
//! histories that are linearizable by construction, and, with one of several mistakes built in, of
//! histories that a checker must refuse.
//!
//! It shares no code with the model, on purpose: it knows its time and its deadline and decides,
//! while the model considers every possibility.

use jeton::engine::When;

use super::history::{Answer, Call, Moment, Op};
use super::model::Rules;
use crate::support::Rng;

/// The mistake of a simulated token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    None,
    /// Two consumers of one batch both win.
    TwoConsumersWin,
    /// A consume that was acknowledged is forgotten in the crash.
    ConsumeForgotten,
    /// An issue that was acknowledged is forgotten in the crash.
    IssueForgotten,
    /// A resolve reads the state of a moment before.
    StaleResolve,
    /// A retry under its key takes a second use.
    RetryTakesAUse,
    /// A retry under its key is refused once the token is consumed.
    RetryRefused,
    /// An extension may take time away.
    ExtendShortens,
    /// An extension goes beyond the longest life.
    ExtendBeyondCap,
    /// An expired token resolves.
    ExpiredResolves,
    /// A reference is issued again after its token was consumed.
    ReissuedAfterConsumed,
    /// A revoked token resolves again after the crash.
    RevokedReturns,
    /// An operation that was never answered happens twice.
    LostConsumeTwice,
    /// A token that can only be consumed resolves.
    PeekIgnored,
}

impl Mistake {
    pub const ALL: [Self; 13] = [
        Self::TwoConsumersWin,
        Self::ConsumeForgotten,
        Self::IssueForgotten,
        Self::StaleResolve,
        Self::RetryTakesAUse,
        Self::RetryRefused,
        Self::ExtendShortens,
        Self::ExtendBeyondCap,
        Self::ExpiredResolves,
        Self::ReissuedAfterConsumed,
        Self::RevokedReturns,
        Self::LostConsumeTwice,
        Self::PeekIgnored,
    ];
}

#[derive(Clone)]
struct Kept {
    payload: u8,
    uses: u8,
    uses_left: u8,
    peek: bool,
    keys: Vec<u8>,
    deadline_ms: u64,
    issued_ms: u64,
}

/// The simulated token.
struct Token {
    mistake: Mistake,
    rules: Rules,
    kept: Option<Kept>,
    /// The entry before the last change.
    before: Option<Kept>,
    /// The entry that existed until its deadline.
    expired: Option<Kept>,
    last_change: Op,
}

impl Token {
    fn perform(&mut self, op: Op, now_ms: u64) -> Answer {
        if let Some(expired) = self.kept.take_if(|kept| kept.deadline_ms <= now_ms) {
            self.expired = Some(expired);
        }
        let before = self.kept.clone();
        let answer = match op {
            Op::Issue { payload, ttl_ms, uses, peek } => {
                self.issue(now_ms, Kept::new(payload, uses, peek, now_ms, ttl_ms))
            }
            Op::Resolve => return self.resolve(now_ms),
            Op::Status => return self.status(),
            Op::Consume { key } => self.consume(key),
            Op::Extend { ttl_ms } => self.extend(now_ms, ttl_ms),
            Op::Revoke => {
                self.kept.take_if(|kept| kept.uses_left > 0);
                Answer::Revoked
            }
            Op::Put { .. } | Op::SetDeadline { .. } | Op::Swap { .. } => {
                panic!("{op} is for names")
            }
        };
        self.before = before;
        self.last_change = op;
        answer
    }

    fn issue(&mut self, now_ms: u64, new: Kept) -> Answer {
        if self.mistake == Mistake::ReissuedAfterConsumed {
            self.kept.take_if(|kept| kept.uses_left == 0);
        }
        let Some(kept) = &self.kept else {
            let deadline_ms = new.deadline_ms;
            debug_assert!(deadline_ms > now_ms);
            self.kept = Some(new);
            return Answer::Issued { deadline_ms };
        };
        let is_same = (kept.payload, kept.uses, kept.peek) == (new.payload, new.uses, new.peek);
        if kept.uses_left > 0 && is_same {
            Answer::Exists { deadline_ms: kept.deadline_ms }
        } else {
            Answer::Refused
        }
    }

    fn resolve(&self, now_ms: u64) -> Answer {
        let stale = self.mistake == Mistake::StaleResolve && now_ms.is_multiple_of(3);
        let late = self.mistake == Mistake::ExpiredResolves && self.kept.is_none();
        let kept = match (stale, late) {
            (true, _) => &self.before,
            (_, true) => &self.expired,
            _ => &self.kept,
        };
        let shows = |kept: &&Kept| {
            kept.uses_left > 0 && (kept.peek || self.mistake == Mistake::PeekIgnored)
        };
        kept.as_ref().filter(shows).map_or(Answer::Missing, |kept| Answer::Payload(kept.payload))
    }

    fn status(&self) -> Answer {
        let alive = self.kept.as_ref().filter(|kept| kept.uses_left > 0);
        alive.map_or(Answer::Missing, |kept| Answer::Status {
            deadline_ms: kept.deadline_ms,
            uses_left: kept.uses_left,
        })
    }

    fn consume(&mut self, key: Option<u8>) -> Answer {
        let mistake = self.mistake;
        let wins_twice = mistake == Mistake::TwoConsumersWin
            && self.before.as_ref().is_some_and(|before| before.uses_left > 0);
        let Some(kept) = &mut self.kept else { return Answer::Missing };
        let is_retry = key.is_some_and(|key| kept.keys.contains(&key));
        match (is_retry, kept.uses_left) {
            (true, 0) if mistake == Mistake::RetryRefused => Answer::Missing,
            (true, left) => {
                if mistake == Mistake::RetryTakesAUse {
                    kept.uses_left = left.saturating_sub(1);
                }
                Answer::Payload(kept.payload)
            }
            (false, 0) if wins_twice => Answer::Payload(kept.payload),
            (false, 0) => Answer::Missing,
            (false, _) => {
                kept.uses_left -= 1;
                kept.keys.extend(key);
                Answer::Payload(kept.payload)
            }
        }
    }

    fn extend(&mut self, now_ms: u64, ttl_ms: u64) -> Answer {
        let (mistake, rules) = (self.mistake, self.rules);
        let Some(kept) = self.kept.as_mut().filter(|kept| kept.uses_left > 0) else {
            return Answer::Missing;
        };
        let mut deadline_ms = now_ms + ttl_ms;
        if mistake != Mistake::ExtendBeyondCap {
            deadline_ms = deadline_ms.min(kept.issued_ms + rules.max_ttl_ms);
        }
        if mistake != Mistake::ExtendShortens {
            deadline_ms = deadline_ms.max(kept.deadline_ms);
        }
        kept.deadline_ms = deadline_ms;
        Answer::Extended { deadline_ms }
    }

    /// Whether a crash undoes the last change: never, unless that is the mistake.
    fn forgets(&self) -> bool {
        match self.mistake {
            Mistake::ConsumeForgotten => matches!(self.last_change, Op::Consume { .. }),
            Mistake::IssueForgotten => matches!(self.last_change, Op::Issue { .. }),
            Mistake::RevokedReturns => self.last_change == Op::Revoke,
            _ => false,
        }
    }

    fn crash(&mut self) {
        if self.forgets() {
            self.kept = self.before.take();
        }
    }
}

impl Kept {
    fn new(payload: u8, uses: u8, peek: bool, now_ms: u64, ttl_ms: u64) -> Self {
        let (uses_left, keys) = (uses, Vec::new());
        Self {
            payload,
            uses,
            uses_left,
            peek,
            keys,
            deadline_ms: now_ms + ttl_ms,
            issued_ms: now_ms,
        }
    }
}

/// The size of a simulation.
#[derive(Clone, Copy)]
pub struct Size {
    pub clients: usize,
    pub calls: usize,
}

/// A simulated run: the calls of the clients, sorted by begin.
pub fn run(seed: u64, size: Size, mistake: Mistake, rules: Rules) -> Vec<Call> {
    let rng = Rng::new(seed);
    let token =
        Token { mistake, rules, kept: None, before: None, expired: None, last_change: Op::Status };
    let mut run = Run { rng, token, calls: Vec::new(), now: Moment { tick: 0, ms: 1_000 } };
    let mut clients: Vec<Option<usize>> = vec![None; size.clients];
    // Which of the calls under way have happened already.
    let mut happened: Vec<Option<Answer>> = Vec::new();
    while run.calls.len() < size.calls || clients.iter().any(Option::is_some) {
        run.now.tick += 1;
        run.now.ms += [0, 0, 0, 1, 1, 5, 20][run.rng.below(7)];
        let calls_to_crash = if run.token.forgets() { 12 } else { 3 * size.calls };
        if size.calls > 6 && run.rng.below(calls_to_crash) == 0 {
            run.crash(&mut clients, &mut happened);
            continue;
        }
        let client = run.rng.below(size.clients);
        match clients[client] {
            None if run.calls.len() < size.calls => {
                clients[client] = Some(run.begin(client));
                happened.push(None);
            }
            None => {}
            Some(at) if happened[at].is_none() => {
                happened[at] = Some(run.token.perform(run.calls[at].op, run.now.ms));
            }
            Some(at) => {
                run.end(at, happened[at].expect("it happened"));
                clients[client] = None;
            }
        }
    }
    run.calls.retain(|call| !(call.is_lost() && call.op.only_reads()));
    run.calls
}

struct Run {
    rng: Rng,
    token: Token,
    calls: Vec<Call>,
    now: Moment,
}

impl Run {
    fn begin(&mut self, client: usize) -> usize {
        let op = any_op(&mut self.rng, TTLS);
        let (answer, began, ended) = (Answer::Lost, self.now, Moment::NEVER);
        self.calls.push(Call { client, op, answer, began, ended });
        self.calls.len() - 1
    }

    fn end(&mut self, at: usize, answer: Answer) {
        // Now and then an answer does not arrive. With `LostConsumeTwice` a consume then happens
        // twice.
        if self.rng.below(10) > 0 {
            self.calls[at].answer = answer;
            self.calls[at].ended = self.now;
        } else if self.token.mistake == Mistake::LostConsumeTwice
            && matches!(self.calls[at].op, Op::Consume { .. })
        {
            self.token.perform(Op::Consume { key: None }, self.now.ms);
        }
    }

    /// All calls under way end here without an answer. Half of them have happened.
    fn crash(&mut self, clients: &mut [Option<usize>], happened: &mut [Option<Answer>]) {
        for at in clients.iter_mut().filter_map(Option::take) {
            if happened[at].is_none() && self.rng.below(2) == 0 {
                self.token.perform(self.calls[at].op, self.now.ms);
            }
            self.calls[at].ended = self.now;
        }
        self.token.crash();
        self.now.tick += 1;
    }
}

/// The requested lives, in milliseconds.
#[derive(Clone, Copy)]
pub struct Ttls {
    pub issue: [u64; 4],
    pub extend: [u64; 3],
}

/// For simulated runs, in which a call takes some 50 ms.
pub const TTLS: Ttls = Ttls { issue: [20, 60, 200, 1_000], extend: [10, 150, 2_000] };

/// Operations in the proportions that make most of a short history.
pub fn any_op(rng: &mut Rng, ttls: Ttls) -> Op {
    match rng.below(16) {
        0..5 => Op::Issue {
            payload: [0, 0, 0, 1][rng.below(4)],
            ttl_ms: ttls.issue[rng.below(4)],
            uses: [1, 1, 2, 3][rng.below(4)],
            peek: rng.below(5) > 0,
        },
        5..8 => Op::Resolve,
        8..10 => Op::Consume { key: None },
        10..12 => Op::Consume { key: Some([0, 0, 1][rng.below(3)]) },
        12 => Op::Revoke,
        13..15 => Op::Extend { ttl_ms: ttls.extend[rng.below(3)] },
        _ => Op::Status,
    }
}

/// Operations on a name. Each value is put once, so that an answer shows which one it is.
pub fn any_op_on_a_name(rng: &mut Rng, value: u8, now_ms: u64) -> Op {
    let ttl_ms = [50, 1_000, 20_000, 40_000][rng.below(4)];
    match rng.below(16) {
        0..4 => {
            let when = [When::Always, When::Absent, When::Present][rng.below(3)];
            Op::Put { payload: value, ttl_ms, when }
        }
        4..6 => Op::Swap { payload: value, ttl_ms },
        6..8 => {
            let at_ms = [now_ms.saturating_sub(100), now_ms + 50, now_ms + 2_000, now_ms + 30_000];
            Op::SetDeadline { at_ms: at_ms[rng.below(4)] }
        }
        8..10 => Op::Consume { key: None },
        10 => Op::Revoke,
        11 => Op::Extend { ttl_ms: [100, 5_000, 50_000][rng.below(3)] },
        12..15 => Op::Resolve,
        _ => Op::Status,
    }
}
