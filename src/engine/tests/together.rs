//! Operations that are performed together: all or none, and half of it is never seen.

use std::sync::atomic::{AtomicBool, Ordering};

use super::puts::{put, set_deadline};
use super::steps::{carry_out, consume, several, step, world};
use super::*;
use crate::engine::stepped::Stepped;

fn together(engine: &mut Stepped, ops: Vec<Op>) -> Result<Vec<Outcome>, Rejected> {
    let pending = engine.engine().submit_together(ops)?;
    engine.turn();
    pending.wait()
}

fn read(id: u64) -> Op {
    Op::Read { digest: digest(id) }
}

fn payload_of(outcome: &Outcome) -> Option<&[u8]> {
    match outcome {
        Outcome::Found { payload, .. } => payload.as_deref(),
        Outcome::Consumed { payload } | Outcome::Replayed { payload } => Some(payload),
        _ => None,
    }
}

#[test]
fn p4_each_sees_what_the_earlier_ones_did() {
    let (disk, clock, mut engine) = world(config(16 << 10));
    carry_out(&mut engine, several(1, 3, 60_000));
    let ops = vec![
        read(1),
        consume(1, None),
        consume(1, Some(key(1))),
        consume(1, Some(key(1))),
        read(1),
        Op::Put(Put { wants_previous: true, ..put(1, b"new", 50_000) }),
        set_deadline(1, START.0 + 5_000),
        read(1),
        Op::Revoke { digest: digest(1) },
        read(1),
        Op::Put(Put { when: When::Absent, peek: false, ..put(1, b"last", 50_000) }),
        read(1),
        Op::Extend { digest: digest(1), ttl: Duration::from_secs(80) },
    ];
    let outcomes = together(&mut engine, ops).unwrap();
    let payloads: Vec<_> = outcomes.iter().map(payload_of).collect();
    let (old, new) = (Some(&b"several"[..]), Some(&b"new"[..]));
    assert_eq!(payloads[..5], [old; 5]);
    assert!(matches!(outcomes[3], Outcome::Replayed { .. }));
    assert!(matches!(outcomes[4], Outcome::Found { uses_left: 1, .. }));
    let previous = Some(b"several".to_vec());
    let put_until = |after| UnixMillis(START.0 + after);
    assert_eq!(outcomes[5], Outcome::Put { deadline: put_until(50_000), previous });
    assert_eq!(outcomes[6], Outcome::DeadlineSet { deadline: put_until(5_000) });
    let found = Outcome::Found {
        payload: new.map(<[u8]>::to_vec),
        payload_len: 3,
        value_len: 3,
        deadline: put_until(5_000),
        uses_left: 1,
    };
    assert_eq!(outcomes[7], found);
    assert_eq!(outcomes[8..10], [Outcome::Revoked, Outcome::NotFound]);
    assert!(matches!(outcomes[11], Outcome::Found { payload: None, payload_len: 4, .. }));
    assert_eq!(outcomes[12], Outcome::Extended { deadline: put_until(80_000) });
    let again = step(&disk.crash(Keep::Synced), &clock, config(16 << 10));
    for engine in [&engine, &again] {
        let status = engine.engine().status(&digest(1), START).unwrap();
        assert_eq!((status.expires_at, status.payload_len), (put_until(80_000), 4));
        assert_eq!(engine.lsn_and_tokens().1, 1);
    }
}

/// Calls of one turn are one frame: a call that is performed together sees those before it.
#[test]
fn p4_calls_before_it_in_the_frame_are_seen_too() {
    let (_disk, _clock, mut engine) = world(config(16 << 10));
    let first = engine.engine().submit(vec![Op::Put(put(1, b"1", 50_000))]).unwrap();
    let second = engine.engine().submit_together(vec![read(1), consume(1, None)]).unwrap();
    let third = engine.engine().submit_together(vec![read(1)]).unwrap();
    engine.turn();
    assert!(matches!(first.wait().unwrap()[..], [Outcome::Put { .. }]));
    let outcomes = second.wait().unwrap();
    assert_eq!([&outcomes[0], &outcomes[1]].map(payload_of), [Some(&b"1"[..]); 2]);
    assert_eq!(third.wait().unwrap(), [Outcome::NotFound]);
}

