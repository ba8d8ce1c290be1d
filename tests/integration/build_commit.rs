//! The commit that a build reports.

use std::fs;
use std::path::Path;
use std::process::Command;

#[allow(dead_code, clippy::print_stdout, reason = "a build script has a main, and prints")]
#[path = "../../build.rs"]
mod build_script;

use build_script::checked_out;

use crate::support::not_run;

fn git(dir: &Path, arguments: &[&str]) {
    let mut git = Command::new("git");
    git.arg("-C").arg(dir).args(["-c", "user.name=x", "-c", "user.email=x@example.com"]);
    let output = git.args(arguments).output().expect("git");
    assert!(output.status.success(), "{arguments:?}: {output:?}");
}

#[test]
fn a_build_with_changes_does_not_say_that_it_is_the_commit() {
    if Command::new("git").arg("--version").output().is_err() {
        return not_run("build_commit", "git is missing");
    }
    let dir = tempfile::tempdir().expect("a folder");
    let at = |name: &str| dir.path().join(name);
    assert_eq!(checked_out(dir.path()), None, "no repository");
    git(dir.path(), &["init", "--quiet"]);
    assert_eq!(checked_out(dir.path()), None, "no commit");
    fs::create_dir_all(at("src")).expect("a folder");
    for name in ["src/main.rs", "build.rs", "Cargo.toml", "Cargo.lock", "README.md"] {
        fs::write(at(name), name).expect("written");
    }
    git(dir.path(), &["add", "."]);
    git(dir.path(), &["commit", "--quiet", "--message", "first"]);
    let clean = checked_out(dir.path()).expect("a commit");
    assert!(clean.len() == 12 && clean.bytes().all(|digit| digit.is_ascii_hexdigit()), "{clean}");
    // The build does not use these files.
    fs::write(at("README.md"), "changed").expect("written");
    fs::write(at("src/note.txt"), "not known to git").expect("written");
    assert_eq!(checked_out(dir.path()).as_deref(), Some(&clean[..]));
    for name in ["src/main.rs", "Cargo.lock"] {
        fs::write(at(name), "changed").expect("written");
        assert_eq!(checked_out(dir.path()), Some(format!("{clean}-dirty")), "{name}");
        git(dir.path(), &["add", name]);
        assert_eq!(checked_out(dir.path()), Some(format!("{clean}-dirty")), "{name} is staged");
        git(dir.path(), &["reset", "--quiet", "--hard"]);
        assert_eq!(checked_out(dir.path()).as_deref(), Some(&clean[..]));
    }
    assert_eq!(checked_out(&at("src")), None, "a copy inside another repository");
}
