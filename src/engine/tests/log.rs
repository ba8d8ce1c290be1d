//! The log under the engine with a slow disk, with segments smaller than before, or if the next
//! segment can't be created.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::*;
use crate::engine::stepped::Stepped;
use crate::testkit::disk::{Fault, Planned};
use crate::wal::{File, Listed, Storage};
use crate::warning::Warning;

fn step(storage: Arc<dyn Storage>, clock: &Arc<ManualClock>, config: Config) -> Stepped {
    let digester = Digester::new(&Secret::from_bytes([7; 32]), "default");
    Stepped::open(config, storage, digester, clock.clone()).unwrap()
}

fn carry_out(engine: &mut Stepped, op: Op) -> Outcome {
    engine.carry_out(vec![op]).unwrap().pop().unwrap()
}

/// A disk on which writing a page of a file being prepared takes 4 ms and a sync 5 ms. It measures
/// for how long acknowledged changes are not durable.
#[derive(Clone)]
struct Slow {
    disk: Memory,
    clock: Arc<ManualClock>,
    /// For each name, whether the file has become a segment.
    files: Arc<Mutex<HashMap<String, Arc<AtomicBool>>>>,
    /// When the oldest change that is not durable was acknowledged, in monotonic milliseconds plus
    /// one; 0 for none.
    waits_since: Arc<AtomicU64>,
    /// The maximum time for which a change was not durable.
    longest_ms: Arc<AtomicU64>,
}

struct SlowFile {
    file: Arc<dyn File>,
    disk: Slow,
    is_segment: Arc<AtomicBool>,
}

impl Slow {
    fn new(clock: &Arc<ManualClock>) -> Self {
        Self {
            disk: Memory::new(),
            clock: clock.clone(),
            files: Arc::default(),
            waits_since: Arc::default(),
            longest_ms: Arc::default(),
        }
    }

    fn now_ms(&self) -> u64 {
        self.clock.monotonic().as_millis() as u64
    }

    fn acknowledged(&self) {
        let now = self.now_ms() + 1;
        let _ = self.waits_since.compare_exchange(0, now, Ordering::SeqCst, Ordering::SeqCst);
    }

    fn durable(&self) {
        let since = self.waits_since.swap(0, Ordering::SeqCst);
        if since > 0 {
            self.longest_ms.fetch_max(self.now_ms() + 1 - since, Ordering::SeqCst);
        }
    }

    fn wrap(&self, name: &str, file: Arc<dyn File>) -> Arc<dyn File> {
        let mut files = self.files.lock().unwrap();
        let is_segment = files.entry(name.to_owned()).or_default().clone();
        Arc::new(SlowFile { file, disk: self.clone(), is_segment })
    }
}

impl Storage for Slow {
    fn create(&self, name: &str, reserve_len: u64) -> io::Result<Arc<dyn File>> {
        self.files.lock().unwrap().remove(name);
        Ok(self.wrap(name, self.disk.create(name, reserve_len)?))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        Ok(self.wrap(name, self.disk.open(name)?))
    }

    fn list(&self) -> io::Result<Vec<Listed>> {
        self.disk.list()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = self.files.lock().unwrap();
        let file = files.remove(from).unwrap_or_default();
        file.store(to.starts_with("segment-"), Ordering::SeqCst);
        files.insert(to.to_owned(), file);
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.disk.sync_dir()
    }
}

impl File for SlowFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_at(buf, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if !self.is_segment.load(Ordering::SeqCst) {
            self.disk.clock.advance(4);
        }
        self.file.write_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.clock.advance(5);
        self.file.sync()?;
        if self.is_segment.load(Ordering::SeqCst) {
            self.disk.durable();
        }
        Ok(())
    }

    fn forget_cache(&self) -> io::Result<()> {
        self.file.forget_cache()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
}

