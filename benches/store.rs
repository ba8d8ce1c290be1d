//! The store alone: what a resolve costs in memory, by how many tokens there are.
//!
//! Every look-up is of a token picked at random and reads the number at the head of the payload it
//! finds, which must be that of the token. Misses and expired tokens are counted. "In turn" looks
//! tokens up one after another, and so overlaps what the processor can overlap; "one by one" takes
//! each token from the answer before, as a lone request would find the store: nothing overlaps.
//!
//! 10,000 tokens fit in a cache, a million and more do not. `JETON_BENCH_FULL=1` adds ten million
//! (3 GB, some minutes).
//!
//! What it does not show: the server around it, several readers, or a writer at the same time.

#![expect(clippy::print_stdout, reason = "a program whose output is its purpose")]
#![expect(clippy::disallowed_methods, reason = "it measures real time")]
#![expect(clippy::expect_used, reason = "a bench that cannot go on must stop")]

mod support;

use std::cell::LazyCell;
use std::hint::black_box;
use std::ops::Range;
use std::time::{Duration, Instant};

use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, measurement::WallTime};
use jeton::model::entry::{Entry, JournalPart, Parts};
use jeton::model::time::UnixMillis;
use jeton::model::token::{Digest, Digester, Token};
use jeton::store::{Lookup, Store};

use support::{BATCH_LEN, PAYLOAD_LEN, Random};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ISSUED_AT: UnixMillis = UnixMillis(1_000);
const NOW: UnixMillis = UnixMillis(2_000);
const DEADLINE: UnixMillis = UnixMillis(3_000);

/// Picks that are made beforehand: their entries together are many times what a cache holds.
const PICKS: usize = 1 << 20;

type Group<'a> = BenchmarkGroup<'a, WallTime>;
type Lazy = LazyCell<Fixture, Box<dyn FnOnce() -> Fixture>>;

/// A full store, and which tokens to look up.
struct Fixture {
    store: Store,
    digester: Digester,
    /// Numbers of tokens in the store, at random.
    picks: Vec<u32>,
    /// Their digests.
    hits: Vec<Digest>,
    /// Digests of tokens that are not in the store.
    misses: Vec<Digest>,
    /// The picked tokens themselves.
    tokens: Vec<Token>,
}

impl Fixture {
    fn new(len: usize) -> Self {
        let digester = support::digester();
        let store = Store::new();
        fill(&store, &support::digests(0..len), 0);
        let mut random = Random(len as u64);
        let count = support::sized(BATCH_LEN * 4, PICKS);
        let picks: Vec<u32> = (0..count).map(|_| random.below(len) as u32).collect();
        let tokens: Vec<Token> =
            picks.iter().map(|pick| support::token(&digester, *pick as usize)).collect();
        let fixture = Self {
            store,
            hits: tokens.iter().map(|token| digester.digest(token)).collect(),
            misses: support::digests(len..len + count),
            tokens,
            digester,
            picks,
        };
        fixture.check(len);
        fixture
    }

    /// Compares whole payloads, which the benches do not.
    fn check(&self, len: usize) {
        assert_eq!(self.store.len(), len, "tokens in the store");
        let mut picks = self.picks.iter();
        self.store.resolve_many(&self.hits, NOW, |found| {
            let pick = *picks.next().expect("one answer for each");
            let Lookup::Found(payload) = found else { panic!("token {pick} is not there") };
            assert_eq!(payload, support::payload(pick as usize));
        });
        assert!(picks.next().is_none(), "one answer for each");
    }

    /// Looks up tokens that are there.
    fn batch_of_hits(&self, digests: &[Digest], picks: &[u32], mut each: impl FnMut(&[u8])) {
        let mut picks = picks.iter();
        self.store.resolve_many(digests, NOW, |found| {
            let Lookup::Found(payload) = found else { panic!("a token is missing") };
            let pick = picks.next().map(|pick| *pick as usize);
            assert_eq!(pick, Some(support::number_in(payload)));
            each(payload);
        });
        assert!(picks.next().is_none(), "one answer for each");
    }

    fn digests_for(&self, wanted: &Lookup<()>) -> &[Digest] {
        match wanted {
            Lookup::Unknown => &self.misses,
            _ => &self.hits,
        }
    }
}

fn is_like(found: &Lookup<&[u8]>, wanted: &Lookup<()>) -> bool {
    matches!(
        (found, wanted),
        (Lookup::Expired, Lookup::Expired) | (Lookup::Unknown, Lookup::Unknown)
    )
}

fn entry(n: usize) -> Entry {
    let parts = Parts {
        payload: &support::payload(n),
        deadline: DEADLINE,
        issued_at: ISSUED_AT,
        uses_left: 1,
        uses_total: 1,
        peek: true,
        derived: false,
        keys: &[],
    };
    Entry::new(&parts, JournalPart(0))
}

