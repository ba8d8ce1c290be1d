//! The flags of the command.

use std::path::PathBuf;

use clap::Args;

use crate::quantity::Span;

/// Which servers are compared, and how long.
#[derive(Clone, Debug, Args)]
pub struct PeersArgs {
    /// Where peers.md, peers.html and peers.json go
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Rounds, 6 to 50: fewer allow no interval of 95 %
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub rounds: usize,
    /// How long each server is measured in a round
    #[arg(long, value_name = "TIME", default_value = "2s")]
    pub duration: Span,
    /// Tokens, of all works but memory
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub population: u64,
    /// Tokens of the work memory
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    pub memory_population: u64,
    /// Only this work (resolve, pipelined, batch, issue, issue-1, memory); may be given several
    /// times
    #[arg(long, value_name = "NAME")]
    pub work: Vec<String>,
    /// jeton's binary; by default it is built from this repository, else searched on the PATH
    #[arg(long, env = "JETON_BIN", value_name = "PATH")]
    pub server_bin: Option<PathBuf>,
    /// Directory for the data of the servers; on a disk, not in memory
    #[arg(long, value_name = "DIR")]
    pub scratch: Option<PathBuf>,
}
