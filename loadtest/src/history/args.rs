//! The flags of the command.

use std::path::PathBuf;

use clap::Args;

use crate::quantity::Percent;

/// Where a history is kept, for the commands that add to it.
#[derive(Args, Clone, Debug, Default)]
pub struct HistoryArgs {
    /// Adds a line with the figures of this commit to a file, for `loadtest history`
    #[arg(long, value_name = "FILE")]
    pub history: Option<PathBuf>,
}

/// What is read, and what is written.
#[derive(Args, Clone, Debug)]
pub struct ShowArgs {
    /// The file that --history of `run` and `gate` added to
    pub(super) file: PathBuf,
    /// Writes a page with each figure over the commits
    #[arg(long, value_name = "FILE")]
    pub(super) html: Option<PathBuf>,
    /// Writes the figures of the last commit for Bencher (BMF JSON)
    #[arg(long, value_name = "FILE")]
    pub(super) bmf: Option<PathBuf>,
    /// Writes them for github-action-benchmark (customSmallerIsBetter)
    #[arg(long, value_name = "FILE")]
    pub(super) smaller_is_better: Option<PathBuf>,
    /// How many commits are looked at, from the last one back: 1 to 2,000
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub(super) last: usize,
    /// The least change of a median that counts
    #[arg(long, value_name = "PERCENT", default_value = "1%")]
    pub(super) min_change: Percent,
}
