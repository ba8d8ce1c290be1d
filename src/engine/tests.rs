//! The engine against a model: every operation, with reopening, crashes, clock jumps and segments
//! so small that the ring turns many times.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use crate::time::{Clock, ManualClock, UnixMillis};
use crate::token::{ConsumeKey, Digest, Digester, Secret};
use crate::wal::testing::{Keep, Memory};
use crate::wal::{self, Preparing, survey};

use super::commit::Committer;
use super::recover::with_storage;
use super::*;

const START: UnixMillis = UnixMillis(1_700_000_000_000);
const MAX_TTL_MS: u64 = 100_000;

fn config(segment_size: u64) -> Config {
    Config {
        max_ttl: Duration::from_millis(MAX_TTL_MS),
        recovery_threads: 2,
        wal: wal::Config {
            segment_size,
            log_min_size: segment_size * 4,
            preparing: Preparing::Inline,
        },
        ..Config::default()
    }
}

fn open(disk: &Memory, clock: &Arc<ManualClock>, config: Config) -> Engine {
    let storage = disk.storage();
    let found = survey(&storage).unwrap();
    let digester = Digester::new(&Secret::from_bytes([7; 32]), "default");
    let clock: Arc<dyn Clock> = clock.clone();
    let recovered = with_storage(config, storage, found, digester, clock, &NoProgress).unwrap();
    Engine::start(recovered).unwrap()
}

fn digest(id: u64) -> Digest {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&(id + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes());
    Digest::from_bytes(bytes)
}

fn key(n: u8) -> ConsumeKey {
    ConsumeKey([n; 16])
}

fn one(engine: &Engine, op: Op) -> Outcome {
    engine.submit(vec![op]).unwrap().wait().unwrap().pop().unwrap()
}

fn issue(id: u64, payload: &[u8], ttl_ms: u64) -> Op {
    Op::Issue {
        digest: digest(id),
        payload: payload.to_vec(),
        ttl: Duration::from_millis(ttl_ms),
        uses: 1,
        peek: true,
        derived: false,
    }
}

fn resolve(engine: &Engine, id: u64) -> Option<Vec<u8>> {
    engine.resolve(&digest(id), engine.now(), <[u8]>::to_vec)
}

/// What should be there.
#[derive(Clone, Debug)]
struct Expected {
    payload: Vec<u8>,
    issued_at: u64,
    deadline: u64,
    uses_left: u32,
    uses: u32,
    peek: bool,
    keys: Vec<u8>,
}

#[derive(Clone, Debug)]
enum Step {
    Issue { id: u64, payload: u8, len: usize, ttl_ms: u64, uses: u32, peek: bool },
    Consume { id: u64, key: Option<u8> },
    Extend { id: u64, ttl_ms: u64 },
    Revoke { id: u64 },
    Advance { ms: u64 },
    JumpBack { ms: u64 },
    Fill { count: u64 },
    Reopen,
    Crash { seed: u64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let id = 0..12u64;
    let step = prop_oneof![
        6 => (id.clone(), 0..3u8, 1..600usize, 1..60_000u64, 1..4u32, any::<bool>()).prop_map(
            |(id, payload, len, ttl_ms, uses, peek)| Step::Issue { id, payload, len, ttl_ms, uses, peek }
        ),
        5 => (id.clone(), prop::option::of(0..3u8)).prop_map(|(id, key)| Step::Consume { id, key }),
        2 => (id.clone(), 1..200_000u64).prop_map(|(id, ttl_ms)| Step::Extend { id, ttl_ms }),
        1 => id.prop_map(|id| Step::Revoke { id }),
        3 => (1..20_000u64).prop_map(|ms| Step::Advance { ms }),
        1 => (1..100_000u64).prop_map(|ms| Step::JumpBack { ms }),
        4 => (1..60u64).prop_map(|count| Step::Fill { count }),
        1 => Just(Step::Reopen),
        1 => any::<u64>().prop_map(|seed| Step::Crash { seed }),
    ];
    prop::collection::vec(step, 1..120)
}

/// Ids from here on are made up by [`Step::Fill`] and never looked at again.
const FILL_FROM: u64 = 1 << 32;

struct World {
    disk: Memory,
    clock: Arc<ManualClock>,
    engine: Engine,
    model: BTreeMap<u64, Expected>,
    filled: u64,
}

impl World {
    fn new() -> World {
        let (disk, clock) = (Memory::new(), Arc::new(ManualClock::at(START)));
        let engine = open(&disk, &clock, config(16 << 10));
        World { disk, clock, engine, model: BTreeMap::new(), filled: 0 }
    }

