//! Interleaved rounds: every server has its turn in each round, so that what drifts on the
//! machine drifts for all of them, and ratios are taken within a round.

use std::time::Instant;

use hdrhistogram::Histogram;

use crate::failure::Result;
use crate::load::{Client, Measured, Pace, Work, latency_histogram};
use crate::process::Server;
use crate::report::Spread;
use crate::settings::Settings;

/// A server that takes part, with its connections, its work and what was measured.
pub struct Contender<'a> {
    pub name: String,
    pub server: &'a Server,
    client: Client,
    work: Box<dyn Work + 'a>,
    samples: Vec<Sample>,
    /// Operations completed, the warm-up included.
    pub operations: u64,
}

/// One turn of one server.
struct Sample {
    measured: Measured,
    cpu_ns: u64,
    /// The same time in the coarse counters.
    cpu_ticks_ns: u64,
}

impl Sample {
    fn cpu_us(&self) -> f64 {
        self.cpu_ns as f64 / 1000.0 / self.measured.operations.max(1) as f64
    }

    fn per_second(&self) -> f64 {
        self.measured.operations as f64 / self.measured.elapsed.as_secs_f64()
    }
}

impl<'a> Contender<'a> {
    /// Connects to a server.
    pub fn new(server: &'a Server, connections: usize, work: Box<dyn Work + 'a>) -> Result<Self> {
        let client = Client::connect(server.target.address, server.target.protocol, connections)?;
        Ok(Self {
            name: server.name.clone(),
            server,
            client,
            work,
            samples: Vec::new(),
            operations: 0,
        })
    }

    fn turn(&mut self, pace: Pace, until: Instant) -> Result<()> {
        let (before_ns, before_ticks_ns) = (self.server.cpu_ns()?, self.server.cpu_ticks_ns()?);
        let measured = self.client.run(&mut *self.work, pace, Some(until));
        let measured = measured.map_err(|failure| self.server.failed(&failure.to_string()))?;
        let cpu_ns = self.server.cpu_ns()?.saturating_sub(before_ns);
        let cpu_ticks_ns = self.server.cpu_ticks_ns()?.saturating_sub(before_ticks_ns);
        self.operations += measured.operations;
        self.samples.push(Sample { measured, cpu_ns, cpu_ticks_ns });
        Ok(())
    }

    /// CPU time of the server for an operation, in microseconds.
    pub fn cpu_us(&self) -> Spread {
        Spread::of(self.samples.iter().map(Sample::cpu_us))
    }

    /// Operations completed in a second.
    pub fn per_second(&self) -> Spread {
        Spread::of(self.samples.iter().map(Sample::per_second))
    }

    /// CPU time for an operation as a multiple of another server's in the same round.
    pub fn cpu_ratio(&self, other: &Contender<'_>) -> Spread {
        let rounds = self.samples.iter().zip(&other.samples);
        Spread::of(rounds.map(|(own, other)| own.cpu_us() / other.cpu_us()))
    }

    /// Throughput as a multiple of another server's in the same round.
    pub fn rate_ratio(&self, other: &Contender<'_>) -> Spread {
        let rounds = self.samples.iter().zip(&other.samples);
        Spread::of(rounds.map(|(own, other)| own.per_second() / other.per_second()))
    }

    /// Latencies of all rounds, in nanoseconds.
    pub fn latency_ns(&self) -> Histogram<u64> {
        let mut all = latency_histogram();
        for sample in &self.samples {
            all += &sample.measured.latency_ns;
        }
        all
    }
}

/// Gives every contender a warm-up, and then its turn in each round.
pub fn interleave(contenders: &mut [Contender<'_>], pace: Pace, settings: &Settings) -> Result<()> {
    for contender in contenders.iter_mut() {
        contender.turn(pace, Instant::now() + settings.window() / 3)?;
        contender.samples.clear();
    }
    for _ in 0..settings.rounds {
        for contender in contenders.iter_mut() {
            contender.turn(pace, Instant::now() + settings.window())?;
        }
    }
    Ok(())
}

/// How far the exact CPU times are from the coarse ones of the same turns, as a note.
pub fn cpu_clock_note(contenders: &[Contender<'_>]) -> String {
    /// Below this many nanoseconds ticks of 10 ms are too much of the whole to compare.
    const COMPARABLE_NS: u64 = 500_000_000;
    let mut furthest: Option<f64> = None;
    for contender in contenders {
        let exact: u64 = contender.samples.iter().map(|sample| sample.cpu_ns).sum();
        let coarse: u64 = contender.samples.iter().map(|sample| sample.cpu_ticks_ns).sum();
        if coarse >= COMPARABLE_NS {
            let difference = exact.abs_diff(coarse) as f64 / coarse as f64;
            furthest = Some(furthest.unwrap_or(0.0).max(difference));
        }
    }
    let agreement = furthest.map_or("it ran too short to compare it with".to_owned(), |share| {
        format!("over all rounds it is within {:.1} % of", share * 100.0)
    });
    format!(
        "CPU time is user and system time of all threads of the server (`schedstat`); {agreement} \
         the ticks in `stat`."
    )
}
