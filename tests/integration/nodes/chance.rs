//! A run from one seed: three nodes, callers on all of them, and whatever can go wrong.

use std::time::Duration;

use jeton::engine::clustered::{Standing, Stopped};
use jeton::engine::{Config, SyncMode};
use jeton::testkit::disk::{Keep, Random};
use jeton::testkit::stream::Faults;
use jeton::wal::{self, Preparing};

use super::lab::Lab;
use super::oracle::{Broken, is_derived, uses};
use crate::seeds::counts;
use crate::simulation::model::{Change, MAX_TTL_MS, What};

const HOUR_MS: i64 = 3_600_000;
const YEAR_MS: i64 = 365 * 24 * HOUR_MS;
const NODES: u64 = 3;

counts! {
    seeds, answered, messages, counted, repeats, elections, kills, power_cuts, full_disks, trims,
    jumps, released, eras, names, together, moved,
}

/// The one clock that is wrong in a run. Two that agree would be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    Nobody,
    Leader,
    Node(usize),
}

pub struct Run {
    random: Random,
    pub lab: Lab,
    counts: Counts,
    next_id: u64,
    wrong: Wrong,
    has_faults: bool,
    has_floods: bool,
    has_losses: bool,
}

/// Runs one seed.
pub fn run(seed: u64) -> Result<Counts, Broken> {
    let mut run = Run::new(seed);
    for at in 0..NODES as usize {
        if !run.lab.open(at) {
            return Err("an empty disk does not open".to_owned());
        }
    }
    run.lab.run(200)?;
    for _ in 0..run.random.between(60, 240) {
        run.step()?;
    }
    run.end()
}