/// Filling a segment takes longer than the period, and the committer has to wait for it each time.
#[test]
fn p1_the_sync_period_is_kept_whatever_the_preparer_does() {
    let clock = Arc::new(ManualClock::at(START));
    let disk = Slow::new(&clock);
    let mut config = config(512 << 10);
    config.sync = SyncMode::Every(Duration::from_millis(100));
    config.wal.preparing = Preparing::Late;
    let mut engine = step(Arc::new(disk.clone()), &clock, config);
    for id in 0..800 {
        let outcome = carry_out(&mut engine, issue(id, &[b'x'; 2_000], MAX_TTL_MS));
        assert!(matches!(outcome, Outcome::Issued { .. }));
        disk.acknowledged();
        clock.advance(1);
        engine.tend(false);
    }
    assert!(engine.engine().stats().log.segments >= 3);
    let longest_ms = disk.longest_ms.load(Ordering::SeqCst);
    // The period, one turn, and the sync itself.
    assert!((100..=110).contains(&longest_ms), "{longest_ms} ms");
}

/// Entries of an earlier, larger `--segment-size` are longer than a segment of today.
#[test]
fn p7_smaller_segments_than_before_are_cleaned_all_the_same() {
    let (disk, clock) = (Memory::new(), Arc::new(ManualClock::at(START)));
    let mut engine = step(disk.storage(), &clock, config(64 << 10));
    for id in 0..5 {
        let outcome = carry_out(&mut engine, issue(id, &[b'x'; 9_000], MAX_TTL_MS));
        assert!(matches!(outcome, Outcome::Issued { .. }), "{outcome:?}");
    }
    engine.close().unwrap();
    let mut engine = step(disk.storage(), &clock, config(8 << 10));
    for turn in 0..600 {
        let outcome = carry_out(&mut engine, issue(1_000 + turn, &[b'y'; 1_000], 500));
        assert!(matches!(outcome, Outcome::Issued { .. }), "{outcome:?}");
        clock.advance(20);
        engine.tend(turn % 7 == 0);
    }
    let log = engine.engine().stats().log;
    assert!(log.segments_released > 10, "{log:?}");
    assert!(log.bytes < 300 << 10, "{log:?}");
    assert!(log.carried_bytes >= 5 * 9_000, "{log:?}");
    assert_eq!(engine.engine().readiness(), Ok(()));
    let again = step(disk.crash(Keep::Synced).storage(), &clock, config(8 << 10));
    assert!((0..5).all(|id| resolve(again.engine(), id).is_some()));
}

/// A disk on which no file can be created, because descriptors have run out.
#[derive(Clone)]
struct FewDescriptors {
    disk: Memory,
    is_short: Arc<AtomicBool>,
}

impl Storage for FewDescriptors {
    fn create(&self, name: &str, reserve_len: u64) -> io::Result<Arc<dyn File>> {
        match self.is_short.load(Ordering::SeqCst) {
            true => Err(io::Error::other("too many open files")),
            false => self.disk.create(name, reserve_len),
        }
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.disk.open(name)
    }

    fn list(&self) -> io::Result<Vec<Listed>> {
        self.disk.list()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.disk.sync_dir()
    }
}

#[test]
fn p6_what_is_no_full_disk_is_not_called_one() {
    let clock = Arc::new(ManualClock::at(START));
    let is_short = Arc::new(AtomicBool::new(true));
    let disk = FewDescriptors { disk: Memory::new(), is_short: is_short.clone() };
    is_short.store(false, Ordering::SeqCst);
    let mut engine = step(Arc::new(disk), &clock, config(16 << 10));
    is_short.store(true, Ordering::SeqCst);
    let mut ids = 0..;
    let mut next = |engine: &mut Stepped| {
        let id = ids.next().unwrap();
        carry_out(engine, issue(id, &[b'x'; 1_000], MAX_TTL_MS))
    };
    let refused = (0..40).find_map(|_| match next(&mut engine) {
        Outcome::Issued { .. } => None,
        refused => Some(refused),
    });
    assert_eq!(refused, Some(Outcome::LogUnavailable));
    let readiness = engine.engine().readiness().unwrap_err().to_string();
    assert!(readiness.contains("too many open files"), "{readiness}");
    assert!(!readiness.contains("full"), "{readiness}");
    is_short.store(false, Ordering::SeqCst);
    assert!(matches!(next(&mut engine), Outcome::Issued { .. }));
    assert_eq!(engine.engine().readiness(), Ok(()));
}

