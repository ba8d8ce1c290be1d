//! The regression gate: builds two revisions, and says whether the second one is slower.
//!
//! Two parts, each with its own threshold. The exact part counts the instructions of hot functions
//! under callgrind: no noise, so one count decides. The other runs the same load against both
//! servers in interleaved pairs and decides on the confidence interval of the ratio. What is wrong
//! with the head (it lacks a bench, does not build, start or answer) is a regression; what is wrong
//! with the base is no answer at all.
//!
//! In reading order: `args`; `verdict` (what it can say); `decide` (the rule, without I/O); `pairs`
//! (who is measured when) and `live` (how); `counts` (what the bench wrote) and `instructions`;
//! `revision`, `build`, `tools` and `process` (git, cargo, valgrind); `findings`, `summary` and `junit`
//! (its results, for machines and for people).

pub mod args;
pub mod bounds;
mod build;
pub mod counts;
pub mod decide;
pub mod findings;
mod instructions;
mod junit;
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
use std::time::Instant;

use crate::console;
use crate::failure::Result;
use crate::history::{self, export};
use crate::outcome::Outcome;
use crate::report::file;
use crate::workload::Workload;

pub use args::{GateArgs, Only};
pub use pairs::{Measure, Sample};

use pairs::{Fault, Rule};

use build::Sides;
use findings::{Findings, Instructions};
use live::Live;
use process::say;
use revision::Repository;

/// Runs the gate and writes what it found.
///
/// # Errors
/// It could not run: no repository, an unknown revision, a missing tool, a base that does not build,
/// start or answer rightly, or a report that could not be written. A head that does not is a
/// regression.
pub fn main(args: &GateArgs) -> Result<Outcome> {
    let workloads = args.workloads()?;
    args.check(workloads.len())?;
    args.history.history.as_deref().map_or(Ok(()), history::prepare)?;
    let repository = Repository::here()?;
    let folder = repository.target_dir()?.join("gate");
    if args.clean {
        repository.remove_worktrees(&folder)?;
        process::remove_dir(&folder)?;
    }
    let sides = Sides::checkout(&repository, &folder, &args.base, &args.head)?;
    let mut measure = Live { duration: args.duration.0 };
    let measured = compare(args, &folder, &sides, &workloads, &mut measure);
    let removed = sides.remove();
    let findings = measured?;
    removed?;
    let out = args.out.clone().unwrap_or_else(|| folder.join("report"));
    let entry = history::Entry::of_gate(&findings, crate::run::now());
    write(&findings, &entry, &out)?;
    args.history.history.as_deref().map_or(Ok(()), |path| entry.append(path))?;
    say(&format!("written: {}", out.join("gate.md").display()));
    console::print(&summary::text(&findings))?;
    Ok(findings.outcome())
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
        _ => instructions::compare(folder, sides, args)?,
    };
    // Findings so far are kept even if a server does not start later.
    summary::failures(&findings).iter().for_each(|line| say(line));
    if args.only == Some(Only::Instructions) {
        findings.notes.push("pairs: not run: not asked for".to_owned());
    } else if findings.has_failed() && !args.all {
        let note = "pairs: not run: the exact part has failed (--all runs them all the same)";
        findings.notes.push(note.to_owned());
    } else {
        load(args, sides, workloads, measure, &mut findings)?;
    }
    findings.conclude();
    Ok(findings)
}

/// The load part.
fn load(
    args: &GateArgs,
    sides: &Sides,
    workloads: &[Workload],
    measure: &mut dyn Measure,
    findings: &mut Findings,
) -> Result<()> {
    let binaries = match sides.build_servers() {
        Ok(binaries) => binaries,
        Err(Fault::Base(failure)) => return Err(failure),
        Err(Fault::Head(failure)) => {
            findings.faults.push(format!("the head does not build: {failure}"));
            return Ok(());
        }
    };
    let plan = args.plan(workloads.len())?;
    findings.confidence = Some(plan.confidence());
    let begun_at = now();
    let limit = args.time_limit.0;
    let time_is_up = || now().saturating_duration_since(begun_at) >= limit;
    let rule = Rule { plan: &plan, limits: args.limits(), all: args.all, time_is_up: &time_is_up };
    let ran = pairs::run(&rule, workloads, &binaries, measure, &mut |text| say(text))?;
    if time_is_up() {
        findings.notes.push(format!("pairs: ended after {} (--time-limit)", args.time_limit));
    }
    findings.comparisons = ran.comparisons;
    findings.faults.extend(ran.fault);
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "how long real servers are measured")]
fn now() -> Instant {
    Instant::now()
}

fn write(findings: &Findings, entry: &history::Entry, out: &Path) -> Result<()> {
    file::prepare(out)?;
    let write = |name: &str, text: String| file::replace(&out.join(name), text.as_bytes());
    write("gate.json", findings.to_json()?)?;
    write("gate.md", summary::markdown(findings))?;
    write("gate.junit.xml", junit::xml(findings))?;
    write("gate.bmf.json", export::bencher(entry).to_string())?;
    write("gate.smaller-is-better.json", export::smaller_is_better(entry).to_string())
}
