//! `deploy/glibc-floor.sh`: the oldest glibc that a program runs with.

use std::process::{Command, Output};

use super::path;
use crate::support::not_run;

fn floor(version: &str) -> Output {
    let mut script = Command::new(path("glibc-floor.sh"));
    script.args([version, env!("CARGO_BIN_EXE_jeton")]).output().expect("a shell")
}

#[test]
fn the_oldest_glibc_is_found_from_the_symbols() {
    if let Err(error) = Command::new("objdump").arg("--version").output() {
        return not_run("the oldest glibc", &format!("objdump: {error}"));
    }
    // No program needs a later version than one that does not exist yet.
    let passed = floor("2.999");
    let said = String::from_utf8_lossy(&passed.stdout).into_owned();
    assert!(passed.status.success() && said.contains("needs glibc 2."), "{said}");
    // 2.9 is older than 2.30: versions are compared by their numbers, not as text.
    let refused = floor("2.9");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("but 2.9 is promised") && said.contains("(GLIBC_2."), "{said}");
    let mistaken = Command::new(path("glibc-floor.sh")).arg("2.34").output().expect("a shell");
    assert_eq!(mistaken.status.code(), Some(2));
    let text =
        Command::new(path("glibc-floor.sh")).arg("2.34").arg(path("glibc-floor.sh")).output();
    assert!(!text.expect("a shell").status.success(), "a script is no program");
}
