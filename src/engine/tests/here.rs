//! Calls that are performed on the thread that makes them.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use super::*;
use crate::engine::committer::Committer;
use crate::engine::job::Here;
use crate::engine::mailbox::Pending;

type Called = Result<Outcome, Rejected>;

/// Calls the engine from this thread, which may perform the call itself. `None` where it is left to the
/// committer's thread.
fn call(engine: &Engine, op: Op, here: Here) -> Option<Called> {
    let caller = engine.caller();
    caller.commit_here(here);
    let called = pin!(caller.call_one(op)).poll(&mut Context::from_waker(Waker::noop()));
    match called {
        Poll::Ready(outcome) => Some(outcome),
        Poll::Pending => None,
    }
}

/// The same until the committer's thread is at rest; returns the number of the token too.
fn call_here(engine: &Engine, first: u64) -> (u64, Called) {
    let issued = |id| {
        let called = call(engine, issue(id, b"1", 90_000), Here::WithWait);
        if called.is_none() {
            // The committer's thread has done it before it does this one.
            let _ = engine.submit(vec![issue(id, b"1", 90_000)]).map(Pending::wait);
        }
        Some((id, called?))
    };
    (first..first + 1_000_000).find_map(issued).expect("it is at rest at some time")
}

#[test]
fn p1_a_change_made_on_this_thread_is_durable_once_it_is_answered() {
    let (disk, clock) = (Memory::new(), Arc::new(ManualClock::at(START)));
    let engine = open(&disk, &clock, config(64 << 10));
    let mut made = Vec::new();
    for n in 0..20 {
        let (id, outcome) = call_here(&engine, n << 32);
        assert!(matches!(outcome, Ok(Outcome::Issued { .. })), "{outcome:?}");
        let again = open(&disk.crash(Keep::Synced), &clock, config(64 << 10));
        made.push(id);
        assert!(made.iter().all(|id| resolve(&again, *id).is_some()), "{n}");
    }
    assert_eq!(one(&engine, Op::Revoke { digest: digest(made[0]) }), Outcome::Revoked);
    engine.close().unwrap();
    let (_, outcome) = call_here(&engine, 1 << 60);
    assert_eq!(outcome, Err(Rejected::Closed));
}

#[test]
fn no_thread_waits_for_a_disk_unless_it_may() {
    let (disk, clock) = (Memory::new(), Arc::new(ManualClock::at(START)));
    let engine = open(&disk, &clock, config(64 << 10));
    // From now on only the wish of the caller is against it.
    call_here(&engine, 1 << 30).1.unwrap();
    for (id, here) in (0..100).map(|id| (id, [Here::Never, Here::WithoutWait][id as usize % 2])) {
        assert_eq!(call(&engine, issue(id, b"1", 90_000), here), None);
        engine.submit(vec![issue(id, b"1", 90_000)]).unwrap().wait().unwrap();
    }
    let every = Config { sync: SyncMode::Every(Duration::from_millis(1)), ..config(64 << 10) };
    let engine = open(&Memory::new(), &clock, every);
    let seat = engine.committer.seat.clone().unwrap();
    for id in 0..100 {
        // As after a fast sync.
        seat.take(|committer| committer.sequencer.sync_took = Duration::ZERO).unwrap();
        let called = call(&engine, issue(id, b"1", 90_000), Here::WithWait);
        assert_eq!(called, None, "nobody would know that a sync is due");
        engine.submit(vec![issue(id, b"1", 90_000)]).unwrap().wait().unwrap();
    }
    let in_memory = Engine::open(Config::memory_only()).unwrap();
    let issued = |id| call(&in_memory, issue(id, b"1", 90_000), Here::WithoutWait);
    let outcome = (0..1_000_000).find_map(issued).unwrap();
    assert!(matches!(outcome, Ok(Outcome::Issued { .. })), "{outcome:?}");
}

#[test]
fn p6_a_sync_that_fails_on_this_thread_is_told_to_all() {
    let (disk, clock) = (Memory::new(), Arc::new(ManualClock::at(START)));
    let engine = open(&disk, &clock, config(64 << 10));
    call_here(&engine, 1 << 30).1.unwrap();
    disk.set_failing_syncs(true);
    assert_eq!(call_here(&engine, 0).1, Ok(Outcome::Unsynced));
    disk.set_failing_syncs(false);
    assert_eq!(call_here(&engine, 1 << 40).1, Ok(Outcome::ReadOnly));
    assert_eq!(one(&engine, issue(1 << 50, b"1", 90_000)), Outcome::ReadOnly);
}

