//! Flags that change a workload, one for each of its fields.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

use super::{
    Arrivals, Connect, Http, Mix, Objective, Operation, Popularity, Ttl, Workload, schema, suggest,
};
use crate::failure::{Failure, Result};
use crate::quantity::{ByteSize, Span};

/// What is given replaces what the workload says; all else stays.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Workload (default: as the workload says, else as in brackets)")]
pub struct WorkloadFlags {
    /// Seed of keys, payloads, arrivals and choices: the same seed repeats the load [default: 1]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,

    /// Connections over all threads, 1 to 100,000 [default: 64]
    #[arg(long, short = 'c', value_name = "N")]
    pub connections: Option<usize>,

    /// Requests under way on each connection, 1 to 1,000: pipelined, or streams of HTTP/2
    /// [default: 1]
    #[arg(long, value_name = "N")]
    pub depth: Option<usize>,

    /// Threads of the harness, 1 to 64, at most one for each connection [default: 1]
    #[arg(long, short = 't', value_name = "N")]
    pub threads: Option<usize>,

    /// HTTP version towards jeton: 1.1 or 2 [default: 1.1]
    #[arg(long, value_name = "VERSION")]
    pub http: Option<Http>,

    /// How often connections are made: once; or for each request, with a full TLS handshake, with a
    /// resumed one, or by turns with both: once, full, resumed or both [default: once]
    #[arg(long, value_name = "KIND")]
    pub connect: Option<Connect>,

    /// Open loop: requests a second over all connections, 0.1 to 10,000,000; `none` for a closed
    /// loop, in which each connection asks again when it has its answer [default: none]
    #[arg(long, value_name = "PER_SECOND", value_parser = rate)]
    pub rate: Option<Rate>,

    /// How the requests of a rate are spread: uniform or poisson [default: poisson]
    #[arg(long, value_name = "KIND")]
    pub arrivals: Option<Arrivals>,

    /// Time limit of a request, after which it counts as lost, 1ms to 10m [default: 10s]
    #[arg(long, value_name = "TIME")]
    pub timeout: Option<Span>,

    /// Load before the measurement, 0s to 1day [default: 2s]
    #[arg(long, value_name = "TIME")]
    pub warm_up: Option<Span>,

    /// Load that is measured, 1ms to 30days [default: 10s]
    #[arg(long, short = 'd', value_name = "TIME")]
    pub duration: Option<Span>,

    /// Time in which the rate, or the number of connections, grows; part of the warm-up and at most
    /// as long [default: 0s]
    #[arg(long, value_name = "TIME")]
    pub ramp: Option<Span>,

    /// Living tokens, 1 to 100,000,000, issued before the load begins [default: 100,000]
    #[arg(long, value_name = "N")]
    pub population: Option<u64>,

    /// Which tokens are asked for: uniform, zipf or latest [default: uniform]
    #[arg(long, value_name = "KIND")]
    pub popularity: Option<Popularity>,

    /// Exponent of zipf and latest, above 0, at most 5 [default: 0.99]
    #[arg(long, value_name = "X")]
    pub exponent: Option<f64>,

    /// Bytes of each generated payload, 32 to 1MiB [default: 128]
    #[arg(long, value_name = "SIZE", conflicts_with = "payload_file")]
    pub payload_size: Option<ByteSize>,

    /// A file with a JSON value on each line, from which payloads are sampled instead
    #[arg(long, value_name = "FILE")]
    pub payload_file: Option<PathBuf>,

    /// How long tokens live, 1ms to 30days: a time (15m), any time between two (1m..1h), or
    /// exponentially distributed with a mean (exponential:10m) [default: 15m]
    #[arg(long, value_name = "TIME")]
    pub ttl: Option<Ttl>,

    /// Weights of the operations, such as resolve=90,issue=5,consume=5; those not named get 0.
    /// There are issue, resolve, batch, consume, revoke, extend, miss and replay
    #[arg(long, value_name = "OPERATION=WEIGHT,...", value_parser = weights)]
    pub mix: Option<Weights>,

    /// Tokens in one batch, 1 to 1,000 [default: 100]
    #[arg(long, value_name = "N")]
    pub batch_size: Option<usize>,

    /// Requests that try to consume the same token at once, 1 to 64 [default: 1]
    #[arg(long, value_name = "N")]
    pub rivals: Option<usize>,

    /// A latency that must be kept, such as p99=2ms or max=1s, limits of 1us to 1h; may be
    /// repeated, and replaces the objectives of the workload
    #[arg(long, value_name = "PERCENTILE=TIME")]
    pub slo: Vec<Objective>,
}

/// A rate; none for a closed loop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate(pub Option<f64>);

/// Weights of operations, each at most once.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights(pub Vec<(Operation, f64)>);

impl WorkloadFlags {
    /// Changes what was given, and checks the whole.
    ///
    /// # Errors
    /// What makes no sense now, all of it, each with the flag that sets it and its limits.
    pub fn apply(&self, workload: &mut Workload) -> Result<()> {
        set(&mut workload.seed, self.seed.as_ref());
        self.apply_load(workload);
        set(&mut workload.keys.population, self.population.as_ref());
        set(&mut workload.keys.popularity, self.popularity.as_ref());
        set(&mut workload.keys.exponent, self.exponent.as_ref());
        if let Some(size) = self.payload_size {
            workload.payload.size = size;
            workload.payload.file = None;
        }
        if self.payload_file.is_some() {
            workload.payload.file.clone_from(&self.payload_file);
        }
        set(&mut workload.ttl, self.ttl.as_ref());
        self.apply_mix(&mut workload.mix);
        if !self.slo.is_empty() {
            workload.objectives.clone_from(&self.slo);
        }
        check(workload)
    }

