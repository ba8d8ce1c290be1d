//! Every interleaving of threads: engine time and the mailbox under `loom`.
//!
//! Only with `--cfg jeton_loom`; the command is in tests/README.md. A lost wake-up shows as a
//! deadlock, which the model reports with the order that led to it.

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use loom::thread;

use crate::clock::{ClockRules, EngineTime, Observer, Standing};
use crate::engine::Pending;
use crate::engine::mailbox::Mailbox;
use crate::engine::op::Rejected;
use crate::model::time::UnixMillis;
use crate::testkit::clock::ManualClock;

/// A clock that showed `from_ms`, when engine time began, and shows `to_ms` now.
fn jumped(from_ms: u64, to_ms: u64) -> (Arc<ManualClock>, Arc<EngineTime>) {
    let clock = Arc::new(ManualClock::at(UnixMillis(from_ms)));
    let rules = ClockRules::default();
    let time = Arc::new(EngineTime::new(clock.clone(), UnixMillis(0), rules));
    clock.jump_to(UnixMillis(to_ms));
    (clock, time)
}

/// A token that one reader found expired stays expired for all later readers, while the wall clock
/// jumps back and the committer observes that.
#[test]
fn p3_no_order_brings_back_what_a_reader_called_gone() {
    loom::model(|| {
        let (clock, time) = jumped(10, 10);
        let reader = {
            let time = time.clone();
            thread::spawn(move || {
                let gone = time.now();
                time.hold(gone);
                assert!(time.now() >= gone);
                gone
            })
        };
        clock.jump_to(UnixMillis(3));
        let mut observer = Observer::default();
        assert!(time.observe(&mut observer, false) >= UnixMillis(10));
        let gone = reader.join().unwrap();
        assert!(time.now() >= gone && time.observe(&mut observer, false) >= gone);
    });
}

/// While the wall clock is behind, elapsed time is added once, whichever half of an observation a
/// reader sees.
#[test]
fn p3_no_order_counts_what_has_passed_twice() {
    loom::model(|| {
        let (clock, time) = jumped(10, 3);
        let reader = {
            let time = time.clone();
            thread::spawn(move || time.now())
        };
        clock.advance(5);
        assert_eq!(time.observe(&mut Observer::default(), false), UnixMillis(15));
        let read = reader.join().unwrap();
        assert!((10..=15).contains(&read.0), "{read:?}");
    });
}

/// A held step is followed by all or by none: a reader that reads the clocks while the committer
/// decides gets the time before the step or after it, and nothing in between.
#[test]
fn p3_no_order_shows_half_a_step() {
    const STEP_MS: u64 = 1_000_000;
    for is_followed in [false, true] {
        loom::model(move || {
            let (clock, time) = jumped(10, 10 + STEP_MS);
            let reader = {
                let time = time.clone();
                thread::spawn(move || {
                    let first = time.now();
                    time.hold(first);
                    (first, time.now())
                })
            };
            clock.advance(5);
            let mut observer = Observer::default();
            let observed = time.observe(&mut observer, is_followed);
            let (first, second) = reader.join().unwrap();
            assert!(first <= second && second <= time.now());
            for read in [first.0, second.0] {
                let is_before = (10..=15).contains(&read);
                let is_behind = is_followed && (10 + STEP_MS..=15 + STEP_MS).contains(&read);
                assert!(is_before || is_behind, "{read}");
            }
            let wanted = if is_followed { 15 + STEP_MS } else { 15 };
            assert_eq!(observed, UnixMillis(wanted));
            assert_eq!(observer.standing == Standing::Held, !is_followed);
        });
    }
}

/// There is only one observer, but two readers may raise the floor: the later time wins.
#[test]
fn p3_no_order_of_two_readers_lowers_the_time() {
    loom::model(|| {
        let (clock, time) = jumped(10, 10);
        let hold = |ms: u64| {
            let time = time.clone();
            thread::spawn(move || time.hold(UnixMillis(ms)))
        };
        let readers = [hold(20), hold(30)];
        clock.jump_to(UnixMillis(1));
        for reader in readers {
            reader.join().unwrap();
        }
        assert!(time.now() >= UnixMillis(30));
    });
}

/// Unparks a thread of the model.
struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// A waiter of a mailbox is woken for every delivery, and gets each of them once.
#[test]
fn no_order_loses_a_delivery_or_a_wake() {
    loom::model(|| {
        let mailbox = Arc::new(Mailbox::default());
        let deliver = |ticket: usize| {
            let mailbox = mailbox.clone();
            thread::spawn(move || {
                if let Some(waker) = mailbox.deliver(ticket, Ok(Vec::new())) {
                    waker.wake();
                }
            })
        };
        let committers = [deliver(1), deliver(2)];
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let (mut cx, mut taken) = (Context::from_waker(&waker), Vec::new());
        while taken.len() < 2 {
            let mut delivered = Vec::new();
            match mailbox.poll_take(&mut cx, &mut delivered) {
                Poll::Ready(()) => taken.extend(delivered.into_iter().map(|(ticket, _)| ticket)),
                Poll::Pending => thread::park(),
            }
        }
        taken.sort_unstable();
        assert_eq!(taken, [1, 2]);
        for committer in committers {
            committer.join().unwrap();
        }
    });
}

/// A blocked caller always gets an answer, even if its call was dropped.
#[test]
fn no_order_leaves_a_blocked_caller_waiting() {
    for is_answered in [true, false] {
        loom::model(move || {
            let (pending, reply) = Pending::new();
            let committer = thread::spawn(move || {
                if is_answered && let Some(waker) = reply.deliver(Vec::new()) {
                    waker.wake();
                }
            });
            let outcomes = pending.wait();
            assert_eq!(outcomes.map(|outcomes| outcomes.len()), wanted(is_answered));
            committer.join().unwrap();
        });
    }
}

fn wanted(is_answered: bool) -> Result<usize, Rejected> {
    if is_answered { Ok(0) } else { Err(Rejected::Closed) }
}
