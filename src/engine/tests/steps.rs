//! Attacks that run the committer's turns one by one: the test and not a thread decides what
//! happens between two turns.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::engine::stepped::Stepped;

pub(super) fn step(disk: &Memory, clock: &Arc<ManualClock>, config: Config) -> Stepped {
    let digester = Digester::new(&Secret::from_bytes([7; 32]), "default");
    Stepped::open(config, disk.storage(), digester, clock.clone()).unwrap()
}

pub(super) fn world(config: Config) -> (Memory, Arc<ManualClock>, Stepped) {
    let (disk, clock) = (Memory::new(), Arc::new(ManualClock::at(START)));
    let engine = step(&disk, &clock, config);
    (disk, clock, engine)
}

pub(super) fn carry_out(engine: &mut Stepped, op: Op) -> Outcome {
    engine.carry_out(vec![op]).unwrap().pop().unwrap()
}

pub(super) fn several(id: u64, uses: u32, ttl_ms: u64) -> Op {
    let ttl = Duration::from_millis(ttl_ms);
    let payload = b"several".to_vec();
    Op::Issue { digest: digest(id), payload, ttl, uses, peek: true, derived: false }
}

pub(super) fn consume(id: u64, key: Option<ConsumeKey>) -> Op {
    Op::Consume { digest: digest(id), key }
}

fn extend(id: u64, ttl_ms: u64) -> Op {
    Op::Extend { digest: digest(id), ttl: Duration::from_millis(ttl_ms) }
}

fn uses_left(engine: &Stepped, id: u64) -> Option<u32> {
    let engine = engine.engine();
    engine.status(&digest(id), engine.now()).map(|status| status.uses_left)
}

/// Writes `turns` frames of short-lived entries, each followed by the committer's maintenance.
pub(super) fn turn_the_ring(engine: &mut Stepped, clock: &ManualClock, turns: u64) {
    for turn in 0..turns {
        let first = 1_000 + clock.wall().0 % 1_000_000_000 * 100 + turn;
        let ops = (0..8).map(|n| issue(first * 8 + n, &[b'x'; 300], 500)).collect();
        engine.carry_out(ops).unwrap();
        clock.advance(100);
        engine.tend(false);
    }
}

#[test]
fn p1_what_was_acknowledged_is_there_after_a_power_cut_at_once() {
    let (disk, clock, mut engine) = world(config(16 << 10));
    for id in 0..60 {
        let outcome = carry_out(&mut engine, issue(id, &[b'x'; 500], 90_000));
        assert!(matches!(outcome, Outcome::Issued { .. }));
        let again = step(&disk.crash(Keep::Synced), &clock, config(16 << 10));
        assert!(resolve(again.engine(), id).is_some(), "{id}");
    }
}

#[test]
fn p2_keys_that_begin_alike_are_two_keys() {
    let (_disk, _clock, mut engine) = world(config(16 << 10));
    carry_out(&mut engine, several(1, 3, 90_000));
    let mut other = [1; 16];
    other[15] = 2;
    for key in [ConsumeKey([1; 16]), ConsumeKey(other)] {
        let outcome = carry_out(&mut engine, consume(1, Some(key)));
        assert!(matches!(outcome, Outcome::Consumed { .. }), "{outcome:?}");
        let outcome = carry_out(&mut engine, consume(1, Some(key)));
        assert!(matches!(outcome, Outcome::Replayed { .. }), "{outcome:?}");
    }
    assert_eq!(uses_left(&engine, 1), Some(1));
}

#[test]
fn p2_a_retry_after_a_restart_takes_no_second_use() {
    let (disk, clock, mut engine) = world(config(16 << 10));
    carry_out(&mut engine, several(1, 2, 90_000));
    carry_out(&mut engine, consume(1, Some(key(1))));
    let mut again = step(&disk.crash(Keep::Synced), &clock, config(16 << 10));
    let retried = carry_out(&mut again, consume(1, Some(key(1))));
    assert!(matches!(retried, Outcome::Replayed { .. }), "{retried:?}");
    assert_eq!(uses_left(&again, 1), Some(1));
}