/// Inserts tokens with numbers from `first` on, letting go of old tables as the committer does.
fn fill(store: &Store, digests: &[Digest], first: usize) {
    for (digests, first) in digests.chunks(1_000).zip((first..).step_by(1_000)) {
        let pinned = store.pin();
        for (digest, n) in digests.iter().zip(first..) {
            assert!(pinned.insert(*digest, entry(n)).is_none(), "tokens differ");
        }
        pinned.flush();
    }
}

/// Ranges of `len` among `all`, one after another, for ever.
fn cycle(all: usize, len: usize) -> impl FnMut() -> Range<usize> {
    let mut at = 0;
    move || {
        let start = if at + len > all { 0 } else { at };
        at = start + len;
        start..at
    }
}

/// One token after another, in turn and one by one.
fn single(group: &mut Group<'_>, len: usize, fixture: &Lazy) {
    group.throughput(Throughput::Elements(1));
    group.bench_function(BenchmarkId::new("hit in turn", len), |bencher| {
        let Fixture { store, picks, hits, .. } = &**fixture;
        let mut next = cycle(picks.len(), 1);
        bencher.iter(|| {
            let at = next().start;
            let found = store.resolve(&hits[at], NOW, support::number_in);
            assert_eq!(found, Lookup::Found(picks[at] as usize));
        });
    });
    group.bench_function(BenchmarkId::new("hit one by one", len), |bencher| {
        let Fixture { store, picks, hits, .. } = &**fixture;
        let (mut next, mut difference) = (cycle(picks.len(), 1), 0);
        bencher.iter(|| {
            // Always 0, but the processor knows it only when it has seen the payload.
            let at = next().start + difference;
            let Lookup::Found(number) = store.resolve(&hits[at], NOW, support::number_in) else {
                panic!("a token is missing")
            };
            difference = number ^ picks[at] as usize;
        });
        assert_eq!(difference, 0, "the last payload is another token's");
    });
    group.bench_function(BenchmarkId::new("hit, digest computed", len), |bencher| {
        let Fixture { store, digester, picks, tokens, .. } = &**fixture;
        let mut next = cycle(picks.len(), 1);
        bencher.iter(|| {
            let at = next().start;
            let digest = digester.digest(&tokens[at]);
            let found = store.resolve(&digest, NOW, support::number_in);
            assert_eq!(found, Lookup::Found(picks[at] as usize));
        });
    });
    for (name, now, wanted) in
        [("miss", NOW, Lookup::Unknown), ("expired", DEADLINE, Lookup::Expired)]
    {
        group.bench_function(BenchmarkId::new(name, len), |bencher| {
            let digests = fixture.digests_for(&wanted);
            let mut next = cycle(digests.len(), 1);
            bencher.iter(|| {
                let found = fixture.store.resolve(&digests[next().start], now, |_| ());
                assert_eq!(found, wanted);
            });
        });
    }
}

/// What turns a token into the digest that the store is asked for.
fn digest(criterion: &mut Criterion) {
    let digester = support::digester();
    let tokens: Vec<Token> = (0..1_024).map(|n| support::token(&digester, n)).collect();
    let wanted = support::digests(0..tokens.len());
    let mut next = cycle(tokens.len(), 1);
    criterion.bench_function("store/digest", |bencher| {
        bencher.iter(|| {
            let at = next().start;
            assert!(digester.digest(&tokens[at]) == wanted[at]);
        });
    });
}

