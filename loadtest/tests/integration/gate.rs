//! `loadtest gate` on repositories of a few lines: who is at fault where a side cannot be measured, and
//! that nothing compared is no pass. Exit codes: 1 is the head's, 2 the base's.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::harness::{Ended, command, run};

const WORKS: &str = "fn main() {}";
const BROKEN: &str = "fn main() { this is no Rust }";
const BENCH: &str = "[[bench]]\nname = \"instructions\"\nharness = false\n";

fn git(folder: &Path, arguments: &[&str]) {
    let mut git = Command::new("git");
    git.args(["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]);
    let output = git.current_dir(folder).args(arguments).output().expect("git");
    assert!(output.status.success(), "{arguments:?}: {output:?}");
}

/// A repository of two commits, `base` and `head`, each a package `jeton` with this program and these
/// lines in its manifest.
fn repository(base: (&str, &str), head: (&str, &str)) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path();
    let write = |name: &str, text: &str| std::fs::write(path.join(name), text).expect("a file");
    git(path, &["init", "--quiet"]);
    std::fs::create_dir_all(path.join("src")).expect("a folder");
    std::fs::create_dir_all(path.join("benches")).expect("a folder");
    write("Cargo.lock", "version = 4\n\n[[package]]\nname = \"jeton\"\nversion = \"0.1.0\"\n");
    write("benches/instructions.rs", WORKS);
    for (name, (program, manifest)) in [("base", base), ("head", head)] {
        let package = "[package]\nname = \"jeton\"\nversion = \"0.1.0\"\nedition = \"2021\"\n";
        write("Cargo.toml", &format!("{package}autobenches = false\n\n[workspace]\n\n{manifest}"));
        write("src/main.rs", program);
        git(path, &["add", "--all"]);
        git(path, &["commit", "--quiet", "--allow-empty", "--message", name]);
        git(path, &["tag", name]);
    }
    folder
}

fn gate(repository: &TempDir, arguments: &[&str]) -> (Ended, String) {
    let out = repository.path().join("out");
    let mut command = command("gate --base base --head head");
    command.current_dir(repository.path()).env_remove("CARGO_TARGET_DIR");
    let ended = run(command.args(arguments).arg("--out").arg(&out));
    (ended, std::fs::read_to_string(out.join("gate.junit.xml")).unwrap_or_default())
}

#[test]
fn a_head_without_the_bench_of_the_base_fails() {
    let repository = repository((WORKS, BENCH), (WORKS, ""));
    // The load part is not begun: the gate has failed already.
    for arguments in [&["--only", "instructions"][..], &[]] {
        let (ended, junit) = gate(&repository, arguments);
        assert_eq!(ended.code, Some(1), "{}", ended.said());
        assert!(
            ended.stdout.contains("FAIL instructions: the head has no bench"),
            "{}",
            ended.said()
        );
        assert!(junit.contains("failures=\"1\""), "{junit}");
    }
}

#[test]
fn nothing_compared_is_no_pass() {
    for (head, said) in [("", "neither side has a bench"), (BENCH, "is new")] {
        let repository = repository((WORKS, ""), (WORKS, head));
        let history = repository.path().join("history.jsonl");
        let history = history.to_str().expect("UTF-8");
        let (ended, junit) = gate(&repository, &["--only", "instructions", "--history", history]);
        assert_eq!(ended.code, Some(3), "{}", ended.said());
        assert!(ended.stdout.contains("UNDECIDED, nothing was compared"), "{}", ended.said());
        assert!(ended.stdout.contains(said), "{}", ended.said());
        assert!(junit.contains("nothing was compared"), "{junit}");
        let lines = std::fs::read_to_string(history).expect("a history");
        assert!(lines.contains("\"source\":\"gate\"") && lines.lines().count() == 1, "{lines}");
    }
}

#[test]
fn a_head_that_does_not_build_is_named_and_a_base_is_no_answer() {
    let pairs = ["--only", "pairs", "--workload", "resolve"];
    let (ended, junit) = gate(&repository((WORKS, ""), (BROKEN, "")), &pairs);
    assert_eq!(ended.code, Some(1), "{}", ended.said());
    assert!(ended.stdout.contains("FAIL the head does not build"), "{}", ended.said());
    assert!(junit.contains("the head does not build"), "{junit}");
    let (ended, _) = gate(&repository((BROKEN, ""), (WORKS, "")), &pairs);
    ended.refused(&["cargo build"]);
    // Both build, and neither is a server: the base is looked at first.
    let (ended, _) = gate(&repository((WORKS, ""), (WORKS, "")), &pairs);
    ended.refused(&["jeton"]);
}
