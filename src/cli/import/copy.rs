//! Copies new keys. Each goes through four steps:
//!
//! 1. Its digest is written to the state file, and is on the disk. From here on it is never put again.
//! 2. It is put where nothing lives, and lives [`PROBATION`] at most.
//! 3. The source is asked again. Who consumed the key meanwhile found nothing in jeton to remove, so
//!    import removes it.
//! 4. It gets its deadline.
//!
//! An import that is killed between 2 and 4 leaves keys that end by themselves, and no consumed key
//! lives longer than that.

use std::collections::HashSet;
use std::time::Duration;

use super::counts::{Counts, Kind};
use super::failure::{ImportError, Side};
use super::found::{Address, Found};
use super::link::Reply;
use super::patience::Patience;
use super::source::Source;
use super::state::{Name, State, Value};
use super::target::{Command, Outcome, Target};

/// How long a key lives in jeton before the source has confirmed it.
pub(super) const PROBATION: Duration = Duration::from_secs(30);
/// Times that a value may change while it is copied.
const ROUNDS: usize = 4;
/// An answer that takes longer may have set a deadline that is this late; then it is set again.
const LATE: Duration = Duration::from_millis(50);
/// Times that a deadline is set again.
const DEADLINE_ROUNDS: usize = 3;

/// How the keys are treated.
#[derive(Clone, Debug)]
pub(super) struct Options {
    /// What is cut off a key to make its name.
    pub(super) strip: Vec<u8>,
    /// The lifetime of keys that live for ever.
    pub(super) persistent_ttl: Option<Duration>,
    /// Whether a lifetime beyond the maximum becomes the maximum.
    pub(super) cap_ttl: bool,
}

/// A key of the source.
pub(super) struct Item {
    pub(super) key: Vec<u8>,
    /// Bytes of the key before the name.
    pub(super) cut: usize,
    pub(super) id: Name,
    /// Digest of the whole key.
    pub(super) check: [u8; 4],
}

impl Item {
    pub(super) fn name(&self) -> &[u8] {
        &self.key[self.cut..]
    }
}

/// How long a value lives.
#[derive(Clone, Copy, Debug)]
pub(super) struct Life {
    time: Duration,
    /// When the source was asked for it.
    from: Duration,
    /// Whether it is the source's own.
    pub(super) is_exact: bool,
}

impl Life {
    /// The rest of it, in milliseconds.
    pub(super) fn left_ms(&self, now: Duration) -> u64 {
        let left = self.time.saturating_sub(now.saturating_sub(self.from));
        u64::try_from(left.as_millis()).unwrap_or(u64::MAX)
    }
}

/// A key with its value.
pub(super) struct Ready {
    pub(super) item: Item,
    pub(super) value: Vec<u8>,
    pub(super) digest: Value,
    pub(super) life: Life,
}

/// What copies.
pub(super) struct Copier<'a> {
    pub(super) source: &'a mut Source,
    pub(super) target: &'a mut Target,
    pub(super) state: &'a mut State,
    pub(super) options: &'a Options,
    pub(super) patience: Patience,
    /// Of the server that is scanned.
    pub(super) counts: Counts,
    /// Names without a record that were dealt with: SCAN may repeat them.
    pub(super) passed: HashSet<Name>,
}

