//! Compares keys that were copied before with the source.
//!
//! What has changed there is replaced only if jeton still has what import put. What is gone in jeton
//! stays gone: a value is put once. Another value under the same key is another token, and is put.

use std::time::Duration;

use super::copy::{Copier, Life, Ready, command, kind_of, unexpected};
use super::counts::Kind;
use super::failure::ImportError;
use super::found::Address;
use super::link::Reply;
use super::state::{Record, Value};

/// A deadline that differs by more than this, and by more than the answers took, is set again.
const TOLERANCE: Duration = Duration::from_millis(100);

/// Compares.
pub(super) struct Compare<'a, 'b> {
    copier: &'a mut Copier<'b>,
}

/// What to do with a key.
enum Step {
    /// It was put by an import that was killed: as after a put.
    Confirm,
    /// Gone in jeton, and the source has another value: another token, which was never put.
    Again,
    /// In the place of this.
    Replace(Value),
    /// The value is the same; the deadline may differ.
    SameValue,
    /// It is dealt with.
    Done(Kind),
    /// It is counted, and stays unsettled.
    Pass(Kind),
}

impl<'a, 'b> Compare<'a, 'b> {
    pub(super) fn new(copier: &'a mut Copier<'b>) -> Self {
        Self { copier }
    }

    /// Compares keys as the source has them with what jeton has.
    pub(super) fn all(
        &mut self,
        node: &Address,
        known: Vec<(Ready, Record)>,
    ) -> Result<(), ImportError> {
        if known.is_empty() {
            return Ok(());
        }
        let asked = |(ready, _): &(Ready, Record)| {
            let name = ready.item.name();
            [command(&[b"GET", name]), command(&[b"PTTL", name])]
        };
        let commands: Vec<_> = known.iter().flat_map(asked).collect();
        let begun = self.copier.patience.now();
        let replies = self.copier.target.look(&commands)?;
        let took = self.copier.patience.now().saturating_sub(begun);
        let (mut confirm, mut again) = (Vec::new(), Vec::new());
        let (mut replace, mut moved) = (Vec::new(), Vec::new());
        for ((ready, record), pair) in known.into_iter().zip(replies.chunks(2)) {
            if let Some(refused) = pair.iter().find(|reply| matches!(reply, Reply::Error(_))) {
                return Err(unexpected(refused.clone()));
            }
            match self.step(&ready, &record, &pair[0]) {
                Step::Confirm => {
                    self.note(&ready, &record);
                    confirm.push(ready);
                }
                Step::Again => again.push(ready),
                Step::Replace(before) => replace.push((ready, before)),
                Step::SameValue if differs(&ready.life, &pair[1], begun, took) => moved.push(ready),
                Step::SameValue => self.copier.settle(&ready.item, Kind::Unchanged),
                Step::Done(kind) => {
                    if kind == Kind::Present {
                        self.note(&ready, &record);
                    }
                    self.copier.settle(&ready.item, kind);
                }
                Step::Pass(kind) => self.copier.pass(&ready.item, kind),
            }
        }
        self.copier.confirm(node, confirm, begun)?;
        self.replace(replace)?;
        for Ready { item, digest, .. } in &again {
            self.copier.state.intend(&item.id, item.check, *digest);
        }
        self.copier.put(node, again)?;
        self.set_deadlines(&moved)
    }

    /// Notes which value jeton has, as if import had put it: once it is used up, it stays gone.
    fn note(&mut self, ready: &Ready, record: &Record) {
        let Ready { item, digest, .. } = ready;
        if record.value != *digest {
            self.copier.state.intend(&item.id, item.check, *digest);
        }
    }

    fn step(&self, ready: &Ready, record: &Record, reply: &Reply) -> Step {
        let there = match reply {
            Reply::Bulk(value) => self.copier.state.value(value),
            Reply::Nil if record.is_settled && record.value != ready.digest => return Step::Again,
            Reply::Nil if record.is_settled => return Step::Done(Kind::Gone),
            Reply::Nil => return Step::Pass(Kind::Unknown),
            _ => return Step::Done(Kind::OtherValue),
        };
        let is_ours = there == record.value || Some(there) == record.before;
        let is_same = there == ready.digest;
        match (is_ours, is_same) {
            (true, true) if record.is_settled => Step::SameValue,
            (true, true) => Step::Confirm,
            (true, false) => Step::Replace(there),
            (false, true) => Step::Done(Kind::Present),
            (false, false) => Step::Done(Kind::OtherValue),
        }
    }

    /// Puts changed values in the place of those that import put. A value that another client has put
    /// in between is seen, and counted.
    fn replace(&mut self, changed: Vec<(Ready, Value)>) -> Result<(), ImportError> {
        if changed.is_empty() {
            return Ok(());
        }
        for (Ready { item, digest, .. }, before) in &changed {
            self.copier.state.intend_instead(&item.id, *before, *digest);
            self.copier.state.see(&item.id);
        }
        self.copier.state.sync().map_err(ImportError::Write)?;
        let now = self.copier.patience.now();
        let of = |(ready, _): &(Ready, Value)| {
            let life = ready.life.left_ms(now).max(1).to_string();
            let name = ready.item.name();
            command(&[b"SET", name, &ready.value, b"PX", life.as_bytes(), b"XX", b"GET"])
        };
        let commands: Vec<_> = changed.iter().map(of).collect();
        let replies = self.copier.target.ask(&commands)?;
        for ((ready, before), reply) in changed.into_iter().zip(replies) {
            let kind = match reply {
                Reply::Bulk(value) => {
                    let there = self.copier.state.value(&value);
                    // The second one if the first answer was lost.
                    let is_ours = there == before || there == ready.digest;
                    if is_ours { Kind::Replaced } else { Kind::OtherValue }
                }
                // Used up meanwhile: the value before, or the new one if the first answer was lost.
                Reply::Nil => {
                    self.copier.pass(&ready.item, Kind::Unknown);
                    continue;
                }
                Reply::TooLong => Kind::OtherValue,
                refused => {
                    self.copier.pass(&ready.item, kind_of(refused)?);
                    continue;
                }
            };
            self.copier.settle(&ready.item, kind);
        }
        Ok(())
    }

    fn set_deadlines(&mut self, moved: &[Ready]) -> Result<(), ImportError> {
        let lives: Vec<_> = moved.iter().map(|ready| (ready.item.name(), ready.life)).collect();
        let is_set = self.copier.deadlines(&lives)?;
        for (ready, is_set) in moved.iter().zip(is_set) {
            match is_set {
                Ok(true) => self.copier.settle(&ready.item, Kind::Moved),
                Ok(false) => self.copier.settle(&ready.item, Kind::Gone),
                Err(kind) => self.copier.pass(&ready.item, kind),
            }
        }
        Ok(())
    }
}

/// Whether jeton has another deadline than the source. One that import has chosen is not compared.
fn differs(life: &Life, pttl: &Reply, begun: Duration, took: Duration) -> bool {
    let Some(there) = pttl.integer().and_then(|pttl| u64::try_from(pttl).ok()) else {
        return false;
    };
    let tolerance = u64::try_from((TOLERANCE + took).as_millis()).unwrap_or(u64::MAX);
    life.is_exact && life.left_ms(begun).abs_diff(there) > tolerance
}
