//! Runs every attack at its large volume, one after the other, and collects their summaries.

mod counts;
mod plan;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::failure::{Failure, Result, io};
use crate::process::{Ended, Runner};
use crate::{Verdict, console, table};

use plan::{Attack, Scale, Step};

/// Time limit of one attack; more than any of them needs.
const LIMIT: Duration = Duration::from_secs(12 * 3_600);

/// Runs every attack at its large volume
#[derive(clap::Args)]
pub struct Args {
    /// Only these attacks
    #[arg(long, value_name = "NAME", num_args = 1..)]
    only: Vec<String>,

    /// Lists the attacks and exits
    #[arg(long)]
    list: bool,

    /// Volume of each attack: as in `cargo test`, or the full one
    #[arg(long, value_enum, default_value_t = Scale::Full)]
    scale: Scale,

    /// Counts an attack as failed if a part of it cannot run here
    #[arg(long)]
    strict: bool,

    /// Writes the table to this file too
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// `attacks long`
pub fn run(args: &Args, top: &Path) -> Result<Verdict> {
    let attacks = plan::select(&args.only)?;
    if args.list {
        console::print(&plan::list(&attacks, args.scale));
        return Ok(Verdict::Good);
    }
    let logs = top.join("target/long");
    fs::create_dir_all(&logs).map_err(io(logs.display()))?;
    let runner = Runner::new()?;
    let mut done = Vec::new();
    for attack in attacks {
        console::say(&format!("{}: {}", attack.name, attack.promises));
        let log = logs.join(format!("{}.log", attack.name));
        let ran = carry_out(attack, args, top, &runner, &log);
        // The table includes the attacks that were completed so far.
        if matches!(ran, Err(Failure::Interrupted)) {
            console::print(&report(&done));
        }
        let ran = ran?;
        console::say(&format!("{}: {}", attack.name, ran.result));
        done.push(ran);
        if let Some(out) = &args.out {
            fs::write(out, report(&done)).map_err(io(out.display()))?;
        }
    }
    console::print(&report(&done));
    Ok(if done.iter().all(|ran| ran.is_good) { Verdict::Good } else { Verdict::Bad })
}

/// Result of an attack.
struct Ran {
    attack: &'static Attack,
    counts: String,
    result: String,
    is_good: bool,
    took: Duration,
}

fn carry_out(
    attack: &'static Attack,
    args: &Args,
    top: &Path,
    runner: &Runner,
    log: &Path,
) -> Result<Ran> {
    let mut command = command(attack, args.scale, top);
    let (ended, took) = runner.run(&mut command, log, LIMIT)?;
    let output = fs::read(log).map_err(io(log.display()))?;
    let output = String::from_utf8_lossy(&output);
    let (result, is_good) = match judge(attack.step, ended, &output, args.strict) {
        Ok(result) => (result, true),
        Err(result) => (format!("{result}; see {}", log.display()), false),
    };
    Ok(Ran { attack, counts: counts::of(&output), result, is_good, took })
}

/// The verdict on an attack: how it passed, or why it failed.
fn judge(
    step: Step,
    ended: Ended,
    output: &str,
    is_strict: bool,
) -> std::result::Result<String, String> {
    match ended {
        Ended::Code(0) => {}
        Ended::Code(_) | Ended::Signal(_) => return Err("FAILED".to_owned()),
        Ended::TimedOut => return Err("TIMED OUT".to_owned()),
    }
    // An attack that succeeds without having done anything has not passed.
    match step {
        Step::Tests(_) if counts::tests_run(output) == 0 => {
            return Err("FAILED: no such test".to_owned());
        }
        Step::Program(_) if counts::of(output).is_empty() => {
            return Err("FAILED: it reports no work".to_owned());
        }
        Step::Tests(_) | Step::Program(_) => {}
    }
    let not_run = counts::not_run(output);
    match (not_run.is_empty(), is_strict) {
        (true, _) => Ok("passed".to_owned()),
        (false, false) => Ok(format!("passed; NOT RUN: {}", not_run.join("; "))),
        (false, true) => Err(format!("FAILED: NOT RUN: {}", not_run.join("; "))),
    }
}

fn command(attack: &Attack, scale: Scale, top: &Path) -> Command {
    let volumes = attack.volumes(scale);
    match attack.step {
        Step::Tests(filters) => {
            let mut command = Command::new("cargo");
            command
                .args([
                    "test",
                    "--profile",
                    "attack",
                    "--package",
                    "jeton",
                    "--locked",
                    "--color",
                    "never",
                ])
                .args(["--test", "integration", "--"])
                .args(filters)
                // One after the other, so that each has the machine for itself.
                .args(["--nocapture", "--test-threads", "1"])
                .current_dir(top)
                .envs(volumes);
            command
        }
        Step::Program(program) => {
            let mut command = Command::new(top.join(program));
            command.args(volumes.map(|(_, volume)| volume)).current_dir(top);
            command
        }
    }
}

fn report(done: &[Ran]) -> String {
    let row = |ran: &Ran| {
        let (attack, took) = (ran.attack, ran.took.as_secs());
        [
            attack.name.to_owned(),
            attack.promises.to_owned(),
            ran.counts.clone(),
            format!("{}:{:02}:{:02}", took / 3_600, took / 60 % 60, took % 60),
            ran.result.clone(),
        ]
    };
    let rows: Vec<_> = done.iter().map(row).collect();
    let mut report =
        table::markdown(["attack", "promises", "what it did", "time", "result"], &rows);
    let failed = done.iter().filter(|ran| !ran.is_good).count();
    let minutes = done.iter().map(|ran| ran.took).sum::<Duration>().as_secs() / 60;
    let _ = writeln!(report, "\n{} attacks in {minutes} minutes, {failed} failed.", done.len());
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    const TESTS: Step = Step::Tests(&["a::"]);
    const PROGRAM: Step = Step::Program("a");

    fn is_good(step: Step, output: &str) -> [bool; 2] {
        [false, true].map(|is_strict| judge(step, Ended::Code(0), output, is_strict).is_ok())
    }

    #[test]
    fn what_has_done_nothing_has_not_passed() {
        let passed = "test result: ok. 2 passed; 0 failed\n";
        assert_eq!(is_good(TESTS, passed), [true, true]);
        assert_eq!(is_good(TESTS, "test result: ok. 0 passed; 0 failed\n"), [false, false]);
        assert_eq!(is_good(PROGRAM, "attack a runs=1\n"), [true, true]);
        assert_eq!(is_good(PROGRAM, "nothing to do\n"), [false, false]);
        assert_eq!(is_good(PROGRAM, "attack a\n"), [false, false]);
    }

    #[test]
    fn what_was_not_run_passes_unless_it_is_strict() {
        let output = "NOT RUN: a: no /dev/fuse\ntest result: ok. 1 passed; 0 failed\n";
        assert_eq!(is_good(TESTS, output), [true, false]);
        for is_strict in [false, true] {
            let told = judge(TESTS, Ended::Code(0), output, is_strict).unwrap_or_else(|why| why);
            assert!(told.ends_with("NOT RUN: a: no /dev/fuse"), "{told}");
        }
    }

    #[test]
    fn what_fails_dies_or_takes_too_long_has_not_passed() {
        let output = "attack a runs=1\ntest result: ok. 1 passed; 0 failed\n";
        for ended in [Ended::Code(1), Ended::Signal(9), Ended::TimedOut] {
            for step in [TESTS, PROGRAM] {
                assert!(judge(step, ended, output, false).is_err(), "{ended:?}");
            }
        }
    }

    /// A run that cannot list the targets must not report success.
    #[test]
    fn fuzzing_nothing_is_a_failure() {
        use std::os::unix::fs::PermissionsExt;

        let dir = std::env::temp_dir().join(format!("attacks-fuzz-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let cargo = dir.join("cargo");
        let path = format!("{}:{}", dir.display(), std::env::var("PATH").unwrap());
        let ends_with = |script: &str| {
            fs::write(&cargo, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
            let mut run = Command::new(crate::top().join("tests/fuzz/run"));
            run.arg("1").env("PATH", &path).output().unwrap().status.code()
        };
        assert_eq!(ends_with(r#"[ "$2" = --version ]"#), Some(2), "no list");
        assert_eq!(ends_with("exit 0"), Some(2), "an empty list");
        fs::remove_dir_all(&dir).unwrap();
    }
}