/// Both are admitted, because they are in one batch; the order of the log decides.
#[test]
fn p2_a_revocation_behind_the_consumption_frees_nothing() {
    let (disk, clock, mut engine) = world(config(16 << 10));
    carry_out(&mut engine, rival(b"1", 90_000));
    let outcomes = engine.carry_out(vec![consume(2, None), Op::Revoke { digest: digest(2) }]);
    assert!(matches!(outcomes.unwrap()[..], [Outcome::Consumed { .. }, Outcome::NotFound]));
    let mut again = step(&disk.crash(Keep::Synced), &clock, config(16 << 10));
    for engine in [&mut engine, &mut again] {
        assert_eq!(carry_out(engine, rival(b"1", 90_000)), Outcome::AlreadyConsumed);
    }
}

/// The committer, which reads both clocks, takes no turn between the answer and the jump.
#[test]
fn p3_what_a_reader_called_gone_stays_gone_when_the_clock_jumps_back() {
    type Reader = fn(&Engine) -> bool;
    let readers: [(&str, Reader); 4] = [
        ("resolve", |engine| resolve(engine, 1).is_none()),
        ("resolve_many", |engine| {
            let mut is_gone = false;
            engine.resolve_many(&[digest(1)], engine.now(), |found| is_gone = found.is_none());
            is_gone
        }),
        ("status", |engine| engine.status(&digest(1), engine.now()).is_none()),
        ("consume", |engine| {
            let outcomes = engine.submit(vec![consume(1, None)]).unwrap().wait().unwrap();
            outcomes == [Outcome::NotFound]
        }),
    ];
    for (name, is_gone) in readers {
        let (_disk, clock, mut engine) = world(config(16 << 10));
        carry_out(&mut engine, issue(1, b"1", 1_000));
        assert!(resolve(engine.engine(), 1).is_some());
        clock.advance(1_000);
        assert!(is_gone(engine.engine()), "{name}");
        clock.jump_to(START);
        assert_eq!(resolve(engine.engine(), 1), None, "after {name}");
        assert_eq!(carry_out(&mut engine, consume(1, None)), Outcome::NotFound, "after {name}");
    }
}

/// There are no writes and no reads: only the wheel has noticed the expiry.
#[test]
fn p3_an_idle_engine_keeps_the_time_of_an_expiry() {
    let (disk, clock, mut engine) = world(config(16 << 10));
    carry_out(&mut engine, issue(1, b"1", 1_000));
    // The frame that proves the last one has the current time.
    engine.tend(true);
    clock.advance(2_000);
    engine.tend(true);
    clock.jump_to(START);
    let again = step(&disk.crash(Keep::Synced), &clock, config(16 << 10));
    assert!(again.engine().now().0 >= START.0 + 1_000);
    assert_eq!(resolve(again.engine(), 1), None);
}

#[test]
fn p7_nothing_is_released_before_its_relocated_entries_are_durable() {
    let seldom = SyncMode::Every(Duration::from_secs(3_600));
    let config = || Config { sync: seldom, ..config(16 << 10) };
    let (disk, clock, mut engine) = world(config());
    for id in 0..10 {
        carry_out(&mut engine, issue(id, b"lives", 90_000));
    }
    // Until these are durable, which is when their segment is full.
    turn_the_ring(&mut engine, &clock, 10);
    // Frames are so small that a segment is cleaned while another is only partly filled.
    for turn in 0..2_000 {
        carry_out(&mut engine, issue(1_000_000 + turn, &[b'x'; 100], 50));
        clock.advance(10);
        engine.tend(false);
        if turn % 4 > 0 {
            continue;
        }
        let again = step(&disk.crash(Keep::Synced), &clock, config());
        for id in 0..10 {
            assert!(resolve(again.engine(), id).is_some(), "{id}, turn {turn}");
        }
    }
    assert!(engine.engine().stats().log.segments_released > 10, "the ring has turned");
}

