//! Runs every attack at its large volume, one after the other, and collects what they have done.

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

/// For one attack; more than any of them takes.
const LIMIT: Duration = Duration::from_secs(12 * 3_600);

/// Runs every attack at its large volume
#[derive(clap::Args)]
pub struct Args {
    /// Only these attacks
    #[arg(long, value_name = "NAME", num_args = 1..)]
    only: Vec<String>,

    /// Lists the attacks and ends
    #[arg(long)]
    list: bool,

    /// How much each attack does: as in `cargo test`, or as much as was promised
    #[arg(long, value_enum, default_value_t = Scale::Full)]
    scale: Scale,

    /// Writes the table into this file too
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
        let ran = carry_out(attack, args.scale, top, &runner, &log);
        // What was done so far is worth its table.
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

/// What an attack has done.
struct Ran {
    attack: &'static Attack,
    counts: String,
    result: String,
    is_good: bool,
    took: Duration,
}

fn carry_out(
    attack: &'static Attack,
    scale: Scale,
    top: &Path,
    runner: &Runner,
    log: &Path,
) -> Result<Ran> {
    let mut command = command(attack, scale, top);
    let (ended, took) = runner.run(&mut command, log, LIMIT)?;
    let output = fs::read(log).map_err(io(log.display()))?;
    let output = String::from_utf8_lossy(&output);
    let counts = counts::of(&output);
    let not_run = counts::not_run(&output);
    let (result, is_good) = match ended {
        Ended::Code(0)
            if matches!(attack.step, Step::Tests(_)) && counts::tests_run(&output) == 0 =>
        {
            (format!("no such test; see {}", log.display()), false)
        }
        Ended::Code(0) if not_run.is_empty() => ("passed".to_owned(), true),
        Ended::Code(0) => (format!("passed; NOT RUN: {}", not_run.join("; ")), true),
        Ended::Code(_) | Ended::Signal(_) => (format!("FAILED; see {}", log.display()), false),
        Ended::TimedOut => ("TIMED OUT".to_owned(), false),
    };
    Ok(Ran { attack, counts, result, is_good, took })
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
                // One after the other: each has the machine for itself.
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