    /// The committer looks at the clock at its turns alone; here it has always just looked.
    fn now(&self) -> u64 {
        self.engine.shared.time.observe().0
    }

    /// The entry as far as anything depends on it now.
    fn living(&mut self, id: u64) -> Option<&mut Expected> {
        let now = self.now();
        self.model.retain(|_, entry| entry.deadline > now);
        self.model.get_mut(&id)
    }

    fn run(&mut self, step: &Step) {
        self.now();
        match *step {
            Step::Issue { id, payload, len, ttl_ms, uses, peek } => {
                self.issue(id, vec![payload + b'0'; len], ttl_ms, uses, peek);
            }
            Step::Consume { id, key } => self.consume(id, key),
            Step::Extend { id, ttl_ms } => self.extend(id, ttl_ms),
            Step::Revoke { id } => {
                assert_eq!(one(&self.engine, Op::Revoke { digest: digest(id) }), Outcome::Revoked);
                if self.living(id).is_some_and(|entry| entry.uses_left > 0) {
                    self.model.remove(&id);
                }
            }
            Step::Advance { ms } => self.clock.advance(ms),
            Step::JumpBack { ms } => {
                let before = self.engine.now();
                self.clock.jump_to(UnixMillis(self.clock.wall().0 - ms));
                // A reader may have asked at any time before the jump.
                self.engine.shared.time.hold(before);
                assert!(self.engine.now() >= before, "P3: time ran backwards");
            }
            Step::Fill { count } => self.fill(count),
            Step::Reopen => {
                self.engine.close().unwrap();
                self.engine = open(&self.disk, &self.clock, config(16 << 10));
            }
            Step::Crash { seed } => {
                // The log knows the time after the next frame, or after the wheel has turned: up
                // to a tick of real time, which does not pass here.
                self.fill(1);
                self.disk = self.disk.crash(Keep::Some(seed));
                self.engine = open(&self.disk, &self.clock, config(16 << 10));
            }
        }
        self.compare();
    }

    fn fill(&mut self, count: u64) {
        let op = |n| issue(FILL_FROM + self.filled + n, &[b'x'; 200], 1_000 + n * 100);
        let ops = (0..count).map(op).collect();
        self.filled += count;
        self.engine.submit(ops).unwrap().wait().unwrap();
    }

    fn issue(&mut self, id: u64, payload: Vec<u8>, ttl_ms: u64, uses: u32, peek: bool) {
        // Even ids are derived, odd ones are random: those are never issued twice.
        let derived = id.is_multiple_of(2);
        if !derived && self.living(id).is_some() {
            return;
        }
        let op = Op::Issue {
            digest: digest(id),
            payload: payload.clone(),
            ttl: Duration::from_millis(ttl_ms),
            uses,
            peek,
            derived,
        };
        let now = self.now();
        let expected = match self.living(id) {
            None => Outcome::Issued { deadline: UnixMillis(now + ttl_ms) },
            Some(entry) if entry.uses_left == 0 => Outcome::AlreadyConsumed,
            Some(entry) if entry.payload == payload && entry.uses == uses && entry.peek == peek => {
                Outcome::Exists { deadline: UnixMillis(entry.deadline) }
            }
            Some(_) => Outcome::Conflict,
        };
        assert_eq!(one(&self.engine, op), expected);
        if let Outcome::Issued { deadline: UnixMillis(deadline) } = expected {
            let (issued_at, uses_left, keys) = (now, uses, Vec::new());
            let entry = Expected { payload, issued_at, deadline, uses_left, uses, peek, keys };
            self.model.insert(id, entry);
        }
    }

