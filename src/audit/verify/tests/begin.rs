//! Files that are missing before the first one, and checkpoints that were kept elsewhere of them.

use std::time::Duration;

use super::*;

/// Three files, of which another program has moved the first two.
fn moved() -> (tempfile::TempDir, Vec<PathBuf>) {
    let dir = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for number in 1..3 {
        run(dir.path(), 4);
        files.push(dir.path().join(format!("moved.{number}")));
        fs::rename(log(dir.path()), files.last().unwrap()).unwrap();
    }
    run(dir.path(), 4);
    files.push(log(dir.path()));
    (dir, files)
}

fn kept(dir: &Path) -> Vec<String> {
    let text = fs::read_to_string(dir.join("checkpoints")).unwrap();
    let is_kept = |line: &&str| line.contains(r#""log":"operations""#);
    text.lines().filter(is_kept).map(str::to_owned).collect()
}

fn whats(files: &[PathBuf], since: &Since) -> Vec<What> {
    let report = verify(files, &key(), Some(since)).unwrap();
    report.findings().map(|finding| finding.what.clone()).collect()
}

#[test]
fn p5_files_that_are_missing_at_the_beginning_are_found_with_checkpoints_kept_elsewhere() {
    let (dir, files) = moved();
    let text = kept(dir.path()).join("\n");
    let since = || Since::read(text.as_bytes(), &key()).unwrap();
    assert_eq!(whats(&files, &since()), []);
    let missing = |last, found: &[What]| match found {
        [What::FirstFilesMissing { first: 1, last: number, seq, .. }] => {
            (*number, *seq) == (last, last * 4)
        }
        _ => false,
    };
    for last in 1..3 {
        let found = whats(&files[last..], &since());
        assert!(missing(last as u64, &found), "{found:?}");
    }
    // As old files are.
    let waited = Duration::from_millis(50);
    std::thread::sleep(waited);
    run(dir.path(), 1);
    let since = Since::read(kept(dir.path()).join("\n").as_bytes(), &key()).unwrap();
    let retained = |time| since.clone().retained(Some(time));
    assert_eq!(whats(&files[2..], &retained(waited / 50)), []);
    let found = whats(&files[2..], &retained(Duration::from_secs(3_600)));
    assert!(missing(2, &found), "{found:?}");
}

/// What a power cut leaves in a file of checkpoints, to which the server goes on to write.
#[test]
fn p5_half_a_checkpoint_among_those_kept_elsewhere_hides_no_other_one() {
    let dir = three_runs();
    let mut lines = kept(dir.path());
    let half = lines[2].split_off(100);
    assert!(half.len() > 100);
    let since = Since::read(lines.join("\n").as_bytes(), &key()).unwrap();
    assert_eq!(whats(&[log(dir.path())], &since), []);
    let changed = self::lines(dir.path());
    write(dir.path(), &changed[..12]);
    let found = whats(&[log(dir.path())], &since);
    assert!(matches!(found[..], [What::RolledBack { seq: 12, .. }]), "{found:?}");
    // A whole line with another signature is still refused.
    lines[2] = lines[3].replace(r#""signature":""#, r#""signature":"00"#);
    let forged = Since::read(lines.join("\n").as_bytes(), &key()).unwrap_err();
    assert_eq!(forged, SinceError::Forged(3));
}
