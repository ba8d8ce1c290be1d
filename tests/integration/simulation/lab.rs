//! One engine on a simulated disk and a clock that the test sets, with an oracle that gets every
//! answer. Every action checks the promises.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use jeton::clock::Clock;
use jeton::engine::{Config, NotReady, Outcome, Pending, SyncMode};
use jeton::model::time::UnixMillis;
use jeton::model::token::{Digester, Secret};
use jeton::testkit::clock::ManualClock;
use jeton::testkit::disk::{Keep, Memory};
use jeton::testkit::stepped::Stepped;

use super::counts::Counts;
use super::model::{Change, MAX_TTL_MS, Seen, What, digest, seen};
use super::oracle::{Broken, Oracle, Times};
use super::reading;

/// The first time of the clock.
pub const START_MS: u64 = 1_700_000_000_000;
const YEAR_MS: u64 = 365 * 24 * 3_600_000;
/// A wall clock that shows an earlier time is wrong.
pub const EARLIEST_MS: u64 = START_MS - 4 * YEAR_MS;
/// A wall clock that shows a later time is wrong: a token of the longest life must end before 2248.
pub const LATEST_MS: u64 = UnixMillis::MAX.0 - MAX_TTL_MS;
/// A start that finds the clock further ahead of the log needs more evidence.
const START_STEP_MS: u64 = 10 * YEAR_MS;

pub struct Lab {
    pub disk: Memory,
    pub clock: Arc<ManualClock>,
    pub counts: Counts,
    pub oracle: Oracle,
    config: Config,
    engine: Option<Stepped>,
    /// Every token that was ever asked for.
    ids: BTreeSet<u64>,
    /// Writes have stopped until a restart.
    has_failed: bool,
    /// The power failed since the log was last open.
    lost_power: bool,
    /// A fault of the disk since the engine was opened can still explain a refusal.
    struck_at_open: u64,
    /// Engine time when the committer last looked at the clocks, and the monotonic time then.
    observed: (u64, u64),
    /// Forward time since which the wall clock has been ahead.
    ahead_since: Option<u64>,
    /// There may have been no entry when the committer last looked at the clocks.
    was_empty: bool,
    /// The latest engine time that the engine acted on.
    held: u64,
    /// The engine time of a reader that found no token: the engine acted on it if the deadline was
    /// the reason.
    maybe_held: u64,
    /// Number of the last call.
    last_call: u64,
    trace: DefaultHasher,
}

impl Lab {
    /// An empty disk, and no engine yet.
    pub fn new(config: Config, seed: u64) -> Self {
        Self {
            disk: Memory::seeded(seed),
            clock: Arc::new(
                ManualClock::at(UnixMillis(START_MS)).right_from(UnixMillis(EARLIEST_MS)),
            ),
            counts: Counts::default(),
            oracle: Oracle::new(),
            config,
            engine: None,
            ids: BTreeSet::new(),
            has_failed: false,
            lost_power: false,
            struck_at_open: 0,
            observed: (START_MS, 0),
            ahead_since: None,
            was_empty: true,
            held: START_MS,
            maybe_held: START_MS,
            last_call: 0,
            trace: DefaultHasher::new(),
        }
    }

    /// A fingerprint: two runs have the same only if every event was the same.
    pub fn trace(&self) -> u64 {
        self.trace.finish()
    }

    fn engine(&mut self) -> &mut Stepped {
        self.engine.as_mut().expect("the engine is open")
    }

    /// Engine time, for a change that names an instant.
    pub fn engine_now(&mut self) -> u64 {
        self.engine().engine().now().0
    }

    fn monotonic(&self) -> u64 {
        self.clock.monotonic().as_millis() as u64
    }

    /// The time that the wall clock is compared with.
    fn forward(&self) -> u64 {
        self.clock.forward().as_millis() as u64
    }

    /// How often the disk has failed so far.
    fn struck(&self) -> u64 {
        self.disk.struck().values().sum()
    }