    fn apply_load(&self, workload: &mut Workload) {
        let Workload { load, time, .. } = workload;
        set(&mut load.connections, self.connections.as_ref());
        set(&mut load.depth, self.depth.as_ref());
        set(&mut load.threads, self.threads.as_ref());
        set(&mut load.http, self.http.as_ref());
        set(&mut load.connect, self.connect.as_ref());
        set(&mut load.rate, self.rate.map(|rate| rate.0).as_ref());
        set(&mut load.arrivals, self.arrivals.as_ref());
        set(&mut load.timeout, self.timeout.as_ref());
        set(&mut time.warm_up, self.warm_up.as_ref());
        set(&mut time.duration, self.duration.as_ref());
        // A shorter warm-up shortens the ramp in it, unless both are said.
        time.ramp = self.ramp.unwrap_or(time.ramp.min(time.warm_up));
    }

    fn apply_mix(&self, mix: &mut Mix) {
        if let Some(Weights(weights)) = &self.mix {
            for operation in Operation::ALL {
                *mix.weight_mut(operation) = 0.0;
            }
            for &(operation, weight) in weights {
                *mix.weight_mut(operation) = weight;
            }
        }
        set(&mut mix.batch_size, self.batch_size.as_ref());
        set(&mut mix.rivals, self.rivals.as_ref());
    }
}

fn set<T: Clone>(field: &mut T, given: Option<&T>) {
    if let Some(value) = given {
        field.clone_from(value);
    }
}

/// Refuses a workload that makes no sense.
///
/// # Errors
/// All that is wrong with it, each with the flag that sets it and its limits.
pub fn check(workload: &Workload) -> Result<()> {
    let failures = workload.validate().into_iter().map(|problem| {
        let flag = schema::find(&problem.field).and_then(|field| field.flag);
        let name = flag
            .map_or_else(|| problem.field.clone(), |flag| format!("--{flag} ({})", problem.field));
        Failure::Input(format!("{name}: {}", problem.problem))
    });
    Failure::of(failures.collect()).map_or(Ok(()), Err)
}

fn rate(text: &str) -> std::result::Result<Rate, String> {
    if text == "none" {
        return Ok(Rate(None));
    }
    let rate = text.parse().map_err(|_| "not a number of requests a second, nor `none`")?;
    Ok(Rate(Some(rate)))
}

fn weights(text: &str) -> std::result::Result<Weights, String> {
    let mut weights: Vec<(Operation, f64)> = Vec::new();
    for part in text.split(',') {
        let (name, weight) =
            part.split_once('=').ok_or_else(|| format!("`{part}` is not like resolve=90"))?;
        let operation = one_of(name.trim(), Operation::ALL.map(|known| (known.name(), known)))?;
        let weight = weight.trim();
        let weight = weight.parse().map_err(|_| format!("`{weight}` is not a number"))?;
        if weights.iter().any(|&(known, _)| known == operation) {
            return Err(format!("`{}` stands there twice", operation.name()));
        }
        weights.push((operation, weight));
    }
    Ok(Weights(weights))
}

/// The value of this name, or which there are.
fn one_of<T: Copy, const N: usize>(
    text: &str,
    known: [(&'static str, T); N],
) -> std::result::Result<T, String> {
    if let Some((_, value)) = known.iter().find(|(name, _)| *name == text) {
        return Ok(*value);
    }
    let names = known.map(|(name, _)| name);
    match suggest::nearest(text, names) {
        Some(meant) => Err(format!("`{text}` is unknown; did you mean `{meant}`?")),
        None => Err(format!("`{text}` is unknown; there are {}", names.join(", "))),
    }
}

impl FromStr for Http {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        one_of(text, [("1.1", Self::One), ("2", Self::Two)])
    }
}

impl FromStr for Connect {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let known = [
            ("once", Self::Once),
            ("full", Self::Full),
            ("resumed", Self::Resumed),
            ("both", Self::Both),
        ];
        one_of(text, known)
    }
}

impl FromStr for Arrivals {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        one_of(text, [("uniform", Self::Uniform), ("poisson", Self::Poisson)])
    }
}

impl FromStr for Popularity {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        one_of(text, [("uniform", Self::Uniform), ("zipf", Self::Zipf), ("latest", Self::Latest)])
    }
}

impl FromStr for Ttl {
    type Err = String;

    /// `15m`, `1m..1h` or `exponential:10m`.
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        if let Some(mean) = text.strip_prefix("exponential:") {
            return Ok(Self::Exponential { mean: mean.trim().parse()? });
        }
        if let Some((min, max)) = text.split_once("..") {
            return Ok(Self::Uniform { min: min.trim().parse()?, max: max.trim().parse()? });
        }
        Ok(Self::Fixed(text.parse()?))
    }
}

#[cfg(test)]
#[path = "flags_tests.rs"]
mod tests;
