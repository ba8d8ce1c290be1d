//! P5: every bit of a log flipped, every length cut, every block zeroed, doubled or swapped, every
//! file removed, renamed or put back; large logs hit at random.
//!
//! The real engine writes the logs on a disk in memory and opens the damaged ones. It must return
//! exactly the acknowledged state, or refuse and name file and offset: never wrong data, never a
//! panic, never silence. The rule and its exceptions are in [`judge`].

mod hits;
mod judge;
mod logs;

use std::collections::BTreeMap;

use crate::support::Rng;
use crate::volume::{replay, seeds, tell, volume};

use hits::Hit;
use judge::{Verdict, judge};
use logs::Written;

/// Judges hits, some of them also by later writes, and prints the counts of the results. In `cargo
/// test` only every n-th hit; all hits if the variable `JETON_` plus the attack's name in capitals
/// is large enough.
fn hold(attack: &str, written: &Written, hits: impl IntoIterator<Item = Hit>) -> Counts {
    let hits: Vec<Hit> = hits.into_iter().collect();
    let wanted = volume(attack, 400) as usize;
    // Odd, so that every bit of a byte has its turn.
    let stride = if hits.len() <= wanted { 1 } else { (hits.len() / wanted) | 1 };
    let mut counts = Counts::default();
    for (nth, hit) in hits.iter().step_by(stride).enumerate() {
        counts.add(judge(written, hit, nth % 16 == 0));
    }
    counts.tell(&format!("{attack}_{}", written.name));
    counts
}

#[derive(Default)]
struct Counts(BTreeMap<Verdict, u64>);

impl Counts {
    fn add(&mut self, verdict: Verdict) {
        *self.0.entry(verdict).or_default() += 1;
    }

    fn of(&self, verdict: Verdict) -> u64 {
        self.0.get(&verdict).copied().unwrap_or(0)
    }

    fn tell(&self, attack: &str) {
        tell(
            attack,
            &[
                ("hits", self.0.values().sum()),
                ("whole", self.of(Verdict::Whole)),
                ("refused", self.of(Verdict::Refused)),
                ("cut", self.of(Verdict::Cut)),
                ("vanished", self.of(Verdict::Vanished)),
                ("shortened", self.of(Verdict::Shortened)),
                ("earlier", self.of(Verdict::Earlier)),
            ],
        );
    }
}

fn every_bit(written: &Written) -> Counts {
    hold("every_bit", written, hits::flips(written))
}

#[test]
fn p5_every_bit_of_a_closed_log() {
    let written = logs::closed();
    let counts = every_bit(&written);
    // The mark at the end is the only frame without another one after it: 60 bytes, by 16 of which
    // a torn frame is recognised.
    assert!(counts.of(Verdict::Cut) <= 44 * 8 && counts.of(Verdict::Vanished) <= 16 * 8);
    assert!(counts.of(Verdict::Refused) > 20);
}

#[test]
fn p5_every_bit_of_a_stopped_log() {
    let counts = every_bit(&logs::stopped());
    assert!(counts.of(Verdict::Cut) > 0, "the last frame may be cut: it was acknowledged");
    assert!(counts.of(Verdict::Vanished) <= 16 * 8);
}

#[test]
fn p5_every_bit_of_a_log_that_has_just_begun_a_segment() {
    every_bit(&logs::rolled());
}

#[test]
fn p5_every_bit_of_a_ring_that_has_turned() {
    let written = logs::turned();
    let first = &written.frames[0].file;
    assert!(!first.ends_with("01.log"), "the first segment was not released: {first}");
    every_bit(&written);
}

/// The logs of each released format, written once by the script of [`logs::closed`] with the jeton of
/// that time: later versions read them, with the same content.
const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");

#[test]
fn p1_the_log_of_each_released_format_is_read() {
    let written = logs::closed();
    let mut formats = 0;
    for format in std::fs::read_dir(GOLDEN).expect("the golden logs") {
        let format = format.expect("a folder").path();
        let files = crate::support::files_under(&format).into_iter().map(|file| {
            let name = file.file_name().expect("a name").to_string_lossy().into_owned();
            (name, std::fs::read(&file).expect("a file"))
        });
        let disk = logs::disk_of(&files.collect());
        let stepped = logs::open(&disk, written.segment_size, logs::START);
        let stepped = stepped.unwrap_or_else(|error| panic!("{}: {error}", format.display()));
        let last = written.last();
        assert_eq!(logs::look(&stepped, last.seen.len()), last.seen, "{}", format.display());
        assert_eq!(stepped.engine().now(), last.time);
        stepped.close().expect("it goes on");
        formats += 1;
    }
    assert!(formats > 0);
    tell("golden_logs", &[("formats", formats)]);
}

/// Writes the golden log of a new format: see CONTRIBUTING.md.
#[test]
#[ignore = "writes into the sources"]
fn golden_log_is_written() {
    let name = std::env::var("JETON_GOLDEN_FORMAT").expect("the name of the folder");
    let folder = std::path::Path::new(GOLDEN).join(name);
    std::fs::create_dir_all(&folder).expect("a folder");
    for (name, bytes) in &logs::closed().files {
        std::fs::write(folder.join(name), bytes).expect("written");
    }
}

fn all() -> [Written; 4] {
    [logs::closed(), logs::stopped(), logs::rolled(), logs::turned()]
}

#[test]
fn p5_every_length() {
    for written in all() {
        let counts = hold("every_length", &written, hits::lengths(&written));
        // No crash leaves a segment shorter than its size, so nothing is truncated.
        assert_eq!(counts.of(Verdict::Cut) + counts.of(Verdict::Vanished), 0);
    }
}

#[test]
fn p5_every_block() {
    for written in all() {
        hold("every_block", &written, hits::blocks(&written));
    }
}

#[test]
fn p5_every_file() {
    for written in all() {
        let counts = hold("every_file", &written, hits::whole_files(&written));
        assert!(counts.of(Verdict::Shortened) <= 1, "only the oldest may go unnoticed");
    }
}

/// `JETON_RANDOM_HITS=10000` for the long run; a seed is one hit.
#[test]
fn p5_random_hits_on_large_logs() {
    let all = [logs::large(64 << 10, 60), logs::large(1 << 20, 300)];
    let mut counts = Counts::default();
    for seed in seeds("random_hits", 100) {
        let mut rng = Rng::new(seed);
        let written = &all[rng.below(all.len())];
        let hit = Hit::random(written, &mut rng);
        let judged = std::panic::catch_unwind(|| judge(written, &hit, seed % 16 == 0));
        counts.add(judged.unwrap_or_else(|_| {
            panic!("{}", replay("p5_random_hits_on_large_logs", seed));
        }));
    }
    counts.tell("random_hits");
}
