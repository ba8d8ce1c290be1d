//! Which build of jeton this is: its version and the commit that it was built from.

/// Version of the package.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// First twelve digits of the commit that was checked out when this was built, with `-dirty` behind
/// them where the sources had changes that were not committed; `unknown` where they were not a git
/// repository. `JETON_BUILD_COMMIT`, set while building, takes its place.
pub const COMMIT: &str = env!("JETON_BUILD_COMMIT");

/// What `jeton --version` says after the name.
pub const VERSION_AND_COMMIT: &str =
    concat!(env!("CARGO_PKG_VERSION"), " (commit ", env!("JETON_BUILD_COMMIT"), ")");
