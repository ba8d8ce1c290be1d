//! What `run` and `gate` measured of each commit, kept in a file of lines: drawn, searched for
//! changes, and passed on to other tools.
//!
//! In reading order: `entry` (one line), `divisive` (where a series changes), `series` (from lines to
//! series), `page` and `export`, `args` and this file (the command).

pub mod args;
pub mod divisive;
pub mod entry;
pub mod export;
pub(crate) mod page;
pub mod series;

use std::path::{Path, PathBuf};

pub use args::ShowArgs;
pub use entry::Entry;
pub use series::{Change, History, Series};

use crate::console::print;
use crate::failure::{Failure, Result};
use crate::report::file;
use divisive::Options;

/// Shows a history.
///
/// # Errors
/// The file cannot be read, or holds no figures; a file cannot be written.
pub fn main(args: &ShowArgs) -> Result<()> {
    if !(1..=2_000).contains(&args.last) {
        return Err(Failure::Input(format!("--last: is {}, must be 1 to 2,000", args.last)));
    }
    let entries = entry::read(&args.file)?;
    let options = Options { change_min: args.min_change.limit() - 1.0, ..Options::default() };
    let history = History::new(&entries, args.last, &options);
    let last = entries.iter().rev().find(|entry| !entry.figures.is_empty());
    let last = last.ok_or_else(|| {
        Failure::Input(format!("{}: it has no commit with figures", args.file.display()))
    })?;
    print(&page::text(&history))?;
    let write = |path: &Option<PathBuf>, content: &dyn Fn() -> String| -> Result<()> {
        let Some(path) = path else { return Ok(()) };
        file::replace(path, content().as_bytes())?;
        print(&format!("written: {}\n", path.display()))
    };
    write(&args.html, &|| page::html(&history))?;
    write(&args.bmf, &|| export::bencher(last).to_string())?;
    write(&args.smaller_is_better, &|| export::smaller_is_better(last).to_string())
}

/// Checks that a line can be added, so that a mistake in the path shows before hours of measuring.
///
/// # Errors
/// The file cannot be written.
pub fn prepare(path: &Path) -> Result<()> {
    let opened = std::fs::OpenOptions::new().append(true).create(true).open(path);
    opened.map(drop).map_err(crate::failure::at(path))
}

#[cfg(test)]
mod tests;
