//! The meaning of a log: its records applied one by one to a sorted map.

use std::collections::BTreeMap;

use super::spec::{self, Damaged, INSTANT_MAX, What};

/// An entry as the log leaves it.
#[derive(Clone, Debug)]
pub struct Entry {
    pub payload: Vec<u8>,
    pub deadline: u64,
    pub issued_at: u64,
    pub uses_left: u64,
    pub peek: bool,
    pub keys: Vec<[u8; 16]>,
}

impl Entry {
    pub fn is_alive(&self, now: u64) -> bool {
        self.uses_left > 0 && self.deadline > now
    }
}

/// Entries by digest.
pub type Entries = BTreeMap<[u8; 16], Entry>;

/// The entries after all records of a log.
pub fn replay(log: &spec::Log<'_>) -> Result<Entries, Damaged> {
    let mut entries = Entries::new();
    for (_, time, body) in &log.frames {
        let mut at = 0;
        while at < body.len() {
            let record = spec::record(&body[at..]).ok_or(Damaged)?;
            at += record.len;
            apply(&mut entries, &record, *time);
        }
    }
    Ok(entries)
}

fn apply(entries: &mut Entries, record: &spec::Record<'_>, time: u64) {
    let digest = record.digest;
    let there = entries.get_mut(&digest).filter(|entry| entry.deadline > time);
    match &record.what {
        What::Issue(content) if there.is_none() => {
            let entry = Entry {
                payload: content.payload.to_vec(),
                deadline: content.deadline,
                issued_at: time,
                uses_left: content.uses,
                peek: content.peek,
                keys: Vec::new(),
            };
            entries.insert(digest, entry);
        }
        What::Carry { content, issued_at, keys, .. } => {
            let entry = Entry {
                payload: content.payload.to_vec(),
                deadline: content.deadline,
                issued_at: *issued_at,
                uses_left: content.uses,
                peek: content.peek,
                keys: keys.clone(),
            };
            entries.insert(digest, entry);
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
        What::Issue(_) | What::Time => {}
    }
}
