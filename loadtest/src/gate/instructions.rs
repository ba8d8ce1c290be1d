//! The exact part: counts the instructions of both revisions and compares them.

use std::path::Path;

use super::args::Percent;
use super::build::{BENCH, Side, Sides};
use super::counts::{self, Counts};
use super::findings::Instructions;
use super::process::{remove_dir, run, say};
use super::tools;
use crate::failure::{Failure, Result};

/// Counts and compares.
///
/// # Errors
/// A tool is missing, a build failed, or the bench wrote no counts.
pub fn compare(folder: &Path, sides: &Sides, max: Percent) -> Result<Instructions> {
    for (name, side) in [("base", &sides.base), ("head", &sides.head)] {
        if !side.has_bench()? {
            let reason = format!("{name} has no bench `{BENCH}`");
            say(&format!("instructions: not run: {reason}"));
            return Ok(Instructions::NotRun { reason });
        }
    }
    sides.check_compilers()?;
    let valgrind = tools::valgrind()?;
    let base = count(folder, &sides.base)?;
    let head = count(folder, &sides.head)?;
    let functions = counts::compare(&base, &head, max);
    Ok(Instructions::Compared { valgrind, limit: max.limit(), functions })
}

fn count(folder: &Path, side: &Side) -> Result<Counts> {
    let version = side.locked_version("gungraun")?.ok_or_else(|| {
        let commit = &side.revision().commit;
        Failure::Input(format!("{commit}: its bench `{BENCH}` is not one of gungraun's"))
    })?;
    let out = side.counts();
    remove_dir(&out)?;
    let mut bench = side.cargo();
    bench.args(["bench", "--locked", "-p", "jeton", "--bench", BENCH, "--"]);
    bench.arg("--save-summary=json").arg(format!("--home={}", out.display()));
    if let Some(runner) = tools::runner(folder, &version)? {
        bench.env("PATH", tools::path_with(&runner)?);
    }
    run(&mut bench)?;
    counts::read(&out)
}
