//! The meaning of a log: its records applied one by one to a sorted map; and which records an engine
//! writes.
//!
//! A start and `jeton verify` rely on that an engine writes only what could succeed when it was
//! admitted, before the frame took effect: so rivals are in one frame. The format does not forbid
//! other logs, but only for those that keep to it the live entries are defined.

use std::collections::{BTreeMap, BTreeSet};

use super::spec::{self, Damaged, INSTANT_MAX, What};
use super::stream;

/// An entry as the log leaves it.
#[derive(Clone, Debug)]
pub struct Entry {
    pub payload: Vec<u8>,
    pub deadline: u64,
    pub issued_at: u64,
    pub uses_left: u64,
    pub peek: bool,
    pub derived: bool,
    pub keys: Vec<[u8; 16]>,
}

impl Entry {
    pub fn is_alive(&self, now: u64) -> bool {
        self.uses_left > 0 && self.deadline > now
    }

    /// Whether it is remembered until its deadline: it has a use left, its token is derived, or a
    /// retry may ask for its answer. Over any other an issue wins.
    fn blocks(&self, now: u64) -> bool {
        let is_needed = self.uses_left > 0 || self.derived || !self.keys.is_empty();
        is_needed && self.deadline > now
    }
}

/// Entries by digest.
pub type Entries = BTreeMap<[u8; 16], Entry>;

/// The result of a log.
pub struct Replayed {
    /// The entries after all its records.
    pub entries: Entries,
    /// Whether an engine may have written it.
    pub is_of_an_engine: bool,
}

/// Applies all records of a log.
pub fn replay(log: &spec::Log) -> Result<Replayed, Damaged> {
    let (mut entries, mut is_of_an_engine) = (Entries::new(), true);
    let mut last_origin = None;
    for (_, time, body) in &log.frames {
        let mut frame = Frame::after(&entries);
        let mut rest = &body[..];
        while !rest.is_empty() {
            let record = spec::record(rest).ok_or(Damaged)?;
            is_of_an_engine &= frame.admits(&record, *time);
            if let What::Origin(next) = record.what {
                if last_origin.is_some_and(|last| !stream::goes_on(last, next)) {
                    return Err(Damaged);
                }
                last_origin = Some(next);
            }
            frame.apply(&record, *time);
            rest = &rest[record.len..];
        }
        entries = frame.entries;
    }
    Ok(Replayed { entries, is_of_an_engine })
}

/// Applies the records of a body up to the first invalid one.
pub fn apply_body(entries: &mut Entries, mut body: &[u8], time: u64) {
    while let Some(record) = spec::record(body) {
        apply(entries, &record, time);
        body = &body[record.len..];
    }
}

/// A frame while its records are applied.
pub struct Frame {
    entries: Entries,
    /// As callers saw them when they asked: after the Carries, before everything else.
    seen: Entries,
    has_commands: bool,
    issued: BTreeSet<[u8; 16]>,
}

impl Frame {
    /// A frame behind records that left these entries.
    pub fn after(entries: &Entries) -> Self {
        let (entries, seen) = (entries.clone(), entries.clone());
        Self { entries, seen, has_commands: false, issued: BTreeSet::new() }
    }

    /// Whether an engine writes this record next, in a frame of this time. An operation was admitted
    /// at that time or before, so what had expired by then may have been alive.
    pub fn admits(&self, record: &spec::Record<'_>, time: u64) -> bool {
        let seen = self.seen.get(&record.digest);
        match &record.what {
            What::Time | What::Origin(_) => true,
            What::Carry { .. } => !self.has_commands,
            What::Issue(content) if content.replaces => {
                !seen.is_some_and(|entry| entry.derived && entry.deadline > time)
            }
            What::Issue(_) => !seen.is_some_and(|entry| entry.blocks(time)),
            // A token can be used only once its issue took effect.
            _ if self.issued.contains(&record.digest) => false,
            What::Consume { key: Some(key) } => {
                !seen.is_some_and(|entry| entry.blocks(time) && entry.keys.contains(key))
            }
            What::Consume { key: None }
            | What::Extend { .. }
            | What::Revoke
            | What::Deadline { .. } => true,
        }
    }

    pub fn apply(&mut self, record: &spec::Record<'_>, time: u64) {
        apply(&mut self.entries, record, time);
        match record.what {
            What::Time | What::Origin(_) => {}
            What::Carry { .. } => apply(&mut self.seen, record, time),
            What::Issue(_) => {
                self.issued.insert(record.digest);
                self.has_commands = true;
            }
            What::Consume { .. } | What::Extend { .. } | What::Revoke | What::Deadline { .. } => {
                self.has_commands = true;
            }
        }
    }
}

fn apply(entries: &mut Entries, record: &spec::Record<'_>, time: u64) {
    let digest = record.digest;
    let there = entries.get_mut(&digest).filter(|entry| entry.deadline > time);
    match &record.what {
        What::Issue(content) if content.replaces => {
            if !there.is_some_and(|entry| entry.derived) {
                entries.insert(digest, entry(content, time, &[]));
            }
        }
        What::Deadline { deadline } => {
            if let Some(entry) = there.filter(|entry| entry.uses_left > 0) {
                entry.deadline = *deadline;
            }
        }
        What::Issue(content) if !there.as_ref().is_some_and(|entry| entry.blocks(time)) => {
            entries.insert(digest, entry(content, time, &[]));
        }
        What::Carry { content, issued_at, keys } => {
            entries.insert(digest, entry(content, *issued_at, keys));
        }
        What::Consume { key } => {
            let replays = |entry: &Entry| key.is_some_and(|key| entry.keys.contains(&key));
            if let Some(entry) = there.filter(|entry| entry.uses_left > 0 && !replays(entry)) {
                entry.uses_left -= 1;
                entry.keys.extend(key);
            }
        }
        What::Extend { deadline, life_ms_max } => {
            if let Some(entry) = there.filter(|entry| entry.uses_left > 0) {
                let latest = entry.issued_at.saturating_add(*life_ms_max).min(INSTANT_MAX);
                entry.deadline = entry.deadline.max(latest.min(*deadline));
            }
        }
        What::Revoke => {
            if there.is_some_and(|entry| entry.uses_left > 0) {
                entries.remove(&digest);
            }
        }
        What::Issue(_) | What::Time | What::Origin(_) => {}
    }
}

fn entry(content: &spec::Content<'_>, issued_at: u64, keys: &[[u8; 16]]) -> Entry {
    Entry {
        payload: content.payload.to_vec(),
        deadline: content.deadline,
        issued_at,
        uses_left: content.uses,
        peek: content.peek,
        derived: content.derived,
        keys: keys.to_vec(),
    }
}
