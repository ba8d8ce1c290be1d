//! A backup while the ring turns, and how it loses its pin.

use super::*;
use crate::engine::{Backup, BackupError, BackupHead, STALLED_AFTER};

const SEGMENT: u64 = 16 << 10;
/// Long-lived entries.
const KEPT: u64 = 20;

/// Writes short-lived entries: half a segment per turn.
fn churn(engine: &Engine, clock: &ManualClock, turns: std::ops::Range<u64>) {
    for turn in turns {
        let ops = (0..20).map(|n| issue(1_000 + turn * 20 + n, &[b'x'; 300], 500)).collect();
        engine.submit(ops).unwrap().wait().unwrap();
        clock.advance(100);
    }
}

fn begun() -> (Memory, Arc<ManualClock>, Engine) {
    let (disk, clock) = (Memory::new(), Arc::new(ManualClock::at(START)));
    let engine = open(&disk, &clock, config(SEGMENT));
    for id in 0..KEPT {
        one(&engine, issue(id, format!("\"{id}\"").as_bytes(), 90_000));
    }
    churn(&engine, &clock, 0..50);
    (disk, clock, engine)
}

/// Reads a backup to its end and writes it to another disk.
fn copy(backup: &mut Backup, first: Vec<u8>) -> Memory {
    let mut bytes = first;
    while let Some(piece) = backup.read().unwrap() {
        bytes.extend(piece);
    }
    assert_eq!(bytes.len() as u64, backup.bytes());
    let (disk, mut rest) = (Memory::new(), &bytes[..]);
    for file in &backup.head().files {
        let (sent, behind) = rest.split_at(file.sent as usize);
        let out = disk.storage().create(&file.name, 0).unwrap();
        out.write_at(sent, 0).unwrap();
        out.set_len(file.length).unwrap();
        rest = behind;
    }
    disk
}

#[test]
fn p7_a_backup_keeps_its_segments_while_the_ring_turns() {
    let (_disk, clock, engine) = begun();
    let consume = |id| Op::Consume { digest: digest(id), key: None };
    assert!(matches!(one(&engine, consume(3)), Outcome::Consumed { .. }));
    let mut backup = engine.backup().unwrap();
    assert!(matches!(one(&engine, consume(4)), Outcome::Consumed { .. }));
    one(&engine, issue(999, b"1", 90_000));
    let first = backup.read().unwrap().unwrap();
    let before = engine.stats().log;
    churn(&engine, &clock, 50..120);
    let meanwhile = engine.stats();
    assert!(meanwhile.backup_running);
    let released = |log: &LogStats| log.segments_released;
    // Only the first segment was read, so only it may be released.
    assert!(released(&meanwhile.log) <= released(&before) + 1, "{meanwhile:?}");
    assert!(meanwhile.log.segments > before.segments + 20, "{meanwhile:?}");

    let (lsn, time_ms) = (backup.head().lsn, backup.head().time_ms);
    let copied = copy(&mut backup, first);
    let found = verified(&copied);
    assert_eq!((found.lsn, found.last_time_ms, found.torn_bytes), (lsn, time_ms, 0));
    let restored = open(&copied, &clock, config(SEGMENT));
    for id in 0..KEPT {
        let expected = (id != 3).then(|| format!("\"{id}\"").into_bytes());
        assert_eq!(resolve(&restored, id), expected, "{id}");
    }
    assert_eq!(resolve(&restored, 999), None, "it was issued later");

    // At most one or two segments are released per turn.
    for turn in 120..400 {
        if engine.stats().log.segments < 16 {
            break;
        }
        churn(&engine, &clock, turn..turn + 1);
    }
    let after = engine.stats();
    assert!(!after.backup_running && after.log.segments < 16, "{after:?}");
    assert_eq!((after.backups, after.backups_broken), (0, 0), "it is still pinned");
    drop(backup);
    assert_eq!((engine.stats().backups, engine.stats().backups_broken), (1, 0));
}

#[test]
fn p9_the_head_of_a_backup_is_signed_in_every_field() {
    let (_disk, _clock, engine) = begun();
    let head = engine.backup().unwrap().head().clone();
    // Those that have just expired may be among them.
    assert!(head.tokens >= engine.stats().tokens);
    assert!(head.is_signed_with(&secret()));
    assert!(!head.is_signed_with(&Secret::from_bytes([8; 32])));
    let changes: [fn(&mut BackupHead); 9] = [
        |head| head.format += 1,
        |head| head.jeton.push('x'),
        |head| head.log_id = "00".repeat(16),
        |head| head.lsn += 8,
        |head| head.tag = "00".repeat(16),
        |head| head.time_ms += 1,
        |head| head.tokens += 1,
        |head| drop(head.files.remove(0)),
        |head| head.files[0].length += 512,
    ];
    for (nth, change) in changes.iter().enumerate() {
        let mut changed = head.clone();
        change(&mut changed);
        assert!(!changed.is_signed_with(&secret()), "change {nth}");
    }
    for mac in ["", "00", "no hexadecimal digits"] {
        assert!(!BackupHead { mac: mac.to_owned(), ..head.clone() }.is_signed_with(&secret()));
    }
}

#[test]
fn a_backup_that_nobody_reads_loses_its_segments() {
    let (_disk, clock, engine) = begun();
    let mut stalled = engine.backup().unwrap();
    assert_eq!(engine.backup().err(), Some(BackupError::Running));
    clock.advance(STALLED_AFTER.as_millis() as u64 + 1);
    assert!(!engine.stats().backup_running);
    churn(&engine, &clock, 50..120);
    assert!(engine.stats().log.segments < 16, "{:?}", engine.stats().log);
    assert_eq!(stalled.read(), Err(BackupError::Lost));
    let second = engine.backup().unwrap();
    drop(stalled);
    assert!(engine.stats().backup_running, "the end of the first does not affect the second");
    drop(second);
    assert_eq!((engine.stats().backups, engine.stats().backups_broken), (0, 2));
}

#[test]
fn a_backup_that_is_too_slow_loses_its_segments() {
    let (_disk, clock, engine) = begun();
    let mut slow = engine.backup().unwrap();
    churn(&engine, &clock, 50..350);
    assert!(engine.stats().log.segments < 100, "{:?}", engine.stats().log);
    assert_eq!(slow.read(), Err(BackupError::Lost));
}

#[test]
fn there_is_no_backup_without_a_log_a_disk_or_an_engine() {
    let engine = Engine::open(Config::memory_only()).unwrap();
    assert_eq!(engine.backup().err(), Some(BackupError::NoLog));
    engine.close().unwrap();
    assert_eq!(engine.backup().err(), Some(BackupError::Closed));
    let (disk, _clock, engine) = begun();
    disk.set_failing_syncs(true);
    assert_eq!(engine.backup().err(), Some(BackupError::Failed));
    assert!(!engine.stats().backup_running);
}
