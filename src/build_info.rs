//! Which build of jeton this is: its version and the commit that it was built from.

/// Version of the package.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// First twelve digits of the commit that was checked out for the build, followed by `-dirty` if
/// the sources had uncommitted changes; `unknown` outside a git repository. `JETON_BUILD_COMMIT`,
/// set for the build, overrides it.
pub const COMMIT: &str = env!("BUILD_COMMIT");

/// Whether the build hashes with AES instructions. Without them look-ups are slower: a build that is
/// given `RUSTFLAGS`, or made by `cargo install` from elsewhere, lacks the flags of this project.
pub const HAS_AES: bool = cfg!(target_feature = "aes");

/// The output of `jeton --version` after the name.
#[cfg(target_feature = "aes")]
pub const VERSION_AND_COMMIT: &str =
    concat!(env!("CARGO_PKG_VERSION"), " (commit ", env!("BUILD_COMMIT"), ", aes)");
/// The output of `jeton --version` after the name.
#[cfg(not(target_feature = "aes"))]
pub const VERSION_AND_COMMIT: &str =
    concat!(env!("CARGO_PKG_VERSION"), " (commit ", env!("BUILD_COMMIT"), ", no aes)");

#[cfg(test)]
mod tests {
    #[test]
    fn the_build_sets_no_variable_that_the_server_would_warn_about() {
        let build = include_str!("../build.rs");
        assert!(build.contains("rustc-env="), "the build tells its commit");
        assert!(!build.contains("rustc-env=JETON_"), "`cargo run` passes it to the program");
    }
}
