//! Puts, and deadlines that are set, also earlier.

use super::steps::{carry_out, consume, step, turn_the_ring, world};
use super::*;
use crate::engine::state::{Accounting, Applied, Position, apply};
use crate::engine::stepped::Stepped;
use crate::model::entry::JournalPart;
use crate::model::record::Record;
use crate::store::Store;
use crate::wal::Features;
use crate::wal::Storage;

pub(super) fn put(id: u64, payload: &[u8], ttl_ms: u64) -> Put {
    Put {
        digest: digest(id),
        payload: payload.to_vec(),
        ttl: Some(Duration::from_millis(ttl_ms)),
        default_ttl: Duration::from_secs(10),
        uses: 1,
        peek: true,
        when: When::Always,
        wants_previous: false,
    }
}

pub(super) fn set_deadline(id: u64, deadline: u64) -> Op {
    let (deadline, when) = (UnixMillis(deadline), DeadlineWhen::Always);
    Op::SetDeadline { digest: digest(id), deadline, when }
}

fn deadline_of(engine: &Stepped, id: u64) -> Option<u64> {
    let engine = engine.engine();
    engine.status(&digest(id), engine.now()).map(|status| status.expires_at.0 - START.0)
}

fn was_put(ttl_ms: u64, previous: Option<&[u8]>) -> Outcome {
    let deadline = UnixMillis(START.0 + ttl_ms);
    Outcome::Put { deadline, previous: previous.map(<[u8]>::to_vec) }
}

#[test]
fn p2_a_put_takes_the_place_of_what_is_there() {
    let (disk, clock, mut engine) = world(config(16 << 10));
    let asking = |payload: &[u8]| Op::Put(Put { wants_previous: true, ..put(1, payload, 50_000) });
    assert_eq!(carry_out(&mut engine, asking(b"1")), was_put(50_000, None));
    assert_eq!(carry_out(&mut engine, asking(b"2")), was_put(50_000, Some(b"1")));
    // What was consumed or revoked is free, also where a retry could ask for its answer.
    for key_number in [None, Some(key(1))] {
        let outcome = carry_out(&mut engine, consume(1, key_number));
        assert!(matches!(outcome, Outcome::Consumed { .. }));
        assert_eq!(carry_out(&mut engine, asking(b"3")), was_put(50_000, None));
    }
    let retried = carry_out(&mut engine, consume(1, Some(key(1))));
    assert_eq!(retried, Outcome::Consumed { payload: b"3".to_vec() }, "a token of its own");
    assert_eq!(carry_out(&mut engine, asking(b"4")), was_put(50_000, None));
    assert_eq!(carry_out(&mut engine, Op::Revoke { digest: digest(1) }), Outcome::Revoked);
    assert_eq!(carry_out(&mut engine, asking(b"5")), was_put(50_000, None));
    let again = step(&disk.crash(Keep::Synced), &clock, config(16 << 10));
    for engine in [&engine, &again] {
        assert_eq!(resolve(engine.engine(), 1), Some(b"5".to_vec()));
        let stats = engine.engine().stats();
        assert_eq!((stats.tokens, stats.entries), (1, 1));
    }
    // No entry is read twice: a token that can only be consumed shows its payload to nobody.
    let secret = Op::Put(Put { peek: false, ..put(1, b"6", 50_000) });
    carry_out(&mut engine, secret);
    assert_eq!(carry_out(&mut engine, asking(b"7")), was_put(50_000, None));
}