    /// Engine time, checked against the clocks (promise P3). `is_held`: the engine acted on it.
    pub fn now(&mut self, is_held: bool) -> Result<u64, Broken> {
        let now = self.engine().engine().now().0;
        let (wall, forward) = (self.clock.wall().0, self.forward());
        let (held, maybe) = (self.held, self.maybe_held);
        // Whatever the wall clock does, time follows the forward clock from here on.
        let gone_on = self.observed.0 + (forward - self.observed.1);
        let (earliest, latest) = (gone_on.max(held), gone_on.max(held).max(maybe));
        let may_follow = self.may_follow(wall, gone_on, forward);
        let must_follow = may_follow && wall <= gone_on && wall >= held.max(maybe);
        let is_followed = may_follow && wall >= held && now == wall;
        let is_right = if must_follow { now == wall } else { (earliest..=latest).contains(&now) };
        if !is_right && !is_followed {
            return Err(format!(
                "P3: engine time is {now}, of {earliest} to {latest}, or {wall}: {may_follow}"
            ));
        }
        let is_step = wall.saturating_sub(gone_on) > self.config.max_clock_step.as_millis() as u64;
        self.counts.held += u64::from(is_step && now != wall);
        self.counts.followed += u64::from(is_step && now == wall);
        self.counts.paced += u64::from(wall < held && gone_on > held);
        if is_held {
            (self.observed, self.held) = ((now, forward), now);
            self.oracle.latest = self.oracle.latest.max(now);
        }
        Ok(now)
    }

    /// Whether the engine may accept the wall clock. It never accepts an impossible time. It
    /// accepts a step larger than the largest one only after the hold, and a step longer than every
    /// life only with evidence.
    fn may_follow(&mut self, wall: u64, gone_on: u64, forward: u64) -> bool {
        if !(EARLIEST_MS..=LATEST_MS).contains(&wall) {
            self.ahead_since = None;
            return false;
        }
        let step = wall.saturating_sub(gone_on);
        if step == 0 {
            self.ahead_since = None;
            return true;
        }
        let since = *self.ahead_since.get_or_insert(forward);
        let millis = |duration: Duration| duration.as_millis() as u64;
        let has_stood = forward - since >= millis(self.config.clock_hold);
        let is_evident = step <= MAX_TTL_MS || self.clock.is_synchronised();
        step <= millis(self.config.max_clock_step) || self.was_empty || has_stood && is_evident
    }

    /// Before the committer looks at the clocks.
    fn note_entries(&mut self, calls: &[Vec<Change>]) {
        // A revocation may take the last one in the middle of a turn.
        let ends = |what: &What| matches!(what, What::Revoke | What::Deadline { .. });
        let may_end = calls.iter().flatten().any(|change| ends(&change.what));
        self.was_empty = may_end || self.engine().entries() == 0;
    }

    /// Calls that wait together and are answered in one turn of the committer.
    pub fn turn(&mut self, calls: &[Vec<Change>]) -> Result<(), Broken> {
        let (asked, struck) = (self.now(false)?, self.struck());
        let before = self.engine().engine().readiness();
        self.note_entries(calls);
        let stepped = self.engine();
        let submit = |call: &Vec<Change>| {
            let ops = call.iter().map(Change::op).collect();
            match is_together(call) {
                true => stepped.engine().submit_together(ops),
                false => stepped.engine().submit(ops),
            }
        };
        let pending: Result<Vec<_>, _> = calls.iter().map(submit).collect();
        let pending = pending.map_err(|rejected| rejected.to_string())?;
        let mut has_turned = false;
        while stepped.turn() {
            has_turned = true;
        }
        let outcomes: Result<Vec<_>, _> = pending.into_iter().map(Pending::wait).collect();
        let outcomes = outcomes.map_err(|rejected| rejected.to_string())?;
        check_together(calls, &outcomes)?;
        let observed = self.observed;
        let committed = self.now(true)?;
        if !has_turned {
            // All calls were answered at once: the committer kept the time and did not read the
            // clocks.
            self.observed = observed;
        }
        let times = Times { asked, committed, monotonic: self.monotonic() };
        let changes = calls.iter().flatten().cloned();
        let turn: Vec<_> = changes.zip(outcomes.into_iter().flatten()).collect();
        for (change, outcome) in &turn {
            self.ids.insert(change.id);
            self.counts.answer(change, outcome);
            (change.id, format!("{outcome:?}")).hash(&mut self.trace);
        }
        (committed, self.engine().lsn_and_tokens()).hash(&mut self.trace);
        let numbers = calls.iter().flat_map(|call| {
            self.last_call += 1;
            let number = if is_together(call) { self.last_call } else { 0 };
            self.counts.together += u64::from(number > 0);
            vec![number; call.len()]
        });
        let numbers: Vec<u64> = numbers.collect();
        self.oracle.judge(&turn, &numbers, times)?;
        self.check_refusals(&turn, struck, &before)?;
        if self.config.sync == SyncMode::Always {
            self.oracle.settle(times.monotonic);
        }
        let touched: BTreeSet<u64> = turn.iter().map(|(change, _)| change.id).collect();
        touched.into_iter().try_for_each(|id| self.look(id))
    }

