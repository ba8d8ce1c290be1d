//! Finds out what the program cannot know of itself: the commit that it is built from, and whether
//! the build is instrumented to report something when the process ends.

use std::path::Path;
use std::process::Command;

/// Compiler flags of builds that write a report when the process exits: coverage, profiles and
/// sanitizers.
const REPORTING: [&str; 3] = ["instrument-coverage", "profile-generate", "sanitizer"];
/// Digits of a commit's name that are kept.
const COMMIT_LEN: usize = 12;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=CARGO_ENCODED_RUSTFLAGS");
    println!("cargo::rerun-if-env-changed=JETON_BUILD_COMMIT");
    println!("cargo::rustc-check-cfg=cfg(jeton_reports_at_exit)");
    let flags = std::env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    if REPORTING.iter().any(|flag| flags.contains(flag)) {
        println!("cargo::rustc-cfg=jeton_reports_at_exit");
    }
    let given = std::env::var("JETON_BUILD_COMMIT").ok().filter(|given| !given.is_empty());
    let commit = given.or_else(checked_out).unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=JETON_BUILD_COMMIT={commit}");
}

/// The commit that is checked out, where this is the top of a git repository: a copy of the sources
/// inside another project's repository is not built from a commit of that project.
fn checked_out() -> Option<String> {
    let here = Path::new(&std::env::var_os("CARGO_MANIFEST_DIR")?).canonicalize().ok()?;
    let top = Path::new(&git(&["rev-parse", "--show-toplevel"])?).canonicalize().ok()?;
    if top != here {
        return None;
    }
    // Each commit and each checkout adds a line to the log, where git keeps one; HEAD itself changes
    // with a checkout.
    for name in ["logs/HEAD", "HEAD"] {
        let file = git(&["rev-parse", "--git-path", name])?;
        if Path::new(&file).exists() {
            println!("cargo::rerun-if-changed={file}");
        }
    }
    let mut commit = git(&["rev-parse", "HEAD"])?;
    commit.truncate(COMMIT_LEN);
    Some(commit)
}

/// What git prints; `None` where it fails or is not installed.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let text = text.trim();
    (output.status.success() && !text.is_empty()).then(|| text.to_owned())
}
