//! A whole engine on any log: it refuses and names the file and the place, or it contains exactly
//! the entries of the records, as `jeton verify` counts them, gives each use once, and is the same
//! after it was opened again. A log that no engine writes is opened or refused all the same.
//!
//! The log of a cluster's node is opened as a node and must not be opened as a single server.

use std::sync::Arc;
use std::time::Duration;

use jeton::engine::clustered::stepped::SteppedNode;
use jeton::engine::clustered::{Membership, Proposal, Proposer};
use jeton::engine::{Config, Engine, NoProgress, Op, OpenError, Outcome, verify_on};
use jeton::model::cluster::{BootNonce, NodeId};
use jeton::model::time::UnixMillis;
use jeton::model::token::{Digest, Digester, Secret};
use jeton::testkit::clock::ManualClock;
use jeton::testkit::stepped::Stepped;
use jeton::wal::{self, Preparing, ReadError, Storage};

use super::model::{Entries, Entry, Replayed};
use super::{cipher, forge, model, segment, spec};

/// Opens an engine on the log that the bytes encode.
pub fn check(bytes: &[u8]) {
    let segments = forge::segments(bytes);
    let (disk, storage) = forge::disk(&segments);
    let wanted = spec::log(&segments).and_then(|log| Ok((model::replay(&log)?, log.last_time)));
    let verified = verify_on(Arc::clone(&storage), Some(&secret()), &NoProgress);
    assert_eq!(verified.is_ok(), wanted.is_ok(), "verify: {verified:?}");
    if segments[0].is_of_node() {
        return node(
            &storage,
            verified.map(|log| log.tokens.expect("read with the secret")),
            wanted,
        );
    }
    match (open(&storage), wanted) {
        (Ok(stepped), Ok((Replayed { entries, is_of_an_engine }, last_time))) => {
            let now = stepped.engine().now().0;
            assert!(now >= last_time && now >= forge::START, "P3: time ran backwards");
            if is_of_an_engine {
                let alive = entries.values().filter(|entry| entry.is_alive(last_time)).count();
                assert_eq!(verified.expect("a good log").tokens, Some(alive as u64), "verify");
                live(stepped, &storage, entries, now);
            } else {
                let tokens = stepped.engine().stats().tokens;
                drop(stepped);
                let again = open(&storage).expect("what was opened before");
                assert_eq!(again.engine().stats().tokens, tokens, "after a crash");
            }
        }
        (Err(OpenError::Read(ReadError::Damage(damage))), Err(spec::Damaged)) => {
            assert!(disk.names().contains(&damage.file), "{damage} in a file that is not there");
        }
        (Err(OpenError::Record { file, offset, source }), Err(spec::Damaged)) => {
            assert!(disk.names().contains(&file), "{source} in {file}, which is not there");
            assert!(offset < segment::SEGMENT_LEN as u64, "{source} at {offset}");
        }
        (Ok(_), Err(_)) => panic!("P5: a damaged log was opened"),
        (Err(error), _) => panic!("{error}"),
    }
}

/// Opens the log of a cluster's node.
fn node(
    storage: &Arc<dyn Storage>,
    verified: Result<u64, OpenError>,
    wanted: Result<(Replayed, u64), spec::Damaged>,
) {
    let alone = open(storage).err().expect("P5: a node's log was opened by a single server");
    let is_damage = matches!(alone, OpenError::Read(ReadError::Damage(_)));
    assert!(matches!(alone, OpenError::OfCluster) || is_damage, "{alone}");
    match (open_node(storage), wanted) {
        (Ok(node), Ok((Replayed { entries, is_of_an_engine }, last_time))) => {
            let engine = node.engine();
            assert_eq!(engine.now().0, last_time.max(forge::START), "P3: log time is the last one");
            if is_of_an_engine {
                let alive = entries.values().filter(|entry| entry.is_alive(last_time)).count();
                assert_eq!(verified.expect("a good log"), alive as u64, "verify");
                compare(engine, &entries, last_time);
            }
            drop(node);
            open_node(storage).expect("what was opened before");
        }
        (Err(OpenError::Read(ReadError::Damage(_))), Err(spec::Damaged)) => {}
        (Err(OpenError::Record { .. } | OpenError::Discontinuous { .. }), Err(spec::Damaged)) => {}
        (Ok(_), Err(_)) => panic!("P5: a damaged log was opened"),
        (Err(error), _) => panic!("{error}"),
    }
}