#[test]
fn p7_entries_are_relocated_as_they_stand() {
    let (disk, clock, mut engine) = world(config(16 << 10));
    let issued_at = clock.wall();
    carry_out(&mut engine, several(1, 3, 60_000));
    carry_out(&mut engine, consume(1, Some(key(1))));
    carry_out(&mut engine, rival(b"2", 60_000));
    carry_out(&mut engine, consume(2, None));
    carry_out(&mut engine, issue(3, b"3", 30_000));
    carry_out(&mut engine, extend(3, 70_000));
    carry_out(&mut engine, issue(4, b"4", 60_000));
    carry_out(&mut engine, consume(4, Some(key(4))));
    carry_out(&mut engine, issue(5, b"5", 60_000));
    turn_the_ring(&mut engine, &clock, 400);
    assert!(engine.engine().stats().log.segments_released > 20, "the ring has turned");
    let mut again = step(&disk.crash(Keep::Synced), &clock, config(16 << 10));
    for (engine, name) in [(&mut engine, "live"), (&mut again, "after a restart")] {
        assert_eq!(uses_left(engine, 1), Some(2), "{name}");
        let retried = carry_out(engine, consume(1, Some(key(1))));
        assert!(matches!(retried, Outcome::Replayed { .. }), "{name}: {retried:?}");
        assert_eq!(carry_out(engine, rival(b"2", 60_000)), Outcome::AlreadyConsumed, "{name}");
        assert!(resolve(engine.engine(), 3).is_some(), "{name}");
        let retried = carry_out(engine, consume(4, Some(key(4))));
        assert_eq!(retried, Outcome::Replayed { payload: b"4".to_vec() }, "{name}");
        let deadline = UnixMillis(issued_at.0 + MAX_TTL_MS);
        let extended = carry_out(engine, extend(5, MAX_TTL_MS));
        assert_eq!(extended, Outcome::Extended { deadline }, "{name}: from its issue on");
    }
}

#[test]
fn p7_the_segment_of_an_extended_entry_stays() {
    let (disk, clock, mut engine) = world(config(16 << 10));
    carry_out(&mut engine, issue(1, b"1", 1_000));
    carry_out(&mut engine, extend(1, 90_000));
    // Its segment is full, and all other entries in it have ended.
    turn_the_ring(&mut engine, &clock, 5);
    clock.advance(5_000);
    for turn in 0..40 {
        turn_the_ring(&mut engine, &clock, 1);
        let again = step(&disk.crash(Keep::Synced), &clock, config(16 << 10));
        assert!(resolve(again.engine(), 1).is_some(), "turn {turn}");
    }
}

#[test]
fn p8_the_memory_of_what_was_consumed_is_free_again() {
    let (_disk, _clock, mut engine) = world(config(64 << 10));
    carry_out(&mut engine, issue(1, &[b'x'; 10_000], 90_000));
    let before = engine.engine().stats().bytes;
    carry_out(&mut engine, consume(1, None));
    let after = engine.engine().stats().bytes;
    assert!(before > 10_000 && after < 1_000, "{before} bytes, then {after}");
}

/// The basis of a replay: a Carry gives the entry's state, whatever entry exists before it.
#[test]
fn p7_a_carry_takes_the_place_of_what_is_there() {
    use crate::engine::state::{Accounting, Position, apply};
    use crate::model::entry::{Entry, JournalPart, Parts};
    use crate::model::record::Record;

    let at = Position { time: START, segment: JournalPart(3) };
    let (store, mut accounting) = (crate::store::Store::new(), Accounting::new(START));
    let pinned = store.pin();
    let issue = Record::Issue {
        digest: digest(1),
        deadline: UnixMillis(START.0 + 1_000),
        uses: 3,
        peek: true,
        derived: true,
        replaces: false,
        payload: b"as issued",
    };
    apply(&pinned, &mut accounting, &issue, at);
    let entry = pinned.get(&digest(1)).unwrap();
    let stood = Parts { uses_left: 1, deadline: UnixMillis(START.0 + 9_000), ..entry.parts() };
    let mut body = Vec::new();
    Record::encode_carry(digest(1), &stood, &mut body);
    let (carry, _) = Record::decode(&body, 0).unwrap();
    apply(&pinned, &mut accounting, &carry, Position { segment: JournalPart(4), ..at });
    let found = |entry: &Entry| (entry.uses_left(), entry.deadline(), entry.segment());
    let expected = (1, UnixMillis(START.0 + 9_000), JournalPart(4));
    assert_eq!(pinned.get(&digest(1)).map(found), Some(expected));
}