/// Whoever asks may have an earlier time than the frame.
#[test]
fn p3_a_deadline_that_has_passed_in_its_frame_removes_the_token() {
    let store = Store::new();
    let (pinned, mut accounting) = (store.pin(), Accounting::new(START));
    let at = |after| Position { time: UnixMillis(START.0 + after), segment: JournalPart(0) };
    let issue = Record::Issue {
        digest: digest(1),
        deadline: UnixMillis(START.0 + 50_000),
        uses: 2,
        peek: true,
        derived: true,
        replaces: false,
        payload: b"1",
    };
    let set = |after| Record::Deadline { digest: digest(1), deadline: UnixMillis(START.0 + after) };
    apply(&pinned, &mut accounting, &issue, at(0));
    let applied = apply(&pinned, &mut accounting, &set(500), at(499));
    assert_eq!(applied, Applied::DeadlineSet { deadline: UnixMillis(START.0 + 500) });
    let applied = apply(&pinned, &mut accounting, &set(499), at(499));
    assert_eq!(applied, Applied::Revoked { was_alive: true });
    assert!(pinned.get(&digest(1)).is_none());
    assert_eq!((accounting.totals.tokens, accounting.totals.entries), (0, 0));
    let applied = apply(&pinned, &mut accounting, &set(499), at(499));
    assert_eq!(applied, Applied::NotFound { replay: false });
}

#[test]
fn p2_the_condition_of_a_put_counts_what_is_in_its_frame() {
    let (disk, clock, mut engine) = world(config(16 << 10));
    let with = |when: When, payload: &[u8]| {
        Op::Put(Put { when, wants_previous: true, ..put(1, payload, 50_000) })
    };
    let records = |engine: &Stepped| engine.engine().stats().records;
    let not_put =
        |previous: Option<&[u8]>| Outcome::NotPut { previous: previous.map(<[u8]>::to_vec) };
    assert_eq!(carry_out(&mut engine, with(When::Present, b"0")), not_put(None));
    assert_eq!(records(&engine), 0, "what changes nothing has no record");
    let rivals = vec![
        with(When::Present, b"1"),
        with(When::Absent, b"2"),
        with(When::Absent, b"3"),
        with(When::Present, b"4"),
        Op::Revoke { digest: digest(1) },
        with(When::Present, b"5"),
        Op::Put(Put { ttl: None, ..put(1, b"6", 1) }),
        Op::Put(put(1, b"7", 3_000)),
        Op::Put(Put { ttl: None, ..put(1, b"8", 1) }),
    ];
    let revoked = Outcome::Revoked;
    let expected = [
        not_put(None),
        was_put(50_000, None),
        not_put(Some(b"2")),
        was_put(50_000, Some(b"2")),
        revoked,
        not_put(None),
        was_put(10_000, None),
        was_put(3_000, None),
        was_put(3_000, None),
    ];
    assert_eq!(engine.carry_out(rivals).unwrap(), expected);
    assert_eq!(records(&engine), 6);
    let again = step(&disk.crash(Keep::Synced), &clock, config(16 << 10));
    assert_eq!(resolve(again.engine(), 1), Some(b"8".to_vec()));
    assert_eq!(deadline_of(&again, 1), Some(3_000));
}

#[test]
fn p2_nothing_takes_the_place_of_a_derived_token() {
    let (disk, clock, mut engine) = world(config(16 << 10));
    carry_out(&mut engine, rival(b"1", 60_000));
    let put_2 = || Op::Put(put(2, b"2", 50_000));
    assert_eq!(carry_out(&mut engine, put_2()), Outcome::Conflict);
    carry_out(&mut engine, consume(2, None));
    assert_eq!(carry_out(&mut engine, put_2()), Outcome::Conflict, "a paid order");
    // Also beside its issue in one frame.
    clock.advance(60_000);
    let outcomes = engine.carry_out(vec![rival(b"3", 30_000), put_2()]).unwrap();
    assert!(matches!(outcomes[..], [Outcome::Issued { .. }, Outcome::Conflict]));
    let tokens = |disk: &Memory| verified(&disk.crash(Keep::Synced)).tokens.unwrap();
    assert_eq!(tokens(&disk), 1);
    let mut again = step(&disk.crash(Keep::Synced), &clock, config(16 << 10));
    assert_eq!(resolve(again.engine(), 2), Some(b"3".to_vec()));
    // It ends at its own deadline, before that of the put.
    let later = disk.crash(Keep::Synced);
    clock.advance(30_000);
    carry_out(&mut step(&later, &clock, config(16 << 10)), issue(9, b"9", 1_000));
    assert_eq!(tokens(&later), 1, "the last one alone");
    // Once it was revoked, or has expired, the digest is free.
    carry_out(&mut again, Op::Revoke { digest: digest(2) });
    assert!(matches!(carry_out(&mut again, put_2()), Outcome::Put { .. }));
}

