//! CPU time of the client's process for each resolve: this client beside redis-rs, each with and without
//! sharing requests.
//!
//! ```console
//! $ cd clients/rust/cost
//! $ cargo run --release --locked -- --jeton ../../../target/release/jeton --rounds 8
//! ```
//!
//! Needs redis-server for the other side. All sides run on one thread of tokio, take turns within a round,
//! and compare every answer. CPU time is that of this process alone, so other work on the machine changes
//! it little. Ratios are of the same round. Does not show latency under load, nor a network.

mod sides;

use std::error::Error;
use std::rc::Rc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::task::JoinSet;
use tokio::task::LocalSet;
use tokio::time::Instant;

use sides::{Setup, Side};

const USAGE: &str =
    "cost --jeton FILE [--callers 1000] [--rounds 5] [--milliseconds 2000] [--only SIDE]";

struct Arguments {
    jeton: String,
    callers: usize,
    rounds: usize,
    time: Duration,
    /// The name of a side, without the others.
    only: Option<String>,
}

fn arguments() -> Result<Arguments, Box<dyn Error>> {
    let mut given = std::env::args().skip(1);
    let (mut jeton, mut callers, mut rounds, mut millis) = (None, 1_000, 5, 2_000);
    let mut only = None;
    while let Some(name) = given.next() {
        let value = given.next().ok_or(USAGE)?;
        match &*name {
            "--jeton" => jeton = Some(value),
            "--callers" => callers = value.parse()?,
            "--rounds" => rounds = value.parse()?,
            "--milliseconds" => millis = value.parse()?,
            "--only" => only = Some(value),
            _ => return Err(USAGE.into()),
        }
    }
    let (jeton, time) = (jeton.ok_or(USAGE)?, Duration::from_millis(millis));
    Ok(Arguments { jeton, callers, rounds: rounds.max(1), time, only })
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = arguments()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, measure(&arguments))
}

async fn measure(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let setup = Setup::begin(&arguments.jeton).await?;
    let mut sides = setup.sides(arguments.callers).await?;
    sides.retain(|side| arguments.only.as_ref().is_none_or(|only| side.name == only));
    let mut rounds: Vec<Vec<Round>> = sides.iter().map(|_| Vec::new()).collect();
    for _ in 0..arguments.rounds {
        for (side, rounds) in sides.iter().zip(&mut rounds) {
            rounds.push(round(side, arguments.time).await?);
        }
    }
    println!(
        "| side | resolves for each second of CPU | µs of CPU each | ÷ redis-rs in pipelines \
         | µs until the answer |"
    );
    println!("|---|---|---|---|---|");
    let other = sides.iter().position(|side| side.is_measure);
    for (side, own) in sides.iter().zip(&rounds) {
        let micros = own.iter().map(|it| it.cpu_micros);
        let each = 1e6 / median(&mut micros.clone().collect::<Vec<_>>());
        let ratio = other.map_or_else(
            || "–".to_owned(),
            |other| {
                let others = rounds[other].iter().map(|it| it.cpu_micros);
                spread(micros.clone().zip(others).map(|(own, of)| own / of), 2)
            },
        );
        let wait = spread(own.iter().map(|it| it.wait_micros), 0);
        println!("| {} | {each:.0} | {} | {ratio} | {wait} |", side.name, spread(micros, 2));
    }
    Ok(())
}

/// What a resolve of a side has taken, on average over a round.
struct Round {
    /// CPU time of this process.
    cpu_micros: f64,
    /// Time that a caller has waited.
    wait_micros: f64,
}

async fn round(side: &Side, time: Duration) -> Result<Round, Box<dyn Error>> {
    let (begins_at, began) = (Instant::now(), cpu());
    let mut callers = JoinSet::new();
    for number in 0..side.callers {
        let one = Rc::clone(&side.one);
        callers.spawn_local(async move {
            let mut done = 0_u64;
            while begins_at.elapsed() < time {
                one(number).await;
                done += 1;
            }
            done
        });
    }
    let mut done = 0;
    while let Some(count) = callers.join_next().await {
        done += count?;
    }
    let (resolves, callers) = (u32::try_from(done)?, u32::try_from(side.callers)?);
    let micros = |time: Duration| time.as_secs_f64() * 1e6 / f64::from(resolves);
    let wait_micros = micros(begins_at.elapsed() * callers);
    Ok(Round { cpu_micros: micros(cpu() - began), wait_micros })
}

/// CPU time of this process.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The median with minimum and maximum.
fn spread(values: impl Iterator<Item = f64>, digits: usize) -> String {
    let mut values: Vec<f64> = values.collect();
    let median = median(&mut values);
    let (min, max) = (values[0], values[values.len() - 1]);
    format!("{median:.digits$} ({min:.digits$}..{max:.digits$})")
}
