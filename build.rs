//! Finds out whether the build is instrumented to report something when the process ends.

/// Compiler flags of builds that write a report when the process exits: coverage, profiles and
/// sanitizers.
const REPORTING: [&str; 3] = ["instrument-coverage", "profile-generate", "sanitizer"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=CARGO_ENCODED_RUSTFLAGS");
    println!("cargo::rustc-check-cfg=cfg(jeton_reports_at_exit)");
    let flags = std::env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    if REPORTING.iter().any(|flag| flags.contains(flag)) {
        println!("cargo::rustc-cfg=jeton_reports_at_exit");
    }
}
