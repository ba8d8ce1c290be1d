//! The engine on a disk in memory: each test attacks one promise. The model is in [`model`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::model::time::UnixMillis;
use crate::model::token::{ConsumeKey, Digest, Digester, Secret};
use crate::testkit::clock::ManualClock;
use crate::testkit::disk::{Keep, Memory};
use crate::wal::{self, Preparing, survey};

mod admit;
mod age;
mod backup;
mod here;
mod log;
mod model;
#[cfg(jeton_loom)]
mod orders;
mod puts;
mod recovery;
mod shift;
mod steps;
mod together;
mod traces;

use super::committer::Committer;
use super::handle::Committing;
use super::recovery::{Role, with_storage};
use super::*;

const START: UnixMillis = UnixMillis(1_700_000_000_000);
const MAX_TTL_MS: u64 = 100_000;

fn config(segment_size: u64) -> Config {
    Config {
        max_ttl: Duration::from_millis(MAX_TTL_MS),
        recovery_threads: 2,
        wal: wal::Config {
            segment_size,
            log_min_size: segment_size * 4,
            max_age: None,
            preparing: Preparing::Inline,
        },
        ..Config::default()
    }
}

fn open(disk: &Memory, clock: &Arc<ManualClock>, config: Config) -> Engine {
    let storage = disk.storage();
    let found = survey(&storage).unwrap();
    let digester = Digester::new(&Secret::from_bytes([7; 32]), "default");
    let clock: Arc<dyn Clock> = clock.clone();
    let recovered =
        with_storage(Role::Single, config, storage, found, digester, clock, &NoProgress).unwrap();
    Engine::start(recovered).unwrap()
}

/// What `jeton verify` says of the log, with its secret.
fn verified(disk: &Memory) -> Verified {
    verify_on(disk.storage(), Some(&secret()), &NoProgress).unwrap()
}

fn secret() -> Secret {
    Secret::from_bytes([7; 32])
}

fn digest(id: u64) -> Digest {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&(id + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes());
    Digest::from_bytes(bytes)
}

fn key(n: u8) -> ConsumeKey {
    ConsumeKey([n; 16])
}

fn one(engine: &Engine, op: Op) -> Outcome {
    engine.submit(vec![op]).unwrap().wait().unwrap().pop().unwrap()
}

fn issue(id: u64, payload: &[u8], ttl_ms: u64) -> Op {
    Op::Issue {
        digest: digest(id),
        payload: payload.to_vec(),
        ttl: Duration::from_millis(ttl_ms),
        uses: 1,
        peek: true,
        derived: false,
    }
}

/// An issue by reference, which others may repeat.
fn rival(payload: &[u8], ttl_ms: u64) -> Op {
    Op::Issue {
        digest: digest(2),
        payload: payload.to_vec(),
        ttl: Duration::from_millis(ttl_ms),
        uses: 1,
        peek: true,
        derived: true,
    }
}

fn resolve(engine: &Engine, id: u64) -> Option<Vec<u8>> {
    engine.resolve(&digest(id), engine.now(), <[u8]>::to_vec)
}

/// Runs a test that would hang if it failed, and lets it fail.
fn in_time(test: fn()) {
    let (say, said) = std::sync::mpsc::channel::<()>();
    let running = std::thread::spawn(move || {
        let _said_at_the_end = say;
        test();
    });
    match said.recv_timeout(Duration::from_secs(60)) {
        Err(std::sync::mpsc::RecvTimeoutError::Timeout) => panic!("it does not end"),
        _ => running.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
    }
}

/// Waits, with a time limit, for an effect of the committer's thread.
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..4_000 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("never came true: {what}");
}