#[test]
fn p1_every_caller_is_told_when_the_committer_has_panicked_elsewhere() {
    let (disk, clock) = (Memory::new(), Arc::new(ManualClock::at(START)));
    let engine = open(&disk, &clock, config(64 << 10));
    let seat = engine.committer.seat.clone().unwrap();
    let panicked = std::thread::spawn(move || seat.take(|_| panic!("on purpose"))).join();
    assert!(panicked.is_err());
    assert_eq!(engine.submit(vec![issue(1, b"1", 90_000)]).unwrap().wait(), Err(Rejected::Closed));
    assert!(engine.readiness().is_err());
    assert!(engine.close().is_err());
}

#[test]
fn p8_a_thread_that_commits_for_itself_does_not_overtake_the_one_that_waits_for_the_seat() {
    let (disk, clock) = (Memory::new(), Arc::new(ManualClock::at(START)));
    let engine = open(&disk, &clock, config(64 << 10));
    let seat = engine.committer.seat.clone().unwrap();
    let (leave, left) = std::sync::mpsc::channel::<()>();
    let (entered, enters) = std::sync::mpsc::channel();
    let holds = seat.clone();
    let holder = std::thread::spawn(move || {
        holds.take(|_| {
            entered.send(()).unwrap();
            left.recv().unwrap();
        })
    });
    enters.recv().unwrap();
    seat.is_wanted.store(false, Ordering::Relaxed);
    let waits = seat.clone();
    let waiter = std::thread::spawn(move || waits.take(|_| ()));
    let is_wanted = || seat.is_wanted.load(Ordering::Relaxed);
    let mut looks = (0..30_000).map(|_| std::thread::sleep(Duration::from_millis(1)));
    while !is_wanted() {
        looks.next().expect("the thread that waits says that it wants the seat");
    }
    leave.send(()).unwrap();
    assert_eq!((holder.join().unwrap(), waiter.join().unwrap()), (Some(()), Some(())));
    call_here(&engine, 1 << 30).1.unwrap();
    // The seat is free and wanted, as in the moment before the thread that waits for it has it.
    for id in 0..20 {
        seat.is_wanted.store(true, Ordering::Relaxed);
        assert_eq!(call(&engine, issue(id, b"1", 90_000), Here::WithWait), None);
        engine.submit(vec![issue(id, b"1", 90_000)]).unwrap().wait().unwrap();
    }
    assert!(call_here(&engine, 1 << 40).1.is_ok());
}

#[test]
fn no_thread_waits_for_a_disk_that_is_slow() {
    let (disk, clock) = (Memory::new(), Arc::new(ManualClock::at(START)));
    let sync_ms = Arc::new(AtomicU64::new(1));
    disk.at_each_sync({
        let (clock, sync_ms) = (Arc::clone(&clock), Arc::clone(&sync_ms));
        move || clock.advance(sync_ms.load(Ordering::Relaxed))
    });
    let engine = open(&disk, &clock, config(64 << 10));
    for id in 0..100 {
        assert_eq!(call(&engine, issue(id, b"1", 90_000), Here::WithWait), None, "{id}");
        engine.submit(vec![issue(id, b"1", 90_000)]).unwrap().wait().unwrap();
    }
    sync_ms.store(0, Ordering::Relaxed);
    assert!(call_here(&engine, 1 << 40).1.is_ok());
    // The first that is slow is waited for, and no other.
    sync_ms.store(1, Ordering::Relaxed);
    let (first, outcome) = call_here(&engine, 1 << 50);
    outcome.unwrap();
    for id in first + 1..first + 100 {
        assert_eq!(call(&engine, issue(id, b"1", 90_000), Here::WithWait), None, "{id}");
    }
}

#[test]
fn p7_a_caller_that_commits_for_itself_makes_way_when_the_cleaner_waits_for_a_step() {
    let (disk, clock) = (Memory::new(), Arc::new(ManualClock::at(START)));
    let engine = open(&disk, &clock, config(16 << 10));
    let seat = engine.committer.seat.clone().unwrap();
    // The committer's thread has no turn meanwhile.
    let refused = seat.take(|committer| {
        // As after a fast sync.
        committer.sequencer.sync_took = Duration::ZERO;
        let has_room = |committer: &Committer| {
            committer.sequencer.log.as_ref().is_some_and(|log| log.wal.appends_at_once())
        };
        for id in 0..4_000 {
            // Another thread makes the next segment.
            let mut looks = (0..30_000).map(|_| std::thread::sleep(Duration::from_millis(1)));
            while !has_room(committer) && looks.next().is_some() {}
            if !committer.may_turn_here(Here::WithWait) {
                return Some((id, has_room(committer)));
            }
            committer.turn_here(vec![issue(id, &[b'x'; 300], 500)]).unwrap();
            clock.advance(5);
        }
        None
    });
    let (turns, has_room) = refused.flatten().expect("the log is longer than it may be");
    assert!(turns > 20 && has_room, "after {turns} turns, room for a frame: {has_room}");
    assert!(call_here(&engine, 1 << 40).1.is_ok(), "the cleaner has made its step");
}