/// Fills the oldest segments of a log of small segments with long-lived entries, until they have to
/// be relocated.
fn to_be_relocated(disk: &Memory, clock: &Arc<ManualClock>) -> Stepped {
    let mut engine = step(disk.storage(), clock, config(16 << 10));
    for id in 0..40 {
        let ttl_ms = if id < 8 { MAX_TTL_MS } else { 60_000 };
        carry_out(&mut engine, issue(id, &[b'x'; 1_400], ttl_ms));
    }
    clock.advance(61_000);
    engine.tend(false);
    engine
}

#[test]
fn cleaner_credit_does_not_count_its_own_bytes() {
    let (disk, clock) = (Memory::new(), Arc::new(ManualClock::at(START)));
    let mut engine = to_be_relocated(&disk, &clock);
    engine.tend(true);
    let relocated = engine.engine().stats().log.carried_bytes;
    // More than a frame holds: one was committed in the middle.
    assert!(relocated > 4 << 10, "{relocated}");
    assert!(engine.cleaning_credit() < 256 << 10, "{}", engine.cleaning_credit());
}

#[test]
fn p7_bytes_that_were_not_relocated_are_not_counted() {
    let (disk, clock) = (Memory::new(), Arc::new(ManualClock::at(START)));
    let mut engine = to_be_relocated(&disk, &clock);
    disk.set_space_left(Some(0));
    engine.tend(true);
    assert_eq!(engine.engine().stats().log.carried_bytes, 0);
    disk.set_space_left(None);
}

#[test]
fn p8_a_log_beyond_its_limit_is_a_warning_until_it_is_cleaned() {
    let (disk, clock) = (Memory::new(), Arc::new(ManualClock::at(START)));
    let mut engine = step(disk.storage(), &clock, config(16 << 10));
    let stands = |engine: &Stepped| engine.engine().warnings().contains_key(&Warning::LogOverLimit);
    for id in 0..300 {
        carry_out(&mut engine, issue(id, &[b'x'; 1_400], MAX_TTL_MS));
        clock.advance(100);
        engine.tend(false);
        assert!(!stands(&engine), "{id}: {:?}", engine.engine().stats().log);
    }
    for id in 0..300 {
        carry_out(&mut engine, Op::Revoke { digest: digest(id) });
    }
    clock.advance(100);
    engine.tend(false);
    assert!(stands(&engine) && engine.engine().stats().log.over_limit_bytes > 64 << 10);
    assert_eq!(engine.engine().readiness(), Ok(()));
    for id in 0..1_500 {
        carry_out(&mut engine, issue(1_000 + id, &[b'x'; 500], 1_000));
        clock.advance(100);
        engine.tend(false);
    }
    assert!(!stands(&engine), "{:?}", engine.engine().stats().log);
}

/// The last change of a killed process is at the end of the log: a mark after it makes damage to it
/// provable.
#[test]
fn p5_a_start_puts_a_mark_behind_the_last_records() {
    let (disk, clock) = (Memory::new(), Arc::new(ManualClock::at(START)));
    let mut engine = step(disk.storage(), &clock, config(16 << 10));
    carry_out(&mut engine, issue(1, b"1", MAX_TTL_MS));
    drop(engine);
    let mut engine = step(disk.storage(), &clock, config(16 << 10));
    engine.tend(true);
    drop(engine);
    disk.edit("segment-0000000000000001.log", |bytes| bytes[4096 + 40] ^= 1);
    let refused = survey(&disk.storage()).err().expect("the damage is seen").to_string();
    assert!(refused.contains("4096"), "{refused}");
}

/// The text of the log lines of a thread.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<String>>);

