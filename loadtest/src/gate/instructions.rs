//! The exact part: counts the instructions of both revisions and compares them.

use std::path::Path;

use super::args::GateArgs;
use super::build::{BENCH, Side, Sides};
use super::counts::{self, Counts};
use super::findings::Instructions;
use super::process::{remove_dir, run, say};
use super::tools;
use crate::failure::{Failure, Result};

/// Counts and compares.
///
/// # Errors
/// A tool is missing, or the base's bench does not build or wrote no counts. What is wrong with the
/// head is in what it gives.
pub fn compare(folder: &Path, sides: &Sides, args: &GateArgs) -> Result<Instructions> {
    if let Some(lacks) = lacking(sides.base.has_bench()?, sides.head.has_bench()) {
        say(&format!("instructions: {}", lacks.reason()));
        return Ok(lacks);
    }
    sides.check_compilers()?;
    let valgrind = tools::valgrind()?;
    let base = count(folder, &sides.base)?;
    let head = match count(folder, &sides.head) {
        Ok(head) => head,
        Err(failure) => return Ok(Instructions::HeadFails { reason: failure.to_string() }),
    };
    let functions = counts::compare(&base, &head, args.max_instructions, &args.allow_missing);
    Ok(Instructions::Compared { valgrind, limit: args.max_instructions.limit(), functions })
}

/// What follows from which side has the bench; nothing where both have it.
fn lacking(base: bool, head: Result<bool>) -> Option<Instructions> {
    match (base, head) {
        (true, Ok(true)) => None,
        (true, Ok(false)) => {
            let reason = format!("the head has no bench `{BENCH}`, which the base has");
            Some(Instructions::HeadFails { reason })
        }
        (true, Err(failure)) => Some(Instructions::HeadFails { reason: failure.to_string() }),
        (false, Ok(true)) => {
            let reason = format!("the bench `{BENCH}` is new: the base has none to compare with");
            Some(Instructions::NotRun { reason })
        }
        (false, _) => {
            Some(Instructions::NotRun { reason: format!("neither side has a bench `{BENCH}`") })
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_without_the_bench_fails_and_a_base_without_it_is_named() {
        assert!(lacking(true, Ok(true)).is_none());
        let damaged = || Err(Failure::Input("Cargo.toml: not TOML".to_owned()));
        for head in [Ok(false), damaged()] {
            assert!(matches!(lacking(true, head), Some(Instructions::HeadFails { .. })));
        }
        let new = lacking(false, Ok(true)).unwrap();
        assert!(matches!(&new, Instructions::NotRun { reason } if reason.contains("is new")));
        assert!(matches!(lacking(false, Ok(false)), Some(Instructions::NotRun { .. })));
    }
}
