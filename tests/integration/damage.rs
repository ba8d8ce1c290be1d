//! P5: a torn tail is truncated and reported; any other damage is refused, with file and offset.
//! Marked payloads, read with the secret, show where a record is in the files.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;

use jeton::engine::read_secret;
use jeton::model::token::Digester;
use jeton::wal::{FRAME_HEADER_LEN, LogKey, Shelf, Storage, survey};
use tempfile::TempDir;

use crate::client::{Client, expect};
use crate::server::{Launch, jeton, output};

/// A folder after a crash: `count` acknowledged issues, each in its own frame.
struct Wreck {
    dir: TempDir,
    tokens: Vec<String>,
}

impl Wreck {
    fn new(count: usize, payload_len: usize) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let server = Launch::on(dir.path()).start();
        let mut client = Client::of(&server);
        let tokens = (0..count)
            .map(|n| {
                let pad = "x".repeat(payload_len);
                client.issued(&format!(r#"{{"payload":"mark-{n:04}{pad}","ttl":"1h"}}"#)).token
            })
            .collect();
        server.kill9();
        Self { dir, tokens }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// File and offset of the payload of issue `n`, which is encrypted there.
    fn place(&self, n: usize) -> (PathBuf, u64) {
        let secret = read_secret(&self.path().join("secret.key")).expect("a secret");
        let storage: Arc<dyn Storage> = Arc::new(Shelf::new(self.path()));
        let key = LogKey::new(&Digester::new(&secret, "default"));
        let log = survey(&storage).expect("whole").expect("a log").with_key(&key).expect("its key");
        let mark = format!("mark-{n:04}");
        for segment in &log.segments {
            for frame in &segment.read().expect("whole") {
                let mut marks = frame.body.windows(mark.len());
                if let Some(at) = marks.position(|part| part == mark.as_bytes()) {
                    // The body begins behind the head and, in a segment's first frame, a tag.
                    let first = if frame.lsn == segment.header.base_lsn { 16 } else { 0 };
                    let at = (FRAME_HEADER_LEN + first + at) as u64;
                    let offset = segment.header.offset_of(frame.lsn) + at;
                    return (self.path().join(segment.file_name()), offset);
                }
            }
        }
        panic!("no record of issue {n}");
    }

    /// All but the last `lost` tokens resolve, and the last do not.
    fn assert_all_but(&self, lost: usize) -> String {
        let server = Launch::on(self.path()).start();
        let mut client = Client::of(&server);
        let kept = self.tokens.len() - lost;
        for (n, token) in self.tokens.iter().enumerate() {
            let answer = client.resolve(token);
            expect(&answer, if n < kept { 200 } else { 404 });
            assert!(n >= kept || answer.text().starts_with(&format!("\"mark-{n:04}")));
        }
        let said = server.stderr();
        server.stop_well();
        let again = Launch::on(self.path()).start();
        assert_eq!(again.tokens, kept as u64);
        said
    }
}

fn overwrite(file: &Path, offset: u64, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(file).expect("a writable file");
    file.write_all_at(bytes, offset).expect("written");
}

fn flip(file: &Path, offset: u64) {
    let mut byte = [0];
    let reader = std::fs::File::open(file).expect("a readable file");
    reader.read_exact_at(&mut byte, offset).expect("read");
    overwrite(file, offset, &[byte[0] ^ 0x20]);
}

fn verify(dir: &Path) -> Output {
    output(jeton().arg("verify").arg(dir))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

/// Both the start and `jeton verify` name the file, and an offset at the damage or shortly before.
fn assert_refused_at(dir: &Path, file: &Path, offset: u64) {
    let before = std::fs::read(file).expect("the damaged file");
    let refusal = Launch::on(dir).try_start().err().expect("the damage is refused");
    assert!(!refusal.status.success());
    assert_names(&refusal.stderr, file, offset);
    let verified = verify(dir);
    assert_eq!(verified.status.code(), Some(1), "{}", said(&verified));
    assert_names(&said(&verified), file, offset);
    assert_eq!(std::fs::read(file).expect("still there"), before, "a refused start wrote");
}

fn assert_names(text: &str, file: &Path, offset: u64) {
    let name = file.file_name().and_then(|name| name.to_str()).expect("UTF-8");
    assert!(text.contains(name), "{name} is not named: {text}");
    let around = offset.saturating_sub(70_000)..=offset + 64;
    let without_name = text.replace(name, " ");
    let named = numbers(&without_name).any(|number| around.contains(&number));
    assert!(named, "no offset near {offset}: {text}");
}

/// All decimal and 0x-numbers of a text.
fn numbers(text: &str) -> impl Iterator<Item = u64> {
    text.split(|c: char| !c.is_ascii_alphanumeric()).filter_map(|word| {
        match word.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).ok(),
            None => word.parse().ok(),
        }
    })
}

#[test]
fn p5_a_good_log_verifies() {
    let wreck = Wreck::new(20, 10);
    let verified = verify(wreck.path());
    assert_eq!(verified.status.code(), Some(0), "{}", said(&verified));
    assert!(numbers(&said(&verified)).any(|number| number == 20), "{}", said(&verified));
    assert!(wreck.assert_all_but(0).find("mark-").is_none());
    assert_eq!(verify(wreck.path()).status.code(), Some(0));
}

#[test]
fn verify_of_no_log_at_all_fails() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let missing = verify(&dir.path().join("missing"));
    assert!(!missing.status.success(), "{}", said(&missing));
    assert!(said(&missing).contains("missing"), "{}", said(&missing));
}

