//! Traces of consumed tokens that nothing depends on: how long they last, and that a restarted
//! engine has the same.

use super::steps::{carry_out, consume, several, step, turn_the_ring, world};
use super::*;

fn remember(ms: u64) -> Config {
    Config { remember_consumed: Duration::from_millis(ms), ..config(16 << 10) }
}

fn is_remembered(engine: &Engine, id: u64) -> bool {
    engine.was_consumed(&digest(id), engine.now())
}

#[test]
fn p8_a_consumed_token_that_nothing_depends_on_is_forgotten_in_time() {
    let (_disk, clock, mut engine) = world(remember(1_000));
    carry_out(&mut engine, issue(1, b"1", 90_000));
    carry_out(&mut engine, several(2, 2, 90_000));
    carry_out(&mut engine, issue(3, b"3", 500));
    carry_out(&mut engine, issue(4, b"4", 90_000));
    carry_out(&mut engine, rival(b"5", 90_000));
    // [`rival`] has a digest of its own here, that of a token with several uses.
    for (id, key) in [(1, None), (2, None), (2, None), (3, None), (4, Some(key(1)))] {
        let outcome = carry_out(&mut engine, consume(id, key));
        assert!(matches!(outcome, Outcome::Consumed { .. }), "{id}");
    }
    let remembered = |engine: &Engine| [1, 2, 3, 4].map(|id| is_remembered(engine, id));
    assert_eq!(remembered(engine.engine()), [true; 4]);
    assert_eq!(carry_out(&mut engine, consume(1, None)), Outcome::NotFound);
    assert_eq!(engine.engine().stats().replays, 1);
    clock.advance(500);
    assert_eq!(remembered(engine.engine()), [true, true, false, true], "not beyond the deadline");
    clock.advance(499);
    assert_eq!(remembered(engine.engine()), [true, true, false, true]);
    clock.advance(1);
    assert_eq!(remembered(engine.engine()), [false, false, false, true], "but under a key");
    clock.advance(200);
    engine.tend(false);
    assert_eq!(engine.engine().stats().entries, 1, "the memory is free");
    assert_eq!(carry_out(&mut engine, consume(1, None)), Outcome::NotFound);
    assert_eq!(engine.engine().stats().replays, 1, "unknown by now");
}

#[test]
fn p8_a_consumed_token_is_not_remembered_where_that_is_not_wanted() {
    let (disk, clock, mut engine) = world(remember(0));
    carry_out(&mut engine, issue(1, b"1", 90_000));
    carry_out(&mut engine, rival(b"2", 90_000));
    for id in [1, 2] {
        carry_out(&mut engine, consume(id, None));
    }
    for engine in [engine, step(&disk.crash(Keep::Synced), &clock, remember(0))] {
        let [plain, derived] = [1, 2].map(|id| is_remembered(engine.engine(), id));
        assert!(!plain && derived, "a token issued by reference is remembered");
        assert_eq!(engine.engine().stats().entries, 1);
    }
}

/// The segments of Issue and Consume go at different times, entries are relocated in between, and
/// some are consumed in several steps or under keys.
#[test]
fn p8_a_restarted_engine_remembers_what_the_live_one_does() {
    let (disk, clock, mut engine) = world(remember(20_000));
    let (mut remembered, mut forgotten) = (0, 0);
    for turn in 0..240u64 {
        let first = turn * 4;
        carry_out(&mut engine, issue(first, b"soon", 90_000));
        carry_out(&mut engine, issue(first + 1, b"late", 90_000));
        carry_out(&mut engine, several(first + 2, 2, 90_000));
        carry_out(&mut engine, issue(first + 3, b"key", 90_000));
        carry_out(&mut engine, consume(first, None));
        carry_out(&mut engine, consume(first + 2, None));
        if let Some(before) = first.checked_sub(120) {
            let late = [consume(before + 1, None), consume(before + 2, None)];
            engine.carry_out(late.into()).unwrap();
            carry_out(&mut engine, consume(before + 3, Some(key(1))));
        }
        turn_the_ring(&mut engine, &clock, 1);
        if turn % 8 > 0 {
            continue;
        }
        // No segment is being cleaned.
        for _ in 0..6 {
            engine.tend(true);
        }
        let again = step(&disk.crash(Keep::Synced), &clock, remember(20_000));
        for id in 0..first + 4 {
            let [live, restarted] = [&engine, &again].map(|one| is_remembered(one.engine(), id));
            assert_eq!(live, restarted, "{id} in turn {turn}");
            remembered += u64::from(live);
            forgotten += u64::from(!live && id < first.saturating_sub(120));
        }
    }
    assert!(remembered > 1_000 && forgotten > 1_000, "{remembered} and {forgotten}");
    assert!(engine.engine().stats().log.segments_released > 10, "the ring has turned");
}

/// The answer is the same whether or not the segments of the consumed tokens still exist.
#[test]
fn p1_a_trace_refuses_no_issue() {
    let (disk, clock, mut engine) = world(remember(60_000));
    carry_out(&mut engine, issue(1, b"first", 90_000));
    carry_out(&mut engine, consume(1, None));
    assert!(is_remembered(engine.engine(), 1));
    let again = carry_out(&mut engine, issue(1, b"second", 90_000));
    assert!(matches!(again, Outcome::Issued { .. }), "{again:?}");
    let restarted = step(&disk.crash(Keep::Synced), &clock, remember(60_000));
    for engine in [engine, restarted] {
        assert_eq!(resolve(engine.engine(), 1).unwrap(), b"second");
        assert_eq!(engine.lsn_and_tokens().1, 1);
    }
}

/// A consumed reference keeps no payload either.
#[test]
fn p8_the_payload_of_a_consumed_reference_is_free_again() {
    let (_disk, _clock, mut engine) = world(config(64 << 10));
    carry_out(&mut engine, rival(&[b'x'; 5_000], 90_000));
    let before = engine.engine().stats().bytes;
    carry_out(&mut engine, consume(2, None));
    assert!(engine.engine().stats().bytes < before - 4_500);
}
