//! Attacks on the files of an audit log, each found or documented as invisible.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::*;
use crate::audit::{
    Audit, Config, Destination, EventOutcome, LogEnd, Permit, SIZE_MIN_BYTES, Signing, SigningKey,
    server_event,
};
use crate::clock::SystemClock;
use crate::model::time::UnixMillis;

const KEY: [u8; 32] = [7; 32];

pub(in crate::audit) fn key() -> PublicKey {
    SigningKey::from_seed(&KEY).unwrap().public()
}

fn signing() -> Signing {
    let key = Arc::new(SigningKey::from_seed(&KEY).unwrap());
    Signing { key, log_end: Arc::new(|| Some(LogEnd { lsn: 4711, tag: None })) }
}

fn start_unsigned(dir: &Path) -> Audit {
    let config = Config {
        file: Some(dir.join("audit.log")),
        is_required: false,
        size_max_bytes: SIZE_MIN_BYTES,
        files_kept: 0,
        permissions: Default::default(),
        refused_size_max_bytes: SIZE_MIN_BYTES,
        refused_files_kept: 1,
        warns_of_replays: false,
        checkpoints: Some(Destination::File(dir.join("checkpoints"))),
    };
    Audit::start(&config, Arc::new(SystemClock::new())).unwrap()
}

fn start(dir: &Path) -> Audit {
    let audit = start_unsigned(dir);
    audit.sign(&signing());
    audit
}

fn tell(audit: &Audit, lines: usize) {
    for _ in 0..lines {
        let detail = Some("a line".to_owned());
        let event = server_event(UnixMillis(1), "resolve", EventOutcome::Ok, detail);
        audit.tell(&mut Permit::default(), event);
    }
}

/// Starts an audit log, writes this number of lines, and stops it.
fn run(dir: &Path, lines: usize) {
    let audit = start(dir);
    tell(&audit, lines);
    audit.close();
}

/// Three runs of four lines each, with the checkpoints of their starts and stops: line 1 is a
/// checkpoint, then come four events and two checkpoints, and so on.
fn three_runs() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    (0..3).for_each(|_| run(dir.path(), 4));
    dir
}

fn log(dir: &Path) -> PathBuf {
    dir.join("audit.log")
}

fn checked(dir: &Path, files: &[PathBuf], with_since: bool) -> Report {
    let since = with_since
        .then(|| Since::read(&fs::read(dir.join("checkpoints")).unwrap(), &key()).unwrap());
    verify(files, &key(), since.as_ref()).unwrap()
}

/// What is found in the log, each with its line.
fn found(dir: &Path, with_since: bool) -> Vec<(u64, What)> {
    let report = checked(dir, &[log(dir)], with_since);
    report.findings().map(|finding| (finding.place.line, finding.what.clone())).collect()
}

fn lines(dir: &Path) -> Vec<String> {
    fs::read_to_string(log(dir)).unwrap().lines().map(str::to_owned).collect()
}

