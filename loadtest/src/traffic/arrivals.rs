//! When the requests of an open loop are meant to be sent.
//!
//! The n-th request of a process whose rate changes is due when the integral of the rate reaches
//! its place: n for uniform arrivals, a sum of n exponential steps for Poisson ones. With a ramp
//! the rate grows in proportion to time, so the integral is a parabola and then a line, and both
//! turn round exactly.

use std::time::Duration;

use rand::distr::Distribution;
use rand_distr::Exp1;

use super::Rng;
use crate::workload;

/// The times at which one thread's requests are due, in nanoseconds from the start of the load,
/// never falling, without an end.
#[derive(Clone, Debug)]
pub struct Arrivals {
    steps: Steps,
    schedule: Schedule,
}

/// How far apart requests are, in requests of this thread's own process.
#[derive(Clone, Debug)]
enum Steps {
    /// Every `stride`-th of the whole process.
    Uniform { next: u64, stride: u64 },
    /// Independent of all others, as the sum of them is again.
    Poisson { reached: f64, rng: Box<Rng> },
}

/// The rate over time.
#[derive(Clone, Copy, Debug)]
struct Schedule {
    /// Requests a second when the ramp is over.
    rate: f64,
    /// Seconds over which it grows from 0.
    ramp_s: f64,
}

/// One thread's part of the work.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// From 0, below `threads`.
    pub thread: usize,
    /// At least 1.
    pub threads: usize,
}

impl Share {
    /// This thread's part of a total; the parts add up to it.
    pub fn of(self, total: u64) -> u64 {
        let (thread, threads) = (self.thread as u64, self.threads as u64);
        total / threads + u64::from(thread < total % threads)
    }
}

impl Arrivals {
    /// Of `rate` requests a second over all threads, of which this one sends its share: of uniform
    /// ones every k-th, so that all together are at equal distances; of Poisson ones a process of
    /// its own, which together are a Poisson process of the whole rate.
    pub fn new(
        rate: f64,
        kind: workload::Arrivals,
        ramp: Duration,
        share: Share,
        rng: Rng,
    ) -> Self {
        let ramp_s = ramp.as_secs_f64();
        let (steps, rate) = match kind {
            workload::Arrivals::Uniform => {
                let stride = share.threads as u64;
                (Steps::Uniform { next: share.thread as u64, stride }, rate)
            }
            workload::Arrivals::Poisson => {
                let steps = Steps::Poisson { reached: 0.0, rng: Box::new(rng) };
                (steps, rate / share.threads as f64)
            }
        };
        Self { steps, schedule: Schedule { rate, ramp_s } }
    }

    /// The next one; there always is one.
    pub fn next_ns(&mut self) -> u64 {
        let place = match &mut self.steps {
            Steps::Uniform { next, stride } => {
                let place = *next as f64;
                *next += *stride;
                place
            }
            Steps::Poisson { reached, rng } => {
                let step: f64 = Exp1.sample(rng.as_mut());
                *reached += step;
                *reached
            }
        };
        self.schedule.reaches_ns(place)
    }
}

impl Iterator for Arrivals {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        Some(self.next_ns())
    }
}