impl Copier<'_> {
    /// Counts a key that is not copied.
    pub(super) fn pass(&mut self, item: &Item, kind: Kind) {
        self.counts.add(kind);
        self.state.see(&item.id);
        self.passed.insert(item.id);
    }

    /// Counts a key that is dealt with for good.
    pub(super) fn settle(&mut self, item: &Item, kind: Kind) {
        self.counts.add(kind);
        self.state.settle(&item.id);
        self.state.see(&item.id);
    }

    /// The key with what was found under it, or why it is not copied.
    pub(super) fn ready(&self, item: Item, found: Found) -> Result<Ready, (Item, Kind)> {
        let (value, pttl, asked) = match found {
            Found::Value { value, pttl, asked } => (value, pttl, asked),
            Found::Gone => return Err((item, Kind::Vanished)),
            Found::OtherType => return Err((item, Kind::OtherType)),
            Found::TooLong => return Err((item, Kind::TooBig)),
        };
        match self.life(pttl, asked) {
            Ok(life) if life.left_ms(self.patience.now()) == 0 => Err((item, Kind::Vanished)),
            Ok(life) => Ok(Ready { digest: self.state.value(&value), item, value, life }),
            Err(kind) => Err((item, kind)),
        }
    }

    fn life(&self, pttl: i64, from: Duration) -> Result<Life, Kind> {
        let max = self.target.limits.ttl_max;
        let own = u64::try_from(pttl).ok().map(Duration::from_millis);
        match (own, self.options.persistent_ttl) {
            (None, None) => Err(Kind::Persistent),
            (None, Some(time)) => Ok(Life { time, from, is_exact: false }),
            (Some(time), _) if time <= max => Ok(Life { time, from, is_exact: true }),
            (Some(_), _) if self.options.cap_ttl => Ok(Life { time: max, from, is_exact: false }),
            (Some(_), _) => Err(Kind::BeyondMax),
        }
    }

    /// Puts keys for the first and only time. Their digests are in the state already.
    pub(super) fn put(&mut self, node: &Address, new: Vec<Ready>) -> Result<(), ImportError> {
        if new.is_empty() {
            return Ok(());
        }
        self.state.sync().map_err(ImportError::Write)?;
        let begun = self.patience.now();
        let commands: Vec<_> = new.iter().map(|ready| set(ready, begun, b"NX")).collect();
        let mut outcomes = Vec::new();
        let sent = self.target.each(&commands, &mut outcomes);
        let (mut put, mut unsure) = (Vec::new(), Vec::new());
        for (ready, outcome) in new.into_iter().zip(outcomes) {
            match outcome {
                None => self.state.withdraw(&ready.item.id),
                Some(Outcome::Lost) => unsure.push((ready, true)),
                Some(Outcome::Reply(reply)) if reply.is_ok() => put.push(ready),
                Some(Outcome::Reply(Reply::Nil)) => unsure.push((ready, false)),
                Some(Outcome::Reply(reply)) => {
                    self.state.withdraw(&ready.item.id);
                    self.pass(&ready.item, kind_of(reply)?);
                }
            }
        }
        if let Err(error) = sent {
            self.state.sync().map_err(ImportError::Write)?;
            return Err(error);
        }
        put.extend(self.look(unsure)?);
        self.confirm(node, put, begun)
    }

    /// Looks at what lives where a key was not put, or perhaps was. Returns those that were.
    fn look(&mut self, unsure: Vec<(Ready, bool)>) -> Result<Vec<Ready>, ImportError> {
        let commands: Vec<_> =
            unsure.iter().map(|(ready, _)| command(&[b"GET", ready.item.name()])).collect();
        let mut put = Vec::new();
        for ((ready, is_lost), reply) in unsure.into_iter().zip(self.target.look(&commands)?) {
            let is_same = matches!(&reply, Reply::Bulk(value) if *value == ready.value);
            match (is_same, reply, is_lost) {
                (true, _, true) => put.push(ready),
                (true, _, false) => self.settle(&ready.item, Kind::Present),
                (false, Reply::Nil, true) => self.pass(&ready.item, Kind::Unknown),
                (false, Reply::Nil, false) => self.settle(&ready.item, Kind::Gone),
                (false, Reply::Bulk(_) | Reply::TooLong, _) => {
                    self.settle(&ready.item, Kind::OtherValue);
                }
                (false, refused, _) => self.pass(&ready.item, kind_of(refused)?),
            }
        }
        Ok(put)
    }

    /// Asks the source again for keys that were put since `begun`, and gives them their deadline.
    pub(super) fn confirm(
        &mut self,
        node: &Address,
        mut put: Vec<Ready>,
        mut begun: Duration,
    ) -> Result<(), ImportError> {
        for _ in 0..ROUNDS {
            if put.is_empty() {
                return Ok(());
            }
            let keys: Vec<&[u8]> = put.iter().map(|ready| ready.item.key.as_slice()).collect();
            let found = self.source.read(node, &keys, self.target.limits.payload_max)?;
            let (mut same, mut changed, mut gone) = (Vec::new(), Vec::new(), Vec::new());
            for (before, found) in put.into_iter().zip(found) {
                match self.ready(before.item, found) {
                    Err(gone_or_other) => gone.push(gone_or_other),
                    Ok(now) if now.digest == before.digest => same.push(now),
                    Ok(now) => changed.push((now, before.digest)),
                }
            }
            self.remove(&gone)?;
            self.set_deadlines(&same, begun)?;
            begun = self.patience.now();
            put = self.put_again(changed, begun)?;
        }
        // They change faster than they can be copied, and end by themselves.
        put.iter().for_each(|ready| self.pass(&ready.item, Kind::Unknown));
        Ok(())
    }

    /// Removes what the source had no longer after it was put.
    fn remove(&mut self, gone: &[(Item, Kind)]) -> Result<(), ImportError> {
        let commands: Vec<_> =
            gone.iter().map(|(item, _)| command(&[b"TOKEN.REVOKE", item.name()])).collect();
        for ((item, kind), reply) in gone.iter().zip(self.target.ask(&commands)?) {
            // OK also if it is gone already.
            if !reply.is_ok() {
                return Err(unexpected(reply));
            }
            self.settle(item, *kind);
        }
        Ok(())
    }

    /// Puts values that have changed since they were put, where the earlier ones still live.
    fn put_again(
        &mut self,
        changed: Vec<(Ready, Value)>,
        begun: Duration,
    ) -> Result<Vec<Ready>, ImportError> {
        let mut put = Vec::new();
        if changed.is_empty() {
            return Ok(put);
        }
        for (Ready { item, digest, .. }, before) in &changed {
            self.state.intend_instead(&item.id, *before, *digest);
        }
        self.state.sync().map_err(ImportError::Write)?;
        let commands: Vec<_> = changed.iter().map(|(ready, _)| set(ready, begun, b"XX")).collect();
        for ((ready, _), reply) in changed.into_iter().zip(self.target.ask(&commands)?) {
            match reply {
                reply if reply.is_ok() => put.push(ready),
                // Used up in jeton meanwhile: the value before, or this one if the first answer was lost.
                Reply::Nil => self.pass(&ready.item, Kind::Unknown),
                // What was put before ends by itself.
                refused => self.pass(&ready.item, kind_of(refused)?),
            }
        }
        Ok(put)
    }

    /// Gives confirmed keys their deadline, and settles them.
    fn set_deadlines(&mut self, same: &[Ready], begun: Duration) -> Result<(), ImportError> {
        let lives: Vec<_> = same.iter().map(|ready| (ready.item.name(), ready.life)).collect();
        let is_set = self.deadlines(&lives)?;
        for (ready, is_set) in same.iter().zip(is_set) {
            let is_late = self.patience.now().saturating_sub(begun) >= PROBATION;
            match is_set {
                // It ends by itself.
                Err(kind) => self.pass(&ready.item, kind),
                // It ended before it was confirmed, or somebody used it: nobody knows.
                Ok(false) if is_late => self.pass(&ready.item, Kind::Unknown),
                // Used up in jeton meanwhile, if not set.
                Ok(true | false) => self.settle(&ready.item, Kind::Copied),
            }
        }
        Ok(())
    }

    /// Sets deadlines, again where the answer took long. Returns which of the names live, or why jeton
    /// refuses the deadline.
    pub(super) fn deadlines(
        &mut self,
        names: &[(&[u8], Life)],
    ) -> Result<Vec<Result<bool, Kind>>, ImportError> {
        let mut is_set = Vec::new();
        for _ in 0..DEADLINE_ROUNDS {
            let begun = self.patience.now();
            let of = |(name, life): &(&[u8], Life)| {
                let left = life.left_ms(begun).max(1).to_string();
                command(&[b"PEXPIRE", name, left.as_bytes()])
            };
            let commands: Vec<_> = names.iter().map(of).collect();
            let of = |reply| match reply {
                Reply::Integer(count) => Ok(Ok(count == 1)),
                refused => kind_of(refused).map(Err),
            };
            let replies = self.target.ask(&commands)?;
            is_set = replies.into_iter().map(of).collect::<Result<_, ImportError>>()?;
            if self.patience.now().saturating_sub(begun) <= LATE {
                break;
            }
        }
        Ok(is_set)
    }
}