    /// Promise P6: no call is refused because of the disk if the disk is healthy, and no change is
    /// accepted once writes have stopped until a restart.
    ///
    /// While changes are refused (`before` the turn), unknown tokens are refused without the disk. Readiness
    /// names one reason. A wrong clock can hide a full disk, and both can hide a log that cannot be written.
    fn check_refusals(
        &mut self,
        turn: &[(Change, Outcome)],
        struck: u64,
        before: &Result<(), NotReady>,
    ) -> Result<(), Broken> {
        let any = |wanted: Outcome| turn.iter().any(|(_, outcome)| *outcome == wanted);
        let is_well = self.struck() == struck;
        for (refusal, is_standing) in [
            (
                Outcome::DiskFull,
                matches!(before, Err(NotReady::DiskFull | NotReady::ClockWrong(_))),
            ),
            (
                Outcome::LogUnavailable,
                matches!(
                    before,
                    Err(NotReady::LogUnavailable(_) | NotReady::DiskFull | NotReady::ClockWrong(_))
                ),
            ),
        ] {
            let is_unfounded = |(change, outcome): &(Change, Outcome)| {
                let is_issue = matches!(change.what, What::Issue { .. } | What::Put { .. });
                *outcome == refusal && (is_issue || !is_standing)
            };
            if is_well && turn.iter().any(is_unfounded) {
                return Err(format!("{refusal:?}, and the disk refused nothing"));
            }
        }
        let (refused, unsynced) = (any(Outcome::ReadOnly), any(Outcome::Unsynced));
        let is_sound = self.struck() == self.struck_at_open;
        if is_sound && (refused || unsynced) || self.has_failed && unsynced {
            return Err("the disk never failed, or had failed before".to_owned());
        }
        let is_done = |outcome: &Outcome| {
            use Outcome::{Consumed, DeadlineSet as Set, Extended, Issued, Put};
            let is_put = matches!(outcome, Put { .. } | Set { .. });
            is_put || matches!(outcome, Issued { .. } | Consumed { .. } | Extended { .. })
        };
        let is_possible = (EARLIEST_MS..=LATEST_MS).contains(&self.clock.wall().0);
        let is_looked_at = !matches!(before, Err(NotReady::ClockWrong(_)));
        let is_unfounded = |(change, outcome): &(Change, Outcome)| {
            let is_issue = matches!(change.what, What::Issue { .. } | What::Put { .. });
            *outcome == Outcome::ClockWrong && (is_issue || is_looked_at)
        };
        if is_possible && turn.iter().any(is_unfounded) {
            return Err("ClockWrong, and the clock shows what can be".to_owned());
        }
        if !is_possible && turn.iter().any(|(_, outcome)| is_done(outcome)) {
            return Err("a change was acknowledged under a clock that cannot be right".to_owned());
        }
        if self.has_failed && turn.iter().any(|(_, outcome)| is_done(outcome)) {
            return Err("a change was acknowledged after writes had stopped for good".to_owned());
        }
        self.check_readiness()
    }

    fn check_readiness(&mut self) -> Result<(), Broken> {
        let readiness = self.engine().engine().readiness();
        let is_read_only = matches!(readiness, Err(NotReady::ReadOnly(_)));
        if self.has_failed && !is_read_only {
            return Err(format!("writes had stopped for good, and now {readiness:?}"));
        }
        self.has_failed = is_read_only;
        Ok(())
    }

