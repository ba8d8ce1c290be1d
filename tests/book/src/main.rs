//! Builds jeton's book, and checks all of its documentation.
//!
//! `cargo run -p book -- build` makes the book and refuses it where mdBook warns of anything or a
//! link leads nowhere. The tests do the same, and hold the names in the pages against the sources.

mod build;
mod html;
mod links;
mod markdown;
#[cfg(test)]
mod names;
#[cfg(test)]
mod words;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Builds jeton's book and checks its links
#[derive(Parser)]
#[command(name = "book")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Writes the book as HTML; start at its index.html
    Build {
        /// Folder of the book; what it holds is replaced
        #[arg(value_name = "OUT", default_value = "target/book")]
        out: PathBuf,
    },
}

/// Why there is no book.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// mdBook could not build it.
    #[error("mdBook: {0}")]
    Book(String),
    /// mdBook built it and warned.
    #[error("mdBook warns:\n{0}")]
    Warned(String),
    /// Complaints about links, one a line.
    #[error("links lead nowhere:\n{}", .0.join("\n"))]
    Links(Vec<String>),
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
}

fn main() -> ExitCode {
    let Command::Build { out } = Args::parse().command;
    match make(&out) {
        Ok(()) => {
            let _ = writeln!(std::io::stdout(), "{}", out.join("index.html").display());
            ExitCode::SUCCESS
        }
        Err(failure) => {
            let _ = writeln!(std::io::stderr(), "error: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn make(out: &std::path::Path) -> Result<(), Failure> {
    let top = top();
    let complaints = links::check(&top)?;
    if !complaints.is_empty() {
        return Err(Failure::Links(complaints));
    }
    build::build(&top, out)?;
    let complaints = html::check(out)?;
    if !complaints.is_empty() {
        return Err(Failure::Links(complaints));
    }
    Ok(())
}

/// The top of the project: this crate is two folders below it.
fn top() -> PathBuf {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).map_or(own.clone(), std::path::Path::to_owned)
}
