//! Measures the figures of jeton's book that need more than load: recovery, bytes written, expiry,
//! growth and clusters, each beside the stores people use today: `cargo bench -p loadtest --bench figures --
//! NAME… [--quick] [--rounds N]`. The other figures come from `loadtest peers`.
//!
//! It starts every server itself and stops it again. Every answer is compared with what it must be,
//! and tokens are counted; whatever is wrong ends the program with exit code 1. Without a name it
//! runs everything very small, as a test of itself.
//!
//! What it does not show: the network, and a generator on a machine of its own. The generator shares
//! the cores with the server.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program whose output is its purpose"
)]

mod amplification;
mod cluster;
mod expiry;
mod growth;
mod recovery;
mod setting;

use std::process::ExitCode;

use clap::Parser;
use loadtest::failure::{Failure, Result};
use loadtest::target::{process, usage};

use crate::setting::{Setting, Size, Table};

type Figure = (&'static str, fn(&Setting) -> Result<Table>);

/// All figures, in the order in which `all` runs them.
const FIGURES: [Figure; 8] = [
    ("recovery", recovery::run),
    ("amplification", amplification::run),
    ("expiry", expiry::run),
    ("growth", growth::run),
    ("cluster-rates", cluster::rates::run),
    ("cluster-slow-syncs", cluster::slow_syncs::run),
    ("cluster-failover", cluster::failover::run),
    ("cluster-catch-up", cluster::catch_up::run),
];

/// Measures the figures of the book and prints them as markdown tables.
#[derive(Debug, Parser)]
#[command(name = "figures")]
struct Arguments {
    /// recovery, amplification, expiry, growth, cluster-rates, cluster-slow-syncs, cluster-failover,
    /// cluster-catch-up, or all
    figures: Vec<String>,
    /// Minutes in place of an hour: a million tokens where it can be avoided to have ten
    #[arg(long)]
    quick: bool,
    /// How often each server has its turn in recovery and in the rates of a cluster [default: 3]
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Passed by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
    /// Passed by `cargo bench -- --test`
    #[arg(long, hide = true)]
    test: bool,
}

fn main() -> ExitCode {
    match measure(&Arguments::parse()) {
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
    process::end_on_interrupt(None)?;
    let setting = Setting::new(size, arguments.rounds);
    let machine = usage::machine();
    println!("{} cores ({}), {}", machine.cores, machine.cpu, machine.system);
    if size == Size::Smoke {
        println!("\nA smoke test: every result is checked, the figures mean nothing.");
    }
    for (name, figure) in figures {
        eprintln!("figures: {name} …");
        println!("{}", figure(&setting)?.markdown());
    }
    Ok(())
}

/// What to run, and how large; `None` where a test filter names no figure.
fn chosen(arguments: &Arguments) -> Result<Option<(Vec<Figure>, Size)>> {
    if arguments.figures.is_empty() || arguments.test {
        return Ok(Some((FIGURES.to_vec(), Size::Smoke)));
    }
    let mut figures = Vec::new();
    for name in &arguments.figures {
        match FIGURES.into_iter().find(|(figure, _)| figure == name) {
            Some(figure) => figures.push(figure),
            None if name == "all" => figures.extend(FIGURES),
            // `cargo test` passes a filter on the names of tests to every target.
            None if !arguments.bench => return Ok(None),
            None => {
                let names = FIGURES.map(|(figure, _)| figure).join(", ");
                return Err(Failure::Input(format!("{name}: is none of {names}, all")));
            }
        }
    }
    Ok(Some((figures, if arguments.quick { Size::Quick } else { Size::Full })))
}