#[test]
fn p5_a_torn_tail_is_cut_and_counted() {
    let wreck = Wreck::new(20, 500);
    let (file, offset) = wreck.place(19);
    let len = file.metadata().expect("a file").len();
    let rest = usize::try_from(len - offset - 100).expect("in range");
    overwrite(&file, offset + 100, &vec![0; rest]);
    let said = wreck.assert_all_but(1);
    let told = said.lines().find(|line| line.contains("torn")).expect("a line about it");
    assert!(numbers(told).any(|number| (100..=5000).contains(&number)), "how many? {told}");
}

#[test]
fn p5_garbage_in_the_last_frame_is_a_torn_tail() {
    let wreck = Wreck::new(20, 500);
    let (file, offset) = wreck.place(19);
    overwrite(&file, offset + 50, b"garbage where a payload was");
    wreck.assert_all_but(1);
}

#[test]
fn p5_a_truncated_file_is_refused() {
    let wreck = Wreck::new(20, 500);
    let (file, offset) = wreck.place(19);
    OpenOptions::new().write(true).open(&file).expect("a file").set_len(offset + 3).expect("cut");
    // Segments have their full length before they are used, so no crash leaves a shorter one.
    assert_refused_at(wreck.path(), &file, offset + 3);
}

#[test]
fn p5_a_flipped_bit_before_good_frames_is_refused() {
    let wreck = Wreck::new(20, 500);
    for n in [10, 0, 18] {
        let (file, offset) = wreck.place(n);
        flip(&file, offset + 7);
        assert_refused_at(wreck.path(), &file, offset);
        flip(&file, offset + 7);
    }
    wreck.assert_all_but(0);
}

#[test]
fn p5_a_hole_before_good_frames_is_refused() {
    let wreck = Wreck::new(20, 500);
    let (file, offset) = wreck.place(10);
    overwrite(&file, offset - 4, &[0; 300]);
    assert_refused_at(wreck.path(), &file, offset);
}

#[test]
fn p5_damage_in_an_older_segment_is_refused() {
    let wreck = Wreck::new(60, 50_000);
    let (file, offset) = wreck.place(2);
    assert_ne!(file, wreck.place(59).0, "the log has more than one segment");
    flip(&file, offset + 1000);
    assert_refused_at(wreck.path(), &file, offset + 1000);
}

/// A shortened segment is not a torn tail if another one follows it.
#[test]
fn p5_a_truncated_older_segment_is_refused() {
    let wreck = Wreck::new(60, 50_000);
    let (file, offset) = wreck.place(2);
    let whole = std::fs::read(&file).expect("a segment");
    let cut = usize::try_from(offset).expect("in range") + 9;
    std::fs::write(&file, &whole[..cut]).expect("cut");
    assert_refused_at(wreck.path(), &file, offset);
    std::fs::write(&file, &whole).expect("whole again");
    wreck.assert_all_but(0);
}

#[test]
fn p5_a_missing_segment_in_the_middle_is_refused() {
    let wreck = Wreck::new(60, 50_000);
    let (second, last) = (wreck.place(25).0, wreck.place(59).0);
    assert_ne!(second, last);
    assert_ne!(second, wreck.place(0).0);
    std::fs::remove_file(&second).expect("removed");
    let refusal = Launch::on(wreck.path()).try_start().err().expect("the gap is refused");
    assert!(!refusal.status.success());
    assert!(!refusal.stderr.contains("panicked"), "{}", refusal.stderr);
    assert_eq!(verify(wreck.path()).status.code(), Some(1));
}

/// Removed, or moved elsewhere with a link in its place: the log records that it needs it.
#[test]
fn p5_an_oldest_segment_that_is_missing_or_a_link_is_refused() {
    let wreck = Wreck::new(60, 50_000);
    let oldest = wreck.place(0).0;
    assert_ne!(oldest, wreck.place(59).0);
    let moved = wreck.path().join("moved");
    std::fs::rename(&oldest, &moved).expect("moved");
    let assert_refused = |reason: &str| {
        let refusal = Launch::on(wreck.path()).try_start().err().expect("the loss is refused");
        assert!(!refusal.status.success());
        assert!(refusal.stderr.contains(reason), "{}", refusal.stderr);
        let verified = verify(wreck.path());
        assert_eq!(verified.status.code(), Some(1));
        assert!(said(&verified).contains(reason), "{}", said(&verified));
    };
    assert_refused("segment 1 is missing");
    std::os::unix::fs::symlink(&moved, &oldest).expect("a link");
    assert_refused("a file of the log must be a regular file");
    std::fs::rename(&moved, &oldest).expect("moved back");
    wreck.assert_all_but(0);
}

#[test]
fn the_search_for_numbers_reads_both_forms() {
    let text = "damaged: 000001.log at offset 4096 (0x1000), 12 bytes";
    assert_eq!(numbers(text).collect::<Vec<_>>(), [1, 4096, 4096, 12]);
}