impl tracing::Subscriber for Lines {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        let mut text = self.0.lock().unwrap();
        event.record(&mut |_: &tracing::field::Field, value: &dyn std::fmt::Debug| {
            write!(text, "{value:?} ").unwrap();
        });
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

const OLDEST: &str = "segment-0000000000000001.log";

/// Ends the oldest segment early, as somebody without the secret can; returns the file before that, and
/// the offset.
fn forge_a_seal(disk: &Memory) -> (Vec<u8>, usize) {
    let name = OLDEST;
    let whole = disk.bytes(name);
    let lsn_at = |at: usize| u64::from_le_bytes(whole[at + 8..at + 16].try_into().unwrap());
    let is_frame = |at: &usize| lsn_at(*at) == lsn_at(4096) + *at as u64 - 4096;
    let at = (4096 + 8..12_288).step_by(8).find(is_frame).expect("a second frame");
    disk.edit(name, |bytes| {
        bytes[at + 4..at + 8].copy_from_slice(&(1_u32 << 31).to_le_bytes());
        let identity = u32::from_le_bytes(bytes[130..134].try_into().unwrap());
        let checksum = crc32c::crc32c_append(identity, &bytes[at + 4..at + 60]);
        bytes[at..at + 4].copy_from_slice(&checksum.to_le_bytes());
    });
    (whole, at)
}

/// Somebody without the secret ends the oldest segment early, under the running server.
#[test]
fn p5_no_entry_is_lost_behind_a_forged_seal() {
    let (disk, clock) = (Memory::new(), Arc::new(ManualClock::at(START)));
    let mut engine = to_be_relocated(&disk, &clock);
    let (whole, at) = forge_a_seal(&disk);
    let name = OLDEST;
    let lines = Lines::default();
    tracing::subscriber::with_default(lines.clone(), || {
        for _ in 0..5 {
            engine.tend(true);
            clock.advance(1_000);
        }
    });
    let text = lines.0.lock().unwrap().clone();
    let says = ["can't read the oldest segment", name, &at.to_string(), "without this secret"];
    assert!(says.iter().all(|part| text.contains(part)), "{text}");
    assert_eq!(engine.engine().stats().log.segments_released, 0);
    drop(engine);
    let refused =
        verify_on(disk.storage(), Some(&secret()), &NoProgress).err().unwrap().to_string();
    assert!(refused.contains(name) && refused.contains(&at.to_string()), "{refused}");
    // With the file as it was, the next start finds all that was issued, and cleans the segment.
    disk.edit(name, |bytes| bytes.clone_from(&whole));
    let mut engine = step(disk.storage(), &clock, config(16 << 10));
    assert_eq!(engine.engine().stats().tokens, 8);
    engine.tend(false);
    engine.tend(true);
    engine.tend(true);
    assert!(engine.engine().stats().log.segments_released > 0);
    assert_eq!(verified(&disk).tokens, Some(8));
}

#[test]
fn p8_an_unreadable_segment_is_a_warning_until_its_file_is_put_back() {
    let (disk, clock) = (Memory::new(), Arc::new(ManualClock::at(START)));
    let mut engine = to_be_relocated(&disk, &clock);
    let (whole, _) = forge_a_seal(&disk);
    let warning = |engine: &mut Stepped| {
        for _ in 0..20 {
            engine.tend(true);
            clock.advance(1_000);
        }
        engine.engine().warnings().remove(&Warning::LogUnreadable)
    };
    let text = warning(&mut engine).expect("a warning");
    assert!(text.contains(OLDEST) && text.contains("leave the server running"), "{text}");
    assert_eq!(engine.engine().readiness(), Ok(()));
    // Long enough for what is issued meanwhile: the segment is not due any more.
    for id in 1_000..1_040 {
        carry_out(&mut engine, issue(id, &[b'z'; 1_400], MAX_TTL_MS));
    }
    disk.edit(OLDEST, |bytes| bytes.clone_from(&whole));
    assert_eq!(warning(&mut engine), None);
    assert!(engine.engine().stats().log.segments_released > 0);
    drop(engine);
    assert_eq!(verified(&disk).tokens, Some(48));
}

/// Too many open files, for example.
#[test]
fn p8_a_segment_that_could_not_be_read_once_is_read_again() {
    let mut seen = 0;
    for call in 1..20 {
        let (disk, clock) = (Memory::new(), Arc::new(ManualClock::at(START)));
        let mut engine = to_be_relocated(&disk, &clock);
        disk.plan(Planned { fault: Fault::Io, at: disk.asked() + call, is_lasting: false });
        engine.tend(true);
        let mut warnings = engine.engine().warnings();
        let Some(text) = warnings.remove(&Warning::LogUnreadable) else { continue };
        seen += 1;
        assert!(text.contains("tried again") && !text.contains("refuse"), "{text}");
        for _ in 0..20 {
            clock.advance(1_000);
            engine.tend(true);
        }
        assert!(!engine.engine().warnings().contains_key(&Warning::LogUnreadable));
        assert!(engine.engine().stats().log.segments_released > 0);
    }
    assert!(seen > 0, "no fault hit a read");
}
