//! The oracle: the worlds that are possible after all requests, answers, reads and losses.
//!
//! A world is one possible content of the engine. Mostly one is possible. More are possible before
//! a token is read: a change that was not acknowledged may have happened, and after a crash the log
//! may end anywhere after the durable part. Each answer and each read removes the worlds that
//! contradict it. When no world is left, a promise is broken.

use std::collections::BTreeMap;

use jeton::engine::Outcome;

use super::model::{Change, Held, Seen, seen};

/// The message of a run with too many possible worlds.
pub const GIVEN_UP: &str = "worlds are possible: the oracle is of no use";

/// The reason for which a run fails.
pub type Broken = String;

pub type World = BTreeMap<u64, Held>;

/// The most worlds. With more, the oracle would check almost nothing.
const WORLDS_MAX: usize = 512;

/// A change that took effect.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Logged {
    change: Change,
    /// Log time.
    at: u64,
    /// Monotonic time of its answer, in milliseconds.
    answered_at: u64,
    /// The call whose changes happened together; 0 if it is by itself.
    call: u64,
}

/// A world, and the changes that led to it.
#[derive(Clone, PartialEq, Eq)]
struct Possible {
    /// The durable part.
    base: World,
    /// The changes acknowledged since.
    logged: Vec<Logged>,
    /// Both together.
    now: World,
}

pub struct Oracle {
    possible: Vec<Possible>,
    /// Changes that were not acknowledged, in their order, after all acknowledged ones.
    doubtful: Vec<Logged>,
    /// The log has a durable frame of at least this time: engine time never falls below it.
    pub floor: u64,
    /// The latest engine time that the engine acted on, over all crashes.
    pub latest: u64,
}

/// The times of a request and its answer.
#[derive(Clone, Copy)]
pub struct Times {
    /// Engine time of the request.
    pub asked: u64,
    /// Engine time of the commit.
    pub committed: u64,
    /// Monotonic time, in milliseconds.
    pub monotonic: u64,
}

impl Oracle {
    pub fn new() -> Self {
        let nothing = Possible { base: World::new(), logged: Vec::new(), now: World::new() };
        Self { possible: vec![nothing], doubtful: Vec::new(), floor: 0, latest: 0 }
    }

    /// The operations of one turn of the committer, in order, with their answers. `calls`: for each
    /// the number of its call, if that was performed together.
    pub fn judge(
        &mut self,
        turn: &[(Change, Outcome)],
        calls: &[u64],
        times: Times,
    ) -> Result<(), Broken> {
        let mut broken = String::new();
        let mut possible = Vec::new();
        for one in std::mem::take(&mut self.possible) {
            follow(one, (turn, calls), times, &mut possible, &mut broken);
        }
        self.possible = possible;
        let doubtful =
            turn.iter().zip(calls).filter(|((_, outcome), _)| *outcome == Outcome::Unsynced);
        self.doubtful.extend(doubtful.map(|((change, _), call)| Logged {
            change: change.clone(),
            at: times.committed,
            answered_at: times.monotonic,
            call: *call,
        }));
        self.check(&broken)
    }

    /// A token was read.
    pub fn look(&mut self, id: u64, found: &Seen, now: u64) -> Result<(), Broken> {
        let mut broken = String::new();
        self.possible.retain_mut(|one| {
            let is_right = compare(&mut one.now, id, found, now);
            // A fact that was unknown about it is unknown about the durable one too.
            if let Some(before) = one.base.get(&id).filter(|held| held.maybe_gone) {
                match one.now.get(&id) {
                    None => drop(one.base.remove(&id)),
                    Some(held) if !held.maybe_gone && held.deadline == before.deadline => {
                        one.base.entry(id).and_modify(|held| held.maybe_gone = false);
                    }
                    Some(_) => {}
                }
            }
            if !is_right {
                let held = one.now.get(&id);
                broken = format!("token {id} is {found:?} at {now}, and should be {held:?}");
            }
            is_right
        });
        self.check(&broken)
    }