    fn consume(&mut self, id: u64, key_number: Option<u8>) {
        let op = Op::Consume { digest: digest(id), key: key_number.map(key) };
        let expected = match self.living(id) {
            None => Outcome::NotFound,
            Some(entry) => {
                let payload = entry.payload.clone();
                if key_number.is_some_and(|key| entry.keys.contains(&key)) {
                    Outcome::Replayed { payload }
                } else if entry.uses_left == 0 {
                    Outcome::NotFound
                } else {
                    entry.uses_left -= 1;
                    entry.keys.extend(key_number);
                    Outcome::Consumed { payload }
                }
            }
        };
        assert_eq!(one(&self.engine, op), expected, "P2: {id}");
    }

    fn extend(&mut self, id: u64, ttl_ms: u64) {
        let op = Op::Extend { digest: digest(id), ttl: Duration::from_millis(ttl_ms) };
        let now = self.now();
        let expected = match self.living(id) {
            Some(entry) if entry.uses_left > 0 => {
                let cap = entry.issued_at + MAX_TTL_MS;
                entry.deadline = (now + ttl_ms).min(cap).max(entry.deadline);
                Outcome::Extended { deadline: UnixMillis(entry.deadline) }
            }
            _ => Outcome::NotFound,
        };
        assert_eq!(one(&self.engine, op), expected);
    }

