//! What one thread asks next, and whether the answer is right.
//!
//! The plan chooses an operation by its weight and a token by its popularity, remembers what it
//! asked in an [`Ask`], and judges the answer by what it knows of the token. Threads share no
//! tokens, so that each knows all that was done to its own. Where an answer may rightly be one or
//! the other (a resolve while a consume is under way, a token in the moment of its deadline), both
//! are taken; a payload is always compared.

mod judge;
mod key;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::failure::Result;
use crate::protocol::{Call, Key, Protocol};
use crate::traffic::arrivals::Share;
use crate::traffic::choice::Choice;
use crate::traffic::lifetime::Lifetimes;
use crate::traffic::payload::{Payloads, fixed_body};
use crate::traffic::popularity::Picker;
use crate::traffic::slots::{Slack, Slots};
use crate::traffic::{Rng, rng};
use crate::workload::{Operation, Workload};

/// Dead tokens that are remembered, to be asked for again.
const DEAD_MAX: usize = 4096;
/// Numbers of tokens that are never issued have this bit.
const NEVER: u64 = 1 << 63;
const NANOS_PER_MS: u64 = 1_000_000;
/// Clocks of two machines may drift apart by one part in this number: those kept by NTP are turned by
/// up to 500 in a million, and crystals differ by some 100.
const DRIFT: u64 = 1_000;
/// A node of a jeton cluster answers what it knows from its own memory for as long as its knowledge is
/// not older than this (`--cluster-staleness`).
const STALE_NS: u64 = 30_000_000_000;
/// An extend draws so often for a token that is not being extended already.
const EXTEND_DRAWS: usize = 8;

/// One request that was sent, until it is answered or given up.
#[derive(Clone, Debug)]
pub struct Ask {
    /// What was asked.
    pub operation: Operation,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    /// Of a slot's tenant.
    One { slot: u32, number: u64, sent_ns: u64, ttl_ns: u64 },
    /// A batch: slots and numbers.
    Many(Vec<(u32, u64)>),
    /// A token that must be unknown, but for one that ended a moment ago at another server.
    Gone { may_be_stale: bool },
}

impl Ask {
    /// How many tokens it asks for.
    pub fn tokens(&self) -> u64 {
        match &self.what {
            What::Many(slots) => slots.len() as u64,
            What::One { .. } | What::Gone { .. } => 1,
        }
    }
}

/// A token that was ended, and how.
#[derive(Clone, Copy)]
struct Dead {
    key: Key,
    consumed: bool,
    /// When that was acknowledged.
    since_ns: u64,
}

/// How the tokens of a session are issued, beside what its workload says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tokens {
    /// The number of the first one: sessions that ask the same server count from different ones,
    /// or one would overwrite what the other issued where the caller chooses the names.
    pub first: u64,
    /// In place of the workload's times to live: all deadlines lie between these two moments, in
    /// nanoseconds from the begin of the session.
    pub deadlines_ns: Option<(u64, u64)>,
    /// In place of the workload's depth: the number of requests under way on one connection while
    /// the population is issued.
    pub load_depth: Option<usize>,
}

/// One thread's share of a workload.
pub struct Plan {
    protocol: Protocol,
    slots: Slots,
    rng: Rng,
    choice: Choice,
    picker: Picker,
    lifetimes: Lifetimes,
    payloads: Arc<Payloads>,
    slack: Slack,
    batch_size: usize,
    rivals: u16,
    /// Consumes of one token that are still to be sent: its slot, its number, how many.
    rivals_due: Option<(u32, u64, u16)>,
    first: u64,
    issued: u64,
    share: Share,
    asked_gone: u64,
    dead: Vec<Dead>,
    dead_next: usize,
    substituted: u64,
    /// How old a server's knowledge of a token that ended may be.
    stale_ns: u64,
    keys: Vec<Key>,
    payload: Vec<u8>,
    /// What the floor answers.
    floor_body: Vec<u8>,
}

impl Plan {
    /// The share of a thread in a workload.
    ///
    /// # Errors
    /// The population of a thread is beyond four billion.
    pub fn new(
        workload: &Workload,
        protocol: Protocol,
        payloads: Arc<Payloads>,
        share: Share,
        tokens: Tokens,
    ) -> Result<Self> {
        let population =
            u32::try_from(share.of(workload.keys.population).max(1)).map_err(|_| {
                crate::failure::Failure::Input(
                    "keys.population: too many for one thread".to_owned(),
                )
            })?;
        let floor_body = match protocol {
            Protocol::Floor => fixed_body(payloads.typical_len()),
            _ => Vec::new(),
        };
        Ok(Self {
            protocol,
            slots: Slots::new(population),
            rng: rng(workload.seed, share.thread as u64),
            choice: Choice::new(&workload.mix),
            picker: Picker::new(&workload.keys, workload.seed),
            lifetimes: match tokens.deadlines_ns {
                Some((from_ns, to_ns)) => Lifetimes::until(from_ns, to_ns),
                None => Lifetimes::new(&workload.ttl),
            },
            payloads,
            slack: slack(protocol),
            batch_size: workload.mix.batch_size,
            rivals: u16::try_from(workload.mix.rivals).unwrap_or(u16::MAX).max(1),
            rivals_due: None,
            first: tokens.first,
            issued: 0,
            share,
            asked_gone: 0,
            dead: Vec::new(),
            dead_next: 0,
            substituted: 0,
            stale_ns: 0,
            keys: Vec::new(),
            payload: Vec::new(),
            floor_body,
        })
    }

