//! Random operations compared with a model: durable live entries are always found again, complete,
//! after any reopening and any crash.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::testkit::disk::Keep;
use crate::wal::{Clean, Step};

#[derive(Clone, Debug)]
enum Op {
    Append { len: usize, ttl_ms: u64 },
    Sync,
    Kill { which: usize },
    Clean,
    Pass { ms: u64 },
    Mark,
    Reopen,
    Crash { keep: Keep },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => (0_usize..1500, 1_u64..400).prop_map(|(len, ttl_ms)| Op::Append { len, ttl_ms }),
        6 => Just(Op::Sync),
        4 => any::<usize>().prop_map(|which| Op::Kill { which }),
        6 => Just(Op::Clean),
        2 => (0_u64..60).prop_map(|ms| Op::Pass { ms }),
        1 => Just(Op::Mark),
        1 => Just(Op::Reopen),
        1 => prop_oneof![
            Just(Keep::Synced),
            Just(Keep::Everything),
            any::<u64>().prop_map(Keep::Some),
        ]
        .prop_map(|keep| Op::Crash { keep }),
    ]
}

/// One entry: its position, the length of its frame, and its deadline.
#[derive(Clone, Copy, Debug)]
struct Entry {
    seq: u64,
    len: usize,
    deadline_ms: u64,
    end_lsn: Lsn,
}

/// Stands in for the engine: the live entries, by number.
struct Model {
    disk: Memory,
    wal: Wal,
    now_ms: u64,
    next: u64,
    live: BTreeMap<u64, Entry>,
    /// Dead entries that may still be found.
    dead: std::collections::BTreeSet<u64>,
}

fn body(number: u64, deadline_ms: u64, len: usize) -> Vec<u8> {
    let mut body = number.to_le_bytes().to_vec();
    body.extend_from_slice(&deadline_ms.to_le_bytes());
    body.resize(16 + len, number as u8);
    body
}

fn parts(body: &[u8]) -> (u64, u64) {
    let number = |at: usize| u64::from_le_bytes(body[at..at + 8].try_into().unwrap());
    (number(0), number(8))
}

impl Model {
    fn new() -> Self {
        let disk = Memory::new();
        let wal = create(&disk);
        Self { disk, wal, now_ms: 1, next: 0, live: BTreeMap::new(), dead: Default::default() }
    }

    fn write(&mut self, number: u64, deadline_ms: u64, len: usize) {
        let frame = frame(&body(number, deadline_ms, len));
        let appended = self.wal.append(self.now_ms, &frame).unwrap();
        self.wal.note_deadline(appended.seq, deadline_ms);
        self.wal.add_live(appended.seq, len as u64 + 16);
        let entry = Entry { seq: appended.seq, len, deadline_ms, end_lsn: appended.end_lsn };
        self.live.insert(number, entry);
    }

    fn kill(&mut self, number: u64) {
        let entry = self.live.remove(&number).unwrap();
        self.wal.sub_live(entry.seq, entry.len as u64 + 16);
        self.dead.insert(number);
    }

    fn expire(&mut self) {
        let now_ms = self.now_ms;
        let expired: Vec<u64> = self
            .live
            .iter()
            .filter(|(_, entry)| entry.deadline_ms < now_ms)
            .map(|(number, _)| *number)
            .collect();
        expired.into_iter().for_each(|number| self.kill(number));
    }

    fn clean(&mut self) {
        match self.wal.cleaning_due(self.now_ms) {
            Clean::Nothing => {}
            Clean::Expired { seq } => {
                assert!(self.live.values().all(|entry| entry.seq != seq));
                free(&mut self.wal, seq, Lsn::ZERO);
            }
            Clean::Aged { seq } | Clean::Scan { seq } => {
                let mut cleaner = self.wal.cleaner().unwrap().unwrap();
                assert_eq!(cleaner.seq(), seq);
                while let Step::Frames(frames) = cleaner.step(2000).unwrap() {
                    let bodies: Vec<Vec<u8>> = frames.map(|frame| frame.body.to_vec()).collect();
                    bodies.iter().for_each(|body| self.relocate(seq, body));
                }
                let relocated = self.wal.sync().unwrap();
                assert!(self.live.values().all(|entry| entry.seq != seq));
                free(&mut self.wal, seq, relocated);
            }
        }
    }

