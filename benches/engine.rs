//! The engine: what an issue, a consume, a start and an expiry cost, without HTTP.
//!
//! Issue and consume, with and without a log, by 1 and by 64 callers of one thread with one mailbox,
//! as the connections of a worker are, and 100 in a call. Every outcome is checked, and the engine's
//! own counts. Recovery opens a log in which as many tokens are dead as alive and counts what lives;
//! all but the last segment comes from the page cache. Expiry is the time from the instant at which
//! all deadlines have passed to the instant at which the last entry is freed.
//!
//! 200,000 live tokens; a million with `JETON_BENCH_FULL=1`. A sync costs what the disk makes of
//! it: compare only figures of one run. What it does not show: cleaning, and resolves meanwhile.

#![expect(clippy::disallowed_methods, reason = "it measures real time")]
#![expect(clippy::expect_used, reason = "a bench that cannot go on must stop")]

mod support;

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};
use jeton::engine::{Config, Engine, NoProgress, Op, Outcome, Stats, SyncMode};
use jeton::model::time::UnixMillis;
use jeton::testkit::clock::ManualClock;
use tempfile::TempDir;

use support::{BATCH_LEN, calls};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TTL: Duration = Duration::from_secs(3_600);

/// How operations come to the engine.
#[derive(Clone, Copy)]
enum Way {
    Callers(usize),
    Batches,
}

const WAYS: [(&str, Way); 3] = [
    ("1 caller", Way::Callers(1)),
    ("64 callers", Way::Callers(64)),
    ("100 in a call", Way::Batches),
];

/// An engine that lives as long as one bench.
struct Fixture {
    engine: Engine,
    /// Tokens issued so far; their numbers are those below.
    issued: usize,
    _dir: Option<TempDir>,
}

impl Fixture {
    fn new(with_log: bool) -> Self {
        let dir = with_log.then(support::scratch);
        let config = dir.as_ref().map_or_else(Config::memory_only, |dir| Config::at(dir.path()));
        Self { engine: Engine::open(config).expect("an empty engine opens"), issued: 0, _dir: dir }
    }

    /// The next operations that issue tokens of their own.
    fn issues(&mut self, count: usize) -> Vec<Op> {
        let (digester, first) = (support::digester(), self.issued);
        self.issued += count;
        let numbers = first..self.issued;
        numbers.map(|n| calls::issue(support::digest(&digester, n), n, TTL)).collect()
    }

    /// Carries operations out; gives how long it took.
    fn run(&self, way: Way, ops: Vec<Op>, check: fn(&Outcome)) -> Duration {
        let began = Instant::now();
        match way {
            Way::Callers(callers) => calls::by_callers(&self.engine, callers, ops, check),
            Way::Batches => calls::in_calls(&self.engine, BATCH_LEN, ops.into_iter(), check),
        }
        began.elapsed()
    }

    fn resolves_right(&self, n: usize) -> Option<bool> {
        let digest = support::digest(&support::digester(), n);
        let now = self.engine.now();
        self.engine.resolve(&digest, now, |found| found == support::payload(n))
    }
}

fn is_issued(outcome: &Outcome) {
    assert!(matches!(outcome, Outcome::Issued { .. }), "{outcome:?}");
}

fn is_consumed(outcome: &Outcome) {
    let Outcome::Consumed { payload } = outcome else { panic!("{outcome:?}") };
    assert_eq!(*payload, support::payload(support::number_in(payload)));
}

/// Waits until the committer has published stats that are as they should be.
fn await_stats(engine: &Engine, is_right: impl Fn(&Stats) -> bool) {
    let began = Instant::now();
    while !is_right(&engine.stats()) {
        assert!(began.elapsed() < Duration::from_secs(60), "{:?}", engine.stats());
        thread::sleep(Duration::from_micros(20));
    }
}

fn issue(criterion: &mut Criterion, group: &str, with_log: bool) {
    let mut group = criterion.benchmark_group(format!("engine/issue, {group}"));
    group.throughput(Throughput::Elements(1));
    for (name, way) in WAYS {
        group.bench_function(name, |bencher| {
            let mut fixture = Fixture::new(with_log);
            bencher.iter_custom(|iterations| {
                let ops = fixture.issues(iterations as usize);
                fixture.run(way, ops, is_issued)
            });
            assert_eq!(fixture.resolves_right(fixture.issued - 1), Some(true));
            let issued = fixture.issued as u64;
            await_stats(&fixture.engine, |stats| (stats.tokens, stats.issues) == (issued, issued));
        });
    }
}

