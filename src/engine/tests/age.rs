//! The maximum age of a record on disk: a payload that is dead leaves the files of the log, also if
//! little or nothing is written.

use super::steps::{carry_out, consume, step, world};
use super::*;
use crate::engine::stepped::Stepped;

/// The minimum that can be configured, and a life that is far longer.
const MAX_AGE: Duration = wal::config::MAX_AGE_MIN;
const LONG_MS: u64 = 40 * 60_000;
/// Interval of idle ticks, in milliseconds.
const TICK_MS: u64 = 64;

fn aged() -> Config {
    let config = config(16 << 10);
    let wal = wal::Config { max_age: Some(MAX_AGE), ..config.wal };
    Config { max_ttl: Duration::from_millis(LONG_MS), wal, ..config }
}

fn unlimited() -> Config {
    let config = aged();
    let wal = wal::Config { max_age: None, ..config.wal };
    Config { wal, ..config }
}

/// Issues an entry with a long payload. Returns some of its encrypted bytes.
fn traced(disk: &Memory, engine: &mut Stepped, id: u64) -> Vec<u8> {
    traced_for(disk, engine, id, LONG_MS)
}

fn traced_for(disk: &Memory, engine: &mut Stepped, id: u64, ttl_ms: u64) -> Vec<u8> {
    let issued = carry_out(engine, issue(id, &[b'x'; 900], ttl_ms));
    assert!(matches!(issued, Outcome::Issued { .. }), "{issued:?}");
    let name = disk.names().into_iter().rfind(|name| {
        name.starts_with("segment-") && disk.bytes(name)[4096..].iter().any(|byte| *byte != 0)
    });
    let bytes = disk.bytes(&name.unwrap());
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[end - 400..end - 300].to_vec()
}

fn is_on(disk: &Memory, trace: &[u8]) -> bool {
    let has = |name: &String| disk.bytes(name).windows(trace.len()).any(|bytes| bytes == trace);
    disk.names().iter().any(has)
}

/// Lets time pass, with a small write of another client in each of `writes_ms`, if there are any.
fn pass(engine: &mut Stepped, clock: &ManualClock, time: Duration, writes_ms: Option<u64>) {
    let mut written_ms = 0;
    for tick in 0..time.as_millis() as u64 / TICK_MS + 1 {
        clock.advance(TICK_MS);
        let due = writes_ms.is_some_and(|every_ms| tick * TICK_MS - written_ms >= every_ms);
        if due {
            written_ms = tick * TICK_MS;
            carry_out(engine, issue(1_000_000 + clock.wall().0, b"x", 1_000));
        }
        engine.tend(!due);
    }
}

#[test]
fn p9_a_consumed_payload_leaves_the_disk_within_the_maximum_age() {
    for writes_ms in [None, Some(100), Some(5_000)] {
        let (disk, clock, mut engine) = world(aged());
        let dead = traced(&disk, &mut engine, 1);
        let living = traced(&disk, &mut engine, 2);
        assert!(is_on(&disk, &dead) && is_on(&disk, &living));
        assert!(matches!(carry_out(&mut engine, consume(1, None)), Outcome::Consumed { .. }));
        pass(&mut engine, &clock, MAX_AGE, writes_ms);
        assert!(!is_on(&disk, &dead), "writes: {writes_ms:?}");
        assert!(!is_on(&disk, &living), "what lives was written again");
        // It still lives, for many ages, and after a power cut.
        pass(&mut engine, &clock, 5 * MAX_AGE, writes_ms);
        assert!(resolve(engine.engine(), 2).is_some());
        let crashed = disk.crash(Keep::Synced);
        assert!(!is_on(&crashed, &dead));
        let again = step(&crashed, &clock, aged());
        assert!(resolve(again.engine(), 2).is_some() && resolve(again.engine(), 1).is_none());
    }
}

/// The next segment of a sealed one is empty: then the sealed one cannot be read to its end.
#[test]
fn p9_a_segment_behind_which_a_power_cut_left_nothing_is_cleaned_for_its_age() {
    let config = Config { sync: SyncMode::Never, ..aged() };
    let (disk, clock, mut engine) = world(config.clone());
    let dead = traced(&disk, &mut engine, 1);
    carry_out(&mut engine, consume(1, None));
    for id in 2.. {
        if engine.engine().stats().log.segments == 2 {
            break;
        }
        carry_out(&mut engine, issue(id, &[b'y'; 900], LONG_MS));
    }
    let disk = disk.crash(Keep::Synced);
    drop(engine);
    assert!(is_on(&disk, &dead));
    let mut engine = step(&disk, &clock, config);
    assert_eq!(engine.engine().stats().log.segments, 2);
    assert!(disk.bytes("segment-0000000000000002.log")[4096..].iter().all(|byte| *byte == 0));
    pass(&mut engine, &clock, MAX_AGE, None);
    assert!(!is_on(&disk, &dead));
    assert!(engine.engine().warnings().is_empty(), "{:?}", engine.engine().warnings());
    assert!(resolve(engine.engine(), 2).is_some());
}