    /// All changes acknowledged by the monotonic time `until` are durable now.
    pub fn settle(&mut self, until: u64) {
        for one in &mut self.possible {
            let count = one.logged.iter().take_while(|it| it.answered_at <= until).count();
            for logged in one.logged.drain(..count) {
                put(&mut one.base, &logged);
                self.floor = self.floor.max(logged.at);
            }
        }
        let floor = self.floor;
        for one in &mut self.possible {
            one.now.retain(|_, held| held.deadline > floor);
            one.base.retain(|_, held| held.deadline > floor);
        }
        self.strike_out_doubles();
    }

    /// The latest deadline before `before` of a token that has a use left in every possible world:
    /// the engine has freed it by now.
    pub fn last_expired(&self, before: u64) -> Option<u64> {
        let is_known =
            |held: &Held| !held.maybe_gone && held.uses_left > 0 && held.deadline < before;
        let (first, others) = self.possible.split_first()?;
        let in_all = |id: &u64, deadline: u64| {
            others.iter().all(|one| {
                one.now.get(id).is_some_and(|held| is_known(held) && held.deadline == deadline)
            })
        };
        let known = first.now.iter().filter(|(_, held)| is_known(held));
        let known = known.filter(|(id, held)| in_all(id, held.deadline));
        known.map(|(_, held)| held.deadline).max()
    }

    /// The engine was opened again at the time `now`, and contains the tokens `found`. `may_lose`
    /// says whether the end of the acknowledged changes that are not durable can be lost.
    pub fn adopt(
        &mut self,
        found: &BTreeMap<u64, Seen>,
        now: u64,
        may_lose: bool,
    ) -> Result<(), Broken> {
        let (mut worlds, mut broken) = (Vec::new(), String::new());
        for one in std::mem::take(&mut self.possible) {
            let sure = if may_lose { 0 } else { one.logged.len() };
            let mut world = one.base;
            let later = one.logged.iter().chain(&self.doubtful).map(Some);
            let mut call = 0;
            for (kept, next) in later.chain([None]).enumerate() {
                // What happened together is lost together.
                let is_whole = call == 0 || next.is_none_or(|next| next.call != call);
                call = next.map_or(0, |next| next.call);
                if kept >= sure
                    && is_whole
                    && let Some(world) = matching(&world, found, now, self.latest, &mut broken)
                    && !worlds.contains(&world)
                {
                    worlds.push(world);
                }
                next.inspect(|logged| put(&mut world, logged));
            }
        }
        let possible = |base: World| Possible { now: base.clone(), logged: Vec::new(), base };
        self.possible = worlds.into_iter().map(possible).collect();
        self.doubtful.clear();
        self.check(&broken)
    }

    /// The deadline of a token with a use left that has expired in every possible world. Of one that
    /// was consumed nothing may be left, and then no reader has to keep the time.
    pub fn expired(&self, id: u64, now: u64) -> Option<u64> {
        let [one] = &self.possible[..] else { return None };
        let held = one.now.get(&id).filter(|held| !held.maybe_gone && held.uses_left > 0)?;
        (held.deadline <= now).then_some(held.deadline)
    }

    /// A possible world, for inspection.
    pub fn world(&self) -> &World {
        &self.possible[0].now
    }

    fn strike_out_doubles(&mut self) {
        let mut different: Vec<Possible> = Vec::new();
        for one in std::mem::take(&mut self.possible) {
            if !different.contains(&one) {
                different.push(one);
            }
        }
        self.possible = different;
    }

    fn check(&mut self, broken: &str) -> Result<(), Broken> {
        if self.possible.len() > 1 {
            self.strike_out_doubles();
        }
        match self.possible.len() {
            0 => Err(format!("no world is possible any more; in the last one {broken}")),
            1..=WORLDS_MAX => Ok(()),
            many => Err(format!("{many} {GIVEN_UP}")),
        }
    }
}

fn put(world: &mut World, logged: &Logged) {
    let id = logged.change.id;
    match logged.change.apply(world.get(&id), logged.at).0 {
        Some(held) => world.insert(id, held),
        None => world.remove(&id),
    };
}

/// Whether the world agrees with this. Unknown facts about the token become known.
fn compare(world: &mut World, id: u64, found: &Seen, now: u64) -> bool {
    let held = world.get(&id);
    if seen(held, now) == *found {
        if found.is_some() {
            world.entry(id).and_modify(|held| held.maybe_gone = false);
        }
        return true;
    }
    let is_gone = found.is_none() && held.is_some_and(|held| held.maybe_gone);
    if is_gone {
        world.remove(&id);
    }
    is_gone
}

