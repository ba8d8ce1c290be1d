//! What is missing as a whole: a log, the beginning of a file, the end of a line.

use super::*;

/// What is found, without places.
fn whats(dir: &Path, files: &[PathBuf], with_since: bool) -> Vec<What> {
    let report = checked(dir, files, with_since);
    report.findings().map(|finding| finding.what.clone()).collect()
}

#[test]
fn p5_a_log_that_was_emptied_or_removed_is_found_with_a_checkpoint_kept_elsewhere() {
    let dir = three_runs();
    let (operations, refusals) = (log(dir.path()), dir.path().join("audit.log.refused"));
    // No file of one of them.
    let report = checked(dir.path(), std::slice::from_ref(&refusals), true);
    assert_eq!(report.findings().count(), 0);
    assert!(report.notes[0].contains("no file of that log was given"), "{report:?}");
    // No line at all.
    let state = state_path_of(dir.path());
    let both = [LogKind::Operations, LogKind::Refusals];
    let seqs = [12, 0];
    let missing = both.into_iter().zip(seqs).map(|(log, seq)| What::LogMissing { log, seq });
    let missing: Vec<_> = missing.collect();
    assert_eq!(whats(dir.path(), &[state], true), missing);
    fs::write(&operations, "").unwrap();
    assert_eq!(whats(dir.path(), std::slice::from_ref(&operations), true), missing);
    assert_eq!(whats(dir.path(), &[operations.clone(), refusals.clone()], true), missing[..1]);
    assert_eq!(whats(dir.path(), std::slice::from_ref(&operations), false), []);
    // A line of somebody else.
    fs::write(&operations, "{\"seq\":1}\n").unwrap();
    let found = whats(dir.path(), &[operations, refusals], true);
    assert_eq!(found, [What::NoChain, missing[0].clone()]);
}

#[test]
fn p5_the_beginning_of_the_first_file_that_was_cut_off_is_found() {
    // The checkpoints of the first stop and of the next start.
    for (cut, seq) in [(5, 4), (6, 4), (12, 8)] {
        let [found, _] = after(|lines| drop(lines.drain(..cut)));
        assert_eq!(found, [(1, What::BeginMissing { seq })], "{cut}");
    }
    // Of a later file, whose first checkpoint is of its start.
    let (dir, files) = rotated();
    let text = fs::read_to_string(&files[1]).unwrap();
    let second: Vec<_> = text.lines().collect();
    let is_one = |line: &&str| checkpoint::is_like_one(line.as_bytes());
    let at = second.iter().rposition(is_one).unwrap();
    fs::write(&files[1], second[at..].join("\n") + "\n").unwrap();
    let found = whats(dir.path(), &files[1..], true);
    assert!(matches!(found[..], [What::BeginMissing { .. }, ..]), "{found:?}");
}

#[test]
fn a_file_that_begins_with_a_start_has_a_note_with_its_number() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), 4);
    fs::rename(log(dir.path()), dir.path().join("aside")).unwrap();
    run(dir.path(), 4);
    let report = checked(dir.path(), &[log(dir.path())], false);
    assert_eq!(report.findings().count(), 0, "{report:?}");
    assert!(report.logs[0].notes[0].contains("after seq 4"), "{report:?}");
}

#[test]
fn p5_a_line_without_a_line_break_is_found_and_half_a_line_is_a_note() {
    let dir = three_runs();
    let whole = fs::read_to_string(log(dir.path())).unwrap();
    let third = lines(dir.path())[2].clone();
    for added in [r#"{"seq":13,"operation":"revoke"}"#, &third, &" ".repeat(70_000)] {
        fs::write(log(dir.path()), format!("{whole}{added}")).unwrap();
        assert_eq!(found(dir.path(), true), [(19, What::NoLineBreak)]);
    }
    fs::write(log(dir.path()), format!("{whole}{}", &third[..30])).unwrap();
    assert_eq!(found(dir.path(), true), []);
    assert!(checked(dir.path(), &[log(dir.path())], true).logs[0].notes[0].contains("half a line"));
    // Other files follow.
    let (dir, files) = rotated();
    let first = fs::read_to_string(&files[0]).unwrap();
    fs::write(&files[0], first + &third[..30]).unwrap();
    assert_eq!(whats(dir.path(), &files, true), [What::NoLineBreak]);
}

#[test]
fn half_a_checkpoint_that_a_crash_left_is_no_forgery() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), 4);
    let whole = lines(dir.path());
    let torn = [&whole[..5], &[whole[5][..300].to_owned()]].concat().join("\n");
    fs::write(log(dir.path()), torn).unwrap();
    fs::remove_file(state_path_of(dir.path())).unwrap();
    fs::remove_file(dir.path().join("checkpoints")).unwrap();
    run(dir.path(), 2);
    assert_eq!(found(dir.path(), true), [(7, What::Unsigned { lines: 5, last: 4 })]);
    // Nothing was started after it: somebody has put it there.
    let [found, _] = after(|lines| lines.insert(3, lines[5][..300].to_owned()));
    assert!(found.contains(&(4, What::Unmarked)), "{found:?}");
}

#[test]
fn what_standard_output_has_beside_checkpoints_is_skipped() {
    let dir = three_runs();
    let kept = fs::read_to_string(dir.path().join("checkpoints")).unwrap();
    let text = format!("jeton ready: http://127.0.0.1:7500\n{kept}\nanother line\n");
    assert!(Since::read(text.as_bytes(), &key()).is_ok());
    assert_eq!(Since::read(b"jeton ready\n", &key()).unwrap_err(), SinceError::Empty);
    let broken = text.replacen(r#""seq":4"#, r#""seq":5"#, 1);
    assert!(matches!(Since::read(broken.as_bytes(), &key()), Err(SinceError::Forged(_))));
}

#[test]
fn p5_a_start_notices_a_cut_that_keeps_the_number() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), 4);
    // Its stop alone is cut off.
    let cut = &lines(dir.path())[..5];
    // With the checkpoint of the end in the place of the last event's.
    write(dir.path(), cut);
    run(dir.path(), 1);
    assert_ne!(found(dir.path(), false), []);
    // A checkpoint of the same number is left.
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), 4);
    run(dir.path(), 0);
    let cut = &lines(dir.path())[..6];
    write(dir.path(), cut);
    run(dir.path(), 1);
    assert_eq!(found(dir.path(), false), [(7, What::CheckpointMissing)]);
    // The state is older than the log, as after a crash.
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), 4);
    let old = fs::read(state_path_of(dir.path())).unwrap();
    run(dir.path(), 0);
    fs::write(state_path_of(dir.path()), old).unwrap();
    run(dir.path(), 1);
    assert_eq!(found(dir.path(), true), []);
}

#[test]
fn p5_a_number_that_is_far_ahead_is_not_continued() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), 4);
    let mut added = lines(dir.path());
    added.push(format!(r#"{{"seq":{}}}"#, u64::MAX));
    write(dir.path(), &added);
    run(dir.path(), 2);
    let last = lines(dir.path()).pop().unwrap();
    assert!(last.contains(r#""seq":6,"#), "{last}");
}
