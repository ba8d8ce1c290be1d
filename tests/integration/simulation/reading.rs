//! A second reader of the log, without the engine: each frame in order, each record by the oracle's
//! rules. The live tokens by this reading must be those of the engine.

use std::sync::Arc;

use jeton::model::record::{Record, records};
use jeton::model::token::{Digester, Secret};
use jeton::testkit::disk::{Keep, Memory};
use jeton::wal::{LogKey, Storage, survey};

use super::model::{Change, Held, What, id_of, issued};
use super::oracle::{Broken, World};

/// The content of the log.
pub struct Reading {
    pub world: World,
    /// Log time of the last frame.
    pub last_time: u64,
    pub torn_bytes: u64,
}

/// Reads the log of a disk at rest, on a copy.
pub fn read(disk: &Memory) -> Result<Reading, Broken> {
    let storage: Arc<dyn Storage> = disk.crash(Keep::Everything).storage();
    let survey = survey(&storage).map_err(|error| error.to_string())?;
    let Some(survey) = survey else {
        return Err("there is no log".to_owned());
    };
    let key = LogKey::new(&Digester::new(&Secret::from_bytes([7; 32]), "default"));
    let survey = survey.with_key(&key).map_err(|error| error.to_string())?;
    let mut world = World::new();
    for segment in &survey.segments {
        let frames = segment.read().map_err(|error| error.to_string())?;
        for frame in &frames {
            for record in records(frame.body) {
                let record = record.map_err(|error| error.to_string())?;
                replay(&mut world, &record, frame.log_time_ms);
            }
        }
    }
    let (last_time, torn_bytes) = (survey.tail.last_time_ms, survey.tail.torn_bytes);
    Ok(Reading { world, last_time, torn_bytes })
}

fn replay(world: &mut World, record: &Record<'_>, at: u64) {
    let Some(id) = record.digest().map(id_of) else { return };
    let what = match *record {
        Record::Issue { deadline, uses, peek, replaces: true, payload, .. } => {
            let there = world.get(&id).filter(|held| held.deadline > at);
            if !there.is_some_and(|held| held.derived) {
                world.insert(id, issued(&payload.into(), at, deadline.0, uses, peek, false));
            }
            return;
        }
        Record::Deadline { deadline, .. } => {
            if let Some(held) = world.get_mut(&id).filter(|held| held.is_alive(at)) {
                held.deadline = deadline.0;
            }
            return;
        }
        Record::Issue { deadline, uses, peek, derived, payload, .. } => {
            What::Issue { payload: payload.into(), ttl_ms: deadline.0 - at, uses, peek, derived }
        }
        Record::Consume { key, .. } => What::Consume { key: key.map(|key| key.0[0]) },
        Record::Extend { deadline, .. } => What::Extend { ttl_ms: deadline.0 - at },
        Record::Revoke { .. } => What::Revoke,
        Record::Carry { parts, keys, .. } => {
            let held = Held {
                payload: parts.payload.into(),
                issued_at: parts.issued_at.0,
                deadline: parts.deadline.0,
                uses: parts.uses_total,
                uses_left: parts.uses_left,
                peek: parts.peek,
                derived: parts.derived,
                keys: keys.iter().map(|key| key.0[0]).collect(),
                maybe_gone: false,
            };
            world.insert(id, held);
            return;
        }
        Record::Time
        | Record::Origin(_)
        | Record::Member(_)
        | Record::Report(_)
        | Record::Ended(_)
        | Record::Decision(_)
        | Record::Asked(_) => return,
    };
    match (Change { id, what }).apply(world.get(&id), at).0 {
        Some(held) => world.insert(id, held),
        None => world.remove(&id),
    };
}
