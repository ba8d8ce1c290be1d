//! Three parties and a token: a shop, the platform and a payment app, end to end over HTTP.
//!
//! For each order the shop asks the platform for a token, with a reference of the order's number,
//! time and amount. The app resolves the token, and 64 rivals try to pay with it at the same
//! moment. Every answer is compared with the expected one. The table shows the results; the exit
//! status is 1 if anything differed.
//!
//! ```text
//! cargo run --release --example checkout
//! cargo run --release --example checkout -- --orders FILE --server http://127.0.0.1:7450
//! cargo run --release --example checkout -- --server http://a:7450,http://b:7450,http://c:7450
//! ```
//!
//! With several servers, the nodes of a cluster, nodes may fail meanwhile: `client` asks the next one.
//!
//! Read `parties` first: it contains the steps of a checkout. `platform` shows how a program serves
//! jeton by itself.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "its output is its purpose")]

mod client;
mod orders;
mod parties;
mod platform;
mod report;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use orders::Order;
use parties::{Parties, RIVALS, SHORT_TTL};
use platform::Platform;
use report::Report;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Plays a checkout between a shop, the platform and a payment app.
#[derive(Parser)]
struct Arguments {
    /// Orders, one JSON object a line; each is issued as its line stands
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/orders.jsonl"))]
    orders: PathBuf,
    /// A running server, or several nodes of a cluster with commas; without it one is started for the
    /// time of the checkout
    #[arg(long, value_name = "URL", value_delimiter = ',')]
    server: Vec<String>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("checkout: {error}");
            ExitCode::FAILURE
        }
    }
}

/// True if every answer was the expected one.
fn run(arguments: &Arguments) -> Outcome<bool> {
    let orders = orders::read(&arguments.orders)?;
    println!("{} orders from {}", orders.len(), arguments.orders.display());
    let platform = match &*arguments.server {
        [] => Platform::start()?,
        urls => Platform::running(urls)?,
    };
    println!("{platform}\n");
    let is_right = check_out(&orders, platform.servers());
    platform.stop()?;
    is_right
}

fn check_out(orders: &[Order], servers: &[String]) -> Outcome<bool> {
    let mut parties = Parties::connect(servers)?;
    println!("{}", Report::HEADER);
    let (mut short_lived, mut right, mut differences) = (Vec::new(), 0, 0);
    for order in orders {
        let mut report = Report::default();
        short_lived.push(parties.check_out(order, &mut report)?);
        println!("{}", report.row(order));
        right += usize::from(report.is_right());
        differences += report.differences();
    }
    let still_there = parties.still_there_after_expiry(&short_lived)?;
    differences += still_there;

    let bytes: usize = orders.iter().map(|order| order.text.len()).sum();
    let count = orders.len();
    println!("\n{right} of {count} orders right, {bytes} bytes, {RIVALS} rivals for each");
    println!("{count} tokens issued for {SHORT_TTL}, {still_there} outlived it");
    println!("answers that differ: {differences}");
    Ok(differences == 0)
}