pub(super) fn command(words: &[&[u8]]) -> Command {
    words.iter().map(|word| word.to_vec()).collect()
}

/// Puts a value on probation, under a condition.
fn set(ready: &Ready, now: Duration, condition: &[u8]) -> Command {
    let probation = u64::try_from(PROBATION.as_millis()).unwrap_or(u64::MAX);
    let life = ready.life.left_ms(now).clamp(1, probation).to_string();
    command(&[b"SET", ready.item.name(), &ready.value, b"PX", life.as_bytes(), condition])
}

/// Why jeton refuses a put or a deadline.
///
/// # Errors
/// The refusal is not about this key, or the answer is none to what was asked.
pub(super) fn kind_of(reply: Reply) -> Result<Kind, ImportError> {
    match &reply {
        Reply::Error(text) if text.contains("reference") => Ok(Kind::Reference),
        Reply::Error(text) if text.contains("expire time") => Ok(Kind::BeyondMax),
        Reply::Error(text) if text.contains("--max-payload") => Ok(Kind::TooBig),
        _ => Err(unexpected(reply)),
    }
}

/// An answer that says nothing about a key.
pub(super) fn unexpected(reply: Reply) -> ImportError {
    match reply {
        Reply::Error(text) => ImportError::Blocked(text),
        _ => ImportError::Answer { side: Side::Server },
    }
}
