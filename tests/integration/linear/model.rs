//! The sequential model of one token: the answers that each operation may have if operations happen
//! one by one, each at one instant between its begin and its end.
//!
//! **Time** is part of the state. An operation happens at a time within its own bounds and not
//! before the operations that were put ahead of it; `now_ms` is the earliest time that is left. A
//! token lives at `t` if and only if `t < deadline`. So an answer is constrained exactly where the
//! bounds of its call leave no choice. Where the bounds straddle the deadline, the model follows
//! both ways. Each way binds all later operations: an expired token stays expired.
//!
//! **An unknown deadline** is kept as a range: the deadline of a token whose issue or extension had
//! no answer lies between two bounds, until an answer shows it.

use jeton::engine::When;

use super::history::{Answer, Call, Op};

/// The settings of the server under test.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub max_ttl_ms: u64,
    /// An extension requested before the deadline may become visible after it: the engine decides
    /// it by the time of its frame, and shows it when the frame is synced. A resolve in between
    /// gets the answer for an unknown token.
    pub extends_late: bool,
}

/// The state of one token.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// No later operation can happen before this time.
    now_ms: u64,
    entry: Option<Entry>,
    /// The entry that has expired and may still be extended, if the rules allow it.
    lapsed: Option<Entry>,
}

/// The entry that exists until its deadline, also after it was consumed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Entry {
    payload: u8,
    uses: u8,
    uses_left: u8,
    peek: bool,
    /// One bit for each idempotency key under which a use was taken.
    keys: u64,
    deadline: Range,
    issued: Range,
    /// It was put under a name, so that it is gone once it is consumed.
    is_put: bool,
}

/// A time in milliseconds that is known within bounds, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Range {
    min: u64,
    max: u64,
}

impl Range {
    fn exactly(ms: u64) -> Self {
        Self { min: ms, max: ms }
    }

    fn contains(self, ms: u64) -> bool {
        (self.min..=self.max).contains(&ms)
    }

    fn plus(self, ms: u64) -> Self {
        Self { min: self.min.saturating_add(ms), max: self.max.saturating_add(ms) }
    }

    fn at_least(self, floor: Self) -> Self {
        Self { min: self.min.max(floor.min), max: self.max.max(floor.max) }
    }

    fn at_most(self, cap: Self) -> Self {
        Self { min: self.min.min(cap.min), max: self.max.min(cap.max) }
    }
}

impl State {
    /// No token was ever issued.
    pub fn absent() -> Self {
        Self { now_ms: 0, entry: None, lapsed: None }
    }

    /// All states that are possible after `call` happened in this state with its answer; empty if
    /// it cannot have happened. A call without an answer counts as happened: the checker considers
    /// the case that it did not.
    pub fn after(&self, call: &Call, rules: Rules) -> Vec<Self> {
        let now_ms = self.now_ms.max(call.began.ms);
        if now_ms > call.ended.ms {
            return Vec::new();
        }
        let Some(entry) = &self.entry else {
            let lapsed = self.lapsed.clone();
            let revived = self.revived(call).and_then(|entry| present(entry, call, rules));
            let states = absent(call).map(|entry| Self { now_ms, entry, lapsed }.tidy());
            let revived = revived.map(|entry| Self { now_ms, entry, lapsed: None });
            return states.into_iter().chain(revived).collect();
        };
        let mut states = Vec::new();
        if entry.deadline.max > now_ms {
            let mut entry = entry.clone();
            entry.deadline.min = entry.deadline.min.max(now_ms + 1);
            let after = present(entry, call, rules);
            states.extend(after.map(|entry| Self { now_ms, entry, lapsed: None }));
        }
        if entry.deadline.min <= call.ended.ms {
            let now_ms = now_ms.max(entry.deadline.min);
            let lapsed = (rules.extends_late && entry.uses_left > 0).then(|| entry.clone());
            states.extend(absent(call).map(|entry| Self { now_ms, entry, lapsed }.tidy()));
        }
        states
    }

    /// The entry that is found by an extension begun before the deadline.
    fn revived(&self, call: &Call) -> Option<Entry> {
        let is_extend = matches!(call.op, Op::Extend { .. }) && call.answer != Answer::Missing;
        let in_time = |entry: &&Entry| is_extend && call.began.ms < entry.deadline.max;
        self.lapsed.as_ref().filter(in_time).cloned()
    }

    fn tidy(mut self) -> Self {
        self.lapsed.take_if(|_| self.entry.is_some());
        self
    }
}

/// The state after `call` found no entry; `None` if its answer was not possible.
fn absent(call: &Call) -> Option<Option<Entry>> {
    let under_way = Range { min: call.began.ms, max: call.ended.ms };
    match (call.op, call.answer) {
        (Op::Issue { payload, ttl_ms, uses, peek }, answer) => {
            let deadline = under_way.plus(ttl_ms);
            let deadline = match answer {
                Answer::Issued { deadline_ms } | Answer::There { deadline_ms }
                    if deadline.contains(deadline_ms) =>
                {
                    Range::exactly(deadline_ms)
                }
                Answer::Lost => deadline,
                _ => return None,
            };
            let (keys, uses_left, issued, is_put) = (0, uses, under_way, false);
            Some(Some(Entry { payload, uses, uses_left, peek, keys, deadline, issued, is_put }))
        }
        (Op::Put { when: When::Present, .. }, Answer::Kept | Answer::Lost) => Some(None),
        (Op::Put { when: When::Present, .. }, _) => None,
        (Op::Put { payload, ttl_ms, .. }, _) => Entry::put(payload, ttl_ms, call),
        (Op::Swap { payload, ttl_ms }, Answer::Swapped { before: None, .. } | Answer::Lost) => {
            Entry::put(payload, ttl_ms, call)
        }
        (Op::Revoke, Answer::Revoked | Answer::Lost) => Some(None),
        (Op::Revoke, _) => None,
        (_, Answer::Missing | Answer::Lost) => Some(None),
        (_, _) => None,
    }
}