/// The cleaning began because the log was long. Since then every tick has a small write, which pays
/// for little of the segment. Meanwhile the segment grows old, or everything in it expires.
#[test]
fn p9_a_segment_becomes_too_old_while_it_is_cleaned() {
    let small = aged();
    let wal = wal::Config { segment_size: 1 << 20, log_min_size: 4 << 20, ..small.wal };
    let config = Config { wal, ..small };
    for ttl_ms in [LONG_MS, 20_000] {
        let (disk, clock, mut engine) = world(config.clone());
        let dead = traced_for(&disk, &mut engine, 1, ttl_ms);
        carry_out(&mut engine, consume(1, None));
        for id in 100..600 {
            if engine.is_cleaning() {
                break;
            }
            carry_out(&mut engine, issue(id, &[b'y'; 16 << 10], 500));
            clock.advance(20);
            engine.tend(false);
        }
        assert!(engine.is_cleaning() && is_on(&disk, &dead));
        for tick in 0..MAX_AGE.as_millis() as u64 / TICK_MS {
            clock.advance(TICK_MS);
            carry_out(&mut engine, issue(1_000 + tick, b"x", 1_000));
            engine.tend(false);
        }
        assert!(!is_on(&disk, &dead), "ttl_ms={ttl_ms}");
    }
}

#[test]
fn without_a_maximum_age_a_dead_payload_stays_until_there_are_writes() {
    let (disk, clock, mut engine) = world(unlimited());
    let dead = traced(&disk, &mut engine, 1);
    carry_out(&mut engine, consume(1, None));
    pass(&mut engine, &clock, 10 * MAX_AGE, Some(5_000));
    assert!(is_on(&disk, &dead));
}

/// The age counts from the write, not from the start of the server.
#[test]
fn p9_restarts_do_not_prolong_the_age() {
    let (disk, clock, mut engine) = world(aged());
    let dead = traced(&disk, &mut engine, 1);
    carry_out(&mut engine, consume(1, None));
    for _ in 0..4 {
        pass(&mut engine, &clock, MAX_AGE / 4, None);
        let disk = disk.storage();
        let digester = Digester::new(&secret(), "default");
        drop(engine);
        engine = Stepped::open(aged(), disk, digester, clock.clone()).unwrap();
    }
    pass(&mut engine, &clock, Duration::from_secs(1), None);
    assert!(!is_on(&disk, &dead));
}

/// Files of released segments that were kept for reuse have old payloads in them.
#[test]
fn p9_no_spare_keeps_an_old_payload() {
    let (disk, clock, mut engine) = world(unlimited());
    let dead = traced(&disk, &mut engine, 1);
    carry_out(&mut engine, consume(1, None));
    let is_in_spare = || {
        let mut spares = disk.names().into_iter().filter(|name| name.starts_with("spare-"));
        spares.any(|name| disk.bytes(&name).windows(dead.len()).any(|bytes| bytes == dead))
    };
    // Turns the ring until the first segment is a spare.
    for id in 0..200 {
        if is_in_spare() {
            break;
        }
        carry_out(&mut engine, issue(100 + id, &[b'y'; 900], 500));
        clock.advance(100);
        engine.tend(false);
    }
    assert!(is_in_spare(), "{:?}", disk.names());
    drop(engine);
    let mut engine = step(&disk, &clock, aged());
    pass(&mut engine, &clock, MAX_AGE, Some(1_000));
    assert!(!is_on(&disk, &dead));
    assert!(disk.names().iter().all(|name| !name.starts_with("spare-")), "{:?}", disk.names());
}

/// A log without records is not sealed again and again.
#[test]
fn an_idle_log_without_records_makes_no_segments() {
    let (disk, clock, mut engine) = world(aged());
    traced(&disk, &mut engine, 1);
    carry_out(&mut engine, consume(1, None));
    pass(&mut engine, &clock, 2 * MAX_AGE, None);
    let names = disk.names();
    pass(&mut engine, &clock, 10 * MAX_AGE, None);
    assert_eq!(disk.names(), names);
}

/// Without space the seal waits; nothing fails, and it is made up for when there is space.
#[test]
fn p6_a_full_disk_delays_the_seal() {
    let (disk, clock, mut engine) = world(aged());
    let dead = traced(&disk, &mut engine, 1);
    carry_out(&mut engine, consume(1, None));
    disk.set_space_left(Some(0));
    pass(&mut engine, &clock, 2 * MAX_AGE, None);
    assert!(is_on(&disk, &dead));
    disk.set_space_left(None);
    pass(&mut engine, &clock, MAX_AGE / 4, None);
    assert!(!is_on(&disk, &dead));
    assert!(matches!(carry_out(&mut engine, issue(3, b"x", 1_000)), Outcome::Issued { .. }));
}