/// The world with the facts that the found tokens add; `None` if they contradict it.
fn matching(
    world: &World,
    found: &BTreeMap<u64, Seen>,
    now: u64,
    latest: u64,
    broken: &mut Broken,
) -> Option<World> {
    let mut world = world.clone();
    for held in world.values_mut() {
        // It expired once, by a time that may not be in the log.
        held.maybe_gone |= held.deadline <= latest && held.deadline > now;
    }
    for (id, found) in found {
        if !compare(&mut world, *id, found, now) {
            let held = world.get(id);
            *broken = format!("token {id} is {found:?} at {now}, and should be {held:?}");
            return None;
        }
    }
    Some(world)
}

/// Plays a turn in one world. Pushes the worlds that are possible afterwards.
fn follow(
    before: Possible,
    (turn, calls): (&[(Change, Outcome)], &[u64]),
    times: Times,
    after: &mut Vec<Possible>,
    broken: &mut Broken,
) {
    // The states of each token during this turn: an operation that cannot succeed is refused by the
    // state at its request, beside others that are not applied yet.
    let mut worlds = vec![(before, BTreeMap::<u64, Vec<Option<Held>>>::new())];
    for ((change, outcome), call) in turn.iter().zip(calls) {
        let is_refused = matches!(
            outcome,
            Outcome::Unsynced
                | Outcome::ReadOnly
                | Outcome::DiskFull
                | Outcome::LogUnavailable
                | Outcome::ClockWrong
        );
        if is_refused {
            continue;
        }
        let mut next = Vec::new();
        for (world, earlier) in worlds {
            let branches = decided(world, change, times);
            for mut one in branches {
                let mut earlier = earlier.clone();
                let held = one.now.get(&change.id).cloned();
                let states = earlier.entry(change.id).or_default();
                states.push(held.clone());
                let is_refusal = |held: &Option<Held>| {
                    [times.asked, times.committed]
                        .iter()
                        .any(|now| change.refused(held.as_ref(), *now).as_ref() == Some(outcome))
                };
                // What is performed together is decided by the exact state.
                let from = if *call == 0 { 0 } else { states.len() - 1 };
                let was_refused = states[from..].iter().any(is_refusal);
                let (put, expected) = change.apply(held.as_ref(), times.committed);
                let has_effect = put != held;
                if was_refused && (has_effect || expected != *outcome) {
                    next.push((one.clone(), earlier.clone()));
                }
                if expected == *outcome {
                    if change.refused(held.as_ref(), times.committed).is_none() {
                        one.record(change, put, times, *call);
                    }
                    next.push((one, earlier));
                } else if !was_refused {
                    *broken = format!(
                        "{change:?} came to {outcome:?} at {}, and should to {expected:?}; {held:?}",
                        times.committed
                    );
                }
            }
        }
        worlds = next;
    }
    after.extend(worlds.into_iter().map(|(world, _)| world));
}

/// The worlds in which the token's absence is decided, where that makes a difference.
fn decided(world: Possible, change: &Change, times: Times) -> Vec<Possible> {
    let held = world.now.get(&change.id);
    let now = times.committed;
    let is_open = held.is_some_and(|held| held.maybe_gone)
        && change.refused(held, now) != change.refused(None, now);
    if !is_open {
        return vec![world];
    }
    let (mut there, mut gone) = (world.clone(), world);
    for known in [&mut there.base, &mut there.now] {
        known.entry(change.id).and_modify(|held| held.maybe_gone = false);
    }
    for known in [&mut gone.base, &mut gone.now] {
        known.remove(&change.id);
    }
    vec![there, gone]
}

impl Possible {
    fn record(&mut self, change: &Change, put: Option<Held>, times: Times, call: u64) {
        let (at, answered_at) = (times.committed, times.monotonic);
        self.logged.push(Logged { change: change.clone(), at, answered_at, call });
        match put {
            Some(held) => self.now.insert(change.id, held),
            None => self.now.remove(&change.id),
        };
    }
}
