//! Attacks on the memory limits, by every operation that needs memory, such as a consume with a
//! key.

use super::steps::{carry_out, consume, several, world};
use super::*;
use crate::engine::stepped::Stepped;
use crate::model::namespace::NamespaceTag;

const MEMORY_MAX: u64 = 256 << 10;

fn limited() -> (Memory, Arc<ManualClock>, Stepped) {
    world(Config { max_memory_bytes: Some(MEMORY_MAX), ..config(256 << 10) })
}

fn wide_key(n: u64) -> ConsumeKey {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&n.to_le_bytes());
    ConsumeKey(key)
}

fn bytes(engine: &Stepped) -> u64 {
    engine.engine().stats().bytes
}

/// Consumes each of `ids` with new keys until consumes are refused. Returns the number of
/// successful ones.
fn fill_with_keys(engine: &mut Stepped, ids: std::ops::Range<u64>, max: u64) -> u64 {
    let (mut taken, mut next) = (0, 0);
    loop {
        let mut op = |id| {
            next += 1;
            consume(id, Some(wide_key(next)))
        };
        let ops = ids.clone().flat_map(|id| [op(id), op(id), op(id)]).collect();
        let outcomes = engine.carry_out(ops).unwrap();
        assert!(bytes(engine) <= max, "{} of {max} bytes", bytes(engine));
        let before = taken;
        for outcome in outcomes {
            match outcome {
                Outcome::Consumed { .. } => taken += 1,
                Outcome::MemoryFull | Outcome::QuotaFull => {}
                other => panic!("{other:?}"),
            }
        }
        if taken == before {
            return taken;
        }
    }
}

#[test]
fn p8_memory_binds_consumes_with_keys_and_a_full_engine_can_be_emptied() {
    let (_disk, _clock, mut engine) = limited();
    for id in 0..20 {
        carry_out(&mut engine, several(id, 10_000, 90_000));
    }
    for id in [100].into_iter().chain(200..210) {
        carry_out(&mut engine, several(id, 2, 90_000));
    }
    carry_out(&mut engine, issue(101, b"one use", 90_000));
    let taken = fill_with_keys(&mut engine, 0..20, MEMORY_MAX);
    assert!(taken > 20 * 250, "{taken} keys in {MEMORY_MAX} bytes");
    let mut id = 1_000;
    while carry_out(&mut engine, issue(id, b"x", 90_000)) != Outcome::MemoryFull {
        id += 1;
    }
    // The rest is too little for a token, and soon for a key.
    let mut id = 200;
    while carry_out(&mut engine, consume(id, Some(key(1)))) != Outcome::MemoryFull {
        id += 1;
    }
    assert!(id < 210 && bytes(&engine) <= MEMORY_MAX);
    assert_eq!(carry_out(&mut engine, consume(100, Some(key(1)))), Outcome::MemoryFull);
    let consumed = |payload: &[u8]| Outcome::Consumed { payload: payload.to_vec() };
    assert_eq!(carry_out(&mut engine, consume(100, None)), consumed(b"several"));
    // A last use always succeeds, and its key is remembered.
    for (id, payload) in [(100, &b"several"[..]), (101, b"one use")] {
        let with_key = || consume(id, Some(key(2)));
        assert_eq!(carry_out(&mut engine, with_key()), consumed(payload));
        let replayed = Outcome::Replayed { payload: payload.to_vec() };
        assert_eq!(carry_out(&mut engine, with_key()), replayed);
    }
    for id in 0..20 {
        assert_eq!(carry_out(&mut engine, Op::Revoke { digest: digest(id) }), Outcome::Revoked);
    }
    assert!(bytes(&engine) < MEMORY_MAX / 2);
}

/// If one key were counted repeatedly, 95 retries in one frame would look like all uses but the
/// last.
#[test]
fn p8_memory_is_not_taken_by_one_key_given_again_and_again() {
    let (_disk, _clock, mut engine) = limited();
    for id in 0..8 {
        carry_out(&mut engine, several(id, 100, 90_000));
        for n in 1..4 {
            carry_out(&mut engine, consume(id, Some(key(n))));
        }
    }
    let mut id = 1_000;
    while carry_out(&mut engine, issue(id, b"x", 90_000)) != Outcome::MemoryFull {
        id += 1;
    }
    for id in 0..8 {
        let again = (0..96).map(|_| consume(id, Some(key(4))));
        let more = (5..60).map(|n| consume(id, Some(key(n))));
        engine.carry_out(again.chain(more).collect()).unwrap();
        assert!(bytes(&engine) <= MEMORY_MAX, "{} bytes", bytes(&engine));
    }
}

#[test]
fn p8_memory_of_keys_counts_against_the_bytes_of_a_namespace() {
    const MAX: u64 = 64 << 10;
    let (_disk, _clock, mut engine) = world(config(256 << 10));
    let quota = |bytes_max| Quota { bytes_max, ..Quota::default() };
    let tag: NamespaceTag = digest(0).tag();
    engine.engine().set_quotas([(tag, quota(Some(MAX)))].into_iter().collect());
    for id in 0..4 {
        assert_eq!(digest(id).tag(), tag, "one namespace");
        carry_out(&mut engine, several(id, 10_000, 90_000));
    }
    let taken = fill_with_keys(&mut engine, 0..4, MAX);
    assert!(taken > 4 * 250, "{taken} keys");
    assert_eq!(carry_out(&mut engine, consume(0, Some(key(200)))), Outcome::QuotaFull);
    let consumed = Outcome::Consumed { payload: b"several".to_vec() };
    assert_eq!(carry_out(&mut engine, consume(0, None)), consumed);
}

/// The memory after a restart equals that of the live engine, to the byte.
#[test]
fn p8_memory_of_keys_is_the_same_after_a_restart() {
    let (disk, clock, mut engine) = world(config(256 << 10));
    for id in 0..6 {
        carry_out(&mut engine, several(id, 60, 90_000));
        // Up to the last use of the last of them, some without a key.
        for n in 0..10 * id + 10 {
            carry_out(&mut engine, consume(id, (n % 5 > 0).then(|| wide_key(n))));
        }
    }
    let again = super::steps::step(&disk.crash(Keep::Synced), &clock, config(256 << 10));
    let held = |engine: &Stepped| (bytes(engine), engine.lsn_and_tokens().1);
    assert_eq!(held(&again), held(&engine));
}