fn write(dir: &Path, lines: &[String]) {
    fs::write(log(dir), lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
}

/// What is found, without and with the checkpoints that were kept elsewhere, after a change.
fn after(change: impl FnOnce(&mut Vec<String>)) -> [Vec<(u64, What)>; 2] {
    let dir = three_runs();
    let mut changed = lines(dir.path());
    assert_eq!(changed.len(), 18);
    change(&mut changed);
    write(dir.path(), &changed);
    [false, true].map(|with_since| found(dir.path(), with_since))
}

#[test]
fn a_log_that_nobody_touched_has_nothing_to_find() {
    let dir = three_runs();
    assert_eq!(found(dir.path(), false), []);
    assert_eq!(found(dir.path(), true), []);
    let report = checked(dir.path(), &[log(dir.path())], true);
    let log = &report.logs[0];
    assert_eq!((log.lines, log.checkpoints, log.seq, log.notes.len()), (18, 6, 12, 0));
    let note = &checked(dir.path(), &[self::log(dir.path())], false).logs[0].notes[0];
    assert!(note.contains("--since"), "{note}");
}

#[test]
fn p5_a_line_that_was_edited_is_named() {
    let [found, since] = after(|lines| lines[3] = lines[3].replace("a line", "a lie!"));
    assert_eq!(found, [(4, What::Changed)]);
    assert_eq!(found, since);
    // Any bit of an event's line.
    let dir = three_runs();
    let whole = fs::read(log(dir.path())).unwrap();
    let ends: Vec<_> = memchr::memchr_iter(b'\n', &whole).collect();
    for bit in ends[1] * 8..ends[2] * 8 {
        let mut broken = whole.clone();
        broken[bit / 8] ^= 1 << (bit % 8);
        fs::write(log(dir.path()), broken).unwrap();
        assert!(!self::found(dir.path(), false).is_empty(), "bit {bit}");
    }
}

#[test]
fn p5_a_line_that_was_removed_is_named() {
    let [found, _] = after(|lines| drop(lines.remove(2)));
    assert_eq!(found, [(3, What::Missing { first: 2, last: 2 })]);
    let [found, _] = after(|lines| drop(lines.drain(2..5)));
    assert_eq!(found, [(3, What::Missing { first: 2, last: 4 })]);
    // All lines of a run, with its checkpoints.
    let [found, since] = after(|lines| drop(lines.drain(6..12)));
    assert_eq!(found, [(7, What::Missing { first: 5, last: 8 })]);
    assert!(matches!(since[1], (_, What::NotInChain { seq: 4 | 8, .. })), "{since:?}");
}

#[test]
fn p5_a_checkpoint_that_was_removed_is_named() {
    // The last of the first run, after which no event comes.
    let [found, _] = after(|lines| drop(lines.remove(5)));
    assert_eq!(found, [(6, What::Recomputed { after: 0, until: 4 })]);
    let [found, _] = after(|lines| drop(lines.remove(6)));
    assert_eq!(found, [(7, What::Changed)]);
    // Between two others.
    let dir = tempfile::tempdir().unwrap();
    (0..2).for_each(|_| run(dir.path(), 0));
    let mut changed = lines(dir.path());
    changed.remove(1);
    write(dir.path(), &changed);
    assert_eq!(self::found(dir.path(), false), [(2, What::CheckpointMissing)]);
}

#[test]
fn p5_a_line_that_was_added_or_moved_is_named() {
    let [found, _] = after(|lines| lines.insert(3, lines[2].clone()));
    assert_eq!(found, [(4, What::OutOfOrder { seq: 2, after: 2 })]);
    let [found, _] = after(|lines| lines.swap(2, 3));
    assert_eq!(found, [(3, What::Missing { first: 2, last: 2 })]);
    let [found, _] = after(|lines| lines.insert(3, r#"{"seq":3}"#.to_owned()));
    assert!(found.contains(&(4, What::Unmarked)), "{found:?}");
    let [found, _] = after(|lines| lines.push(lines[2].clone()));
    assert_eq!(found, [(19, What::OutOfOrder { seq: 2, after: 12 })]);
}

#[test]
fn p5_a_tail_that_was_cut_off_is_found_with_a_checkpoint_kept_elsewhere() {
    for cut in [1, 2, 3, 7, 12, 17] {
        let [found, since] = after(|lines| lines.truncate(18 - cut));
        assert_eq!(found, [], "without it the log looks like one of a server that runs");
        assert!(matches!(since[..], [(_, What::RolledBack { seq: 12, .. })]), "{cut}: {since:?}");
    }
}

/// Computes the chain anew after a change, as anybody can.
fn recompute(lines: &mut [String]) {
    let mut chain = Chain::new(LogKind::Operations, [0; 8]);
    for line in lines {
        let (body, _) = crate::audit::chain::split(line.as_bytes()).unwrap();
        let mut anew = [body, b"}"].concat();
        chain.end_line(&mut anew, 0);
        *line = String::from_utf8(anew).unwrap().trim_end().to_owned();
    }
}

#[test]
fn p5_a_chain_that_was_recomputed_without_the_key_is_found() {
    let [found, _] = after(|lines| {
        lines[3] = lines[3].replace("a line", "a lie!");
        recompute(lines);
    });
    assert_eq!(found, [(6, What::Recomputed { after: 0, until: 4 })]);
    // A line removed, moved or added: the recomputed marks of later lines are no findings of their own.
    let [found, _] = after(|lines| {
        lines.remove(2);
        recompute(lines);
    });
    assert_eq!(found, [(3, What::Missing { first: 2, last: 2 })]);
    let [found, _] = after(|lines| {
        lines.swap(2, 3);
        recompute(lines);
    });
    assert_eq!(found, [(3, What::Missing { first: 2, last: 2 })]);
    let [found, _] = after(|lines| {
        lines.insert(3, lines[2].clone());
        recompute(lines);
    });
    assert_eq!(found, [(4, What::OutOfOrder { seq: 2, after: 2 })]);
    // Two changes are two findings.
    let [found, _] = after(|lines| {
        lines.remove(2);
        lines[8] = lines[8].replace("a line", "a lie!");
        recompute(lines);
    });
    let second = What::Recomputed { after: 4, until: 8 };
    assert_eq!(found, [(3, What::Missing { first: 2, last: 2 }), (11, second)]);
    // The checkpoints after the change are removed too: what is left is not signed.
    let [found, since] = after(|lines| {
        lines[3] = lines[3].replace("a line", "a lie!");
        lines.retain(|line| {
            !checkpoint::is_like_one(line.as_bytes()) || line.contains(r#""seq":0"#)
        });
        recompute(lines);
    });
    assert_eq!(found, [], "they look like the last lines of a server that runs");
    assert!(!since.is_empty());
}

#[test]
fn p5_a_checkpoint_from_elsewhere_is_found() {
    let other = three_runs();
    let foreign = lines(other.path())[5].clone();
    let [found, _] = after(|lines| lines.insert(3, foreign.clone()));
    assert!(matches!(found[..], [(4, What::Foreign { .. })]), "{found:?}");
    let [found, _] = after(|lines| lines[5] = foreign);
    assert!(matches!(found[..], [(6, What::Foreign { .. }), (7, _)]), "{found:?}");
    // One of the same log, from before.
    let [found, _] = after(|lines| lines.insert(9, lines[5].clone()));
    assert_eq!(found, [(10, What::Misplaced { seq: 4 })]);
    // One that another key has signed.
    let [found, _] =
        after(|lines| lines[5] = lines[5].replace("\"signature\":\"", "\"signature\":\"0"));
    assert_eq!(found, [(6, What::Forged)]);
}

#[test]
fn p5_a_file_of_another_server_and_an_older_state_are_found() {
    let (dir, other) = (three_runs(), three_runs());
    let kept = fs::read(dir.path().join("checkpoints")).unwrap();
    let old = tempfile::tempdir().unwrap();
    run(old.path(), 4);
    fs::copy(log(old.path()), old.path().join("copy")).unwrap();
    run(old.path(), 4);
    fs::copy(old.path().join("copy"), log(old.path())).unwrap();
    assert_eq!(found(old.path(), false), []);
    assert!(matches!(found(old.path(), true)[..], [(_, What::RolledBack { seq: 8, end: 4, .. })]));
    // The whole log replaced by that of another server with the same secret.
    fs::write(other.path().join("checkpoints"), kept).unwrap();
    assert_eq!(found(other.path(), false), []);
    assert!(matches!(found(other.path(), true)[..], [(_, What::OtherChain { .. })]));
    // Files of two servers in one call.
    let report = checked(dir.path(), &[log(dir.path()), log(other.path())], false);
    let found: Vec<_> = report.findings().map(|finding| &finding.what).collect();
    assert!(matches!(found[..], [What::SecondChain { .. }]), "{found:?}");
}

/// Several files: their paths in the order of their names, and the current one.
fn rotated() -> (tempfile::TempDir, Vec<PathBuf>) {
    let dir = tempfile::tempdir().unwrap();
    let audit = start(dir.path());
    tell(&audit, 40_000);
    audit.close();
    let mut files: Vec<_> = fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().contains("audit.log.2"))
        .collect();
    files.sort();
    assert!(files.len() >= 3, "{files:?}");
    files.push(log(dir.path()));
    (dir, files)
}

#[test]
fn p5_files_are_one_chain_and_a_missing_or_swapped_one_is_named() {
    let (dir, files) = rotated();
    let found = |files: &[PathBuf], with_since: bool| -> Vec<What> {
        let report = checked(dir.path(), files, with_since);
        report.findings().map(|finding| finding.what.clone()).collect()
    };
    assert_eq!(found(&files, true), []);
    let mut reversed = files.clone();
    reversed.reverse();
    assert_eq!(found(&reversed, true), [], "their order is in the checkpoints");
    // One in the middle, and the first.
    let without: Vec<_> = [&files[..1], &files[2..]].concat();
    assert_eq!(found(&without, false), [What::FilesMissing { first: 2, last: 2 }]);
    assert_eq!(found(&files[1..], false), [], "the first may have been removed for its age");
    let since = found(&files[1..], true);
    assert!(matches!(since[..], [What::FirstFilesMissing { first: 1, last: 1, .. }]), "{since:?}");
    let notes = &checked(dir.path(), &files[1..], true).logs[0].notes;
    assert!(notes[0].contains("file number 2"), "{notes:?}");
    // The current one: the log ends earlier.
    let last = found(&files[..files.len() - 1], true);
    assert!(matches!(last[..], [What::RolledBack { seq: 40_000, .. }]), "{last:?}");
    // Their contents swapped: the numbers still say where each belongs.
    let contents = [&files[0], &files[1]].map(|file| fs::read(file).unwrap());
    fs::write(&files[0], &contents[1]).unwrap();
    fs::write(&files[1], &contents[0]).unwrap();
    assert_eq!(found(&files, true), []);
    // A copy of one in the place of another.
    fs::write(&files[0], &contents[0]).unwrap();
    assert_ne!(found(&files, false), []);
}

#[test]
fn p5_lines_that_a_crash_left_unsigned_are_named() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), 4);
    // What a crash leaves: no checkpoint at the end, and half a line.
    let whole = lines(dir.path());
    let torn = [&whole[..5], &[whole[2][..20].to_owned()]].concat().join("\n");
    fs::write(log(dir.path()), torn).unwrap();
    fs::remove_file(state_path_of(dir.path())).unwrap();
    fs::remove_file(dir.path().join("checkpoints")).unwrap();
    run(dir.path(), 2);
    assert_eq!(found(dir.path(), true), [(7, What::Unsigned { lines: 5, last: 4 })]);
    assert_eq!(lines(dir.path()).len(), 10);
}