    /// What the committer does between turns; `is_idle`: nothing was queued for a tick.
    pub fn tend(&mut self, is_idle: bool) -> Result<(), Broken> {
        self.now(false)?;
        self.note_entries(&[]);
        self.engine().tend(is_idle);
        let now = self.now(true)?;
        self.check_readiness()?;
        (now, self.engine().lsn_and_tokens()).hash(&mut self.trace);
        self.counts.tends += 1;
        if self.engine().engine().readiness().is_err() {
            return Ok(());
        }
        match self.config.sync {
            SyncMode::Always => {
                // Promise P3: a time record within a second of each expiry; two ticks are 128 ms.
                if let Some(deadline) = self.oracle.last_expired(now.saturating_sub(128)) {
                    self.oracle.floor = self.oracle.floor.max(deadline.min(now - 1_000));
                }
            }
            SyncMode::Every(period) => {
                if let Some(until) = self.monotonic().checked_sub(period.as_millis() as u64) {
                    self.oracle.settle(until);
                }
            }
            SyncMode::Never => {}
        }
        Ok(())
    }

    /// Looks at a token, as a reader does.
    pub fn look(&mut self, id: u64) -> Result<(), Broken> {
        let now = self.now(false)?;
        let found = self.found(id, now)?;
        self.oracle.look(id, &found, now)?;
        if found.is_none() {
            // The reader keeps the time if the deadline was the reason.
            self.maybe_held = self.maybe_held.max(now);
            self.oracle.latest = self.oracle.latest.max(now);
            self.counts.misses += 1;
            // A token that was answered as expired never resolves again until the next start
            // (promise P3).
            if let Some(deadline) = self.oracle.expired(id, now) {
                self.held = self.held.max(deadline);
            }
        }
        Ok(())
    }

    fn found(&mut self, id: u64, now: u64) -> Result<Seen, Broken> {
        let engine = self.engine().engine();
        let (digest, now) = (digest(id), UnixMillis(now));
        let payload = engine.resolve(&digest, now, <[u8]>::to_vec);
        let status = engine.status(&digest, now);
        if payload.is_some() && status.is_none() {
            return Err(format!("token {id} resolves, and has no status"));
        }
        Ok(status.map(|s| (s.expires_at.0, s.uses_left, s.payload_len, payload)))
    }

    fn all(&mut self, now: u64) -> Result<BTreeMap<u64, Seen>, Broken> {
        let ids = self.ids.clone();
        ids.into_iter().map(|id| Ok((id, self.found(id, now)?))).collect()
    }

    /// Looks at every token there ever was.
    pub fn look_at_all(&mut self) -> Result<(), Broken> {
        self.ids.clone().into_iter().try_for_each(|id| self.look(id))
    }

    /// The process is killed.
    pub fn kill(&mut self) {
        if let Some(engine) = self.engine.take() {
            self.counts.life(&engine.engine().stats());
        }
    }

    /// The power fails, and a part of the unsynced data is lost.
    pub fn cut_power(&mut self, seed: u64) {
        self.kill();
        self.counts.disk(&self.disk);
        self.counts.power_cuts += 1;
        self.disk = self.disk.crash(Keep::Some(seed));
        self.lost_power = true;
    }

    /// The engine is closed in good order, if the disk lets it.
    pub fn close(&mut self) -> Result<(), Broken> {
        let Some(engine) = self.engine.take() else { return Ok(()) };
        self.counts.life(&engine.engine().stats());
        // A failure to prepare the next segment is reported when the log needs that segment.
        let struck = self.struck_at_open;
        match engine.close() {
            Ok(()) if self.has_failed => Err("closed in good order after a failure".to_owned()),
            Ok(()) => {
                self.oracle.settle(u64::MAX);
                self.counts.closes += 1;
                Ok(())
            }
            Err(error) if self.struck() == struck && !self.has_failed => Err(error.to_string()),
            Err(_) => {
                self.has_failed = true;
                Ok(())
            }
        }
    }

