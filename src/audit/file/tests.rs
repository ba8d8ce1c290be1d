//! Rotation, modes and links of the file.

use super::*;

const NOW: UnixMillis = UnixMillis(1_769_860_800_007);
const WARN: Strictness = Strictness::Warn;
const FLAG: &str = "--audit";

#[test]
fn a_full_file_is_put_aside_and_the_oldest_goes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    fs::write(dir.path().join("audit.log.mine"), "kept").unwrap();
    let mut file = AuditFile::open(FLAG, &path, 10, 2, WARN).unwrap();
    assert!(!file.is_full(100), "an empty file is never rotated");
    for round in 0..4 {
        file.write(b"12345678\n").unwrap();
        assert!(!file.is_full(1) && file.is_full(2), "{round}");
        file.rotate(NOW).unwrap();
    }
    let mut names: Vec<_> =
        fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    let expected = [
        "audit.log",
        "audit.log.20260131T120000.009Z",
        "audit.log.20260131T120000.010Z",
        "audit.log.mine",
    ];
    assert_eq!(names, expected);
}

#[test]
fn half_a_line_is_ended_and_the_mode_is_ours_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    drop(AuditFile::open(FLAG, &path, 100, 0, WARN).unwrap());
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, FILE_MODE);
    fs::write(&path, "{\"whole\":1}\n{\"ha").unwrap();
    AuditFile::open(FLAG, &path, 100, 0, WARN).unwrap().write(b"{}\n").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "{\"whole\":1}\n{\"ha\n{}\n");
}

#[test]
fn one_writer_and_a_regular_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    let open = |path: &Path| AuditFile::open(FLAG, path, 100, 0, WARN);
    let _first = open(&path).unwrap();
    assert!(matches!(open(&path), Err(AuditError::InUse(..))));
    assert!(matches!(open(dir.path()), Err(AuditError::NoFile(..))));
    let missing = dir.path().join("no/audit.log");
    let error = open(&missing).err().unwrap().to_string();
    assert!(error.starts_with("--audit ") && error.contains("No such file"), "{error}");
}

#[test]
fn p9_a_link_is_not_followed_and_a_group_keeps_what_it_may_read() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let dir = tempfile::tempdir().unwrap();
    let [path, link, elsewhere] =
        ["audit.log", "link.log", "elsewhere"].map(|name| dir.path().join(name));
    symlink(&elsewhere, &link).unwrap();
    assert!(matches!(AuditFile::open(FLAG, &link, 100, 0, WARN), Err(AuditError::NoFile(..))));
    fs::write(&elsewhere, "mine").unwrap();
    assert!(matches!(AuditFile::open(FLAG, &link, 100, 0, WARN), Err(AuditError::NoFile(..))));
    assert_eq!(fs::read(&elsewhere).unwrap(), b"mine");
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
    let set = |mode| {
        fs::write(&path, "{}\n").unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
    };
    set(0o644);
    drop(AuditFile::open(FLAG, &path, 100, 0, WARN).unwrap());
    assert_eq!(mode(&path), FILE_MODE, "narrowed");
    set(0o640);
    let mut file = AuditFile::open(FLAG, &path, 100, 0, WARN).unwrap();
    file.rotate(NOW).unwrap();
    assert_eq!(mode(&path), GROUP_FILE_MODE, "the next file has the same mode");
}
