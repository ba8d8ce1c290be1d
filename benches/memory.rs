//! Memory for a token, everything counted, beside what the engine believes it takes.
//!
//! Fills an engine without a log, with the allocator of the server, through the committer as the
//! server does, and compares the memory that the system counts for the process with the engine's
//! own account, which is what `--max-memory` limits. The account may be 15 % off at most. A million
//! tokens with payloads of 128 bytes; ten million instead with `JETON_BENCH_FULL=1`.
//!
//! What it does not show: connections and their buffers, the log's buffers, or what memory comes to
//! after tokens have come and gone for a day.

#![expect(clippy::print_stdout, reason = "a program whose output is its purpose")]
#![expect(clippy::expect_used, reason = "a bench that cannot go on must stop")]

mod support;

use std::thread;
use std::time::Duration;

use jeton::engine::{Config, Engine, Outcome, Stats};

use support::{PAYLOAD_LEN, Random, calls};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How far the account may be from what was measured, as a part of it.
const ERROR_MAX: f64 = 0.15;
/// The same in a test: few tokens, so that what a process takes anyhow weighs more, and often a
/// debug build, in which the allocator pads what it gives.
const ERROR_MAX_SMOKE: f64 = 0.40;

fn main() {
    if support::is_listing() {
        return;
    }
    let len = support::sized(100_000, if support::is_full() { 10_000_000 } else { 1_000_000 });
    let empty_bytes = support::resident_bytes();
    let engine = Engine::open(Config::memory_only()).expect("an engine without a log opens");
    fill(&engine, len);
    let stats = settled(&engine, len);
    let resident_bytes = support::resident_bytes();
    check_some(&engine, len);
    report(len, empty_bytes, resident_bytes, &stats);
    engine.close().expect("nothing is on disk");
}

/// Issues tokens that live between a quarter of an hour and an hour.
fn fill(engine: &Engine, len: usize) {
    let mut random = Random(1);
    let mut ttl = move |_| Duration::from_secs(900 + random.below(2_700) as u64);
    calls::issue_range(engine, 0..len, &mut ttl, |outcome| {
        assert!(matches!(outcome, Outcome::Issued { .. }), "{outcome:?}");
    });
}

/// The stats once the committer has nothing more to do or to let go of.
fn settled(engine: &Engine, len: usize) -> Stats {
    // Several ticks of the wheel: at each the committer flushes what was retired.
    thread::sleep(Duration::from_millis(500));
    let stats = engine.stats();
    assert_eq!((stats.tokens, stats.timers), (len as u64, len as u64));
    stats
}

fn check_some(engine: &Engine, len: usize) {
    let (digester, mut random) = (support::digester(), Random(2));
    for _ in 0..1_000 {
        let n = random.below(len);
        let digest = support::digest(&digester, n);
        let is_right = engine.resolve(&digest, engine.now(), |found| found == support::payload(n));
        assert_eq!(is_right, Some(true), "token {n}");
    }
}

fn report(len: usize, empty_bytes: u64, resident_bytes: u64, stats: &Stats) {
    let each = |bytes: u64| bytes as f64 / len as f64;
    let grown_bytes = resident_bytes - empty_bytes;
    println!("memory: {len} tokens, payloads of {PAYLOAD_LEN} bytes, with deadlines, no log");
    println!("  {:7.1} bytes per token, the whole process", each(resident_bytes));
    println!("  {:7.1} without what the empty process takes", each(grown_bytes));
    println!("  {:7.1} by the engine's own account", each(stats.bytes));
    let error = (stats.bytes as f64 / grown_bytes as f64) - 1.0;
    println!("  the account is {:+.1} % off", error * 100.0);
    let error_max = support::sized(ERROR_MAX_SMOKE, ERROR_MAX);
    assert!(error.abs() <= error_max, "the account may be {:.0} % off at most", error_max * 100.0);
}
