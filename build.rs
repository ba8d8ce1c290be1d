//! Finds out what the program cannot know of itself: the commit that it is built from, and whether
//! the build is instrumented to report something when the process ends.

use std::path::Path;
use std::process::Command;

/// Compiler flags of builds that write a report when the process exits: coverage, profiles and
/// sanitizers.
const REPORTING: [&str; 3] = ["instrument-coverage", "profile-generate", "sanitizer"];
/// Digits of a commit's name that are kept.
const COMMIT_LEN: usize = 12;
/// What the program is built from.
const SOURCES: [&str; 4] = ["src", "build.rs", "Cargo.toml", "Cargo.lock"];

fn main() {
    SOURCES.iter().for_each(|path| println!("cargo::rerun-if-changed={path}"));
    println!("cargo::rerun-if-env-changed=CARGO_ENCODED_RUSTFLAGS");
    println!("cargo::rerun-if-env-changed=JETON_BUILD_COMMIT");
    println!("cargo::rustc-check-cfg=cfg(jeton_reports_at_exit)");
    let flags = std::env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    if REPORTING.iter().any(|flag| flags.contains(flag)) {
        println!("cargo::rustc-cfg=jeton_reports_at_exit");
    }
    let given = std::env::var("JETON_BUILD_COMMIT").ok().filter(|given| !given.is_empty());
    let here = std::env::var_os("CARGO_MANIFEST_DIR");
    let checked_out = || checked_out(Path::new(&here?));
    // Flags in the environment replace those of .cargo/config.toml, and `cargo install` from elsewhere
    // does not read that file.
    let features = std::env::var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
    let is_x86_64 = std::env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "x86_64");
    if is_x86_64 && !features.split(',').any(|feature| feature == "aes") {
        println!(
            "cargo::warning=look-ups are slower without AES instructions: build with \
             RUSTFLAGS=\"-C target-feature=+aes,+ssse3,+sse4.1,+sse4.2\""
        );
    }
    let commit = given.or_else(checked_out).unwrap_or_else(|| "unknown".to_owned());
    // `cargo run` passes this variable to the program, which warns about unknown ones that begin with
    // JETON_.
    println!("cargo::rustc-env=BUILD_COMMIT={commit}");
}

/// The commit that is checked out, where `here` is the top of a git repository: a copy of the sources
/// inside another project's repository is not built from a commit of that project. It ends in
/// `-dirty` where the sources have changes that are not committed.
pub fn checked_out(here: &Path) -> Option<String> {
    let top = git(here, &["rev-parse", "--show-toplevel"])?;
    if Path::new(top.trim()).canonicalize().ok()? != here.canonicalize().ok()? {
        return None;
    }
    // Each commit and each checkout adds a line to the log, where git keeps one; HEAD itself changes
    // with a checkout.
    for name in ["logs/HEAD", "HEAD"] {
        let file = git(here, &["rev-parse", "--git-path", name])?;
        let file = here.join(file.trim());
        if file.exists() {
            println!("cargo::rerun-if-changed={}", file.display());
        }
    }
    let commit = git(here, &["rev-parse", "HEAD"])?;
    let mut commit = commit.trim().to_owned();
    commit.truncate(COMMIT_LEN);
    // A file that git does not know is built only if one that it knows names it.
    let status = ["--no-optional-locks", "status", "--porcelain", "--untracked-files=no", "--"];
    if git(here, &[&status[..], &SOURCES].concat()).is_none_or(|changes| !changes.is_empty()) {
        commit.push_str("-dirty");
    }
    Some(commit)
}

/// What git prints at `here`; `None` where it fails or is not installed.
fn git(here: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").arg("-C").arg(here).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8(output.stdout).ok()).flatten()
}