/// The state after `call` found `entry` before its deadline.
fn present(entry: Entry, call: &Call, rules: Rules) -> Option<Option<Entry>> {
    match call.op {
        Op::Issue { payload, uses, peek, .. } => {
            let is_same = (payload, uses, peek) == (entry.payload, entry.uses, entry.peek);
            match call.answer {
                Answer::Lost => Some(Some(entry)),
                Answer::Refused if entry.uses_left == 0 || !is_same => Some(Some(entry)),
                Answer::Exists { deadline_ms } | Answer::There { deadline_ms }
                    if entry.uses_left > 0 && is_same =>
                {
                    entry.shown(deadline_ms)
                }
                _ => None,
            }
        }
        Op::Resolve => {
            let found = if entry.uses_left > 0 && entry.peek {
                Answer::Payload(entry.payload)
            } else {
                Answer::Missing
            };
            (call.answer == found || call.is_lost()).then_some(Some(entry))
        }
        Op::Consume { key } => entry.consumed(key, call.answer),
        Op::Revoke => {
            let is_possible = matches!(call.answer, Answer::Revoked | Answer::Lost);
            // A consumed entry stays: an order that was paid is not issued again.
            is_possible.then(|| (entry.uses_left == 0).then_some(entry))
        }
        Op::Extend { ttl_ms } => entry.extended(ttl_ms, call, rules),
        Op::Put { when: When::Absent, .. } => {
            matches!(call.answer, Answer::Kept | Answer::Lost).then_some(Some(entry))
        }
        Op::Put { payload, ttl_ms, .. } => Entry::put(payload, ttl_ms, call),
        Op::Swap { payload, ttl_ms } => match call.answer {
            Answer::Swapped { before, .. } if before != Some(entry.payload) => None,
            _ => Entry::put(payload, ttl_ms, call),
        },
        Op::SetDeadline { at_ms } => match call.answer {
            Answer::Extended { deadline_ms } if deadline_ms != at_ms => None,
            // It had passed when the change took effect.
            Answer::Revoked => (at_ms <= call.ended.ms).then_some(None),
            Answer::Extended { .. } | Answer::Lost => {
                Some(Some(Entry { deadline: Range::exactly(at_ms), ..entry }))
            }
            _ => None,
        },
        Op::Status => match call.answer {
            Answer::Lost => Some(Some(entry)),
            Answer::Missing if entry.uses_left == 0 => Some(Some(entry)),
            Answer::Status { deadline_ms, uses_left }
                if uses_left > 0 && uses_left == entry.uses_left =>
            {
                entry.shown(deadline_ms)
            }
            _ => None,
        },
    }
}

impl Entry {
    /// What a put leaves; `None` if that is not its answer.
    fn put(payload: u8, ttl_ms: u64, call: &Call) -> Option<Option<Self>> {
        let issued = Range { min: call.began.ms, max: call.ended.ms };
        let deadline = issued.plus(ttl_ms);
        let deadline = match call.answer {
            Answer::Put { deadline_ms } | Answer::Swapped { deadline_ms, .. }
                if deadline.contains(deadline_ms) =>
            {
                Range::exactly(deadline_ms)
            }
            Answer::Lost => deadline,
            _ => return None,
        };
        let (uses, uses_left, keys) = (1, 1, 0);
        let (peek, is_put) = (true, true);
        Some(Some(Self { payload, uses, uses_left, peek, keys, deadline, issued, is_put }))
    }

    /// An answer showed the deadline.
    fn shown(self, deadline_ms: u64) -> Option<Option<Self>> {
        let deadline = Range::exactly(deadline_ms);
        self.deadline.contains(deadline_ms).then_some(Some(Self { deadline, ..self }))
    }

    fn consumed(mut self, key: Option<u8>, answer: Answer) -> Option<Option<Self>> {
        let bit = key.map_or(0, |key| 1u64 << key);
        let is_retry = self.keys & bit != 0;
        let found = if is_retry || self.uses_left > 0 {
            Answer::Payload(self.payload)
        } else {
            Answer::Missing
        };
        if answer != found && answer != Answer::Lost {
            return None;
        }
        if !is_retry && self.uses_left > 0 {
            self.uses_left -= 1;
            self.keys |= bit;
        }
        let is_gone = self.is_put && self.uses_left == 0;
        Some((!is_gone).then_some(self))
    }

    fn extended(self, ttl_ms: u64, call: &Call, rules: Rules) -> Option<Option<Self>> {
        if self.uses_left == 0 {
            return matches!(call.answer, Answer::Missing | Answer::Lost).then_some(Some(self));
        }
        let asked = Range { min: call.began.ms, max: call.ended.ms }.plus(ttl_ms);
        let cap = self.issued.plus(rules.max_ttl_ms);
        let deadline = asked.at_most(cap).at_least(self.deadline);
        match call.answer {
            Answer::Extended { deadline_ms } if deadline.contains(deadline_ms) => {
                Some(Some(Self { deadline: Range::exactly(deadline_ms), ..self }))
            }
            Answer::Lost => Some(Some(Self { deadline, ..self })),
            _ => None,
        }
    }
}