/// Found by the simulation: no frame after the segment that could be released is durable yet.
#[test]
fn p3_the_time_in_the_log_survives_the_release_of_what_has_expired() {
    let config = Config { sync: SyncMode::Never, ..config(16 << 10) };
    let (disk, clock, mut engine) = world(config.clone());
    let (mut id, mut known) = (0, clock.wall());
    // Runs until a segment is full: it is synced then, and the next one has one frame, which is not
    // synced.
    while engine.engine().stats().log.segments < 2 {
        (id, known) = (id + 1, clock.wall());
        clock.advance(10);
        let outcome = carry_out(&mut engine, issue(id, &[b'x'; 500], 50));
        assert!(matches!(outcome, Outcome::Issued { .. }), "{outcome:?}");
    }
    assert!(known.0 > START.0 + 100, "{known:?}");
    clock.advance(10_000);
    engine.tend(false);
    clock.jump_to(UnixMillis(START.0 - 10_000));
    let again = step(&disk.crash(Keep::Synced), &clock, config);
    assert!(again.engine().now() >= known, "{:?}", again.engine().now());
}

/// Issues `count` tokens that live for 90 s.
fn fill(engine: &mut Stepped, count: u64) {
    for first in (0..count).step_by(1_000) {
        let ops = (first..first + 1_000).map(|id| issue(id, b"1", 90_000)).collect();
        engine.carry_out(ops).unwrap();
    }
}

/// Returning memory takes time in proportion to the freed memory, and every call waits for it.
#[test]
fn p8_memory_is_given_back_in_slices() {
    static SLICES: AtomicU64 = AtomicU64::new(0);
    let give_memory_back: fn() = || {
        SLICES.fetch_add(1, Ordering::SeqCst);
    };
    let config = Config { give_memory_back: Some(give_memory_back), ..config(4 << 20) };
    let (_disk, clock, mut engine) = world(config);
    fill(&mut engine, 110_000);
    clock.advance(90_100);
    // More is due at the end of each turn but the last.
    while engine.lsn_and_tokens().1 > 0 {
        engine.tend(false);
        clock.advance(64);
    }
    assert_eq!(SLICES.load(Ordering::SeqCst), 2, "one for each 50,000");
}

/// Like the case of a consumed token that is kept until its deadline.
#[test]
fn p8_revoked_tokens_leave_few_timers_behind() {
    const REVOKED: u64 = 60_000;
    // 16,384 stale timers start a review, which ends before as many new ones appear.
    const LEFT_MAX: u64 = 2 * 16_384;
    let (_disk, clock, mut engine) = world(config(4 << 20));
    fill(&mut engine, REVOKED);
    for first in (0..REVOKED).step_by(1_000) {
        let ops = (first..first + 1_000).map(|id| Op::Revoke { digest: digest(id) }).collect();
        engine.carry_out(ops).unwrap();
        clock.advance(16);
        engine.tend(false);
    }
    for _ in 0..600 {
        clock.advance(100);
        engine.tend(false);
    }
    let gauges = engine.engine().shared.gauges();
    assert_eq!(gauges.entries, 0);
    assert!(gauges.timers <= LEFT_MAX, "{} timers, 30 s before their deadline", gauges.timers);
}