fn state_path_of(dir: &Path) -> PathBuf {
    crate::audit::state_path(&log(dir))
}

#[test]
fn numbers_go_on_when_the_file_was_moved_away_and_a_cut_is_noticed_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), 4);
    let aside = dir.path().join("kept");
    fs::rename(log(dir.path()), &aside).unwrap();
    run(dir.path(), 4);
    let report = checked(dir.path(), &[aside, log(dir.path())], true);
    assert_eq!(report.findings().collect::<Vec<_>>(), Vec::<&Finding>::new());
    assert_eq!((report.logs[0].seq, report.logs[0].files), (8, 2));
    // Cut while no server runs: the state beside it knows more.
    let cut = &lines(dir.path())[..3];
    write(dir.path(), cut);
    run(dir.path(), 1);
    let found: Vec<_> = checked(dir.path(), &[log(dir.path())], false)
        .findings()
        .map(|finding| finding.what.clone())
        .collect();
    let unsigned = What::Unsigned { lines: 2, last: 8 };
    assert_eq!(found, [What::Missing { first: 7, last: 8 }, unsigned]);
}

#[test]
fn a_log_of_another_secret_is_put_aside() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(log(dir.path()), "{\"seq\":1}\n").unwrap();
    run(dir.path(), 1);
    assert_eq!(found(dir.path(), true), []);
    let other = SigningKey::from_seed(&[8; 32]).unwrap().public();
    let report = verify(&[log(dir.path())], &other, None).unwrap();
    assert!(matches!(report.findings[..], [Finding { what: What::NoChain, .. }]));
    assert_eq!(Since::read(b"", &other).unwrap_err(), SinceError::Empty);
    let kept = fs::read(dir.path().join("checkpoints")).unwrap();
    assert_eq!(Since::read(&kept, &other).unwrap_err(), SinceError::Forged(1));
}

