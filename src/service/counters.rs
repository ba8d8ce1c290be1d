//! Counters of the workers. Each worker writes its own counters, so that no worker waits for
//! another; a reader adds them up.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::service::operation::{OPERATIONS, Operation};

/// The classes of answers, as the metrics name them: by the status codes of HTTP.
pub const CLASSES: [&str; 3] = ["2xx", "4xx", "5xx"];

/// The upper bounds, in microseconds, of the buckets of sampled resolves; more have a last bucket.
pub const SAMPLE_BOUNDS_US: [u64; 12] =
    [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 10_000, 100_000];

/// The class of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// What was asked for was done.
    Done,
    /// It was not, because of the request: also an unknown token.
    Refused,
    /// It was not, because the server cannot do it at the moment.
    Failed,
}

/// The counters of one worker. Only that worker writes them.
#[derive(Debug, Default)]
pub struct Counters {
    requests: [[AtomicU64; CLASSES.len()]; OPERATIONS.len()],
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    accepted: AtomicU64,
    refused: AtomicU64,
    accept_errors: AtomicU64,
    /// Counts up while the worker goes on.
    sweeps: AtomicU64,
    sampled: [AtomicU64; SAMPLE_BOUNDS_US.len() + 1],
    sampled_ns: AtomicU64,
}

/// Counters of all workers together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Requests answered, by operation ([`OPERATIONS`]) and class ([`CLASSES`]).
    pub requests: [[u64; CLASSES.len()]; OPERATIONS.len()],
    /// Bytes read from clients.
    pub bytes_in: u64,
    /// Bytes sent to clients.
    pub bytes_out: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Connections refused because there were too many.
    pub refused: u64,
    /// Connections that could not be accepted, for example because file descriptors ran out.
    pub accept_errors: u64,
    /// Sampled resolves by the time that they took ([`SAMPLE_BOUNDS_US`]).
    pub sampled: [u64; SAMPLE_BOUNDS_US.len() + 1],
    /// The sum of these times in nanoseconds.
    pub sampled_ns: u64,
}

impl Counters {
    /// Counts an answered request.
    pub fn count(&self, operation: Operation, class: Class) {
        add(&self.requests[operation as usize][class as usize], 1);
    }

    /// Counts bytes read.
    pub fn add_bytes_in(&self, len: usize) {
        add(&self.bytes_in, len);
    }

    /// Counts bytes written.
    pub fn add_bytes_out(&self, len: usize) {
        add(&self.bytes_out, len);
    }

    /// Counts an accepted connection.
    pub fn accepted(&self) {
        add(&self.accepted, 1);
    }

    /// Counts a connection refused because there were too many.
    pub fn refused(&self) {
        add(&self.refused, 1);
    }

    /// Counts a failure to accept.
    pub fn accept_error(&self) {
        add(&self.accept_errors, 1);
    }

    /// Counts a sampled resolve that took this time.
    pub fn sampled(&self, time: Duration) {
        let bucket = SAMPLE_BOUNDS_US.iter().take_while(|us| time > Duration::from_micros(**us));
        add(&self.sampled[bucket.count()], 1);
        add(&self.sampled_ns, usize::try_from(time.as_nanos()).unwrap_or(usize::MAX));
    }

    /// Requests to resolve one token that were answered so far.
    #[must_use]
    pub fn resolved(&self) -> u64 {
        self.requests[Operation::Resolve as usize]
            .iter()
            .map(|one| one.load(Ordering::Relaxed))
            .sum()
    }

    /// Counts a sweep, which a worker that goes on makes at a regular interval.
    pub fn swept(&self) {
        add(&self.sweeps, 1);
    }

    /// Sweeps so far.
    #[must_use]
    pub fn sweeps(&self) -> u64 {
        self.sweeps.load(Ordering::Relaxed)
    }

    /// Adds these to `totals`.
    pub fn add_to(&self, totals: &mut Totals) {
        for (sums, counters) in totals.requests.iter_mut().zip(&self.requests) {
            for (sum, counter) in sums.iter_mut().zip(counters) {
                *sum += counter.load(Ordering::Relaxed);
            }
        }
        for (sum, counter) in totals.sampled.iter_mut().zip(&self.sampled) {
            *sum += counter.load(Ordering::Relaxed);
        }
        for (sum, counter) in [
            (&mut totals.sampled_ns, &self.sampled_ns),
            (&mut totals.bytes_in, &self.bytes_in),
            (&mut totals.bytes_out, &self.bytes_out),
            (&mut totals.accepted, &self.accepted),
            (&mut totals.refused, &self.refused),
            (&mut totals.accept_errors, &self.accept_errors),
        ] {
            *sum += counter.load(Ordering::Relaxed);
        }
    }
}

/// There is one writer, so no locked instruction is needed.
fn add(counter: &AtomicU64, n: usize) {
    let sum = counter.load(Ordering::Relaxed).wrapping_add(n as u64);
    counter.store(sum, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_several_workers_add_up() {
        let (one, two) = (Counters::default(), Counters::default());
        one.count(Operation::Resolve, Class::Done);
        two.count(Operation::Resolve, Class::Done);
        two.count(Operation::Resolve, Class::Refused);
        two.count(Operation::Unknown, Class::Failed);
        two.add_bytes_in(7);
        let mut totals = Totals::default();
        one.add_to(&mut totals);
        two.add_to(&mut totals);
        assert_eq!(totals.requests[Operation::Resolve as usize], [2, 1, 0]);
        assert_eq!(totals.requests[Operation::Unknown as usize], [0, 0, 1]);
        assert_eq!(totals.bytes_in, 7);
    }

    #[test]
    fn samples_are_counted_by_their_time() {
        let counters = Counters::default();
        for ns in [0, 1_000, 1_001, 2_000, 100_000_000, 100_000_001, 5_000_000_000] {
            counters.sampled(Duration::from_nanos(ns));
        }
        let mut totals = Totals::default();
        counters.add_to(&mut totals);
        assert_eq!(totals.sampled, [2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(totals.sampled_ns, 5_200_004_002);
    }
}