fn config(random: &mut Random) -> Config {
    let segment_size = *random.pick(&[8, 8, 16, 32]) << 10;
    Config {
        max_ttl: Duration::from_millis(MAX_TTL_MS),
        recovery_threads: 1,
        sync: *random.pick(&[SyncMode::Always, SyncMode::Every(Duration::from_secs(1))]),
        wal: wal::Config {
            segment_size,
            log_min_size: segment_size * random.between(4, 6),
            max_age: None,
            preparing: Preparing::Inline,
        },
        ..Config::default()
    }
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let configs = (0..NODES).map(|_| config(&mut random)).collect();
        let wrong = match random.below(5) {
            0 => Wrong::Leader,
            1 => Wrong::Node(random.below(NODES) as usize),
            _ => Wrong::Nobody,
        };
        let lab = Lab::new(random.number(), configs);
        let (has_faults, has_floods) = (random.chance(70), random.chance(40));
        let has_losses = random.chance(20);
        Self {
            lab,
            counts: Counts::default(),
            next_id: 0,
            wrong,
            has_faults,
            has_floods,
            has_losses,
            random,
        }
    }

    fn step(&mut self) -> Result<(), Broken> {
        let at = self.random.below(NODES) as usize;
        match self.random.below(100) {
            0..=22 => self.ask(at),
            23..=34 => self.ask_names(at),
            35..=74 => self.turn(at),
            75..=84 => {
                let millis = *self.random.pick(&[1, 20, 200, 400, 1_500]);
                self.lab.pass(millis);
                Ok(())
            }
            85 if self.has_faults => {
                self.counts.elections += 1;
                let millis = self.random.between(100, 3_000);
                self.lab.stream.elect(millis);
                Ok(())
            }
            86 | 87 if self.has_faults => {
                self.disturb();
                Ok(())
            }
            88..=90 => self.end_life(at),
            91 if self.has_floods => {
                self.flood(at);
                Ok(())
            }
            92 => {
                self.counts.trims += 1;
                self.lab.trim(at);
                Ok(())
            }
            93 => {
                self.jump();
                Ok(())
            }
            94 => self.lab.run(1_100),
            95..=98 => self.lab.turn(at, 0, true).map(drop),
            99 if self.has_losses => self.lose_stream(),
            _ => Ok(()),
        }
    }

    fn turn(&mut self, at: usize) -> Result<(), Broken> {
        let count = *self.random.pick(&[1, 1, 4, 64]);
        let end = self.lab.turn(at, count, false)?;
        if let Some(error) = end {
            return Err(format!("node {at} cannot follow: {error}"));
        }
        if let Some(Standing::Stopped(why)) = self.lab.state(at).map(|state| state.standing) {
            // A log that has failed is opened again.
            let Stopped::Failed(_) = why else { return Err(format!("node {at} stopped: {why}")) };
            return self.end_life(at);
        }
        Ok(())
    }

    fn ask(&mut self, at: usize) -> Result<(), Broken> {
        let changes: Vec<Change> =
            (0..*self.random.pick(&[1, 1, 2, 5])).map(|_| self.change()).collect();
        if self.random.chance(30) {
            // Rivals, on another node.
            let other = (at + 1) % NODES as usize;
            self.lab.ask(other, changes.clone())?;
        }
        self.lab.ask(at, changes)?;
        if self.random.chance(60) { self.turn(at) } else { Ok(()) }
    }

    fn ask_names(&mut self, at: usize) -> Result<(), Broken> {
        if self.random.chance(40) {
            self.lab.ask_names((at + 1) % NODES as usize)?;
        }
        self.lab.ask_names(at)?;
        if self.random.chance(60) { self.turn(at) } else { Ok(()) }
    }

    fn change(&mut self) -> Change {
        let kind = self.random.below(100);
        if kind < 45 {
            let id = if self.random.chance(75) { self.new_id() } else { self.known_id() };
            return Change { id, what: self.issue(id) };
        }
        let what = match kind {
            45..=79 => {
                let key = self.random.chance(30).then(|| self.random.below(3) as u8);
                What::Consume { key }
            }
            80..=89 => What::Extend { ttl_ms: self.ttl_ms() },
            _ => What::Revoke,
        };
        Change { id: self.known_id(), what }
    }

    fn issue(&mut self, id: u64) -> What {
        let len = self.random.between(1, 300);
        let variant = self.random.below(2);
        // Rivals of different content and of different lives.
        let payload = (0..len).map(|at| (id + variant + at) as u8).collect();
        let derived = is_derived(id);
        What::Issue { payload, ttl_ms: self.ttl_ms(), uses: uses(id) as u32, peek: true, derived }
    }

    fn ttl_ms(&mut self) -> u64 {
        match self.random.chance(40) {
            true => self.random.between(1, 3_000),
            false => self.random.between(10_000, MAX_TTL_MS),
        }
    }

    fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn known_id(&mut self) -> u64 {
        let last = self.next_id.max(1);
        self.random.between(last.saturating_sub(15).max(1), last)
    }

    fn disturb(&mut self) {
        let faults = Faults {
            dropped: *self.random.pick(&[0, 0, 10, 50]),
            repeated: *self.random.pick(&[0, 20, 50]),
            unanswered: 20,
            delay_ms: *self.random.pick(&[0, 20, 300, 900]),
        };
        self.lab.stream.set_faults(faults);
    }

    fn end_life(&mut self, at: usize) -> Result<(), Broken> {
        let keep = match self.random.chance(50) {
            true => Keep::Everything,
            false => Keep::Some(self.random.number()),
        };
        self.counts.kills += u64::from(keep == Keep::Everything);
        self.counts.power_cuts += u64::from(keep != Keep::Everything);
        if let Some(live) = &self.lab.nodes[at].live {
            self.counts.released += live.stepped.engine().stats().log.segments_released;
        }
        self.lab.kill(at, keep);
        match self.lab.open(at) {
            true => Ok(()),
            false => Err(format!("node {at} does not open again")),
        }
    }

    fn flood(&mut self, at: usize) {
        self.counts.full_disks += 1;
        let space = self.random.chance(50).then(|| self.random.below(20 << 10));
        self.lab.nodes[at].disk.set_space_left(space);
    }

    /// The one wrong clock jumps.
    fn jump(&mut self) {
        let far = *self.random.pick(&[HOUR_MS, -HOUR_MS, YEAR_MS, -YEAR_MS, 0, 15_000, 3_000]);
        match self.wrong {
            Wrong::Nobody => return,
            Wrong::Leader => self.lab.set_leader_ahead(far),
            Wrong::Node(at) => self.lab.nodes[at].ahead_ms = far,
        }
        self.counts.jumps += 1;
    }

    /// Everything is well again: all nodes are equal.
    fn settle(&mut self) -> Result<(), Broken> {
        self.lab.stream.set_faults(Faults::default());
        self.lab.heal()?;
        let none = Faults { dropped: 100, ..Faults::default() };
        self.lab.stream.set_faults(none);
        self.lab.check_equal()
    }

    /// The stream is lost, and a new one goes on where the nodes are.
    fn lose_stream(&mut self) -> Result<(), Broken> {
        self.settle()?;
        self.counts.eras += 1;
        let from = self.random.below(NODES) as usize;
        self.lab.reseed(from);
        for at in 0..NODES as usize {
            self.lab.kill(at, Keep::Everything);
            if !self.lab.open(at) {
                return Err(format!("node {at} does not open after the stream was lost"));
            }
        }
        self.lab.run(1_000)
    }

    /// At the end all nodes are equal, and so are they after a restart.
    fn end(mut self) -> Result<Counts, Broken> {
        self.settle()?;
        let tokens = &self.lab.truth.tokens;
        let now = self.lab.truth.log_time;
        let is_alive = |id| tokens.get(&id).is_some_and(|held| held.is_alive(now));
        self.lab.oracle.judge_end(now, is_alive)?;
        let there = |id| {
            let held = tokens.get(&id).filter(|held| held.is_alive(now));
            held.map(|held| held.payload.to_vec())
        };
        self.lab.names.judge_end(now, there)?;
        for at in 0..NODES as usize {
            self.check_restart(at)?;
        }
        self.counts.seeds = 1;
        self.counts.answered = self.lab.answered;
        let truth = &self.lab.truth;
        (self.counts.messages, self.counts.counted) = (truth.seq, truth.counted);
        self.counts.repeats = truth.repeats;
        let names = &self.lab.names;
        (self.counts.names, self.counts.together) = (names.answers, names.groups);
        self.counts.moved = names.moved;
        Ok(self.counts)
    }

    fn check_restart(&mut self, at: usize) -> Result<(), Broken> {
        let before = self.lab.state(at).expect("it runs");
        if let Some(live) = &self.lab.nodes[at].live {
            self.counts.released += live.stepped.engine().stats().log.segments_released;
        }
        self.lab.kill(at, Keep::Everything);
        if !self.lab.open(at) {
            return Err(format!("node {at} does not open at the end"));
        }
        let after = self.lab.state(at).expect("it runs");
        let all = |state: &jeton::engine::clustered::NodeState| {
            (state.position, state.hash, state.chain, state.log_time, state.cluster)
        };
        if all(&before) != all(&after) || before.members != after.members {
            return Err(format!("node {at} comes back as {after:?}, not {before:?}"));
        }
        self.lab.check_tokens(at).map_err(|why| format!("after a restart: {why}"))
    }
}