#[test]
fn a_file_that_another_program_moves_or_empties_goes_on_in_the_chain() {
    let dir = tempfile::tempdir().unwrap();
    let audit = start(dir.path());
    let (log, aside, copy) = (log(dir.path()), dir.path().join("aside"), dir.path().join("copy"));
    let waits = |is_there: &dyn Fn() -> bool| {
        while !is_there() {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    };
    let has =
        |file: &Path, text: &str| fs::read_to_string(file).is_ok_and(|found| found.contains(text));
    tell(&audit, 3);
    waits(&|| has(&log, r#""at":"second""#));
    fs::rename(&log, &aside).unwrap();
    waits(&|| has(&log, r#""at":"file_start""#));
    assert!(has(&aside, r#""at":"file_end""#));
    tell(&audit, 3);
    waits(&|| has(&log, r#""at":"second""#));
    // As `copytruncate` of logrotate does it.
    fs::copy(&log, &copy).unwrap();
    fs::File::options().write(true).open(&log).unwrap().set_len(0).unwrap();
    waits(&|| has(&log, r#""at":"truncated""#));
    tell(&audit, 3);
    audit.close();
    let report = checked(dir.path(), &[log.clone(), copy, aside.clone()], true);
    let found: Vec<_> = report.findings().collect();
    assert_eq!(found, Vec::<&Finding>::new(), "{report:?}");
    assert_eq!((report.logs[0].seq, report.logs[0].files), (9, 3));
    // Without the copy.
    let report = checked(dir.path(), &[log, aside], false);
    let found: Vec<_> = report.findings().map(|finding| &finding.what).collect();
    assert_eq!(found, [&What::FilesMissing { first: 2, last: 2 }]);
}

mod begin;
mod gaps;