fn all_are(outcomes: &[Outcome], expected: &Outcome) -> bool {
    outcomes.iter().all(|outcome| outcome == expected)
}

#[test]
fn p4_what_one_lacks_refuses_all() {
    let (disk, _clock, mut engine) = world(config(16 << 10));
    let tag = digest(1).tag();
    let quota = Quota { tokens_max: Some(3), bytes_max: None, ttl_max: None };
    engine.engine().set_quotas(Quotas::from_iter([(tag, quota)]));
    carry_out(&mut engine, Op::Put(put(9, b"9", 50_000)));
    let puts = |ids: std::ops::Range<u64>| -> Vec<Op> {
        let mut ops: Vec<Op> = ids.map(|id| Op::Put(put(id, b"1", 50_000))).collect();
        ops.insert(1, consume(9, None));
        ops.push(read(9));
        ops
    };
    let before = engine.engine().submit(vec![Op::Put(put(1, b"0", 50_000))]).unwrap();
    let refused = engine.engine().submit_together(puts(2..6)).unwrap();
    let after = engine.engine().submit_together(vec![read(2), read(9), read(1)]).unwrap();
    engine.turn();
    assert!(matches!(before.wait().unwrap()[..], [Outcome::Put { .. }]));
    assert!(all_are(&refused.wait().unwrap(), &Outcome::QuotaFull));
    let seen = after.wait().unwrap();
    let seen: Vec<_> = seen.iter().map(payload_of).collect();
    assert_eq!(seen, [None, Some(&b"9"[..]), Some(b"0")], "nothing of it was performed");
    let outcomes = together(&mut engine, puts(2..3)).unwrap();
    assert!(matches!(outcomes[0], Outcome::Put { .. }), "{outcomes:?}");
    // A full disk.
    disk.set_space_left(Some(0));
    let filling: Vec<Op> = (20..25).map(|_| Op::Put(put(2, &[1; 700], 50_000))).collect();
    let full = (0..20).map(|_| together(&mut engine, filling.clone()).unwrap()).next_back();
    let full = full.unwrap();
    assert!(all_are(&full, &full[0]), "{full:?}");
    assert!(matches!(full[0], Outcome::DiskFull | Outcome::LogUnavailable), "{full:?}");
    let reads = together(&mut engine, vec![read(2), read(1)]).unwrap();
    assert!(reads.iter().all(|outcome| payload_of(outcome).is_some()), "reads go on: {reads:?}");
}

#[test]
fn p8_changes_that_no_frame_can_hold_are_invalid() {
    let (_disk, _clock, mut engine) = world(config(16 << 10));
    let long: Vec<Op> = (0..5).map(|id| Op::Put(put(id, &[1; 1_000], 50_000))).collect();
    assert!(matches!(together(&mut engine, long), Err(Rejected::Invalid(_))));
    assert_eq!(engine.entries(), 0);
    assert!(engine.engine().submit(vec![read(1)]).is_err(), "a read by itself is no change");
    assert_eq!(together(&mut engine, Vec::new()), Ok(Vec::new()));
}

