//! Logs to be damaged: scripts that write every kind of record with the real engine, on a disk in
//! memory, and remember what was acknowledged after each frame.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jeton::clock::Clock;
use jeton::engine::{Config, Op, OpenError, Outcome};
use jeton::model::time::UnixMillis;
use jeton::model::token::{ConsumeKey, Digest, Digester, Secret};
use jeton::testkit::clock::ManualClock;
use jeton::testkit::disk::Memory;
use jeton::testkit::stepped::Stepped;
use jeton::wal::{self, Preparing, survey};

/// The wall clock when a script begins; a start after damage uses the same time, so that only the
/// log contains later times.
pub const START: UnixMillis = UnixMillis(1_700_000_000_000);

/// Files by name.
pub type Files = BTreeMap<String, Vec<u8>>;

/// State of a live token: payload if it resolves, deadline, uses left.
pub type Seen = Option<(Option<Vec<u8>>, UnixMillis, u32)>;

/// The acknowledged state after a frame.
#[derive(Clone)]
pub struct State {
    /// The end of the frame.
    pub lsn: u64,
    /// Its log time.
    pub time: UnixMillis,
    /// Tokens by id, according to the live engine.
    pub seen: Vec<Seen>,
    /// The keyed consumes so far, and the answers to retries.
    pub replays: Vec<(Op, Outcome)>,
    /// Content of all files at that time, for small logs only.
    pub files: Option<Files>,
}

/// Position of a frame.
#[derive(Clone, Debug)]
pub struct Place {
    pub file: String,
    pub at: usize,
    pub len: usize,
    pub end_lsn: u64,
}

/// A log, its acknowledged states, and the positions of its frames.
pub struct Written {
    pub name: &'static str,
    pub files: Files,
    pub states: Vec<State>,
    pub frames: Vec<Place>,
    pub segment_size: u64,
}

impl Written {
    pub fn last(&self) -> &State {
        self.states.last().expect("a script acknowledges something")
    }

    /// The name of the file with the last frame.
    pub fn current_file(&self) -> &str {
        &self.frames.last().expect("a script writes something").file
    }
}

pub fn config(segment_size: u64) -> Config {
    Config {
        max_ttl: Duration::from_secs(100),
        recovery_threads: 1,
        wal: wal::Config {
            segment_size,
            log_min_size: segment_size * 4,
            max_age: None,
            preparing: Preparing::Inline,
        },
        ..Config::default()
    }
}

pub fn open(disk: &Memory, segment_size: u64, wall: UnixMillis) -> Result<Stepped, OpenError> {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(wall));
    open_at(disk, segment_size, clock)
}

fn open_at(disk: &Memory, size: u64, clock: Arc<dyn Clock>) -> Result<Stepped, OpenError> {
    let digester = Digester::new(&Secret::from_bytes([7; 32]), "default");
    Stepped::open(config(size), disk.storage(), digester, clock)
}

pub fn files_of(disk: &Memory) -> Files {
    disk.names().into_iter().map(|name| (name.clone(), disk.bytes(&name))).collect()
}

/// A disk with these files, all durable.
pub fn disk_of(files: &Files) -> Memory {
    let disk = Memory::new();
    for (name, bytes) in files {
        let _file = disk.storage().create(name, 0).expect("an empty disk takes a file");
        disk.edit(name, |now| now.clone_from(bytes));
    }
    disk.storage().sync_dir().expect("names are kept");
    disk
}