/// The node is never asked to propose anything.
struct Nowhere;

impl Proposer for Nowhere {
    fn propose(&mut self, _proposal: &Proposal<'_>) {}
}

fn open_node(storage: &Arc<dyn Storage>) -> Result<SteppedNode, OpenError> {
    let (node, nonce) = (NodeId(1), BootNonce([1; 16]));
    let answer_within = Duration::from_secs(1);
    let membership = Membership { node, nonce, answer_within, format: 1, keys: [0; 16] };
    let (config, digester, clock) = parts();
    let proposer = Box::new(Nowhere);
    SteppedNode::open(config, Arc::clone(storage), digester, clock, membership, proposer)
}

fn open(storage: &Arc<dyn Storage>) -> Result<Stepped, OpenError> {
    let (config, digester, clock) = parts();
    Stepped::open(config, Arc::clone(storage), digester, clock)
}

fn secret() -> Secret {
    Secret::from_bytes(cipher::SECRET)
}

/// What every engine here is opened with.
fn parts() -> (Config, Digester, Arc<ManualClock>) {
    let segment_size = segment::SEGMENT_LEN as u64;
    let log_min_size = 8 * segment_size;
    let wal =
        wal::Config { segment_size, log_min_size, max_age: None, preparing: Preparing::Inline };
    let config = Config { recovery_threads: 1, wal, ..Config::default() };
    let digester = Digester::new(&secret(), "default");
    (config, digester, Arc::new(ManualClock::at(UnixMillis(forge::START))))
}

/// Reads every entry, consumes a use of each, and reads every entry again after a restart.
fn live(mut stepped: Stepped, storage: &Arc<dyn Storage>, mut entries: Entries, now: u64) {
    compare(stepped.engine(), &entries, now);
    for (digest, entry) in &mut entries {
        let op = Op::Consume { digest: Digest::from_bytes(*digest), key: None };
        let outcome = stepped.carry_out(vec![op]).expect("the engine is open").pop();
        let wanted = match entry.is_alive(now) {
            true => Outcome::Consumed { payload: entry.payload.clone() },
            false => Outcome::NotFound,
        };
        assert_eq!(outcome, Some(wanted), "P2: a use of {entry:?}");
        entry.uses_left -= u64::from(entry.is_alive(now));
    }
    stepped.tend(true);
    compare(stepped.engine(), &entries, now);
    stepped.close().expect("a good disk");
    let again = open(storage).expect("what it wrote itself");
    compare(again.engine(), &entries, again.engine().now().0);
}

fn compare(engine: &Engine, entries: &Entries, now: u64) {
    let alive = |entry: &&Entry| entry.is_alive(now);
    assert_eq!(engine.stats().tokens, entries.values().filter(alive).count() as u64, "tokens");
    for (bytes, entry) in entries {
        let digest = Digest::from_bytes(*bytes);
        let status = engine.status(&digest, UnixMillis(now));
        let status = status.map(|s| (s.expires_at.0, u64::from(s.uses_left), s.payload_len));
        let wanted = (entry.deadline, entry.uses_left, entry.payload.len());
        assert_eq!(status, entry.is_alive(now).then_some(wanted), "the status of {entry:?}");
        let payload = engine.resolve(&digest, UnixMillis(now), <[u8]>::to_vec);
        let is_seen = entry.is_alive(now) && entry.peek;
        assert_eq!(payload, is_seen.then(|| entry.payload.clone()), "the payload of {entry:?}");
    }
}