#[test]
fn p7_long_lived_entries_survive_many_turns_of_the_ring() {
    let (disk, clock) = (Memory::new(), Arc::new(ManualClock::at(START)));
    let mut engine = open(&disk, &clock, config(16 << 10));
    for id in 0..20 {
        one(&engine, issue(id, format!("\"{id}\"").as_bytes(), 90_000));
    }
    let consumed = Op::Consume { digest: digest(3), key: Some(key(1)) };
    one(&engine, consumed.clone());
    for turn in 0..300 {
        let ops = (0..20).map(|n| issue(1_000 + turn * 20 + n, &[b'x'; 300], 500)).collect();
        engine.submit(ops).unwrap().wait().unwrap();
        clock.advance(100);
        if turn % 100 == 50 {
            drop(std::mem::replace(
                &mut engine,
                open(&disk.crash(Keep::Everything), &clock, config(16 << 10)),
            ));
            engine.close().unwrap();
            engine = open(&disk, &clock, config(16 << 10));
        }
    }
    let log = engine.stats().log;
    assert!(log.bytes < 16 * (16 << 10), "the ring is short: {log:?}");
    for id in (0..20).filter(|id| *id != 3) {
        assert_eq!(resolve(&engine, id).unwrap(), format!("\"{id}\"").as_bytes(), "{id}");
    }
    assert_eq!(one(&engine, consumed), Outcome::Replayed { payload: b"\"3\"".to_vec() });
}

#[test]
fn p2_rivals_in_one_call_have_one_winner() {
    let engine = Engine::open(Config::memory_only()).unwrap();
    one(&engine, issue(1, b"1", 1_000));
    let consume = Op::Consume { digest: digest(1), key: None };
    let outcomes = engine.submit(vec![consume; 64]).unwrap().wait().unwrap();
    let winners = outcomes.iter().filter(|won| matches!(won, Outcome::Consumed { .. })).count();
    assert_eq!(winners, 1);
    assert_eq!(engine.stats().replays, 63);
}

#[test]
fn p2_a_rival_that_lost_is_not_revived_by_a_replay() {
    let (disk, clock) = (Memory::new(), Arc::new(ManualClock::at(START)));
    let engine = open(&disk, &clock, config(16 << 10));
    let outcomes = engine.submit(vec![rival(b"1", 100), rival(b"2", 90_000)]).unwrap();
    assert!(matches!(outcomes.wait().unwrap()[..], [Outcome::Issued { .. }, Outcome::Conflict]));
    clock.advance(5_000);
    for turn in 0..100 {
        let ops = (0..20).map(|n| issue(1_000 + turn * 20 + n, &[b'x'; 300], 500)).collect();
        engine.submit(ops).unwrap().wait().unwrap();
        clock.advance(1_000);
        if turn % 10 == 0 {
            let again = open(&disk.crash(Keep::Synced), &clock, config(16 << 10));
            assert_eq!(resolve(&again, 2), None, "turn {turn}");
        }
    }
}

#[test]
fn p3_an_expiry_is_remembered_by_an_idle_server_whose_clock_jumps_back() {
    in_time(|| {
        let (disk, clock) = (Memory::new(), Arc::new(ManualClock::at(START)));
        let engine = open(&disk, &clock, config(16 << 10));
        one(&engine, issue(1, b"1", 1_000));
        clock.advance(2_000);
        assert_eq!(resolve(&engine, 1), None);
        // The wheel turns on real time: wait until the log has the time.
        let before = engine.stats().lsn;
        eventually("the time is in the log", || {
            engine.stats().expired > 0 && engine.stats().lsn != before
        });
        let crashed = disk.crash(Keep::Synced);
        clock.jump_to(START);
        assert_eq!(resolve(&engine, 1), None, "live");
        let again = open(&crashed, &clock, config(16 << 10));
        assert_eq!(resolve(&again, 1), None, "after the restart");
        assert!(again.now().0 >= START.0 + 1_000);
    });
}

/// Otherwise it would be alive again: the log does not contain the time in which nothing was
/// written.
#[test]
fn p3_what_expired_while_down_stays_so_when_the_clock_jumps_back() {
    let (disk, clock) = (Memory::new(), Arc::new(ManualClock::at(START)));
    let engine = open(&disk, &clock, config(16 << 10));
    one(&engine, issue(1, b"1", 1_000));
    engine.close().unwrap();
    clock.advance(5_000);
    let stepped = |disk: &Memory| {
        let digester = Digester::new(&Secret::from_bytes([7; 32]), "default");
        stepped::Stepped::open(config(16 << 10), disk.storage(), digester, clock.clone()).unwrap()
    };
    let mut again = stepped(&disk);
    assert_eq!(resolve(again.engine(), 1), None);
    again.tend(true);
    clock.jump_to(START);
    assert_eq!(resolve(stepped(&disk.crash(Keep::Synced)).engine(), 1), None);
}