/// A replay that begins after the token before the put must come to the same.
#[test]
fn p1_a_put_that_needed_a_token_is_there_without_it() {
    let (disk, clock, mut engine) = world(config(8 << 10));
    carry_out(&mut engine, Op::Put(put(1, b"before", 90_000)));
    turn_the_ring(&mut engine, &clock, 4);
    let now = clock.wall().0 - START.0;
    let present = Put { when: When::Present, ttl: None, ..put(1, b"after", 1) };
    assert_eq!(carry_out(&mut engine, Op::Put(present)), was_put(90_000, None));
    assert!(now < 90_000);
    let released = engine.engine().stats().log.segments_released;
    while engine.engine().stats().log.segments_released < released + 8 {
        turn_the_ring(&mut engine, &clock, 1);
    }
    assert_eq!(resolve(engine.engine(), 1), Some(b"after".to_vec()));
    let again = step(&disk.crash(Keep::Synced), &clock, config(8 << 10));
    assert_eq!(resolve(again.engine(), 1), Some(b"after".to_vec()));
    assert_eq!(deadline_of(&again, 1), Some(90_000));
}

#[test]
fn p3_an_earlier_deadline_is_exact_after_a_restart_and_after_cleaning() {
    let (disk, clock, mut engine) = world(config(8 << 10));
    carry_out(&mut engine, Op::Put(put(1, b"1", 90_000)));
    carry_out(&mut engine, rival(b"2", 90_000));
    for (id, deadline) in [(1, 60_000), (2, 60_001), (1, 20_000)] {
        let outcome = carry_out(&mut engine, set_deadline(id, START.0 + deadline));
        assert_eq!(outcome, Outcome::DeadlineSet { deadline: UnixMillis(START.0 + deadline) });
    }
    assert_eq!(carry_out(&mut engine, set_deadline(9, START.0 + 1)), Outcome::NotFound);
    for at in [10_000, 19_999, 20_000, 60_000, 60_001] {
        while clock.wall().0 + 100 < START.0 + at {
            turn_the_ring(&mut engine, &clock, 1);
        }
        clock.jump_to(UnixMillis(START.0 + at));
        let again = step(&disk.crash(Keep::Synced), &clock, config(8 << 10));
        for engine in [&engine, &again] {
            assert_eq!(deadline_of(engine, 1), (at < 20_000).then_some(20_000), "{at}");
            assert_eq!(deadline_of(engine, 2), (at < 60_001).then_some(60_001), "{at}");
        }
    }
    assert!(engine.engine().stats().log.carried_bytes > 0);
}

#[test]
fn p3_a_deadline_that_has_passed_revokes() {
    let (disk, clock, mut engine) = world(config(16 << 10));
    for (id, deadline) in [(1, START.0), (3, 0)] {
        carry_out(&mut engine, Op::Put(put(id, b"1", 90_000)));
        assert_eq!(carry_out(&mut engine, set_deadline(id, deadline)), Outcome::Revoked);
        assert_eq!(carry_out(&mut engine, set_deadline(id, deadline)), Outcome::NotFound);
    }
    let again = step(&disk.crash(Keep::Synced), &clock, config(16 << 10));
    assert_eq!((engine.lsn_and_tokens().1, again.lsn_and_tokens().1), (0, 0));
}

