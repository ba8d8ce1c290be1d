//! Two commands for tests of jeton that take too long for `cargo test`.
//!
//! `mutants` breaks the code on purpose, in one way after the other, and shows which test fails.
//! `long` runs every attack at its large volume, one after the other, and collects their counts.
//!
//! Neither touches the sources it is started on: mutants are made in a copy.

mod console;
mod failure;
mod long;
mod mutants;
mod process;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use failure::Failure;

/// Breaks jeton on purpose, and runs the attacks on it at volume
#[derive(Parser)]
#[command(name = "attacks")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Breaks the code in one way after the other and shows which test fails
    Mutants(mutants::Args),
    /// Runs every attack at its large volume
    Long(long::Args),
}

/// Result of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// All promises hold.
    Good,
    /// A mutant survived, or an attack succeeded.
    Bad,
}

fn main() -> ExitCode {
    let done = match Args::parse().command {
        Command::Mutants(args) => mutants::run(&args, &top()),
        Command::Long(args) => long::run(&args, &top()),
    };
    match done {
        Ok(Verdict::Good) => ExitCode::SUCCESS,
        Ok(Verdict::Bad) => ExitCode::from(1),
        Err(Failure::Interrupted) => ExitCode::from(130),
        Err(failure) => {
            console::say(&format!("error: {failure}"));
            ExitCode::from(2)
        }
    }
}

/// The top of the project: this crate is two folders below it.
fn top() -> PathBuf {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).map_or(own.clone(), std::path::Path::to_owned)
}

#[test]
fn the_command_line_is_consistent() {
    use clap::CommandFactory;
    Args::command().debug_assert();
    assert!(top().join("tests/attacks/Cargo.toml").is_file());
}
