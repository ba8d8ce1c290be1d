//! Flags, environment and configuration file of a command, made into one configuration.
//!
//! [`flags`](mod@flags) is what clap knows of the flags, [`mod@file`] reads the file, [`merge`]
//! decides which value counts and where it comes from. What the flags are, and what they make
//! together, is for the command: it implements [`Flags`].

use crate::model::setting::SettingError;

pub mod file;
pub mod flags;
pub mod merge;

/// The flags of a command, and the configuration that they make.
///
/// Every value is taken as text and read by [`Flags::check`], so that all mistakes are reported at
/// once. Whether a flag needs another one is checked there too: clap does not know the file.
pub trait Flags: clap::Args {
    /// What the flags make.
    type Config;

    /// The configuration that the flags make.
    ///
    /// # Errors
    /// All mistakes, each with its setting.
    fn check(&self) -> Result<Self::Config, Vec<SettingError>>;
}