#[test]
fn p3_the_condition_of_a_deadline_counts_what_is_in_its_frame() {
    let (_disk, _clock, mut engine) = world(config(16 << 10));
    carry_out(&mut engine, Op::Put(put(1, b"1", 50_000)));
    let set =
        |when, at| Op::SetDeadline { digest: digest(1), deadline: UnixMillis(START.0 + at), when };
    let (later, earlier) = (DeadlineWhen::Later, DeadlineWhen::Earlier);
    let ops =
        vec![set(later, 50_000), set(earlier, 40_000), set(earlier, 40_000), set(later, 41_000)];
    let [kept, is_set] = [50_000, 40_000].map(|at| UnixMillis(START.0 + at));
    assert_eq!(
        engine.carry_out(ops).unwrap(),
        [
            Outcome::DeadlineKept { deadline: kept },
            Outcome::DeadlineSet { deadline: is_set },
            Outcome::DeadlineKept { deadline: is_set },
            Outcome::DeadlineSet { deadline: UnixMillis(START.0 + 41_000) },
        ]
    );
    // The condition comes first: an earlier time revokes nothing.
    let kept = UnixMillis(START.0 + 41_000);
    let outcome = carry_out(
        &mut engine,
        Op::SetDeadline { digest: digest(1), deadline: UnixMillis(1), when: later },
    );
    assert_eq!(outcome, Outcome::DeadlineKept { deadline: kept });
}

/// Memory is freed at the new deadline, not at the first one.
#[test]
fn p8_an_earlier_deadline_has_a_timer_of_its_own() {
    let (_disk, clock, mut engine) = world(config(16 << 10));
    for id in 0..100 {
        carry_out(&mut engine, Op::Put(put(id, b"1", 90_000)));
        carry_out(&mut engine, set_deadline(id, START.0 + 1_000));
    }
    clock.advance(1_100);
    engine.tend(true);
    assert_eq!((engine.entries(), engine.engine().stats().expired), (0, 100));
}

#[test]
fn p8_a_digest_that_is_put_again_and_again_takes_no_more_memory() {
    let (_disk, clock, mut engine) = world(config(16 << 10));
    carry_out(&mut engine, Op::Put(put(1, b"1", 50_000)));
    let bytes = engine.engine().stats().bytes;
    for n in 0..2_000 {
        carry_out(&mut engine, Op::Put(put(1, b"2", 50_000)));
        if n % 100 == 0 {
            clock.advance(10);
            engine.tend(false);
        }
    }
    engine.tend(false);
    let stats = engine.engine().stats();
    assert_eq!((stats.entries, stats.bytes, stats.timers), (1, bytes, 1));
}

#[test]
fn p8_an_entry_with_many_records_is_relocated_once() {
    let (_disk, clock, mut engine) = world(config(16 << 10));
    let payload = [7; 1_000];
    let mut puts: Vec<Op> = (0..60).map(|_| Op::Put(put(1, b"1", 90_000))).collect();
    puts.push(Op::Put(put(1, &payload, 90_000)));
    engine.carry_out(puts).unwrap();
    while engine.engine().stats().log.carried_bytes == 0 {
        turn_the_ring(&mut engine, &clock, 1);
    }
    let carried = engine.engine().stats().log.carried_bytes;
    assert!((1_000..2_200).contains(&carried), "{carried} bytes for an entry of 1,000");
    assert_eq!(resolve(engine.engine(), 1).as_deref(), Some(&payload[..]));
}

#[test]
fn p8_a_put_is_charged_what_it_adds() {
    let (_disk, _clock, engine) = world(config(16 << 10));
    let mut engine = engine;
    let tag = digest(1).tag();
    let quota = Quota { tokens_max: Some(1), bytes_max: None, ttl_max: None };
    engine.engine().set_quotas(Quotas::from_iter([(tag, quota)]));
    for payload in [b"1", b"2"] {
        let outcome = carry_out(&mut engine, Op::Put(put(1, payload, 50_000)));
        assert!(matches!(outcome, Outcome::Put { .. }), "{outcome:?}");
    }
    assert_eq!(carry_out(&mut engine, Op::Put(put(3, b"3", 50_000))), Outcome::QuotaFull);
    carry_out(&mut engine, consume(1, None));
    let outcome = carry_out(&mut engine, Op::Put(put(3, b"3", 50_000)));
    assert!(matches!(outcome, Outcome::Put { .. }), "{outcome:?}");
}

