//! A run from one seed: the settings of the log, the operations, the jumps and stops of the clock,
//! and the faults of the disk are all random.

use std::sync::Arc;
use std::time::Duration;

use jeton::clock::Clock;
use jeton::engine::{Config, DeadlineWhen, When};
use jeton::model::time::UnixMillis;
use jeton::testkit::disk::{Fault, Planned, Random};
use jeton::wal::{self, Preparing};

use super::counts::Counts;
use super::lab::{EARLIEST_MS, LATEST_MS, Lab, START_MS, sync_mode};
use super::model::{Change, MAX_TTL_MS, What};
use super::oracle::Broken;

/// Tokens of references: these are issued again and again.
const DERIVED: u64 = 10;
const YEAR_MS: u64 = 365 * 24 * 3_600_000;

/// The result of a run.
pub struct Done {
    pub counts: Counts,
    pub trace: u64,
}

/// Runs one seed.
pub fn run(seed: u64) -> Result<Done, Broken> {
    let mut run = Run::new(seed);
    run.open()?;
    for _ in 0..run.steps {
        run.step()?;
        if run.lab.disk.is_off() {
            run.cut_power();
            run.open()?;
        }
    }
    run.end()
}

struct Run {
    random: Random,
    lab: Lab,
    steps: u64,
    /// Ids from here on are new.
    next_id: u64,
    payload_len_max: u64,
    /// The percentage of issues with a long life.
    long_lived: u64,
    /// Whether the clock jumps and freezes, the disk fails, and the disk runs full.
    has_jumps: bool,
    has_faults: bool,
    has_floods: bool,
    /// Many tokens live long, so that the cleaner relocates many. The disk is full now and then:
    /// sooner or later while the cleaner works.
    is_pressed: bool,
    is_full: bool,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let is_pressed = random.chance(15);
        let segment_size = *random.pick(&[8, 8, 8, 12, 16, 16, 32, 64]) << 10;
        let config = Config {
            max_ttl: Duration::from_millis(MAX_TTL_MS),
            recovery_threads: 1,
            sync: sync_mode(random.below(10)),
            max_clock_step: Duration::from_millis(*random.pick(&[200, 1_000, 10_000])),
            clock_hold: Duration::from_millis(*random.pick(&[0, 500, 2_000, 5_000])),
            wal: wal::Config {
                segment_size,
                log_min_size: segment_size * random.between(4, 7),
                max_age: None,
                preparing: Preparing::Inline,
            },
            ..Config::default()
        };
        // An entry must fit in a frame also when it is relocated with four keys.
        let payload_len_max = config.wal.frame_len_max() - 200;
        Self {
            lab: Lab::new(config, random.number()),
            steps: random.between(20, 80),
            next_id: DERIVED,
            payload_len_max,
            long_lived: if is_pressed { 70 } else { *random.pick(&[5, 20, 50, 80]) },
            has_jumps: random.chance(50),
            has_faults: random.chance(60),
            has_floods: random.chance(40),
            is_pressed,
            is_full: false,
            random,
        }
    }

    fn step(&mut self) -> Result<(), Broken> {
        if self.is_pressed && self.random.chance(30) {
            self.flood(4 << 10);
            self.lab.tend(true)?;
            if self.lab.disk.is_off() {
                return Ok(());
            }
        }
        match self.random.below(100) {
            0..=54 => {
                let calls = self.calls();
                self.lab.counts.turns += 1;
                self.lab.turn(&calls)?;
                if self.random.chance(80) { self.lab.tend(false) } else { Ok(()) }
            }
            55..=69 => self.pass_time(),
            70..=79 => {
                let is_idle = self.random.chance(70);
                self.lab.tend(is_idle)
            }
            80..=83 => {
                let id = self.known_id();
                self.lab.look(id)
            }
            84..=86 if self.has_jumps => self.jump(),
            87..=89 if self.has_faults => {
                self.plan();
                Ok(())
            }
            90..=92 => {
                self.lab.disk.mend();
                Ok(())
            }
            93 | 94 if self.has_floods => {
                self.flood(24 << 10);
                Ok(())
            }
            95 => self.lab.look_at_all(),
            96.. => self.end_life(),
            _ => Ok(()),
        }
    }

    /// The disk has little space left, or enough again.
    fn flood(&mut self, space_max: u64) {
        let space = self.random.below(space_max);
        self.is_full = !self.is_full;
        self.lab.disk.set_space_left(self.is_full.then_some(space));
    }

    fn end_life(&mut self) -> Result<(), Broken> {
        match self.random.below(5) {
            0 | 1 => self.lab.close()?,
            2 => {
                self.lab.kill();
                self.lab.counts.kills += 1;
            }
            _ => self.cut_power(),
        }
        self.open()
    }

    fn cut_power(&mut self) {
        let seed = self.random.number();
        self.lab.cut_power(seed);
        self.is_full = false;
    }

    /// Opens the engine, with power cuts and failures on the way.
    fn open(&mut self) -> Result<(), Broken> {
        for attempt in 0.. {
            let off = self.random.chance(15);
            if attempt < 5 && (off || self.has_faults && self.random.chance(10)) {
                let fault = if off { Fault::PowerCut } else { *self.random.pick(&Fault::ALL) };
                let at = self.lab.disk.asked() + self.random.between(1, 40);
                self.lab.disk.plan(Planned { fault, at, is_lasting: false });
            } else if attempt > 0 {
                self.lab.disk.mend();
                self.lab.disk.set_space_left(None);
                self.is_full = false;
            }
            if self.lab.try_open()? {
                return Ok(());
            }
            if self.lab.disk.is_off() {
                self.cut_power();
            }
        }
        Ok(())
    }

    fn plan(&mut self) {
        let fault = *self.random.pick(&Fault::ALL);
        let at = self.lab.disk.asked() + self.random.between(1, 30);
        let is_lasting = self.random.chance(30);
        self.lab.disk.plan(Planned { fault, at, is_lasting });
    }

    fn pass_time(&mut self) -> Result<(), Broken> {
        let now = self.lab.now(false)?;
        let mut ms = match self.random.below(5) {
            0 => self.random.between(1, 3),
            1 => self.random.between(1, 200),
            2 => self.random.between(1, 3_000),
            _ => 0,
        };
        if ms == 0 {
            // To a millisecond before a deadline, to the deadline, or beyond.
            let next = self.lab.oracle.world().values().map(|held| held.deadline);
            let next = next.filter(|deadline| *deadline > now).min().unwrap_or(now + 1);
            ms = (next - now - 1 + self.random.below(3)).min(20_000);
        }
        if self.has_jumps && self.random.chance(25) {
            self.lab.clock.advance_frozen(ms);
            self.lab.counts.freezes += 1;
        } else if self.random.chance(10) {
            self.lab.clock.sleep(ms);
            self.lab.counts.sleeps += 1;
        } else {
            self.lab.clock.advance(ms);
        }
        let id = self.known_id();
        self.lab.look(id)
    }

    fn jump(&mut self) -> Result<(), Broken> {
        let wall = self.lab.clock.wall().0;
        let far = match self.random.below(8) {
            0 => self.random.between(1, 3) * YEAR_MS,
            1..=3 => self.random.between(1, 50) * 3_600_000,
            _ => self.random.between(1, 20_000),
        };
        if self.random.chance(30) {
            let is_synchronised = self.random.chance(50);
            self.lab.clock.set_synchronised(is_synchronised);
        }
        let to = match self.random.below(7) {
            // An impossible time: before the build of the program, or past the last time that a log
            // can hold.
            0 if self.random.chance(50) => self.random.below(EARLIEST_MS),
            0 => LATEST_MS + self.random.between(1, 100 * YEAR_MS),
            1 | 2 => wall.saturating_sub(far).max(START_MS - 3 * YEAR_MS),
            3 | 4 => wall.saturating_add(far).min(START_MS + 20 * YEAR_MS),
            // Mended.
            _ => START_MS + self.lab.clock.forward().as_millis() as u64,
        };
        self.lab.clock.jump_to(UnixMillis(to));
        self.lab.counts.jumps += 1;
        let id = self.known_id();
        self.lab.look(id)
    }

    fn calls(&mut self) -> Vec<Vec<Change>> {
        let count = if self.random.chance(60) { 1 } else { self.random.between(2, 5) };
        let mut calls: Vec<Vec<Change>> = (0..count)
            .map(|_| {
                let count = *self.random.pick(&[1, 1, 2, 3, 5, 9]);
                let changes = (0..count).map(|_| self.change()).collect();
                if self.random.chance(25) { self.together(changes) } else { changes }
            })
            .collect();
        if self.random.chance(20) {
            // Rivals, or a retry that comes too early.
            let again = self.random.pick(&calls).clone();
            let is_new =
                |change: &Change| change.id >= DERIVED && matches!(change.what, What::Issue { .. });
            calls.push(again.into_iter().filter(|change| !is_new(change)).collect());
            calls.retain(|call| !call.is_empty());
        }
        calls
    }

    /// Changes of few tokens that are performed together, with reads among them.
    fn together(&mut self, mut changes: Vec<Change>) -> Vec<Change> {
        // One frame must hold them all.
        changes.truncate(4);
        let ids: Vec<u64> = changes.iter().map(|change| change.id).collect();
        let mut together = Vec::new();
        for change in changes {
            together.push(change);
            let id = *self.random.pick(&ids);
            together.push(match self.random.below(3) {
                0 => self.put(id),
                1 => Change { id, what: self.deadline() },
                _ => Change { id, what: What::Read },
            });
        }
        together.push(Change { id: ids[0], what: What::Read });
        for change in &mut together {
            if let What::Issue { payload, .. } | What::Put { payload, .. } = &mut change.what {
                *payload = payload[..payload.len().min(100)].into();
            }
        }
        together
    }

    fn put(&mut self, id: u64) -> Change {
        let Change { what: issue, .. } = self.issue(id);
        let What::Issue { payload, ttl_ms, uses, peek, .. } = issue else { unreachable!() };
        let ttl_ms = self.random.chance(75).then_some(ttl_ms);
        let when = *self.random.pick(&[When::Always, When::Always, When::Absent, When::Present]);
        let asks = self.random.chance(50);
        Change { id, what: What::Put { payload, ttl_ms, uses, peek, when, asks } }
    }

    /// A new deadline, also one that has passed.
    fn deadline(&mut self) -> What {
        let now = self.lab.engine_now();
        let at = match self.random.below(8) {
            0 => now.saturating_sub(self.random.below(5_000)),
            _ => now + self.ttl_ms(),
        };
        let (always, later, earlier) =
            (DeadlineWhen::Always, DeadlineWhen::Later, DeadlineWhen::Earlier);
        What::Deadline { at, when: *self.random.pick(&[always, always, later, earlier]) }
    }

    fn change(&mut self) -> Change {
        let kind = self.random.below(100);
        if kind < 40 {
            self.next_id += 1;
            return self.issue(self.next_id);
        }
        if kind < 55 {
            let id = self.random.below(DERIVED);
            return self.issue(id);
        }
        let id = self.known_id();
        let what = match kind {
            55..=81 => {
                let key = self.random.chance(50).then(|| self.random.below(3) as u8);
                What::Consume { key }
            }
            82..=86 => What::Extend { ttl_ms: self.ttl_ms() },
            87..=90 => self.deadline(),
            91..=95 => return self.put(id),
            _ => What::Revoke,
        };
        Change { id, what }
    }

    fn issue(&mut self, id: u64) -> Change {
        let derived = id < DERIVED;
        let len = match self.random.below(20) {
            0 => self.random.between(1, self.payload_len_max),
            1 => self.payload_len_max,
            _ if derived => 20,
            _ => self.random.between(1, 400),
        };
        // A payload contains the id of its token.
        let variant = self.random.below(2) as u8;
        let byte = |at: u64| (id.wrapping_mul(31).wrapping_add(at) as u8) ^ variant;
        let payload: Arc<[u8]> = (0..len).map(byte).collect();
        let uses = *self.random.pick(&[1, 1, 1, 2, 4]);
        let peek = self.random.chance(85);
        let what = What::Issue { payload, ttl_ms: self.ttl_ms(), uses, peek, derived };
        Change { id, what }
    }

    fn ttl_ms(&mut self) -> u64 {
        if self.random.chance(self.long_lived) {
            self.random.between(20_000, MAX_TTL_MS)
        } else {
            self.random.between(1, 2_000)
        }
    }

    /// A token that was issued before, more often a recent one.
    fn known_id(&mut self) -> u64 {
        match self.random.below(3) {
            0 => self.random.below(DERIVED),
            1 => self.random.between(self.next_id.saturating_sub(20).max(1), self.next_id),
            _ => self.random.between(0, self.next_id),
        }
    }

    /// The final log is opened twice more, with the same result.
    fn end(mut self) -> Result<Done, Broken> {
        self.lab.disk.mend();
        self.lab.disk.set_space_left(None);
        self.has_faults = false;
        self.lab.look_at_all()?;
        for _ in 0..2 {
            self.lab.kill();
            if !self.lab.try_open()? {
                return Err("a disk that is well did not open".to_owned());
            }
            self.lab.look_at_all()?;
        }
        self.lab.kill();
        let (frames, reused) = self.lab.disk.nonces();
        if reused > 0 {
            return Err(format!("P9: {reused} of {frames} frames have the nonce of another one"));
        }
        self.lab.counts.disk(&self.lab.disk);
        self.lab.counts.seeds += 1;
        Ok(Done { counts: self.lab.counts, trace: self.lab.trace() })
    }
}