/// Whatever a crash leaves of the log, and between the write and its effect.
#[test]
fn p4_a_crash_leaves_all_of_it_or_nothing() {
    let (mut all, mut none) = (0, 0);
    for seed in 0..200 {
        let (disk, clock, mut engine) = world(Config { sync: SyncMode::Never, ..config(16 << 10) });
        for id in 0..8 {
            carry_out(&mut engine, Op::Put(put(id, b"old", 50_000)));
        }
        let again = step(&disk.crash(Keep::Everything), &clock, config(16 << 10));
        assert_eq!(again.lsn_and_tokens().1, 8);
        drop(again);
        let ops: Vec<Op> = (0..8)
            .flat_map(|id| {
                [Op::Revoke { digest: digest(id) }, Op::Put(put(id + 100, b"new", 50_000))]
            })
            .collect();
        together(&mut engine, ops).unwrap();
        let again = step(&disk.crash(Keep::Some(seed)), &clock, config(16 << 10));
        let there = |from: u64| {
            (from..from + 8).filter(|id| resolve(again.engine(), *id).is_some()).count()
        };
        match (there(0), there(100)) {
            (0, 8) => all += 1,
            (_, 0) => none += 1,
            half => panic!("half of it: {half:?}"),
        }
    }
    assert!(all > 0 && none > 0, "{all} {none}");
}

/// Readers on other threads.
#[test]
fn p4_readers_never_see_half_of_it() {
    const TOKENS: u64 = 40;
    const ROUNDS: u64 = 4_000;
    let engine = Engine::open(Config::memory_only()).unwrap();
    let set = |round: u64| -> Vec<Op> {
        let put = |id| {
            let (ttl, uses) = (Some(Duration::from_secs(600)), (round % 100) as u32 + 1);
            Op::Put(Put { ttl, uses, ..put(id, &round.to_le_bytes(), 1) })
        };
        (0..TOKENS).map(put).collect()
    };
    let number = |payload: &[u8]| u64::from_le_bytes(payload.try_into().unwrap());
    engine.submit_together(set(0)).unwrap().wait().unwrap();
    let is_over = AtomicBool::new(false);
    let digests: Vec<Digest> = (0..TOKENS).map(digest).collect();
    let (engine, digests, is_over) = (&engine, &digests, &is_over);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let (mut id, mut last) = (0, 0);
            while !is_over.load(Ordering::Relaxed) {
                // Against the order in which they are put.
                id = (id + TOKENS - 1) % TOKENS;
                let seen = engine.resolve(&digests[id as usize], engine.now(), number).unwrap();
                assert!(seen >= last, "{seen} after {last}");
                last = seen;
            }
        });
        scope.spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                let mut seen = Vec::new();
                engine
                    .resolve_many(digests, engine.now(), |found| seen.push(number(found.unwrap())));
                assert!(seen.iter().all(|one| *one == seen[0]), "{seen:?}");
                let read = engine
                    .submit_together(digests.iter().map(|d| Op::Read { digest: *d }).collect());
                let read = read.unwrap().wait().unwrap();
                let read: Vec<_> =
                    read.iter().map(|one| number(payload_of(one).unwrap())).collect();
                assert!(read.iter().all(|one| *one == read[0] && *one >= seen[0]), "{read:?}");
            }
        });
        scope.spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                let mut uses = Vec::new();
                engine
                    .statuses(digests, engine.now(), |status| uses.push(status.unwrap().uses_left));
                assert!(uses.iter().all(|one| *one == uses[0]), "{uses:?}");
            }
        });
        for round in 1..ROUNDS {
            engine.submit_together(set(round)).unwrap().wait().unwrap();
        }
        is_over.store(true, Ordering::Relaxed);
    });
}

/// The frame copies the entries that they concern.
#[test]
fn p8_they_concern_at_most_64_mib() {
    let (_disk, _clock, mut engine) = world(Config { data_dir: None, ..config(64 << 20) });
    let payload = vec![b'1'; 1 << 20];
    for id in 0..65 {
        carry_out(&mut engine, Op::Put(Put { payload: payload.clone(), ..put(id, b"", 60_000) }));
    }
    let all = || (0..65).map(|id| consume(id, None));
    let Err(Rejected::Invalid(why)) = together(&mut engine, all().collect()) else {
        panic!("it was accepted")
    };
    assert!(why.contains("64 MiB"), "{why}");
    let outcomes = together(&mut engine, all().skip(2).collect()).unwrap();
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Consumed { .. })));
}
