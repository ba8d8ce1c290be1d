//! Names: what callers put, move, consume and read under texts of their own, by itself and together,
//! judged by its values. Each value is put once, so it may end once only: it is replaced, consumed or
//! revoked. The names of [`SET`] are changed together, so they are always alike.

use std::collections::{BTreeMap, BTreeSet};

use jeton::engine::{DeadlineWhen, Outcome, Rejected, When};
use jeton::testkit::disk::Random;

use super::oracle::{Answered, Broken};
use crate::simulation::model::{Change, What};

/// Names that are changed one by one, and together.
pub const LOOSE: std::ops::Range<u64> = 10_000..10_006;
/// Names that are changed together only.
pub const SET: std::ops::Range<u64> = 10_006..10_009;

/// A value: its name, and its number.
type Value = (u64, u64);

#[derive(Default)]
pub struct Names {
    last: u64,
    /// Values that were put, or may have been, with the deadline of an acknowledged one.
    put: BTreeMap<Value, Option<u64>>,
    ended: BTreeSet<Value>,
    /// Values that may have ended without an answer that names them: what was put before a deadline
    /// was set, or before the name was revoked.
    doubtful: BTreeSet<Value>,
    /// Names with calls that have no answer: they may still be carried out.
    unknown: BTreeSet<u64>,
    pub answers: u64,
    pub groups: u64,
    pub refused: u64,
    pub moved: u64,
}

/// Changes of a call, and whether they are performed together.
pub struct Call {
    pub changes: Vec<Change>,
    pub is_together: bool,
}

impl Names {
    /// A call at this log time.
    pub fn call(&mut self, random: &mut Random, log_time: u64) -> Call {
        let is_together = random.chance(60);
        let mut changes = Vec::new();
        if is_together && random.chance(50) {
            let what = match random.below(10) {
                0..=3 => self.put(random, When::Always),
                4 | 5 => self.put(random, When::Absent),
                6 => self.put(random, When::Present),
                7 => What::Consume { key: None },
                8 => What::Revoke,
                _ => deadline(random, log_time),
            };
            changes.extend(SET.map(|id| Change { id, what: what.clone() }));
        } else {
            for _ in 0..random.between(1, 5) {
                let id = random.between(LOOSE.start, LOOSE.end - 1);
                let what = self.change(random, log_time, is_together);
                changes.push(Change { id, what });
            }
        }
        for Change { id, what } in &changes {
            if let What::Put { payload, .. } = what {
                self.put.insert((*id, number(payload)), None);
            }
        }
        Call { changes, is_together }
    }

    fn change(&mut self, random: &mut Random, log_time: u64, is_together: bool) -> What {
        match random.below(20) {
            0..=8 => {
                let when = *random.pick(&[When::Always, When::Absent, When::Present]);
                self.put(random, when)
            }
            9..=11 => What::Consume { key: random.chance(30).then(|| random.below(2) as u8) },
            12 => What::Extend { ttl_ms: random.between(1, 20_000) },
            13 => What::Revoke,
            14..=16 => deadline(random, log_time),
            _ if is_together => What::Read,
            _ => What::Revoke,
        }
    }

    fn put(&mut self, random: &mut Random, when: When) -> What {
        self.last += 1;
        let ttl_ms = match random.below(4) {
            0 => None,
            1 => Some(random.between(1, 3_000)),
            _ => Some(random.between(10_000, 60_000)),
        };
        let payload = self.last.to_le_bytes().as_slice().into();
        What::Put { payload, ttl_ms, uses: 1, peek: true, when, asks: true }
    }

    pub fn judge(&mut self, answered: &Answered<'_>, is_together: bool) -> Result<(), Broken> {
        self.answers += 1;
        self.groups += u64::from(is_together);
        let outcomes = match &answered.result {
            Ok(outcomes) => outcomes,
            Err(Rejected::NoQuorum) => {
                answered.changes.iter().for_each(|change| self.did_not_happen(change));
                return Ok(());
            }
            // The node was killed: nobody knows.
            Err(Rejected::Closed) => {
                self.unknown.extend(answered.changes.iter().map(|change| change.id));
                return Ok(());
            }
            Err(other) => return Err(format!("a call was rejected: {other}")),
        };
        if is_together && outcomes.iter().any(is_refusal) {
            self.refused += 1;
            if outcomes.iter().any(|outcome| *outcome != outcomes[0]) {
                return Err(format!("half of it was refused: {outcomes:?}"));
            }
        }
        // What the call itself has left under a name.
        let mut left: BTreeMap<u64, Option<u64>> = BTreeMap::new();
        for (change, outcome) in answered.changes.iter().zip(outcomes) {
            let known = left.get(&change.id).copied();
            let judged = self.judge_one(change, outcome, known);
            let after = judged.map_err(|why| {
                format!("name {} {:?}: {outcome:?}: {why}", change.id, change.what)
            })?;
            match after.filter(|_| is_together) {
                Some(after) => drop(left.insert(change.id, after)),
                None => drop(left.remove(&change.id)),
            }
        }
        Ok(())
    }

