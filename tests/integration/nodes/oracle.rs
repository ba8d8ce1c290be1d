//! The histories of all callers, judged without looking into any node: nothing acknowledged is
//! lost, nothing is consumed twice, and no "not found" is outdated.

use std::collections::BTreeMap;

use jeton::engine::{Outcome, Rejected};

use crate::simulation::model::{Change, What};

pub type Broken = String;

/// A call that was answered, or whose answer is lost.
pub struct Answered<'a> {
    /// Steps of the run at which it was asked, and answered.
    pub asked_at: u64,
    pub now: u64,
    /// Log time of the node when it was asked, and when it answered.
    pub asked_time: u64,
    pub log_time: u64,
    pub changes: &'a [Change],
    pub result: Result<Vec<Outcome>, Rejected>,
}

/// What is known of a token.
#[derive(Default)]
struct History {
    /// Acknowledged issues: the step of the answer, and the deadline.
    issued: Vec<(u64, u64)>,
    consumed: u64,
    /// Changes that may have happened, or may still happen.
    maybe_issued: u64,
    maybe_ended: u64,
    maybe_extended: bool,
}

#[derive(Default)]
pub struct Oracle {
    tokens: BTreeMap<u64, History>,
}

impl Oracle {
    /// A change is asked: it may happen from now on.
    pub fn ask(&mut self, change: &Change) {
        let history = self.tokens.entry(change.id).or_default();
        match change.what {
            What::Issue { .. } => history.maybe_issued += 1,
            What::Consume { .. } | What::Revoke => history.maybe_ended += 1,
            What::Extend { .. } => history.maybe_extended = true,
            What::Put { .. } | What::Deadline { .. } | What::Read => {
                unreachable!("for names alone")
            }
        }
    }

    /// The first number without a token.
    pub fn next_id(&self) -> u64 {
        self.tokens.keys().next_back().map_or(0, |id| id + 1)
    }

    pub fn judge(&mut self, answered: &Answered<'_>) -> Result<(), Broken> {
        let outcomes = match &answered.result {
            Ok(outcomes) => outcomes,
            Err(Rejected::NoQuorum) => {
                answered.changes.iter().for_each(|change| self.did_not_happen(change));
                return Ok(());
            }
            // The node was killed: nobody knows.
            Err(Rejected::Closed) => return Ok(()),
            Err(other) => return Err(format!("a call was rejected: {other}")),
        };
        for (change, outcome) in answered.changes.iter().zip(outcomes) {
            self.judge_one(answered, change, outcome).map_err(|why| {
                format!("token {} {:?}: {outcome:?}: {why}", change.id, change.what)
            })?;
        }
        Ok(())
    }

    /// What did not happen leaves nothing that may appear, or end, later.
    fn did_not_happen(&mut self, change: &Change) {
        let Some(history) = self.tokens.get_mut(&change.id) else { return };
        match &change.what {
            What::Issue { .. } => history.maybe_issued -= 1,
            What::Consume { .. } | What::Revoke => history.maybe_ended -= 1,
            What::Extend { .. } | What::Put { .. } | What::Deadline { .. } | What::Read => {}
        }
    }

    fn judge_one(
        &mut self,
        answered: &Answered<'_>,
        change: &Change,
        outcome: &Outcome,
    ) -> Result<(), Broken> {
        let history = self.tokens.entry(change.id).or_default();
        let lives = history.issued.len() as u64 + history.maybe_issued;
        // The change itself, which has not ended it if it found nothing.
        let own = u64::from(matches!(change.what, What::Consume { .. } | What::Revoke));
        let certain = |history: &History| {
            let known = history
                .issued
                .iter()
                .any(|(step, deadline)| *step < answered.asked_at && *deadline > answered.log_time);
            known && history.maybe_ended == own
        };
        match outcome {
            Outcome::Issued { deadline } => {
                history.maybe_issued -= 1;
                let What::Issue { ttl_ms, .. } = change.what else { return Err("no issue".into()) };
                let range = answered.asked_time + ttl_ms..=answered.log_time + ttl_ms;
                if !range.contains(&deadline.0) {
                    return Err(format!("its deadline is not within {range:?}"));
                }
                if certain(history) {
                    return Err("it was alive".into());
                }
                history.issued.push((answered.now, deadline.0));
            }
            Outcome::Exists { .. } | Outcome::Conflict | Outcome::AlreadyConsumed => {
                self.did_not_happen(change);
                if lives < 2 {
                    return Err("nobody else has issued it".into());
                }
            }
            Outcome::Consumed { .. } => {
                history.consumed += 1;
                if history.consumed > lives * uses(change.id) {
                    return Err(format!("consumed {} times in {lives} lives", history.consumed));
                }
            }
            Outcome::NotFound => {
                let is_own = matches!(change.what, What::Consume { .. });
                // The consume itself may have ended it only if it was acknowledged.
                if certain(history) || is_own && lives == 0 && history.consumed > 0 {
                    return Err("it was alive".into());
                }
                self.did_not_happen(change);
            }
            Outcome::MemoryFull
            | Outcome::QuotaFull
            | Outcome::DiskFull
            | Outcome::ClockWrong
            | Outcome::LogUnavailable
            | Outcome::ReadOnly => self.did_not_happen(change),
            Outcome::Replayed { .. } | Outcome::Extended { .. } | Outcome::Revoked => {}
            Outcome::Unsynced | Outcome::Unknown => {}
            Outcome::Put { .. }
            | Outcome::NotPut { .. }
            | Outcome::DeadlineSet { .. }
            | Outcome::DeadlineKept { .. }
            | Outcome::Found { .. } => return Err("no operation has this outcome".into()),
        }
        Ok(())
    }

    /// Judges the end of the run: `is_alive` is what all nodes say.
    pub fn judge_end(&self, log_time: u64, is_alive: impl Fn(u64) -> bool) -> Result<(), Broken> {
        for (id, history) in &self.tokens {
            let is_alive = is_alive(*id);
            let lasts = history.issued.iter().any(|(_, deadline)| *deadline > log_time);
            if lasts && history.maybe_ended == 0 && !is_alive {
                return Err(format!("token {id} was acknowledged and is lost"));
            }
            let may_last = lasts
                || history.maybe_issued > 0
                || history.maybe_extended && !history.issued.is_empty();
            if is_alive && !may_last {
                return Err(format!("token {id} is alive, and should not be"));
            }
        }
        Ok(())
    }
}

/// The uses of a token, which its number decides.
pub fn uses(id: u64) -> u64 {
    if id.is_multiple_of(4) { 2 } else { 1 }
}

/// Whether a token is remembered as consumed until its deadline.
pub fn is_derived(id: u64) -> bool {
    id.is_multiple_of(5)
}
