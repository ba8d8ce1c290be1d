//! Files that are missing before the first one, and checkpoints that were kept elsewhere of them.

use std::time::Duration;

use super::*;
use crate::model::cluster::NodeId;

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
    kept_of(dir, "operations")
}

fn kept_of(dir: &Path, log: &str) -> Vec<String> {
    let text = fs::read_to_string(dir.join("checkpoints")).unwrap();
    let log = format!(r#""log":"{log}""#);
    text.lines().filter(|line| line.contains(&log)).map(str::to_owned).collect()
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
    // What a collector leaves that cuts files, and a disk that has lost blocks.
    let mut parts = kept(dir.path());
    parts[0] = format!("\0\0{}", parts[0]);
    parts[1] = parts[1].split_off(29);
    let half = parts[2].split_off(100);
    parts[2] = format!("{}{}", parts[2], parts[3]);
    let read = Since::read(parts.join("\n").as_bytes(), &key()).unwrap();
    let (seqs, of_all) = (read.seqs(), since.seqs());
    let expected = [&of_all[..1], &of_all[2..3], &of_all[2..]].concat();
    assert!(!half.is_empty() && seqs == expected, "{seqs:?} of {of_all:?}");
    // A whole line with another signature is still refused.
    lines[2] = lines[3].replace(r#""signature":""#, r#""signature":"00"#);
    let forged = Since::read(lines.join("\n").as_bytes(), &key()).unwrap_err();
    assert_eq!(forged, SinceError::Forged(3));
}

/// Checkpoints may come in any order: those of renamed files are read after the newest.
#[test]
fn p5_the_newest_checkpoint_is_that_of_the_last_number() {
    let (dir, files) = moved();
    let mut lines = kept(dir.path());
    lines.rotate_left(3);
    let since = Since::read(lines.join("\n").as_bytes(), &key()).unwrap();
    assert_eq!(whats(&files, &since), []);
    let newest = since.chains().into_values().next().map(|found| (found.file, found.seq));
    assert_eq!(newest, Some((3, 12)));
    // The newest counts for what may be missing.
    let found = whats(&files[2..], &since.retained(Some(Duration::ZERO)));
    assert_eq!(found, []);
}

/// A server that finds neither a log nor its state begins a new chain, and ships its checkpoints too.
#[test]
fn p5_a_log_that_was_removed_with_its_state_is_found_with_a_checkpoint_kept_elsewhere() {
    let dir = three_runs();
    for name in ["audit.log", "audit.log.refused"] {
        fs::remove_file(dir.path().join(name)).unwrap();
        fs::remove_file(dir.path().join(format!("{name}.chain"))).unwrap();
    }
    run(dir.path(), 4);
    let files = [log(dir.path()), dir.path().join("audit.log.refused")];
    let since = Since::read(&fs::read(dir.path().join("checkpoints")).unwrap(), &key()).unwrap();
    let found = whats(&files, &since);
    let is_of_other =
        |what: &What, last| matches!(what, What::OtherChain { seq, .. } if *seq == last);
    assert!(
        found.len() == 2 && is_of_other(&found[0], 12) && is_of_other(&found[1], 0),
        "{found:?}"
    );
}

/// The server removes the oldest files of refusals by itself.
#[test]
fn p5_files_of_refusals_are_missed_if_it_is_said_for_how_long_they_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let refusals = dir.path().join("audit.log.refused");
    run(dir.path(), 1);
    fs::remove_file(&refusals).unwrap();
    run(dir.path(), 1);
    let text = kept_of(dir.path(), "refusals").join("\n");
    let since = Since::read(text.as_bytes(), &key()).unwrap();
    let report = verify(std::slice::from_ref(&refusals), &key(), Some(&since)).unwrap();
    assert_eq!(report.findings().count(), 0, "{report:?}");
    let note = "files up to number 1 were not given";
    assert!(report.logs[0].notes.iter().any(|said| said.contains(note)), "{report:?}");
    let found = whats(&[refusals], &since.retained(Some(Duration::from_secs(3_600))));
    assert!(matches!(found[..], [What::FirstFilesMissing { first: 1, last: 1, .. }]), "{found:?}");
}

/// A node of a cluster writes four lines in a folder, where another one may have written before. All nodes
/// have one secret, and their checkpoints may be kept in one file.
fn run_of_node(dir: &Path, node: u64) -> Vec<u8> {
    let audit = start_unsigned(dir);
    audit.of_node(NodeId(node));
    audit.sign(&signing());
    tell(&audit, 4);
    audit.close();
    fs::read(dir.join("checkpoints")).unwrap()
}

#[test]
fn p5_the_checkpoints_of_another_node_are_not_missed_and_those_of_the_own_one_are() {
    let [one, other] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let own = run_of_node(one.path(), 1);
    let both = [own.clone(), run_of_node(other.path(), 2)].concat();
    let since = Since::read(&both, &key()).unwrap();
    let files = [log(one.path()), one.path().join("audit.log.refused")];
    assert_eq!((whats(&files, &since), since.nodes().len()), (vec![], 2));
    // The own node has begun another chain.
    let again = tempfile::tempdir().unwrap();
    let since = Since::read(&[both, run_of_node(again.path(), 1)].concat(), &key()).unwrap();
    let found = whats(&[log(again.path()), again.path().join("audit.log.refused")], &since);
    let is_other = |what: &What| matches!(what, What::OtherChain { .. });
    assert!(found.len() == 2 && found.iter().all(is_other), "{found:?}");
}
