//! Shifting the times of a log that is ahead of the clock.

use super::*;

const AHEAD_MS: u64 = 56 * 365 * 24 * 3_600_000;

/// A log that contains a time in 2079, and the remaining lifetime of each token.
fn ahead() -> (Memory, Arc<ManualClock>) {
    let ahead = UnixMillis(START.0 + AHEAD_MS);
    let (disk, clock) = (Memory::new(), Arc::new(ManualClock::at(ahead)));
    let engine = open(&disk, &clock, config(16 << 10));
    for id in 0..200 {
        one(&engine, issue(id, &[b'x'; 300], 60_000));
    }
    one(&engine, issue(1_000, b"1", 10_000));
    one(&engine, rival(b"3", 60_000));
    let keyed = |id, n| Op::Consume { digest: digest(id), key: Some(key(n)) };
    one(&engine, keyed(7, 1));
    one(&engine, Op::Consume { digest: digest(8), key: None });
    one(&engine, Op::Revoke { digest: digest(9) });
    clock.advance(20_000);
    engine.close().unwrap();
    clock.jump_to(START);
    (disk, clock)
}

#[test]
fn p3_a_log_that_is_ahead_is_led_back_with_all_that_lives() {
    let (old, clock) = ahead();
    let new = Memory::new();
    let shifted = shift_on(&old.storage(), new.storage(), &secret(), START, &NoProgress).unwrap();
    let from = UnixMillis(START.0 + AHEAD_MS + 20_000);
    // Without 7 and 8, which were consumed, 9, and 1000, which expired.
    assert_eq!(shifted, Shifted { tokens: 197, from, to: START });
    // A crash right after it loses nothing.
    let engine = open(&new.crash(Keep::Synced), &clock, config(64 << 10));
    assert_eq!((engine.now(), engine.stats().clock_skew_ms), (START, 0));
    assert_eq!(engine.stats().tokens, 197);
    for id in (10..200).chain([1, 2]) {
        assert!(resolve(&engine, id).is_some(), "{id}");
    }
    for id in [8, 9, 1_000] {
        assert_eq!(resolve(&engine, id), None, "{id}");
    }
    let again = one(&engine, Op::Consume { digest: digest(7), key: Some(key(1)) });
    assert_eq!(again, Outcome::Replayed { payload: vec![b'x'; 300] });
    let other = one(&engine, Op::Consume { digest: digest(7), key: Some(key(2)) });
    assert_eq!(other, Outcome::NotFound);
    let deadline = UnixMillis(START.0 + 40_000);
    assert!(engine.now() < deadline);
    // Each token keeps its remaining lifetime, to the millisecond.
    clock.advance(39_999);
    assert!(resolve(&engine, 10).is_some());
    clock.advance(1);
    assert_eq!(resolve(&engine, 10), None);
    // A token issued now has a deadline relative to the present.
    let issued = one(&engine, issue(2_000, b"1", 1_000));
    assert_eq!(issued, Outcome::Issued { deadline: UnixMillis(START.0 + 41_000) });
}

#[test]
fn time_is_only_moved_back() {
    let (old, _) = ahead();
    let last = UnixMillis(START.0 + AHEAD_MS + 20_000);
    let shift = |to| shift_on(&old.storage(), Memory::new().storage(), &secret(), to, &NoProgress);
    assert!(matches!(shift(last), Err(ShiftError::NotAhead { .. })));
    assert!(shift(UnixMillis(last.0 - 1)).is_ok());
    let nothing = shift_on(&Memory::new().storage(), old.storage(), &secret(), START, &NoProgress);
    assert!(matches!(nothing, Err(ShiftError::NoLog)));
}

#[test]
fn another_secret_is_told_before_anything_is_written() {
    let top = tempfile::tempdir().unwrap();
    let [old, new] = ["old", "new"].map(|name| top.path().join(name));
    let key = wal::LogKey::new(&Digester::new(&secret(), "default"));
    let config = wal::Config { preparing: Preparing::Inline, ..config(1 << 20).wal };
    let disk = wal::Disk::open(&old).unwrap();
    wal::Wal::create(Arc::new(disk), config, &key).unwrap().close(START.0 + AHEAD_MS).unwrap();
    let shift = |secret: &Secret| shift_time(&old, &new, secret, START, &NoProgress);
    let refused = shift(&Secret::from_bytes([8; 32]));
    assert!(matches!(refused, Err(ShiftError::WrongSecret)), "{refused:?}");
    assert!(!new.exists());
    assert_eq!(shift(&secret()).unwrap().tokens, 0);
}
