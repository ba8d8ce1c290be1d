//! The engine against a model: every operation, with reopening, crashes, clock jumps and segments
//! so small that the ring turns many times.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::clock::Observer;

use super::*;
use crate::model::value::value_of;

/// The expected entry.
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

/// Ids from here on come from [`Step::Fill`] and are not checked again.
const FILL_FROM: u64 = 1 << 32;

struct World {
    disk: Memory,
    clock: Arc<ManualClock>,
    engine: Engine,
    model: BTreeMap<u64, Expected>,
    filled: u64,
}

impl World {
    fn new() -> Self {
        let (disk, clock) = (Memory::new(), Arc::new(ManualClock::at(START)));
        let engine = open(&disk, &clock, config(16 << 10));
        Self { disk, clock, engine, model: BTreeMap::new(), filled: 0 }
    }

    /// The committer reads the clock only at its turns; here it has always just read it.
    fn now(&self) -> u64 {
        self.engine.shared.time.observe(&mut Observer::default(), false).0
    }

    /// The entry, if it is alive now.
    fn live(&mut self, id: u64) -> Option<&mut Expected> {
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
                let is_alive = self.live(id).is_some_and(|entry| entry.uses_left > 0);
                let expected = if is_alive { Outcome::Revoked } else { Outcome::NotFound };
                assert_eq!(one(&self.engine, Op::Revoke { digest: digest(id) }), expected);
                if is_alive {
                    self.model.remove(&id);
                }
            }
            Step::Advance { ms } => self.clock.advance(ms),
            Step::JumpBack { ms } => {
                let before = self.engine.now();
                self.clock.jump_to(UnixMillis(self.clock.wall().0 - ms));
                // A reader may have read the time at any moment before the jump.
                self.engine.shared.time.hold(before);
                assert!(self.engine.now() >= before, "P3: time ran backwards");
            }
            Step::Fill { count } => self.fill(count),
            Step::Reopen => {
                self.engine.close().unwrap();
                self.engine = open(&self.disk, &self.clock, config(16 << 10));
            }
            Step::Crash { seed } => {
                // The log contains the time after the next frame, or after a turn of the wheel: up
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
        if !derived && self.live(id).is_some() {
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
        let expected = match self.live(id) {
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
        let expected = match self.live(id) {
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
        let expected = match self.live(id) {
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
            let expected = match self.live(id) {
                Some(entry) if entry.uses_left > 0 => (
                    entry.peek.then(|| entry.payload.clone()),
                    Some(Status {
                        expires_at: UnixMillis(entry.deadline),
                        uses_left: entry.uses_left,
                        payload_len: entry.payload.len(),
                        value_len: value_of(&entry.payload).len(),
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