/// A hundred tokens at a time. Times are for a batch, rates for its tokens.
fn batch(group: &mut Group<'_>, len: usize, fixture: &Lazy) {
    group.throughput(Throughput::Elements(BATCH_LEN as u64));
    group.bench_function(BenchmarkId::new("hit", len), |bencher| {
        let Fixture { picks, hits, .. } = &**fixture;
        let mut next = cycle(picks.len(), BATCH_LEN);
        bencher.iter(|| {
            let range = next();
            fixture.batch_of_hits(&hits[range.clone()], &picks[range], |_| ());
        });
    });
    group.bench_function(BenchmarkId::new("hit, copied", len), |bencher| {
        let Fixture { picks, hits, .. } = &**fixture;
        let mut next = cycle(picks.len(), BATCH_LEN);
        let mut answer = Vec::with_capacity(BATCH_LEN * PAYLOAD_LEN);
        bencher.iter(|| {
            let range = next();
            answer.clear();
            let copy = |payload: &[u8]| answer.extend_from_slice(payload);
            fixture.batch_of_hits(&hits[range.clone()], &picks[range], copy);
            assert_eq!(black_box(&answer).len(), BATCH_LEN * PAYLOAD_LEN);
        });
    });
    group.bench_function(BenchmarkId::new("hit, digests computed, copied", len), |bencher| {
        let Fixture { digester, picks, tokens, .. } = &**fixture;
        let mut next = cycle(picks.len(), BATCH_LEN);
        let (mut digests, mut answer) = (Vec::new(), Vec::new());
        bencher.iter(|| {
            let range = next();
            digests.clear();
            digests.extend(tokens[range.clone()].iter().map(|token| digester.digest(token)));
            answer.clear();
            let copy = |payload: &[u8]| answer.extend_from_slice(payload);
            fixture.batch_of_hits(&digests, &picks[range], copy);
            assert_eq!(black_box(&answer).len(), BATCH_LEN * PAYLOAD_LEN);
        });
    });
    for (name, now, wanted) in
        [("miss", NOW, Lookup::Unknown), ("expired", DEADLINE, Lookup::Expired)]
    {
        group.bench_function(BenchmarkId::new(name, len), |bencher| {
            let digests = fixture.digests_for(&wanted);
            let mut next = cycle(digests.len(), BATCH_LEN);
            bencher.iter(|| {
                let mut left = BATCH_LEN;
                fixture.store.resolve_many(&digests[next()], now, |found| {
                    assert!(is_like(&found, &wanted));
                    left -= 1;
                });
                assert_eq!(left, 0, "one answer for each");
            });
        });
    }
}

/// Inserts new tokens into a store of this size, which is brought back to it each time.
fn insert(group: &mut Group<'_>, len: usize, fixture: &Lazy) {
    group.throughput(Throughput::Elements(1));
    group.bench_function(BenchmarkId::new("insert", len), |bencher| {
        let Fixture { store, misses, .. } = &**fixture;
        bencher.iter_custom(|iterations| {
            let (mut left, mut elapsed) = (iterations as usize, Duration::ZERO);
            while left > 0 {
                // Few of them, so that the store hardly grows meanwhile.
                let digests = &misses[..left.min(misses.len()).min(len / 10)];
                let began = Instant::now();
                fill(store, digests, len);
                elapsed += began.elapsed();
                let pinned = store.pin();
                let removed = digests.iter().filter_map(|digest| pinned.remove(digest));
                assert_eq!(removed.count(), digests.len(), "what was inserted is there");
                pinned.flush();
                left -= digests.len();
            }
            assert_eq!(store.len(), len);
            elapsed
        });
    });
}

/// From an empty store to a full one, growth of the tables included.
fn growth(criterion: &mut Criterion, len: usize) {
    let mut group = criterion.benchmark_group("store/growth");
    group.sample_size(10).throughput(Throughput::Elements(len as u64));
    let mut slowest = Duration::ZERO;
    group.bench_function(BenchmarkId::from_parameter(len), |bencher| {
        let digests = support::digests(0..len);
        bencher.iter_custom(|iterations| {
            let mut elapsed = Duration::ZERO;
            for _ in 0..iterations {
                let store = Store::new();
                let began = Instant::now();
                fill(&store, &digests, 0);
                elapsed += began.elapsed();
                assert_eq!(store.len(), len);
            }
            elapsed
        });
        slowest = slowest_thousand(&digests);
    });
    group.finish();
    if !slowest.is_zero() {
        println!("store/growth/{len}: the slowest 1,000 inserts took {slowest:.1?}");
    }
}

/// Of a store that grows from empty, the time of the slowest thousand inserts: how far a doubling
/// table is felt.
fn slowest_thousand(digests: &[Digest]) -> Duration {
    let store = Store::new();
    let parts = digests.chunks(1_000).zip((0..).step_by(1_000));
    let times = parts.map(|(digests, first)| {
        let began = Instant::now();
        fill(&store, digests, first);
        began.elapsed()
    });
    times.max().unwrap_or_default()
}

fn main() {
    let mut criterion = support::criterion();
    let mut sizes = support::sized(vec![1_000], vec![10_000, 1_000_000]);
    if support::is_full() {
        sizes.push(10_000_000);
    }
    digest(&mut criterion);
    for len in sizes {
        // Only made if one of its benches was asked for.
        let fixture: Lazy = LazyCell::new(Box::new(move || Fixture::new(len)));
        single(&mut criterion.benchmark_group("store/single"), len, &fixture);
        batch(&mut criterion.benchmark_group("store/batch of 100"), len, &fixture);
        insert(&mut criterion.benchmark_group("store"), len, &fixture);
        drop(fixture);
        growth(&mut criterion, len);
    }
    criterion.final_summary();
}