fn consume(criterion: &mut Criterion, group: &str, with_log: bool) {
    let mut group = criterion.benchmark_group(format!("engine/consume, {group}"));
    group.throughput(Throughput::Elements(1));
    for (name, way) in WAYS {
        group.bench_function(name, |bencher| {
            let mut fixture = Fixture::new(with_log);
            bencher.iter_custom(|iterations| {
                let issues = fixture.issues(iterations as usize);
                let consume = |op: &Op| Op::Consume { digest: *op.digest(), key: None };
                let consumes = issues.iter().map(consume).collect();
                fixture.run(Way::Batches, issues, is_issued);
                fixture.run(way, consumes, is_consumed)
            });
            assert_eq!(fixture.resolves_right(fixture.issued - 1), None);
            let issued = fixture.issued as u64;
            await_stats(&fixture.engine, |stats| (stats.tokens, stats.consumes) == (0, issued));
        });
    }
}

/// Writes a log in which every token with an odd number was consumed, a part at a time, so that
/// the dead lie between the live.
fn write_log(config: &Config, living: usize) {
    let engine = Engine::open(config.clone()).expect("an empty directory");
    let digester = support::digester();
    for first in (0..living * 2).step_by(20_000) {
        let numbers = first..(first + 20_000).min(living * 2);
        calls::issue_range(&engine, numbers.clone(), &mut |_| TTL, is_issued);
        let dead = numbers.filter(|n| n % 2 == 1);
        let consumes = dead.map(|n| {
            let digest = support::digest(&digester, n);
            Op::Consume { digest, key: None }
        });
        calls::in_calls(&engine, 1_000, consumes, is_consumed);
    }
    engine.close().expect("the disk takes it");
}

fn recovery(criterion: &mut Criterion, living: usize) {
    let mut group = criterion.benchmark_group("engine/recovery");
    group.sample_size(10).throughput(Throughput::Elements(living as u64));
    group.bench_function(BenchmarkId::new("living, as many dead", living), |bencher| {
        let dir = support::scratch();
        let config = Config { sync: SyncMode::Never, ..Config::at(dir.path()) };
        write_log(&config, living);
        bencher.iter_custom(|iterations| {
            let mut elapsed = Duration::ZERO;
            for _ in 0..iterations {
                let began = Instant::now();
                let engine = Engine::open(config.clone()).expect("the log is whole");
                elapsed += began.elapsed();
                await_stats(&engine, |stats| stats.tokens == living as u64);
                let fixture = Fixture { engine, issued: 0, _dir: None };
                for n in (0..living * 2).step_by(living / 50) {
                    let wanted = (n % 2 == 0).then_some(true);
                    assert_eq!(fixture.resolves_right(n), wanted, "token {n}");
                }
            }
            elapsed
        });
    });
}

fn expiry(criterion: &mut Criterion, len: usize) {
    let mut group = criterion.benchmark_group("engine/expiry");
    group.sample_size(10).throughput(Throughput::Elements(len as u64));
    group.bench_function(BenchmarkId::new("at once", len), |bencher| {
        bencher.iter_custom(|iterations| (0..iterations).map(|_| expire(len)).sum());
    });
}

/// Lets all tokens expire at once; gives the time until the last one was freed.
fn expire(len: usize) -> Duration {
    let clock = Arc::new(ManualClock::at(UnixMillis(1_000_000_000_000)));
    let engine = Engine::open_with(Config::memory_only(), clock.clone(), &NoProgress);
    let engine = engine.expect("an engine without a log opens");
    calls::issue_range(&engine, 0..len, &mut |_| TTL / 2, is_issued);
    clock.advance(TTL.as_millis() as u64);
    let began = Instant::now();
    // Whoever comes first wakes the committer, which would sleep for the rest of its tick.
    calls::issue_range(&engine, len..len + 1, &mut |_| TTL, is_issued);
    await_stats(&engine, |stats| stats.entries == 1);
    let elapsed = began.elapsed();
    assert_eq!(engine.stats().expired, len as u64);
    elapsed
}

fn main() {
    let mut criterion = support::criterion();
    for (group, with_log) in [("memory only", false), ("synced", true)] {
        issue(&mut criterion, group, with_log);
        consume(&mut criterion, group, with_log);
    }
    let full = if support::is_full() { 1_000_000 } else { 200_000 };
    recovery(&mut criterion, support::sized(2_000, full));
    expiry(&mut criterion, support::sized(2_000, 100_000));
    criterion.final_summary();
}