#[test]
fn a_deadline_beyond_the_longest_life_is_invalid() {
    let (_disk, _clock, mut engine) = world(config(16 << 10));
    carry_out(&mut engine, Op::Put(put(1, b"1", 50_000)));
    let (tag, second) = (digest(1).tag(), Duration::from_secs(1));
    let is_invalid = |engine: &Stepped, after: u64| {
        let rejected = engine.engine().submit(vec![set_deadline(1, START.0 + after)]).err();
        matches!(rejected, Some(Rejected::Invalid(_)))
    };
    assert!(!is_invalid(&engine, MAX_TTL_MS) && is_invalid(&engine, MAX_TTL_MS + 1));
    let quota = Quota { tokens_max: None, bytes_max: None, ttl_max: Some(second) };
    engine.engine().set_quotas(Quotas::from_iter([(tag, quota)]));
    assert!(!is_invalid(&engine, 1_000) && is_invalid(&engine, 1_001));
    let put = Op::Put(put(1, b"1", MAX_TTL_MS + 1));
    assert!(engine.engine().submit(vec![put]).is_err());
}

/// An earlier jeton refuses the log by its required features, but only where it must.
#[test]
fn p5_the_log_requires_another_feature_from_the_first_put_on() {
    for op in [Op::Put(put(1, b"1", 50_000)), set_deadline(2, START.0 + 1_000)] {
        let (disk, clock, mut engine) = world(config(16 << 10));
        let features = |disk: &Memory| {
            let storage: Arc<dyn Storage> = disk.crash(Keep::Synced).storage();
            survey(&storage).unwrap().unwrap().segments.last().unwrap().header.features
        };
        carry_out(&mut engine, rival(b"1", 60_000));
        carry_out(&mut engine, consume(3, None));
        assert_eq!(features(&disk), Features::NONE);
        carry_out(&mut engine, op);
        assert_eq!(features(&disk), Features::PUTS);
        engine.close().unwrap();
        let mut again = step(&disk, &clock, config(16 << 10));
        carry_out(&mut again, issue(5, b"5", 50_000));
        assert_eq!(features(&disk), Features::PUTS, "it stays with it");
        assert_eq!(resolve(again.engine(), 5), Some(b"5".to_vec()));
    }
}

/// A put needs a segment with a feature. If the disk has no space for one, the put is refused. Other
/// changes still fit into the current segment.
#[test]
fn p6_a_put_on_a_full_disk_stops_no_other_change() {
    let (disk, _clock, mut engine) = world(config(64 << 10));
    for id in [1, 3] {
        carry_out(&mut engine, issue(id, b"1", 60_000));
    }
    disk.set_space_left(Some(32 << 10));
    let consumed = carry_out(&mut engine, consume(3, None));
    assert!(matches!(consumed, Outcome::Consumed { .. }), "{consumed:?}");
    let refused = carry_out(&mut engine, Op::Put(put(2, b"2", 50_000)));
    assert_eq!(refused, Outcome::DiskFull);
    let consumed = carry_out(&mut engine, consume(1, None));
    assert!(matches!(consumed, Outcome::Consumed { .. }), "{consumed:?}");
    disk.set_space_left(None);
    let done = carry_out(&mut engine, Op::Put(put(2, b"2", 50_000)));
    assert!(matches!(done, Outcome::Put { .. }), "{done:?}");
}

/// A start skips what has expired by its time; a deadline that was set later revives it.
#[test]
fn p1_a_later_deadline_is_there_after_a_restart() {
    let (disk, clock, mut engine) = world(config(16 << 10));
    for id in [1, 3] {
        carry_out(&mut engine, Op::Put(put(id, b"1", 5_000)));
        carry_out(&mut engine, set_deadline(id, START.0 + 50_000));
    }
    // There and back again.
    for after in [6_000, 60_000] {
        carry_out(&mut engine, set_deadline(3, START.0 + after));
    }
    clock.advance(20_000);
    let again = step(&disk.crash(Keep::Synced), &clock, config(16 << 10));
    assert_eq!(deadline_of(&again, 1), Some(50_000));
    assert_eq!(deadline_of(&again, 3), Some(60_000));
    assert_eq!(again.lsn_and_tokens().1, 2);
}
