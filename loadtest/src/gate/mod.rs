//! The regression gate: builds two revisions, and says whether the second one is slower.
//!
//! Two parts, each with its own threshold. The exact part counts the instructions of hot functions
//! under callgrind: no noise, so one count decides. The other runs the same load against both
//! servers in interleaved pairs and decides on the confidence interval of the ratio.
//!
//! In reading order: `args`; `verdict` (what it can say); `decide` (the rule, without I/O); `pairs`
//! (who is measured when) and `live` (how); `counts` (what the bench wrote) and `instructions`;
//! `revision`, `build`, `tools` and `process` (git, cargo, valgrind); `findings` and `summary` (what
//! it came to, for machines and for people).

pub mod args;
mod build;
pub mod counts;
pub mod decide;
pub mod findings;
mod instructions;
mod live;
pub mod pairs;
#[cfg(test)]
mod pairs_tests;
mod process;
mod revision;
mod summary;
mod tools;
pub mod verdict;

use std::path::Path;

use crate::console;
use crate::failure::Result;
use crate::report::file;
use crate::workload::Workload;

pub use args::{GateArgs, Only};
pub use pairs::{Measure, Sample};

use build::Sides;
use findings::{Findings, Instructions};
use live::Live;
use process::say;
use revision::Repository;

/// Runs the gate and writes what it found; true where no regression was found.
///
/// # Errors
/// It could not run: no repository, an unknown revision, a build that failed, a missing tool, a
/// server that does not start, or a report that could not be written.
pub fn main(args: &GateArgs) -> Result<bool> {
    let workloads = args.workloads()?;
    args.check(workloads.len())?;
    let repository = Repository::here()?;
    let folder = repository.target_dir()?.join("gate");
    if args.clean {
        repository.remove_worktrees(&folder)?;
        process::remove_dir(&folder)?;
    }
    let sides = Sides::checkout(&repository, &folder, &args.base, &args.head)?;
    let measured = compare(args, &folder, &sides, &workloads, &mut Live);
    let removed = sides.remove();
    let findings = measured?;
    removed?;
    let out = args.out.clone().unwrap_or_else(|| folder.join("report"));
    write(&findings, &out)?;
    say(&format!("written: {}", out.join("gate.md").display()));
    console::print(&summary::text(&findings))?;
    Ok(findings.passed)
}

fn compare(
    args: &GateArgs,
    folder: &Path,
    sides: &Sides,
    workloads: &[Workload],
    measure: &mut dyn Measure,
) -> Result<Findings> {
    let mut findings = Findings::new(args, sides.base.revision(), sides.head.revision());
    findings.instructions = match args.only {
        Some(Only::Pairs) => Instructions::NotRun { reason: "not asked for".to_owned() },
        _ => instructions::compare(folder, sides, args.max_instructions)?,
    };
    // What is found already must not be lost where a server then does not start.
    summary::failures(&findings).iter().for_each(|line| say(line));
    if args.only != Some(Only::Instructions) {
        let binaries = sides.build_servers()?;
        let plan = args.plan(workloads.len())?;
        findings.confidence = Some(plan.confidence());
        findings.comparisons = pairs::run(&plan, workloads, &binaries, measure, &mut |text| {
            say(text);
        })?;
    }
    findings.conclude();
    Ok(findings)
}

fn write(findings: &Findings, out: &Path) -> Result<()> {
    file::prepare(out)?;
    file::replace(&out.join("gate.json"), findings.to_json()?.as_bytes())?;
    file::replace(&out.join("gate.md"), summary::markdown(findings).as_bytes())
}