/// The wheel's ticks are 64 ms long: an entry can be a millisecond past its deadline, and its tick
/// not over.
#[test]
fn p3_what_expired_while_down_is_not_counted() {
    let (disk, clock) = (Memory::new(), Arc::new(ManualClock::at(START)));
    let engine = open(&disk, &clock, config(16 << 10));
    for id in 0..100 {
        one(&engine, issue(id, b"1", 1 + id));
    }
    engine.close().unwrap();
    for id in 0..100 {
        let again = open(&disk, &clock, config(16 << 10));
        assert_eq!(again.stats().tokens, 100 - id, "{id} ms later");
        again.close().unwrap();
        clock.advance(1);
    }
}

#[test]
fn p6_a_full_disk_acknowledges_nothing_and_writes_come_back() {
    let (disk, clock) = (Memory::new(), Arc::new(ManualClock::at(START)));
    let engine = open(&disk, &clock, config(16 << 10));
    one(&engine, issue(1, b"1", 90_000));
    disk.set_space_left(Some(0));
    let mut refused = 0;
    for id in 10..200 {
        match one(&engine, issue(id, &[b'x'; 500], 90_000)) {
            Outcome::Issued { .. } => assert!(resolve(&engine, id).is_some()),
            Outcome::DiskFull => {
                refused += 1;
                assert_eq!(resolve(&engine, id), None);
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(refused > 0);
    assert_eq!(engine.readiness(), Err(NotReady::DiskFull));
    assert_eq!(resolve(&engine, 1).as_deref(), Some(&b"1"[..]), "resolves continue");
    disk.set_space_left(None);
    assert!(matches!(one(&engine, issue(999, b"1", 90_000)), Outcome::Issued { .. }));
    assert_eq!(engine.readiness(), Ok(()));
}

#[test]
fn p6_readiness_comes_back_though_nobody_writes() {
    let (disk, clock) = (Memory::new(), Arc::new(ManualClock::at(START)));
    let engine = open(&disk, &clock, config(16 << 10));
    disk.set_space_left(Some(0));
    let mut id = 0;
    while engine.readiness().is_ok() {
        one(&engine, issue(id, &[b'x'; 500], 90_000));
        id += 1;
    }
    disk.set_space_left(None);
    eventually("it is ready again", || {
        clock.advance(500);
        engine.readiness().is_ok()
    });
}

#[test]
fn p7_nothing_is_lost_when_the_disk_is_full_in_the_middle_of_cleaning() {
    for space in (0..80_000).step_by(2_000) {
        let (disk, clock) = (Memory::new(), Arc::new(ManualClock::at(START)));
        let engine = open(&disk, &clock, config(16 << 10));
        let mut live = Vec::new();
        // Frames are as full as possible, so that the entries relocated from one overflow the next.
        // Most entries live long, so that much is relocated; some expire, so that cleaning frees
        // space.
        let mut write = |first: u64, short: u64| {
            let ttl_ms = |id: u64| if id.is_multiple_of(short) { 500 } else { 90_000 };
            let ids = first..first + 8;
            let ops = ids.clone().map(|id| issue(id, &[b'x'; 440], ttl_ms(id))).collect();
            let outcomes = engine.submit(ops).unwrap().wait().unwrap();
            for (id, outcome) in ids.zip(outcomes) {
                if ttl_ms(id) > 500 && matches!(outcome, Outcome::Issued { .. }) {
                    live.push(id);
                }
            }
            clock.advance(100);
        };
        (0..12).for_each(|n| write(n * 8, 4));
        disk.set_space_left(Some(space));
        (12..30).for_each(|n| write(n * 8, 4));
        disk.set_space_left(None);
        (30..50).for_each(|n| write(n * 8, 1));
        let again = open(&disk.crash(Keep::Synced), &clock, config(16 << 10));
        for id in live {
            assert!(resolve(&again, id).is_some(), "{id} with {space} bytes");
        }
    }
}

#[test]
fn p2_a_loser_is_not_alone_in_the_next_segment() {
    for before in 0..6 {
        let (disk, clock) = (Memory::new(), Arc::new(ManualClock::at(START)));
        let engine = open(&disk, &clock, config(16 << 10));
        for n in 0..before {
            one(&engine, issue(10 + n, &[b'x'; 2_000], 1_000));
        }
        // The frame is full between the two, and at one of these places the segment as well.
        let fill = (0..12).map(|n| issue(100 + n, &[b'x'; 300], 1_000));
        let ops = fill.chain([rival(b"1", 100), rival(&[b'2'; 1_000], 90_000)]).collect();
        let outcomes = engine.submit(ops).unwrap().wait().unwrap();
        assert_eq!(outcomes.last(), Some(&Outcome::Conflict));
        clock.advance(5_000);
        for turn in 0..30 {
            let ops = (0..8).map(|n| issue(1_000 + turn * 20 + n, &[b'x'; 400], 500)).collect();
            engine.submit(ops).unwrap().wait().unwrap();
            clock.advance(1_000);
            let again = open(&disk.crash(Keep::Synced), &clock, config(16 << 10));
            assert_eq!(resolve(&again, 2), None, "turn {turn}, {before} before");
        }
    }
}

#[test]
fn p6_a_failed_sync_tells_every_waiter_and_stops_writes_for_good() {
    let (disk, clock) = (Memory::new(), Arc::new(ManualClock::at(START)));
    let engine = open(&disk, &clock, config(16 << 10));
    one(&engine, issue(1, b"1", 90_000));
    disk.set_failing_syncs(true);
    let pending: Vec<_> =
        (10..20).map(|id| engine.submit(vec![issue(id, b"2", 90_000)]).unwrap()).collect();
    let outcomes: Vec<_> = pending.into_iter().flat_map(|it| it.wait().unwrap()).collect();
    let is_failure = |it: &Outcome| matches!(it, Outcome::Unsynced | Outcome::ReadOnly);
    assert!(outcomes.iter().all(is_failure) && outcomes[0] == Outcome::Unsynced, "{outcomes:?}");
    disk.set_failing_syncs(false);
    assert_eq!(one(&engine, issue(30, b"3", 90_000)), Outcome::ReadOnly, "never retried");
    assert!(matches!(engine.readiness(), Err(NotReady::ReadOnly(_))));
    assert_eq!(resolve(&engine, 1).as_deref(), Some(&b"1"[..]), "resolves continue");
}

#[test]
fn p10_while_changes_are_refused_unknown_tokens_look_like_the_others() {
    let asked = |engine: &Engine, id: u64| {
        let digest = digest(id);
        let consume = |key| Op::Consume { digest, key };
        let extend = Op::Extend { digest, ttl: Duration::from_secs(200) };
        let ops = vec![consume(None), consume(Some(key(1))), extend, Op::Revoke { digest }];
        ops.into_iter().map(|op| one(engine, op)).collect::<Vec<_>>()
    };
    let (disk, clock) = (Memory::new(), Arc::new(ManualClock::at(START)));
    let engine = open(&disk, &clock, config(16 << 10));
    one(&engine, issue(1, b"1", 90_000));
    one(&engine, issue(2, b"2", 90_000));
    one(&engine, Op::Revoke { digest: digest(2) });
    disk.set_space_left(Some(0));
    let full =
        (10..400).find(|id| one(&engine, issue(*id, &[b'x'; 500], 90_000)) == Outcome::DiskFull);
    assert!(full.is_some());
    // Short records may still find room, so live tokens are tried last.
    for id in [2, 3] {
        assert_eq!(asked(&engine, id), vec![Outcome::DiskFull; 4], "{id}");
    }
    disk.set_space_left(None);
    assert!(matches!(one(&engine, issue(4, b"4", 90_000)), Outcome::Issued { .. }));
    assert_eq!(asked(&engine, 3)[0], Outcome::NotFound);
    disk.set_failing_syncs(true);
    assert_eq!(one(&engine, issue(5, b"5", 90_000)), Outcome::Unsynced);
    for id in [1, 2, 3] {
        assert_eq!(asked(&engine, id), vec![Outcome::ReadOnly; 4], "{id}");
    }
}

#[test]
fn p8_memory_is_limited_and_nothing_is_evicted() {
    let config = Config { max_memory_bytes: Some(100_000), ..Config::memory_only() };
    let engine = Engine::open(config).unwrap();
    let ops = (0..1_000).map(|id| issue(id, &[b'x'; 128], 60_000)).collect();
    let outcomes = engine.submit(ops).unwrap().wait().unwrap();
    let full = outcomes.iter().position(|outcome| *outcome == Outcome::MemoryFull).unwrap();
    assert!((400..700).contains(&full), "{full}");
    assert!((0..full as u64).all(|id| resolve(&engine, id).is_some()), "nothing evicted");
    one(&engine, Op::Revoke { digest: digest(0) });
    assert!(matches!(one(&engine, issue(5_000, &[b'x'; 128], 60_000)), Outcome::Issued { .. }));
}

#[test]
fn p8_a_full_queue_rejects_at_once() {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(START));
    let config = Config { queue_len: 4, ..Config::memory_only() };
    let recovered =
        super::recovery::open(super::recovery::Role::Single, config, clock, &NoProgress).unwrap();
    // An engine without a running committer.
    let (jobs, queue) = crossbeam_channel::bounded(4);
    let shared = Arc::clone(&recovered.shared);
    let committer = Committer::new(recovered, queue);
    let committing = Committing::new(jobs, None);
    let engine = Engine { shared, committer: Arc::new(committing) };
    let pending: Vec<_> =
        (0..4).map(|id| engine.submit(vec![issue(id, b"1", 1_000)]).unwrap()).collect();
    let (say, said) = std::sync::mpsc::channel();
    let caller = engine.clone();
    // On a thread of its own, in case it blocks.
    std::thread::spawn(move || say.send(caller.submit(vec![issue(9, b"1", 1_000)]).err()));
    let rejected = said.recv_timeout(Duration::from_secs(20));
    assert_eq!(rejected, Ok(Some(Rejected::QueueFull)));
    drop(committer);
    for pending in pending {
        assert_eq!(pending.wait(), Err(Rejected::Closed), "every call is answered");
    }
}

#[test]
fn what_cannot_succeed_never_reaches_the_log() {
    let (disk, clock) = (Memory::new(), Arc::new(ManualClock::at(START)));
    let engine = open(&disk, &clock, config(16 << 10));
    one(&engine, issue(1, b"1", 90_000));
    let records = engine.stats().records;
    for id in 100..200 {
        let outcome = one(&engine, Op::Consume { digest: digest(id), key: None });
        assert_eq!(outcome, Outcome::NotFound);
        assert_eq!(one(&engine, Op::Revoke { digest: digest(id) }), Outcome::NotFound);
    }
    assert_eq!(engine.stats().records, records);
}

#[test]
fn a_caller_gets_each_outcome_at_its_place() {
    let engine = Engine::open(Config::memory_only()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let caller = engine.caller();
        let pump = caller.clone();
        tokio::task::spawn_local(async move { pump.pump().await });
        let calls: Vec<_> = (0..200)
            .map(|id| {
                let caller = caller.clone();
                tokio::task::spawn_local(async move {
                    let payload = id.to_string().into_bytes();
                    caller.call_one(issue(id, &payload, 10_000)).await.unwrap();
                    let consume = Op::Consume { digest: digest(id), key: None };
                    assert_eq!(caller.call_one(consume).await, Ok(Outcome::Consumed { payload }));
                })
            })
            .collect();
        for (n, call) in calls.into_iter().enumerate() {
            // Some of the callers are dropped while they wait.
            if n % 7 == 0 { call.abort() } else { call.await.unwrap() }
        }
    });
    let mut seen = HashMap::new();
    for id in 0..200u64 {
        *seen.entry(resolve(&engine, id).is_some()).or_insert(0) += 1;
    }
    assert!(seen[&false] >= 170, "{seen:?}");
}

/// A server ends its process right after closing, so closing must not take longer with more tokens.
/// A library must get its memory back.
#[test]
fn p8_closing_frees_nothing_and_the_last_drop_all() {
    let (disk, clock) = (Memory::new(), Arc::new(ManualClock::at(START)));
    let engine = open(&disk, &clock, config(16 << 10));
    one(&engine, issue(1, b"1", 90_000));
    let shared = Arc::downgrade(&engine.shared);
    engine.close().unwrap();
    assert_eq!(shared.strong_count(), 2, "the committer keeps its timers");
    engine.close().unwrap();
    drop(engine);
    assert_eq!(shared.strong_count(), 0, "the committer has ended and freed all");
}
