//! Makes one configuration from the flags, the environment and the configuration file of a command.
//!
//! [`flags`](mod@flags) lists the flags that clap defines, [`mod@file`] parses the file, [`merge`]
//! decides which value counts and keeps its source, `rejected` says why clap rejects a value. The
//! command defines the flags and the configuration that they make: it implements [`Flags`].

use crate::model::setting::SettingError;

pub mod file;
pub mod flags;
pub mod merge;
pub(crate) mod rejected;

/// The flags of a command, and the configuration that they make.
///
/// clap takes every value as text and [`Flags::check`] parses it, so that all mistakes are reported
/// at once. Dependencies between flags are checked there too, because clap does not know the file.
pub trait Flags: clap::Args {
    /// The configuration type.
    type Config;

    /// Makes the configuration from the flags.
    ///
    /// # Errors
    /// All mistakes, each with its setting.
    fn check(&self) -> Result<Self::Config, Vec<SettingError>>;
}
