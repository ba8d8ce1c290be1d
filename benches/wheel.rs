//! The timing wheel alone: what a timer costs to schedule, to fire and to keep.
//!
//! The name of a timer here is its deadline and its number, so that asking for the deadline costs
//! nothing: what is measured is the wheel. In the engine the question is a look-up in the store,
//! which costs many times more (`engine`, expiry). Every timer must fire exactly once.
//!
//! What it does not show: turns cut short by a budget (each turn here ends when nothing is due).

#![expect(clippy::print_stdout, reason = "a program whose output is its purpose")]

mod support;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use jeton::model::time::UnixMillis;
use jeton::model::token::Prefix;
use jeton::timer_wheel::{Verdict, Wheel};

use support::Random;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Low bits of a name that hold the timer's number; its deadline has the rest.
const NUMBER_BITS: u32 = 28;
const SECOND_MS: u64 = 1_000;
const DAY_MS: u64 = 24 * 3_600 * SECOND_MS;

/// A timer is eight bytes; the chunks it lies in may not make much more of it. In a debug build the
/// allocator pads what it gives.
const TIMER_BYTES_MAX: f64 = if cfg!(debug_assertions) { 13.0 } else { 9.5 };

/// Timers with deadlines within `spread_ms` from a minute on, in no order.
fn timers(len: usize, spread_ms: u64) -> Vec<(Prefix, UnixMillis)> {
    let mut random = Random(len as u64);
    (0..len as u64)
        .map(|number| {
            let deadline = 60 * SECOND_MS + random.below(spread_ms as usize) as u64;
            (Prefix(deadline << NUMBER_BITS | number), UnixMillis(deadline))
        })
        .collect()
}

fn filled(timers: &[(Prefix, UnixMillis)]) -> Wheel {
    let mut wheel = Wheel::new(UnixMillis(0));
    for (timer, deadline) in timers {
        wheel.schedule(*timer, *deadline);
    }
    wheel
}

/// Turns the wheel to `until`, a second at a time, and counts the timers that fire.
fn turn(wheel: &mut Wheel, until: u64) -> usize {
    let mut fired = 0;
    for now in (0..=until).step_by(SECOND_MS as usize) {
        let behind = wheel.advance(UnixMillis(now), usize::MAX, |names, verdicts| {
            for Prefix(name) in names {
                let deadline = *name >> NUMBER_BITS;
                verdicts.push(if deadline > now {
                    Verdict::Again(UnixMillis(deadline))
                } else {
                    fired += 1;
                    Verdict::Done
                });
            }
        });
        assert!(!behind, "no budget, so nothing is left");
    }
    fired
}

fn schedule_and_advance(criterion: &mut Criterion, name: &str, len: usize, spread_ms: u64) {
    let timers = timers(len, spread_ms);
    let mut group = criterion.benchmark_group(format!("wheel/{name}"));
    group.throughput(Throughput::Elements(len as u64)).sample_size(10);
    group.bench_function(BenchmarkId::new("schedule", len), |bencher| {
        bencher.iter_with_large_drop(|| {
            let wheel = filled(&timers);
            assert_eq!(wheel.len(), len);
            wheel
        });
    });
    group.bench_function(BenchmarkId::new("advance", len), |bencher| {
        bencher.iter_batched_ref(
            || filled(&timers),
            |wheel| {
                assert_eq!(turn(wheel, 62 * SECOND_MS + spread_ms), len);
                assert!(wheel.is_empty());
            },
            BatchSize::PerIteration,
        );
    });
}

/// Memory for a timer. Comes first, while nothing that was freed can be used again.
fn bytes_per_timer(len: usize) {
    for (name, spread_ms) in [("one second", SECOND_MS), ("a day", DAY_MS)] {
        let timers = timers(len, spread_ms);
        let before = support::resident_bytes();
        let wheel = filled(&timers);
        let grown = support::resident_bytes().saturating_sub(before);
        let each = grown as f64 / wheel.len() as f64;
        println!("wheel: {each:.2} bytes per timer, {len} of them within {name}");
        assert!(
            (8.0..TIMER_BYTES_MAX).contains(&each),
            "a timer takes 8 bytes and little more, not {each:.2}"
        );
        // What this wheel frees must not serve the next one.
        std::mem::forget(wheel);
    }
}

fn main() {
    if !support::is_listing() {
        bytes_per_timer(support::sized(1_000_000, 4_000_000));
    }
    let len = support::sized(10_000, 1_000_000);
    let mut criterion = support::criterion();
    schedule_and_advance(&mut criterion, "one second", len, SECOND_MS);
    schedule_and_advance(&mut criterion, "a day", len, DAY_MS);
    criterion.final_summary();
}