    /// The same for so many servers, each of which may answer a resolve from what it knew a moment
    /// ago.
    #[must_use]
    pub fn of_nodes(self, count: usize) -> Self {
        Self { stale_ns: if count > 1 { STALE_NS } else { 0 }, ..self }
    }

    /// Operations that found no token to ask for and issued one in their place.
    pub fn substituted(&self) -> u64 {
        self.substituted
    }

    /// How many tokens are known to live.
    pub fn living(&self) -> u64 {
        self.slots.living() as u64
    }

    /// The next issue of the population, until it is complete.
    pub fn next_load(&mut self, now_ns: u64) -> Option<(Ask, Call<'_>)> {
        if self.issued >= self.slots.len() as u64 {
            return None;
        }
        self.issue(now_ns)
    }

    /// The next request of the load. `None` only where every slot is taken by an issue under way.
    pub fn next(&mut self, now_ns: u64) -> Option<(Ask, Call<'_>)> {
        if let Some((slot, number, left)) = self.rivals_due.take() {
            self.rivals_due = (left > 1).then_some((slot, number, left - 1));
            return Some(self.one(Operation::Consume, slot, number, now_ns));
        }
        let operation = self.choice.operation(&mut self.rng);
        self.next_of(operation, now_ns)
    }

    /// The next request of this operation, whatever the mix says. `None` as for [`Self::next`].
    pub fn next_of(&mut self, operation: Operation, now_ns: u64) -> Option<(Ask, Call<'_>)> {
        match operation {
            Operation::Issue => self.issue(now_ns),
            Operation::Miss => Some(self.miss(now_ns)),
            Operation::Replay => match self.consumed_before() {
                Some(key) => Some(self.gone(Operation::Replay, key, false)),
                None => self.substitute(now_ns),
            },
            Operation::Batch => self.batch(now_ns),
            Operation::Extend => self.extend(now_ns),
            Operation::Resolve | Operation::Consume | Operation::Revoke => {
                let Some(slot) = self.draw(now_ns) else { return self.substitute(now_ns) };
                let number = self.slots.get(slot).number;
                match operation {
                    Operation::Consume => self.begin_consume(slot, number),
                    Operation::Revoke => self.slots.end(slot),
                    _ => {}
                }
                Some(self.one(operation, slot, number, now_ns))
            }
        }
    }

    fn substitute(&mut self, now_ns: u64) -> Option<(Ask, Call<'_>)> {
        // Where no slot can be had nothing is asked, and the caller comes again.
        self.substituted += u64::from(self.slots.has_room());
        self.issue(now_ns)
    }

    fn issue(&mut self, now_ns: u64) -> Option<(Ask, Call<'_>)> {
        let place = self.share.thread as u64 + self.issued * self.share.threads as u64;
        let number = self.first + place;
        let slot = self.slots.begin(number)?;
        self.issued += 1;
        let ttl_ms = self.lifetimes.ttl_ms(&mut self.rng, now_ns);
        self.keys.clear();
        self.keys.push(key::own(number));
        let ttl_ns = ttl_ms.saturating_mul(NANOS_PER_MS);
        let what = What::One { slot, number, sent_ns: now_ns, ttl_ns };
        let call = Call::Issue {
            key: &self.keys[0],
            payload: self.payloads.payload(number, &mut self.payload),
            ttl_ms,
        };
        Some((Ask { operation: Operation::Issue, what }, call))
    }

    /// A resolve, consume or revoke of a slot's tenant.
    fn one(
        &mut self,
        operation: Operation,
        slot: u32,
        number: u64,
        now_ns: u64,
    ) -> (Ask, Call<'_>) {
        let what = What::One { slot, number, sent_ns: now_ns, ttl_ns: 0 };
        let key = &self.slots.get(slot).key;
        let call = match operation {
            Operation::Consume => Call::Consume(key),
            Operation::Revoke => Call::Revoke(key),
            _ => Call::Resolve(key),
        };
        (Ask { operation, what }, call)
    }

