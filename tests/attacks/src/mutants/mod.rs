//! Breaks the code on purpose, in one way after the other, and shows which test fails.
//!
//! A mutant that no test detects means a missing test. All work is done under `target/mutants`, in
//! a copy of the sources with a separate build. An interruption does no harm, because every run
//! first updates the copy from the sources.

mod list;
mod outcome;
mod page;
mod tree;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::failure::{Failure, Result, io};
use crate::process::{Ended, Runner};
use crate::{Verdict, console, table};

use list::{Mutant, Target, Tests};
use outcome::Outcome;
use tree::Tree;

/// Time limit of a build; the first one builds everything.
const BUILD_LIMIT: Duration = Duration::from_secs(3_600);

/// Breaks the code in one way after the other and shows which test fails
#[derive(clap::Args)]
pub struct Args {
    /// Only these mutants
    #[arg(long, value_name = "NAME", num_args = 1..)]
    only: Vec<String>,

    /// Lists the mutants and exits
    #[arg(long)]
    list: bool,

    /// Writes the table of mutants in tests/README.md and exits
    #[arg(long, conflicts_with = "list")]
    table: bool,

    /// Continues after a mutant that no test has detected
    #[arg(long)]
    keep_going: bool,

    /// Number of parallel build jobs
    #[arg(long, value_name = "N", default_value_t = 1)]
    jobs: u32,

    /// Time limit of the tests
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    limit: u64,
}

/// `attacks mutants`
pub fn run(args: &Args, top: &Path) -> Result<Verdict> {
    if args.table {
        return page::write(top).map(|()| Verdict::Good);
    }
    let mutants = list::select(list::read(top)?, &args.only)?;
    if args.list {
        let row =
            |m: &Mutant| [m.name.clone(), m.promise.clone(), m.breaks.clone(), m.file.clone()];
        let rows: Vec<_> = mutants.iter().map(row).collect();
        console::print(&table::markdown(["mutant", "promise", "what it breaks", "file"], &rows));
        return Ok(Verdict::Good);
    }
    let place = top.join("target/mutants");
    let logs = place.join("logs");
    fs::create_dir_all(&logs).map_err(io(logs.display()))?;
    let lab = Lab {
        runner: Runner::new()?,
        tree: Tree::copy(top, place.join("tree"))?,
        target_dir: place.join("target"),
        logs,
        jobs: args.jobs,
        limit: Duration::from_secs(args.limit),
    };
    lab.check_unbroken(&mutants)?;
    let mut tried = Vec::new();
    for (number, mutant) in mutants.iter().enumerate() {
        let (outcome, took) = lab.try_one(mutant)?;
        let count = mutants.len();
        console::say(&format!("{:>3}/{count} {}: {outcome}", number + 1, mutant.name));
        let is_caught = outcome.is_caught();
        tried.push((mutant, outcome, took));
        if !is_caught && !args.keep_going {
            break;
        }
    }
    console::print(&report(&tried));
    let all_caught = tried.iter().all(|(_, outcome, _)| outcome.is_caught());
    Ok(if all_caught { Verdict::Good } else { Verdict::Bad })
}

fn report(tried: &[(&Mutant, Outcome, Duration)]) -> String {
    let rows: Vec<_> = tried
        .iter()
        .map(|(mutant, outcome, took)| {
            let seconds = took.as_secs().to_string();
            [mutant.name.clone(), mutant.promise.clone(), outcome.to_string(), seconds]
        })
        .collect();
    let caught = tried.iter().filter(|(_, outcome, _)| outcome.is_caught()).count();
    let table = table::markdown(["mutant", "promise", "caught by", "seconds"], &rows);
    format!("{table}\n{caught} of {} mutants were caught.\n", tried.len())
}

/// Applies and tests mutants.
struct Lab {
    runner: Runner,
    tree: Tree,
    target_dir: PathBuf,
    logs: PathBuf,
    jobs: u32,
    limit: Duration,
}

impl Lab {
    /// Runs the same tests on the original code: they must exist and pass.
    fn check_unbroken(&self, mutants: &[Mutant]) -> Result<()> {
        let tests = || mutants.iter().flat_map(|mutant| &mutant.tests);
        for target in Target::ALL {
            let of_target = tests().filter(|tests| tests.target == target);
            let mut filters: Vec<String> =
                of_target.flat_map(|tests| tests.filters.clone()).collect();
            filters.sort();
            filters.dedup();
            if filters.is_empty() {
                continue;
            }
            console::say(&format!("without any mutant: {}", target.args().join(" ")));
            let log = self.logs.join(format!("unbroken-{target:?}.log").to_lowercase());
            let broken = |what: &str| Failure::Baseline { what: what.to_owned(), log: log.clone() };
            if self.build(target, &log)? != Ended::Code(0) {
                return Err(broken("the tests cannot be built"));
            }
            self.test(target, &["--list".to_owned()], &log)?;
            let listed = fs::read_to_string(&log).map_err(io(log.display()))?;
            if let Some(filter) = outcome::without_tests(&listed, &filters) {
                return Err(broken(&format!("no test is called {filter}")));
            }
            match self.test(target, &filters, &log)? {
                Ended::Code(0) => {}
                Ended::TimedOut => return Err(broken("the tests take too long")),
                Ended::Code(_) | Ended::Signal(_) => return Err(broken("tests fail")),
            }
        }
        Ok(())
    }

    /// Applies a mutant, runs its tests until one fails, and restores the code.
    fn try_one(&self, mutant: &Mutant) -> Result<(Outcome, Duration)> {
        let log = self.logs.join(format!("{}.log", mutant.name));
        let mutated = self.tree.mutate(mutant)?;
        let began = crate::process::now();
        let mut outcome = Outcome::Survived;
        for tests in &mutant.tests {
            outcome = self.try_tests(tests, &log)?;
            if outcome.is_caught() || outcome == Outcome::NotBuilt {
                break;
            }
        }
        mutated.restore()?;
        Ok((outcome, began.elapsed()))
    }

    fn try_tests(&self, tests: &Tests, log: &Path) -> Result<Outcome> {
        if self.build(tests.target, log)? != Ended::Code(0) {
            return Ok(Outcome::NotBuilt);
        }
        let ended = self.test(tests.target, &tests.filters, log)?;
        let output = fs::read_to_string(log).map_err(io(log.display()))?;
        Ok(Outcome::of(ended, &output, tests))
    }

    fn build(&self, target: Target, log: &Path) -> Result<Ended> {
        let mut command = self.cargo(target);
        command.args(["--no-run", "--jobs", &self.jobs.to_string()]);
        Ok(self.runner.run(&mut command, log, BUILD_LIMIT)?.0)
    }

    fn test(&self, target: Target, args: &[String], log: &Path) -> Result<Ended> {
        let mut command = self.cargo(target);
        command.arg("--").args(args);
        Ok(self.runner.run(&mut command, log, self.limit)?.0)
    }

    fn cargo(&self, target: Target) -> Command {
        let mut command = Command::new("cargo");
        command
            .args(["test", "--package", target.package(), "--locked", "--color", "never"])
            .args(target.args())
            .current_dir(self.tree.path())
            .env("CARGO_TARGET_DIR", &self.target_dir)
            // Mutants need no debug information, and without it a build takes half the time.
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            // Failing cases need not be shrunk, nor stored for the next mutant.
            .env("PROPTEST_MAX_SHRINK_ITERS", "0")
            .env("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "1")
            .env("RUST_BACKTRACE", "0");
        command
    }
}
