//! Which build of jeton this is: its version and the commit that it was built from.

/// Version of the package.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// First twelve digits of the commit that was checked out for the build, followed by `-dirty` if
/// the sources had uncommitted changes; `unknown` outside a git repository. `JETON_BUILD_COMMIT`,
/// set for the build, overrides it.
pub const COMMIT: &str = env!("JETON_BUILD_COMMIT");

/// The output of `jeton --version` after the name.
pub const VERSION_AND_COMMIT: &str =
    concat!(env!("CARGO_PKG_VERSION"), " (commit ", env!("JETON_BUILD_COMMIT"), ")");