    /// Opens the engine once. Returns false if the disk failed meanwhile or has no power.
    pub fn try_open(&mut self) -> Result<bool, Broken> {
        let struck = self.struck();
        let torn = if self.lost_power { self.torn_bytes() } else { 0 };
        let digester = Digester::new(&Secret::from_bytes([7; 32]), "default");
        let clock: Arc<dyn Clock> = self.clock.clone();
        let opened = Stepped::open(self.config.clone(), self.disk.storage(), digester, clock);
        // A failed sync of the last segments loses the data that a killed process left in the
        // cache.
        self.has_failed |= self.struck() > struck;
        match opened {
            _ if self.disk.is_off() => Ok(false),
            Ok(engine) => {
                self.engine = Some(engine);
                self.struck_at_open = struck;
                self.counts.torn += u64::from(torn > 0);
                self.check_opened()?;
                Ok(true)
            }
            Err(_) if self.struck() > struck => {
                self.counts.refused_opens += 1;
                Ok(false)
            }
            Err(error) => Err(format!("P5: after a crash alone it does not open: {error}")),
        }
    }

    fn torn_bytes(&self) -> u64 {
        reading::read(&self.disk).map_or(0, |reading| reading.torn_bytes)
    }

    /// All promises about the data that a crash may lose.
    fn check_opened(&mut self) -> Result<(), Broken> {
        let reading = reading::read(&self.disk)?;
        let now = self.engine().engine().now().0;
        let (wall, last) = (self.clock.wall().0, reading.last_time);
        let is_possible = (EARLIEST_MS..=LATEST_MS).contains(&wall);
        let is_near = last == 0 || wall <= last + START_STEP_MS || self.clock.is_synchronised();
        let is_believed = is_possible && (is_near || self.engine().entries() == 0);
        let expected = if is_believed { wall.max(last) } else { last };
        if now != expected || last < self.oracle.floor {
            let (last, floor) = (reading.last_time, self.oracle.floor);
            return Err(format!("P3: it opens at {now}; the log's time is {last}, was {floor}"));
        }
        (self.observed, self.ahead_since) = ((now, self.forward()), None);
        (self.held, self.maybe_held) = (now, now);
        let found = self.all(now)?;
        for (id, found) in &found {
            let read = seen(reading.world.get(id), now);
            if read != *found {
                return Err(format!("token {id} is {found:?}, and in the log {read:?}"));
            }
        }
        let may_lose = self.lost_power || self.has_failed;
        self.oracle.adopt(&found, now, may_lose)?;
        self.oracle.floor = reading.last_time;
        self.oracle.latest = self.oracle.latest.max(now);
        (self.lost_power, self.has_failed) = (false, false);
        self.counts.recoveries += 1;
        let (lsn, counted) = self.engine().lsn_and_tokens();
        (now, lsn, counted).hash(&mut self.trace);
        let tokens = found.values().flatten().count() as u64;
        if counted != tokens {
            return Err(format!("{counted} tokens are counted, and {tokens} found"));
        }
        self.check_readiness()
    }
}

/// How often what was acknowledged is made durable, by a number.
pub fn sync_mode(number: u64) -> SyncMode {
    match number {
        0..=5 => SyncMode::Always,
        6 | 7 => SyncMode::Every(Duration::from_millis(100)),
        _ => SyncMode::Never,
    }
}

/// Whether a call is performed together.
fn is_together(call: &[Change]) -> bool {
    call.iter().any(|change| change.what == What::Read)
}

/// Either all changes of such a call are performed or none.
fn check_together(calls: &[Vec<Change>], outcomes: &[Vec<Outcome>]) -> Result<(), Broken> {
    use Outcome::{ClockWrong, DiskFull, LogUnavailable, ReadOnly, Unsynced};
    let refuses = |o| [ClockWrong, DiskFull, LogUnavailable, ReadOnly, Unsynced].contains(o);
    for (call, outcomes) in calls.iter().zip(outcomes).filter(|(call, _)| is_together(call)) {
        let is_whole =
            outcomes.iter().all(|outcome| outcome == &outcomes[0]) || !outcomes.iter().any(refuses);
        if !is_whole {
            return Err(format!("half of {call:?} was performed: {outcomes:?}"));
        }
    }
    Ok(())
}