    fn compare(&mut self) {
        self.now();
        for id in 0..12 {
            let found =
                (resolve(&self.engine, id), self.engine.status(&digest(id), self.engine.now()));
            let expected = match self.living(id) {
                Some(entry) if entry.uses_left > 0 => (
                    entry.peek.then(|| entry.payload.clone()),
                    Some(Status {
                        expires_at: UnixMillis(entry.deadline),
                        uses_left: entry.uses_left,
                        payload_len: entry.payload.len(),
                    }),
                ),
                _ => (None, None),
            };
            assert_eq!(found, expected, "P1, P3: {id}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn p1_p2_p3_any_history_is_what_the_model_says(steps in steps()) {
        let mut world = World::new();
        for step in &steps {
            world.run(step);
        }
    }
}

#[test]
fn p7_long_lived_entries_survive_many_turns_of_the_ring() {
    let (disk, clock) = (Memory::new(), Arc::new(ManualClock::at(START)));
    let mut engine = open(&disk, &clock, config(16 << 10));
    for id in 0..20 {
        one(&engine, issue(id, format!("\"{id}\"").as_bytes(), 90_000));
    }
    let consumed = Op::Consume { digest: digest(3), key: Some(key(1)) };
    one(&engine, consumed.clone());
    for turn in 0..300 {
        let ops = (0..20).map(|n| issue(1_000 + turn * 20 + n, &[b'x'; 300], 500)).collect();
        engine.submit(ops).unwrap().wait().unwrap();
        clock.advance(100);
        if turn % 100 == 50 {
            drop(std::mem::replace(
                &mut engine,
                open(&disk.crash(Keep::Everything), &clock, config(16 << 10)),
            ));
            engine.close().unwrap();
            engine = open(&disk, &clock, config(16 << 10));
        }
    }
    let log = engine.stats().log;
    assert!(log.bytes < 16 * (16 << 10), "the ring is short: {log:?}");
    for id in (0..20).filter(|id| *id != 3) {
        assert_eq!(resolve(&engine, id).unwrap(), format!("\"{id}\"").as_bytes(), "{id}");
    }
    assert_eq!(one(&engine, consumed), Outcome::Replayed { payload: b"\"3\"".to_vec() });
}

#[test]
fn p2_rivals_in_one_call_have_one_winner() {
    let engine = Engine::open(Config::memory_only()).unwrap();
    one(&engine, issue(1, b"1", 1_000));
    let consume = Op::Consume { digest: digest(1), key: None };
    let outcomes = engine.submit(vec![consume; 64]).unwrap().wait().unwrap();
    let winners = outcomes.iter().filter(|won| matches!(won, Outcome::Consumed { .. })).count();
    assert_eq!(winners, 1);
    assert_eq!(engine.stats().replays, 63);
}

#[test]
fn p2_a_rival_that_lost_is_not_revived_by_a_replay() {
    let (disk, clock) = (Memory::new(), Arc::new(ManualClock::at(START)));
    let engine = open(&disk, &clock, config(16 << 10));
    let rival = |payload: &[u8], ttl_ms| Op::Issue {
        digest: digest(2),
        payload: payload.to_vec(),
        ttl: Duration::from_millis(ttl_ms),
        uses: 1,
        peek: true,
        derived: true,
    };
    let outcomes = engine.submit(vec![rival(b"1", 100), rival(b"2", 90_000)]).unwrap();
    assert!(matches!(outcomes.wait().unwrap()[..], [Outcome::Issued { .. }, Outcome::Conflict]));
    clock.advance(5_000);
    for turn in 0..100 {
        let ops = (0..20).map(|n| issue(1_000 + turn * 20 + n, &[b'x'; 300], 500)).collect();
        engine.submit(ops).unwrap().wait().unwrap();
        clock.advance(1_000);
        if turn % 10 == 0 {
            let again = open(&disk.crash(Keep::Synced), &clock, config(16 << 10));
            assert_eq!(resolve(&again, 2), None, "turn {turn}");
        }
    }
}

#[test]
fn p3_an_expiry_is_remembered_by_an_idle_server_whose_clock_jumps_back() {
    let (disk, clock) = (Memory::new(), Arc::new(ManualClock::at(START)));
    let engine = open(&disk, &clock, config(16 << 10));
    one(&engine, issue(1, b"1", 1_000));
    clock.advance(2_000);
    assert_eq!(resolve(&engine, 1), None);
    // The wheel turns on real time: wait until the log has the time.
    let before = engine.stats().lsn;
    while engine.stats().expired == 0 || engine.stats().lsn == before {
        std::thread::sleep(Duration::from_millis(5));
    }
    let crashed = disk.crash(Keep::Synced);
    clock.jump_to(START);
    assert_eq!(resolve(&engine, 1), None, "live");
    let again = open(&crashed, &clock, config(16 << 10));
    assert_eq!(resolve(&again, 1), None, "after the restart");
    assert!(again.now().0 >= START.0 + 1_000);
}

#[test]
fn p6_a_full_disk_acknowledges_nothing_and_writes_come_back() {
    let (disk, clock) = (Memory::new(), Arc::new(ManualClock::at(START)));
    let engine = open(&disk, &clock, config(16 << 10));
    one(&engine, issue(1, b"1", 90_000));
    disk.set_space_left(Some(0));
    let mut refused = 0;
    for id in 10..200 {
        match one(&engine, issue(id, &[b'x'; 500], 90_000)) {
            Outcome::Issued { .. } => assert!(resolve(&engine, id).is_some()),
            Outcome::DiskFull => {
                refused += 1;
                assert_eq!(resolve(&engine, id), None);
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(refused > 0);
    assert_eq!(engine.readiness(), Err(NotReady::DiskFull));
    assert_eq!(resolve(&engine, 1).as_deref(), Some(&b"1"[..]), "resolves go on");
    disk.set_space_left(None);
    assert!(matches!(one(&engine, issue(999, b"1", 90_000)), Outcome::Issued { .. }));
    assert_eq!(engine.readiness(), Ok(()));
}

#[test]
fn p6_readiness_comes_back_though_nobody_writes() {
    let (disk, clock) = (Memory::new(), Arc::new(ManualClock::at(START)));
    let engine = open(&disk, &clock, config(16 << 10));
    disk.set_space_left(Some(0));
    let mut id = 0;
    while engine.readiness().is_ok() {
        one(&engine, issue(id, &[b'x'; 500], 90_000));
        id += 1;
    }
    disk.set_space_left(None);
    while engine.readiness().is_err() {
        clock.advance(500);
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn p7_nothing_is_lost_when_the_disk_is_full_in_the_middle_of_cleaning() {
    for space in (0..80_000).step_by(2_000) {
        let (disk, clock) = (Memory::new(), Arc::new(ManualClock::at(START)));
        let engine = open(&disk, &clock, config(16 << 10));
        let mut living = Vec::new();
        // Frames as full as they may be, so that what is carried out of one overflows the next.
        // Most live long, so that much is carried; some do not, so that there is a point in it.
        let mut write = |first: u64, short: u64| {
            let ttl_ms = |id: u64| if id.is_multiple_of(short) { 500 } else { 90_000 };
            let ids = first..first + 8;
            let ops = ids.clone().map(|id| issue(id, &[b'x'; 440], ttl_ms(id))).collect();
            let outcomes = engine.submit(ops).unwrap().wait().unwrap();
            for (id, outcome) in ids.zip(outcomes) {
                if ttl_ms(id) > 500 && matches!(outcome, Outcome::Issued { .. }) {
                    living.push(id);
                }
            }
            clock.advance(100);
        };
        (0..12).for_each(|n| write(n * 8, 4));
        disk.set_space_left(Some(space));
        (12..30).for_each(|n| write(n * 8, 4));
        disk.set_space_left(None);
        (30..50).for_each(|n| write(n * 8, 1));
        let again = open(&disk.crash(Keep::Synced), &clock, config(16 << 10));
        for id in living {
            assert!(resolve(&again, id).is_some(), "{id} with {space} bytes");
        }
    }
}

#[test]
fn p2_a_loser_is_not_alone_in_the_next_segment() {
    let rival = |payload: &[u8], ttl_ms| Op::Issue {
        digest: digest(2),
        payload: payload.to_vec(),
        ttl: Duration::from_millis(ttl_ms),
        uses: 1,
        peek: true,
        derived: true,
    };
    for before in 0..6 {
        let (disk, clock) = (Memory::new(), Arc::new(ManualClock::at(START)));
        let engine = open(&disk, &clock, config(16 << 10));
        for n in 0..before {
            one(&engine, issue(10 + n, &[b'x'; 2_000], 1_000));
        }
        // The frame is full between the two, and at one of these places the segment as well.
        let fill = (0..12).map(|n| issue(100 + n, &[b'x'; 300], 1_000));
        let ops = fill.chain([rival(b"1", 100), rival(&[b'2'; 1_000], 90_000)]).collect();
        let outcomes = engine.submit(ops).unwrap().wait().unwrap();
        assert_eq!(outcomes.last(), Some(&Outcome::Conflict));
        clock.advance(5_000);
        for turn in 0..30 {
            let ops = (0..8).map(|n| issue(1_000 + turn * 20 + n, &[b'x'; 400], 500)).collect();
            engine.submit(ops).unwrap().wait().unwrap();
            clock.advance(1_000);
            let again = open(&disk.crash(Keep::Synced), &clock, config(16 << 10));
            assert_eq!(resolve(&again, 2), None, "turn {turn}, {before} before");
        }
    }
}

#[test]
fn p6_a_failed_sync_tells_every_waiter_and_stops_writes_for_good() {
    let (disk, clock) = (Memory::new(), Arc::new(ManualClock::at(START)));
    let engine = open(&disk, &clock, config(16 << 10));
    one(&engine, issue(1, b"1", 90_000));
    disk.set_failing_syncs(true);
    let pending: Vec<_> =
        (10..20).map(|id| engine.submit(vec![issue(id, b"2", 90_000)]).unwrap()).collect();
    for pending in pending {
        assert_eq!(pending.wait().unwrap(), [Outcome::ReadOnly]);
    }
    disk.set_failing_syncs(false);
    assert_eq!(one(&engine, issue(30, b"3", 90_000)), Outcome::ReadOnly, "never retried");
    assert!(matches!(engine.readiness(), Err(NotReady::ReadOnly(_))));
    assert_eq!(resolve(&engine, 1).as_deref(), Some(&b"1"[..]), "resolves go on");
}

#[test]
fn p8_memory_is_limited_and_nothing_is_evicted() {
    let config = Config { max_memory_bytes: Some(100_000), ..Config::memory_only() };
    let engine = Engine::open(config).unwrap();
    let ops = (0..1_000).map(|id| issue(id, &[b'x'; 128], 60_000)).collect();
    let outcomes = engine.submit(ops).unwrap().wait().unwrap();
    let full = outcomes.iter().position(|outcome| *outcome == Outcome::MemoryFull).unwrap();
    assert!((400..700).contains(&full), "{full}");
    assert!((0..full as u64).all(|id| resolve(&engine, id).is_some()), "nothing evicted");
    one(&engine, Op::Revoke { digest: digest(0) });
    assert!(matches!(one(&engine, issue(5_000, &[b'x'; 128], 60_000)), Outcome::Issued { .. }));
}

#[test]
fn p8_a_full_queue_rejects_at_once() {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(START));
    let config = Config { queue_len: 4, ..Config::memory_only() };
    let recovered = super::recover::open(config, clock, &NoProgress).unwrap();
    // An engine whose committer does not run.
    let (jobs, queue) = bounded(4);
    let shared = Arc::clone(&recovered.shared);
    let committer = Committer::new(recovered, queue);
    let committing = Committing { jobs, closing: RwLock::new(false), thread: Mutex::new(None) };
    let engine = Engine { shared, committer: Arc::new(committing) };
    let pending: Vec<_> =
        (0..4).map(|id| engine.submit(vec![issue(id, b"1", 1_000)]).unwrap()).collect();
    assert_eq!(engine.submit(vec![issue(9, b"1", 1_000)]).err(), Some(Rejected::QueueFull));
    drop(committer);
    for pending in pending {
        assert_eq!(pending.wait(), Err(Rejected::Closed), "no call waits for ever");
    }
}

#[test]
fn what_cannot_succeed_never_reaches_the_log() {
    let (disk, clock) = (Memory::new(), Arc::new(ManualClock::at(START)));
    let engine = open(&disk, &clock, config(16 << 10));
    one(&engine, issue(1, b"1", 90_000));
    let records = engine.stats().records;
    for id in 100..200 {
        let outcome = one(&engine, Op::Consume { digest: digest(id), key: None });
        assert_eq!(outcome, Outcome::NotFound);
        assert_eq!(one(&engine, Op::Revoke { digest: digest(id) }), Outcome::Revoked);
    }
    assert_eq!(engine.stats().records, records);
}

#[test]
fn a_caller_gets_each_outcome_at_its_place() {
    let engine = Engine::open(Config::memory_only()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let caller = engine.caller();
        let pump = caller.clone();
        tokio::task::spawn_local(async move { pump.pump().await });
        let calls: Vec<_> = (0..200)
            .map(|id| {
                let caller = caller.clone();
                tokio::task::spawn_local(async move {
                    let payload = id.to_string().into_bytes();
                    caller.call_one(issue(id, &payload, 10_000)).await.unwrap();
                    let consume = Op::Consume { digest: digest(id), key: None };
                    assert_eq!(caller.call_one(consume).await, Ok(Outcome::Consumed { payload }));
                })
            })
            .collect();
        for (n, call) in calls.into_iter().enumerate() {
            // Some of them go away while they wait.
            if n % 7 == 0 { call.abort() } else { call.await.unwrap() }
        }
    });
    let mut seen = HashMap::new();
    for id in 0..200u64 {
        *seen.entry(resolve(&engine, id).is_some()).or_insert(0) += 1;
    }
    assert!(seen[&false] >= 170, "{seen:?}");
}