impl Schedule {
    /// When this number of requests is due: the inverse of the integrated rate.
    fn reaches_ns(self, place: f64) -> u64 {
        let at_s = if place < self.rate * self.ramp_s / 2.0 {
            (2.0 * self.ramp_s * place / self.rate).sqrt()
        } else {
            self.ramp_s / 2.0 + place / self.rate
        };
        (at_s * 1e9) as u64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::fits;
    use super::*;
    use crate::traffic::rng;
    use crate::workload::Arrivals as Kind;

    const S: u64 = 1_000_000_000;

    fn arrivals(rate: f64, kind: Kind, ramp_s: u64, thread: usize, threads: usize) -> Arrivals {
        let share = Share { thread, threads };
        Arrivals::new(rate, kind, Duration::from_secs(ramp_s), share, rng(5, thread as u64))
    }

    #[test]
    fn uniform_arrivals_are_at_equal_distances() {
        let drawn: Vec<u64> = arrivals(1000.0, Kind::Uniform, 0, 0, 1).take(5).collect();
        assert_eq!(drawn, [0, 1_000_000, 2_000_000, 3_000_000, 4_000_000]);
        let late = arrivals(1e7, Kind::Uniform, 0, 0, 1).nth(10_000_000).unwrap();
        assert_eq!(late, S);
    }

    #[test]
    fn a_ramp_sends_half_and_then_the_whole_rate() {
        for kind in [Kind::Uniform, Kind::Poisson] {
            let drawn = arrivals(10_000.0, kind, 4, 0, 1);
            let mut per_s = [0_u64; 6];
            for at in drawn.take_while(|&at| at < 6 * S) {
                per_s[usize::try_from(at / S).unwrap()] += 1;
            }
            // The integral of 2,500 t over each second, then the full rate.
            let expected: [f64; 6] = [1250.0, 3750.0, 6250.0, 8750.0, 10_000.0, 10_000.0];
            for (count, expected) in per_s.iter().zip(expected) {
                let slack = if kind == Kind::Uniform { 1.0 } else { 4.0 * expected.sqrt() };
                assert!((*count as f64 - expected).abs() <= slack, "{kind:?} {per_s:?}");
            }
        }
    }

    #[test]
    fn poisson_gaps_are_exponential() {
        let drawn: Vec<u64> = arrivals(1000.0, Kind::Poisson, 0, 0, 1).take(100_001).collect();
        let mut counts = [0; 8];
        for pair in drawn.windows(2) {
            let part = 1.0 - (-((pair[1] - pair[0]) as f64) / 1e6).exp();
            counts[((part * 8.0) as usize).min(7)] += 1;
        }
        assert!(fits(&counts, &[0.125; 8]));
    }

    #[test]
    fn threads_of_a_poisson_process_together_make_its_rate_and_differ() {
        let all: Vec<Vec<u64>> = (0..3)
            .map(|thread| {
                let drawn = arrivals(30_000.0, Kind::Poisson, 0, thread, 3);
                drawn.take_while(|&at| at < S).collect()
            })
            .collect();
        let total: usize = all.iter().map(Vec::len).sum();
        assert!(total.abs_diff(30_000) < 4 * 173, "{total}");
        assert_ne!(all[0], all[1]);
    }

    proptest! {
        #[test]
        fn shares_of_uniform_arrivals_are_the_whole(
            rate in 0.1..1e7,
            ramp_s in 0_u64..20,
            threads in 1_usize..9,
        ) {
            let whole: Vec<u64> =
                arrivals(rate, Kind::Uniform, ramp_s, 0, 1).take(20 * threads).collect();
            let mut parts: Vec<u64> = (0..threads)
                .flat_map(|thread| {
                    arrivals(rate, Kind::Uniform, ramp_s, thread, threads).take(20)
                })
                .collect();
            parts.sort_unstable();
            prop_assert_eq!(parts, whole);
        }

        #[test]
        fn times_never_fall(rate in 0.1..1e7, ramp_s in 0_u64..20, poisson: bool) {
            let kind = if poisson { Kind::Poisson } else { Kind::Uniform };
            let drawn: Vec<u64> = arrivals(rate, kind, ramp_s, 1, 2).take(500).collect();
            prop_assert!(drawn.is_sorted());
        }

        /// The schedule against its own integral, on both sides of the end of the ramp.
        #[test]
        fn the_schedule_is_the_inverse_of_the_integrated_rate(
            rate in 0.1_f64..1e6,
            ramp_s in 0.0_f64..100.0,
            at_s in 0.0_f64..1000.0,
        ) {
            let integral = if at_s < ramp_s {
                rate * at_s * at_s / (2.0 * ramp_s)
            } else {
                rate * (at_s - ramp_s / 2.0)
            };
            let reached_ns = Schedule { rate, ramp_s }.reaches_ns(integral);
            prop_assert!((reached_ns as f64 - at_s * 1e9).abs() < 2.0 + at_s * 1e-3);
        }
    }
}