    fn begin_consume(&mut self, slot: u32, number: u64) {
        self.slots.end(slot);
        if let Some(tenant) = self.slots.tenant(slot, number) {
            tenant.rivals = self.rivals;
        }
        self.rivals_due = (self.rivals > 1).then_some((slot, number, self.rivals - 1));
    }

    fn extend(&mut self, now_ns: u64) -> Option<(Ask, Call<'_>)> {
        let drawn = (0..EXTEND_DRAWS)
            .find_map(|_| self.draw(now_ns).filter(|&slot| !self.slots.get(slot).extending));
        let Some(slot) = drawn else { return self.substitute(now_ns) };
        let ttl_ms = self.lifetimes.ttl_ms(&mut self.rng, now_ns);
        let ttl_ns = ttl_ms.saturating_mul(NANOS_PER_MS);
        let number = self.slots.get(slot).number;
        let early_ns = self.early(now_ns, ttl_ns);
        if let Some(tenant) = self.slots.tenant(slot, number) {
            tenant.extending = true;
            tenant.early_ns = tenant.early_ns.min(early_ns);
        }
        let what = What::One { slot, number, sent_ns: now_ns, ttl_ns };
        let call = Call::Extend { key: &self.slots.get(slot).key, ttl_ms };
        Some((Ask { operation: Operation::Extend, what }, call))
    }

    fn batch(&mut self, now_ns: u64) -> Option<(Ask, Call<'_>)> {
        let mut slots = Vec::with_capacity(self.batch_size);
        self.keys.clear();
        for _ in 0..self.batch_size {
            let Some(slot) = self.draw(now_ns) else { break };
            let tenant = self.slots.get(slot);
            slots.push((slot, tenant.number));
            self.keys.push(tenant.key);
        }
        if slots.is_empty() {
            return self.substitute(now_ns);
        }
        let ask = Ask { operation: Operation::Batch, what: What::Many(slots) };
        Some((ask, Call::ResolveMany(&self.keys)))
    }

    /// By turns a token that never was and one that is no more.
    fn miss(&mut self, now_ns: u64) -> (Ask, Call<'_>) {
        self.asked_gone += 1;
        let number = self.share.thread as u64 + self.asked_gone * self.share.threads as u64;
        let (key, may_be_stale) = if number.is_multiple_of(2) && !self.dead.is_empty() {
            let dead = self.dead[(number / 2) as usize % self.dead.len()];
            (dead.key, now_ns.saturating_sub(dead.since_ns) < self.stale_ns)
        } else {
            (key::own(number | NEVER), false)
        };
        self.gone(Operation::Miss, key, may_be_stale)
    }

    fn gone(&mut self, operation: Operation, key: Key, may_be_stale: bool) -> (Ask, Call<'_>) {
        self.keys.clear();
        self.keys.push(key);
        let key = &self.keys[0];
        let call = match operation {
            Operation::Replay => Call::Consume(key),
            _ => Call::Resolve(key),
        };
        (Ask { operation, what: What::Gone { may_be_stale } }, call)
    }

    fn consumed_before(&mut self) -> Option<Key> {
        self.asked_gone += 1;
        let from = self.asked_gone as usize;
        (0..self.dead.len())
            .map(|step| self.dead[(from + step) % self.dead.len()])
            .find(|dead| dead.consumed)
            .map(|dead| dead.key)
    }

    fn draw(&mut self, now_ns: u64) -> Option<u32> {
        let Self { slots, picker, rng, dead, dead_next, .. } = self;
        slots.draw(
            now_ns,
            |slots| {
                if picker.from_youngest() {
                    slots.youngest(picker.pick(slots.living() as u64, rng))
                } else {
                    u32::try_from(picker.pick(slots.len() as u64, rng)).ok()
                }
            },
            |key| bury(dead, dead_next, Dead { key, consumed: false, since_ns: now_ns }),
        )
    }

    fn early(&self, sent_ns: u64, ttl_ns: u64) -> u64 {
        sent_ns.saturating_add(ttl_ns).saturating_sub(self.slack.early_ns + ttl_ns / DRIFT)
    }

    fn late(&self, answered_ns: u64, ttl_ns: u64) -> u64 {
        answered_ns.saturating_add(ttl_ns).saturating_add(self.slack.late_ns + ttl_ns / DRIFT)
    }
}

fn bury(dead: &mut Vec<Dead>, next: &mut usize, one: Dead) {
    if dead.len() < DEAD_MAX {
        dead.push(one);
    } else {
        dead[*next % DEAD_MAX] = one;
        *next += 1;
    }
}

/// jeton and Redis keep deadlines to the millisecond, memcached to a second of a clock that ticks
/// once a second.
fn slack(protocol: Protocol) -> Slack {
    let ms = if protocol == Protocol::Memcached { 3_000 } else { 20 };
    Slack { early_ns: ms * NANOS_PER_MS, late_ns: ms * NANOS_PER_MS }
}