    /// Judges an outcome; returns what it leaves under the name, if that is known. `known` is what
    /// was there before.
    fn judge_one(
        &mut self,
        change: &Change,
        outcome: &Outcome,
        known: Option<Option<u64>>,
    ) -> Result<Option<Option<u64>>, Broken> {
        let id = change.id;
        let is_as_known = |there: Option<u64>| match known.is_none_or(|known| known == there) {
            true => Ok(()),
            false => Err(format!("{known:?} was there, not {there:?}")),
        };
        match outcome {
            Outcome::Put { deadline, previous } => {
                let What::Put { payload, .. } = &change.what else { return Err("no put".into()) };
                let previous = previous.as_deref().map(number);
                is_as_known(previous)?;
                previous.map_or(Ok(()), |before| self.end((id, before)))?;
                let own = number(payload);
                self.put.insert((id, own), Some(deadline.0));
                Ok(Some(Some(own)))
            }
            Outcome::NotPut { previous } => {
                self.did_not_happen(change);
                let previous = previous.as_deref().map(number);
                is_as_known(previous)?;
                Ok(Some(previous))
            }
            Outcome::Consumed { payload } => {
                is_as_known(Some(number(payload)))?;
                self.end((id, number(payload)))?;
                Ok(Some(None))
            }
            Outcome::Found { payload, .. } => {
                let there = payload.as_deref().map(number);
                is_as_known(there)?;
                match there.is_some_and(|there| self.put.contains_key(&(id, there))) {
                    true => Ok(Some(there)),
                    false => Err("it was never put".into()),
                }
            }
            Outcome::NotFound => {
                is_as_known(None)?;
                Ok(Some(None))
            }
            Outcome::Revoked => self.revoked(id, known).map(|()| Some(None)),
            Outcome::DeadlineSet { deadline } if known != Some(None) => {
                self.moved += 1;
                self.doubt(id);
                match change.what {
                    What::Deadline { at, .. } if at == deadline.0 => Ok(known),
                    _ => Err("it was set to another deadline".into()),
                }
            }
            Outcome::Extended { .. } | Outcome::DeadlineKept { .. } => Ok(known),
            Outcome::Replayed { .. } => Ok(Some(None)),
            Outcome::Unsynced | Outcome::Unknown => {
                self.unknown.insert(id);
                Ok(None)
            }
            refusal if is_refusal(refusal) => {
                self.did_not_happen(change);
                Ok(None)
            }
            _ => Err("no operation on a name has this outcome".into()),
        }
    }

    fn revoked(&mut self, id: u64, known: Option<Option<u64>>) -> Result<(), Broken> {
        match known {
            Some(Some(before)) => return self.end((id, before)),
            Some(None) => return Err("nothing was there".into()),
            None => self.doubt(id),
        }
        Ok(())
    }

    fn end(&mut self, value: Value) -> Result<(), Broken> {
        match (self.put.contains_key(&value), self.ended.insert(value)) {
            (true, true) => Ok(()),
            (false, _) => Err(format!("{value:?} was never put")),
            (true, false) => Err(format!("{value:?} has ended twice")),
        }
    }

    /// One of the values that were put under the name until now may have ended. Those that are put
    /// later have not.
    fn doubt(&mut self, id: u64) {
        self.doubtful.extend(self.put.keys().filter(|value| value.0 == id));
    }

    fn did_not_happen(&mut self, change: &Change) {
        if let What::Put { payload, .. } = &change.what {
            self.put.remove(&(change.id, number(payload)));
        }
    }

    /// Judges the end of the run: `there` is what all nodes say.
    pub fn judge_end(
        &self,
        log_time: u64,
        there: impl Fn(u64) -> Option<Vec<u8>>,
    ) -> Result<(), Broken> {
        for id in LOOSE.chain(SET) {
            let there = there(id).as_deref().map(number);
            if let Some(value) = there.map(|there| (id, there))
                && (!self.put.contains_key(&value) || self.ended.contains(&value))
            {
                return Err(format!("{value:?} is there, and should not be"));
            }
            let lasts = |(value, deadline): &(&Value, &Option<u64>)| {
                let is_over = deadline.is_none_or(|deadline| deadline <= log_time);
                let may_have_ended = self.ended.contains(value) || self.doubtful.contains(value);
                value.0 == id && !is_over && !may_have_ended
            };
            let lost = self.put.iter().filter(lasts).find(|(value, _)| Some(value.1) != there);
            if let Some((value, _)) = lost.filter(|_| !self.unknown.contains(&id)) {
                return Err(format!("{value:?} was acknowledged and is lost: {there:?} is there"));
            }
        }
        Ok(())
    }
}

fn is_refusal(outcome: &Outcome) -> bool {
    matches!(
        outcome,
        Outcome::MemoryFull
            | Outcome::QuotaFull
            | Outcome::DiskFull
            | Outcome::ClockWrong
            | Outcome::LogUnavailable
            | Outcome::ReadOnly
    )
}

fn deadline(random: &mut Random, log_time: u64) -> What {
    let at = match random.below(4) {
        0 => log_time.saturating_sub(random.below(500)),
        1 => log_time + random.between(1, 700),
        _ => log_time + random.between(1_000, 50_000),
    };
    let when = *random.pick(&[DeadlineWhen::Always, DeadlineWhen::Later, DeadlineWhen::Earlier]);
    What::Deadline { at, when }
}

fn number(payload: &[u8]) -> u64 {
    payload.try_into().map_or(0, u64::from_le_bytes)
}