pub fn digest(id: usize) -> Digest {
    let mut bytes = [0; 16];
    let mixed = (id as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    bytes[..8].copy_from_slice(&mixed.to_le_bytes());
    bytes[8..].copy_from_slice(&mixed.rotate_left(29).to_le_bytes());
    Digest::from_bytes(bytes)
}

fn key(n: usize) -> ConsumeKey {
    ConsumeKey([n as u8; 16])
}

pub fn issue(id: usize, payload_len: usize, ttl_ms: u64, uses: u32) -> Op {
    let mut payload = format!("\"{id:06}-").into_bytes();
    payload.resize(payload.len() + payload_len, b'a' + (id % 26) as u8);
    payload.push(b'"');
    let ttl = Duration::from_millis(ttl_ms);
    let (peek, derived) = (id % 5 != 4, id % 7 == 6);
    Op::Issue { digest: digest(id), payload, ttl, uses, peek, derived }
}

fn consume(id: usize, keyed: Option<usize>) -> Op {
    Op::Consume { digest: digest(id), key: keyed.map(key) }
}

fn extend(id: usize, ttl_ms: u64) -> Op {
    Op::Extend { digest: digest(id), ttl: Duration::from_millis(ttl_ms) }
}

fn revoke(id: usize) -> Op {
    Op::Revoke { digest: digest(id) }
}

/// The engine's state of the ids below `count`.
pub fn look(stepped: &Stepped, count: usize) -> Vec<Seen> {
    let (engine, now) = (stepped.engine(), stepped.engine().now());
    let one = |id: usize| {
        let status = engine.status(&digest(id), now)?;
        let payload = engine.resolve(&digest(id), now, <[u8]>::to_vec);
        Some((payload, status.expires_at, status.uses_left))
    };
    (0..count).map(one).collect()
}

/// A running script.
pub struct Script {
    disk: Memory,
    clock: Arc<ManualClock>,
    stepped: Stepped,
    segment_size: u64,
    states: Vec<State>,
    keyed: Vec<Op>,
    ids: usize,
    keep_files: bool,
}

impl Script {
    pub fn begin(segment_size: u64, ids: usize, keep_files: bool) -> Self {
        let (disk, clock) = (Memory::new(), Arc::new(ManualClock::at(START)));
        let stepped = open_at(&disk, segment_size, clock.clone()).expect("a new log");
        let (states, keyed) = (Vec::new(), Vec::new());
        Self { disk, clock, stepped, segment_size, states, keyed, ids, keep_files }
    }

    /// One frame, a millisecond later.
    pub fn step(&mut self, ops: Vec<Op>) -> &mut Self {
        self.clock.advance(1);
        let keyed = ops.iter().filter(|op| matches!(op, Op::Consume { key: Some(_), .. }));
        self.keyed.extend(keyed.cloned());
        let outcomes = self.stepped.carry_out(ops).expect("the script is taken on");
        for outcome in outcomes {
            let failed = matches!(
                outcome,
                Outcome::DiskFull | Outcome::LogUnavailable | Outcome::ReadOnly | Outcome::Unsynced
            );
            assert!(!failed, "the script was refused: {outcome:?}");
        }
        self.note();
        self
    }

    /// The committer's maintenance while idle: a mark right after a frame.
    pub fn idle(&mut self, millis: u64) -> &mut Self {
        self.clock.advance(millis);
        self.stepped.tend(true);
        self.note();
        self
    }

    pub fn tend(&mut self) -> &mut Self {
        self.stepped.tend(false);
        self.note();
        self
    }

    fn note(&mut self) {
        let lsn = self.stepped.engine().stats().lsn;
        if self.states.last().is_some_and(|state| state.lsn == lsn) {
            return;
        }
        // Marks change nothing but the time.
        let retries: Vec<Op> = self.keyed.clone();
        let tell = |op: &Op| {
            let retried = self.stepped.engine().submit(vec![op.clone()]).expect("taken on");
            (op.clone(), retried.wait().expect("answered at once").remove(0))
        };
        let replays = retries.iter().map(tell).collect();
        let time = self.stepped.engine().now();
        let files = self.keep_files.then(|| files_of(&self.disk));
        let seen = look(&self.stepped, self.ids);
        self.states.push(State { lsn, time, seen, replays, files });
    }

    /// Closes the log cleanly, or stops without closing.
    pub fn end(self, name: &'static str, closed: bool) -> Written {
        let Self { disk, mut states, stepped, segment_size, keep_files, .. } = self;
        if closed {
            stepped.close().expect("closed");
        } else {
            drop(stepped);
        }
        let files = files_of(&disk);
        let frames = frames_of(&disk);
        let mark = frames.last().expect("something was written");
        if closed {
            let before = states.last().expect("something was acknowledged").clone();
            let files = keep_files.then(|| files.clone());
            states.push(State { lsn: mark.end_lsn, files, ..before });
        }
        assert_eq!(states.last().map(|state| state.lsn), Some(mark.end_lsn), "{name}");
        Written { name, files, states, frames, segment_size }
    }
}

/// Positions of all frames of an intact log.
fn frames_of(disk: &Memory) -> Vec<Place> {
    let found = survey(&disk.storage()).expect("whole").expect("a log");
    let mut places = Vec::new();
    for segment in &found.segments {
        let file = segment.file_name();
        for frame in &segment.read().expect("whole") {
            let at = segment.header.offset_of(frame.lsn) as usize;
            let len = frame.file_len as usize;
            let end_lsn = frame.lsn.0 + len as u64;
            places.push(Place { file: file.clone(), at, len, end_lsn });
        }
    }
    places
}

/// Every kind of record but a Carry: in one segment with another prepared behind it.
fn few_of_each(script: &mut Script) {
    script.step(vec![issue(0, 20, 90_000, 1), issue(1, 60, 90_000, 3)]);
    script.step(vec![issue(2, 100, 90_000, 2), issue(3, 5, 90_000, 1), issue(6, 9, 90_000, 1)]);
    script.step(vec![consume(1, Some(1)), extend(0, 95_000)]).idle(64);
    script.step(vec![issue(4, 40, 90_000, 1), issue(5, 30, 200, 1), revoke(3)]);
    script.step(vec![consume(2, None), consume(6, Some(2))]).idle(64);
    // The deadline of 5 passes without writes: the log must contain that time.
    script.idle(300).idle(600);
}

/// Few enough frames for every bit.
pub fn closed() -> Written {
    let mut script = Script::begin(8 << 10, 12, true);
    few_of_each(&mut script);
    script.step(vec![issue(7, 200, 90_000, 1)]);
    script.end("closed", true)
}

pub fn stopped() -> Written {
    let mut script = Script::begin(8 << 10, 12, true);
    few_of_each(&mut script);
    script.step(vec![issue(7, 700, 90_000, 1), consume(1, Some(3))]);
    script.end("stopped", false)
}

/// Several segments, all sealed but the last, which has one frame.
pub fn rolled() -> Written {
    let mut script = Script::begin(8 << 10, 20, true);
    few_of_each(&mut script);
    for id in 7..20 {
        script.step(vec![issue(id, 600, 90_000, 1)]);
        if id == 12 {
            script.step(vec![consume(7, Some(4)), revoke(8), extend(4, 99_000)]);
        }
    }
    script.end("rolled", false)
}

/// A ring that has turned: relocated entries, and stale bytes after the head of the current file.
pub fn turned() -> Written {
    let mut script = Script::begin(8 << 10, 130, true);
    few_of_each(&mut script);
    for id in 7..125 {
        script.step(vec![issue(id, 400, 60, 1)]).tend();
    }
    script.step(vec![consume(1, Some(5)), extend(0, 99_000)]).idle(64);
    script.step(vec![issue(126, 90, 90_000, 1)]);
    script.end("turned", false)
}

/// Mebibytes, with many frames of every kind.
pub fn large(segment_size: u64, frames: usize) -> Written {
    let mut script = Script::begin(segment_size, 400, false);
    few_of_each(&mut script);
    for n in 0..frames {
        let id = 7 + n * 31 % 390;
        let ttl_ms = if n % 3 == 0 { 90_000 } else { 150 };
        let len = 100 + n * 977 % 9_000;
        script.step(vec![issue(id, len, ttl_ms, 1 + (n % 3) as u32)]).tend();
        match n % 9 {
            2 => script.step(vec![consume(7 + (n * 17) % 390, None)]),
            4 => script.step(vec![extend(7 + (n * 13) % 390, 99_000)]),
            6 => script.step(vec![revoke(7 + (n * 29) % 390)]),
            8 => script.idle(64),
            _ => &mut script,
        };
    }
    script.step(vec![issue(397, 3_000, 90_000, 1)]);
    script.end("large", false)
}
