//! Measures every figure that the README lists, each against the stores people use today and
//! against a floor, in one run: `cargo bench --bench figures -- FIGURE… [--quick]`.
//!
//! It starts every server itself, on free ports and with files below the target directory, and
//! stops them again. Every answer is compared with what it must be; a wrong one ends the program
//! with exit code 1. Servers take turns in interleaved rounds, so that what drifts on the machine
//! drifts for all. Without a figure it runs the cheap ones very small, as a test of itself.
//!
//! What it does not show: the network, more than one machine's cores, and a generator on a machine
//! of its own. The generator shares the cores with the server, which is why the figures for resolve
//! are CPU time of the server and not throughput.
//!
//! In reading order: `settings` and `report`; `process` and `servers` (starting, `/proc`);
//! `wire`, `requests` and `work` (what is asked and answered); `load` (the generator); `rounds`;
//! `floor`; then a file for each figure.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program whose output is its purpose"
)]
#![expect(clippy::disallowed_methods, reason = "it measures real time")]
#![expect(clippy::expect_used, reason = "constant bounds, short waits, a clock after 1970")]

mod amplification;
mod bulk;
mod expiry;
mod failure;
mod floor;
mod growth;
mod issue;
mod load;
mod memory;
mod process;
mod recovery;
mod report;
mod requests;
mod resolve;
mod rounds;
mod servers;
mod settings;
mod stats;
mod wire;
mod work;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use crate::failure::{Failure, Result, io};
use crate::report::Table;
use crate::servers::Peer;
use crate::settings::{Settings, Size};

type Figure = (&'static str, fn(&Settings) -> Result<Table>);

/// All figures, in the order in which `all` runs them.
const FIGURES: [Figure; 9] = [
    ("resolve", resolve::single),
    ("pipelined", resolve::pipelined),
    ("batch", resolve::batch),
    ("issue", issue::run),
    ("memory", memory::run),
    ("recovery", recovery::run),
    ("amplification", amplification::run),
    ("expiry", expiry::run),
    ("growth", growth::run),
];

/// The figures that a test of this program runs: those that take no time of their own.
const SMOKE: [&str; 7] = ["resolve", "pipelined", "batch", "issue", "memory", "recovery", "growth"];

/// Measures the figures of the README and prints them as markdown tables.
#[derive(Debug, Parser)]
#[command(name = "figures")]
struct Arguments {
    /// resolve, pipelined, batch, issue, memory, recovery, amplification, expiry, growth, or all
    figures: Vec<String>,
    /// Fewer and shorter rounds, a million tokens at most where it can be avoided
    #[arg(long)]
    quick: bool,
    /// As small as it can be: shows that the program works
    #[arg(long)]
    smoke: bool,
    /// How often each server has its turn [default: 5, quick 3]
    #[arg(long)]
    rounds: Option<usize>,
    /// Worker counts of jeton in the resolve figures [default: 1 and the number of cores]
    #[arg(long, value_delimiter = ',')]
    workers: Vec<usize>,
    /// Passed by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
    /// Passed by `cargo bench -- --test`
    #[arg(long, hide = true)]
    test: bool,
    /// Be the floor and answer with the bytes of this file
    #[arg(long, hide = true)]
    floor_answer: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match &arguments.floor_answer {
        Some(answer) => floor::serve(answer),
        None => measure(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("figures: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: &Arguments) -> Result<()> {
    let Some((figures, size)) = chosen(arguments)? else {
        println!("figures: no figure of that name; nothing is measured");
        return Ok(());
    };
    self_check()?;
    let scratch = tempfile::Builder::new()
        .prefix("figures-")
        .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
        .map_err(io("create a temporary directory"))?;
    process::clean_up_on_interrupt(scratch.path())?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut workers = arguments.workers.clone();
    if workers.is_empty() {
        workers = vec![1, cores];
        workers.dedup();
    }
    let settings = Settings::new(size, arguments.rounds, workers, scratch.path());
    print_machine(cores);
    if size == Size::Smoke {
        println!("\nA smoke test: every result is checked, the figures mean nothing.");
    }
    for (name, figure) in figures {
        eprintln!("figures: {name} …");
        figure(&settings)?.print();
        settings.clear()?;
    }
    scratch.close().map_err(io("remove the temporary directory"))
}

/// What to run, and how large; `None` where a test filter names no figure.
fn chosen(arguments: &Arguments) -> Result<Option<(Vec<Figure>, Size)>> {
    let named = |name: &str| FIGURES.into_iter().find(|(figure, _)| *figure == name);
    if arguments.figures.is_empty() || arguments.test {
        let smoke = SMOKE.into_iter().filter_map(named).collect();
        return Ok(Some((smoke, Size::Smoke)));
    }
    let mut figures = Vec::new();
    for name in &arguments.figures {
        match named(name) {
            Some(figure) => figures.push(figure),
            None if name == "all" => figures.extend(FIGURES),
            // `cargo test` passes a filter on the names of tests to every target.
            None if !arguments.bench => return Ok(None),
            None => {
                return Err(Failure::Unusable(format!("there is no figure {name:?}; see --help")));
            }
        }
    }
    let size = match arguments {
        Arguments { smoke: true, .. } => Size::Smoke,
        Arguments { quick: true, .. } => Size::Quick,
        _ => Size::Full,
    };
    Ok(Some((figures, size)))
}

fn self_check() -> Result<()> {
    wire::self_check()
        .and_then(|()| work::self_check())
        .and_then(|()| floor::self_check())
        .map_err(|what| Failure::Unusable(format!("this program is wrong: {what}")))
}

fn print_machine(cores: usize) {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let processors = read("/proc/cpuinfo");
    let model =
        processors.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    let kernel = read("/proc/sys/kernel/osrelease");
    let peers = Peer::redis_like().into_iter().chain([Peer::memcached()]);
    let versions: Vec<String> = peers.filter_map(|peer| peer.version()).collect();
    println!(
        "{cores} cores ({}), Linux {}; {}",
        model.unwrap_or("unknown"),
        kernel.trim(),
        if versions.is_empty() { "no peers".to_owned() } else { versions.join(", ") }
    );
}