    fn relocate(&mut self, from: u64, body: &[u8]) {
        if body.is_empty() {
            return;
        }
        let number = parts(body).0;
        if let Some(entry) = self.live.get(&number).copied().filter(|entry| entry.seq == from) {
            self.wal.sub_live(from, entry.len as u64 + 16);
            self.write(number, entry.deadline_ms, entry.len);
        }
    }

    fn reopen(&mut self, disk: Memory) {
        let durable = self.wal.durable();
        let storage = disk.storage();
        let found = survey(&storage).unwrap().unwrap();
        let mut wal = Wal::resume(&storage, TINY, &found).unwrap();
        assert!(wal.head() >= durable, "what was durable is there");
        assert!(wal.last_time_ms() <= self.now_ms);
        let before = std::mem::take(&mut self.live);
        for segment in &found.segments {
            let frames = segment.read().unwrap();
            for frame in frames.iter().filter(|frame| !frame.body.is_empty()) {
                let (number, deadline_ms) = parts(frame.body);
                let len = frame.body.len() - 16;
                assert_eq!(frame.body, body(number, deadline_ms, len));
                assert!(before.contains_key(&number) || self.dead.contains(&number));
                wal.note_deadline(frames.seq, deadline_ms);
                if self.dead.contains(&number) {
                    continue;
                }
                wal.add_live(frames.seq, len as u64 + 16);
                let entry = Entry { seq: frames.seq, len, deadline_ms, end_lsn: frame.lsn };
                if let Some(relocated) = self.live.insert(number, entry) {
                    wal.sub_live(relocated.seq, len as u64 + 16);
                }
            }
        }
        for (number, entry) in before {
            let found = self.live.contains_key(&number);
            assert!(found || entry.end_lsn > durable, "{number} is gone: {entry:?}");
        }
        self.disk = disk;
        self.wal = wal;
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Append { len, ttl_ms } => {
                self.next += 1;
                self.write(self.next, self.now_ms + ttl_ms, len);
            }
            Op::Sync => drop(self.wal.sync().unwrap()),
            Op::Kill { which } => {
                let numbers: Vec<u64> = self.live.keys().copied().collect();
                if let Some(at) = which.checked_rem(numbers.len()) {
                    self.kill(numbers[at]);
                }
            }
            Op::Clean => self.clean(),
            Op::Pass { ms } => {
                self.now_ms += ms;
                self.expire();
            }
            Op::Mark => drop(self.wal.mark(self.now_ms).unwrap()),
            Op::Reopen => {
                self.wal.mark(self.now_ms).unwrap();
                let disk = self.disk.clone();
                let found = survey(&disk.storage()).unwrap().unwrap();
                assert_eq!(found.tail.torn_bytes, 0, "a closed log has no torn tail");
                self.reopen(disk);
            }
            Op::Crash { keep } => {
                let disk = self.disk.crash(keep);
                self.reopen(disk);
            }
        }
        let live: u64 = self.live.values().map(|entry| entry.len as u64 + 16).sum();
        assert_eq!(self.wal.live_bytes(), live);
        assert_eq!(self.wal.segments().map(|segment| segment.live_bytes).sum::<u64>(), live);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_lives_and_is_durable_is_found_again(ops in prop::collection::vec(op(), 1..160)) {
        let mut model = Model::new();
        for op in &ops {
            model.apply(op);
        }
        let disk = model.disk.crash(Keep::Synced);
        model.reopen(disk);
    }
}
