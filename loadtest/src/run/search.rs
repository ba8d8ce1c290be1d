//! The highest rate that keeps the objectives: doubled until they are missed, then halved in
//! between; each rate is measured on the same connections and tokens.
//!
//! A rate is kept when every objective is, nothing went wrong, and in the time in which requests were
//! due at least 99 answers came for 100 of them, so that no backlog grew. One that was missed is
//! measured a second time before it counts, so that a single hiccup of the machine does not end the
//! search.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::drive::session::{Length, Observer, Spec};
use crate::failure::{Failure, Result};
use crate::report::model::{Kept, Report, Search, Step};
use crate::run::{Bench, Job};

/// The first rate, in requests a second, where the workload names none.
const FIRST_RATE: f64 = 1_000.0;
/// Below it the search gives up.
const RATE_MIN: f64 = 1.0;
/// And above it.
const RATE_MAX: f64 = 10_000_000.0;
/// The answer is as exact as this.
const PRECISION: f64 = 0.03;
/// Of the requests that were due, so many must be answered in time.
const ACHIEVED_MIN: f64 = 0.99;
/// So many may be under way at the end without a backlog.
const UNDER_WAY: u64 = 5;
/// Before each rate is measured.
const SETTLE: Duration = Duration::from_millis(500);
/// A rate is measured for at most so long; the last time for as long as the workload says.
const STEP_MAX: Duration = Duration::from_secs(5);

/// Searches, and measures the rate found once more for the whole time; the report is of that.
///
/// # Errors
/// The workload has no objective; or as [`crate::run::run`].
pub fn run(job: &Job, observer: &mut dyn Observer) -> Result<Report> {
    if job.workload.objectives.is_empty() {
        return Err(Failure::Input(
            "--find-max: needs an objective to keep, such as --slo p99=2ms".to_owned(),
        ));
    }
    let mut bench = Bench::set_up(job, observer)?;
    let mut steps = Vec::new();
    let first = job.workload.load.rate.unwrap_or(FIRST_RATE);
    let mut probe = |rate: f64| {
        let kept = probe(&mut bench, job, rate, observer, &mut steps)?;
        Ok(kept || probe(&mut bench, job, rate, observer, &mut steps)?)
    };
    let found = bisect(first, &mut probe)?;
    if job.stop.load(Ordering::Relaxed) {
        let tried = steps.len();
        let problem = format!("stopped after {tried} rates, before the highest was found");
        return Err(Failure::Input(problem));
    }
    let mut report = bench.measure(Some(found.unwrap_or(first)), observer)?;
    if found.is_some() && !kept(&report) {
        observer.phase("the rate found was missed in the long run: a tenth less", Length::Open);
        report = bench.measure(found.map(|rate| rate * 0.9), observer)?;
    }
    let rate = found.filter(|_| kept(&report)).and(report.totals.rate);
    report.search = Some(Search { rate, doubt: None, steps });
    bench.finish(&mut report);
    Ok(report)
}

fn probe(
    bench: &mut Bench,
    job: &Job,
    rate: f64,
    observer: &mut dyn Observer,
    steps: &mut Vec<Step>,
) -> Result<bool> {
    let duration = job.workload.time.duration.0.min(STEP_MAX);
    let spec = Spec { rate: Some(rate), warm_up: SETTLE, duration, ramp: Duration::ZERO };
    let report = bench.measure_as(spec, observer)?;
    let kept = kept(&report);
    steps.push(Step {
        rate,
        achieved: report.totals.requests_per_s,
        worst: worst(&report),
        length_s: report.totals.elapsed_s,
        others_cpu_s: report.others_cpu_s,
        kept: if kept { Kept::Yes } else { Kept::No },
    });
    Ok(kept)
}

/// The highest rate for which `kept` holds, within [`PRECISION`]; `None` where there is none.
fn bisect(first: f64, kept: &mut dyn FnMut(f64) -> Result<bool>) -> Result<Option<f64>> {
    let (mut low, mut high) = (None, None);
    let mut rate = first;
    loop {
        if kept(rate)? {
            low = Some(rate);
        } else {
            high = Some(rate);
        }
        rate = match (low, high) {
            (Some(low), None) if low >= RATE_MAX => return Ok(Some(low)),
            (Some(low), None) => (low * 2.0).min(RATE_MAX),
            (None, Some(high)) if high <= RATE_MIN => return Ok(None),
            (None, Some(high)) => (high / 2.0).max(RATE_MIN),
            (Some(low), Some(high)) if high / low <= 1.0 + PRECISION => return Ok(Some(low)),
            (Some(low), Some(high)) => f64::midpoint(low, high),
            (None, None) => return Ok(None),
        };
    }
}

fn kept(report: &Report) -> bool {
    // Against what was due, not against the rate: Poisson arrivals are now more, now fewer.
    let came: u64 = report.slices.iter().map(|slice| slice.requests).sum();
    report.passed() && (came + UNDER_WAY) as f64 >= report.totals.requests as f64 * ACHIEVED_MIN
}

/// The worst objective, relative to its limit.
fn worst(report: &Report) -> f64 {
    let limits = report.workload.objectives.iter().map(|one| one.limit.0.as_secs_f64() * 1e6);
    report
        .objectives
        .iter()
        .zip(limits)
        .map(|(one, limit_us)| one.measured_us / limit_us.max(f64::MIN_POSITIVE))
        .fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_search_finds_any_limit_within_its_precision() {
        for limit in [1.5, 10.0, 999.0, 1_000.0, 1_001.0, 44_444.0, 9_000_000.0] {
            let mut asked = 0;
            let found = bisect(FIRST_RATE, &mut |rate| {
                asked += 1;
                Ok(rate <= limit)
            });
            let found = found.unwrap().unwrap();
            assert!(found <= limit && found * (1.0 + PRECISION) >= limit, "{limit}: {found}");
            assert!(asked < 32, "{limit}: {asked} rates were tried");
        }
    }

    #[test]
    fn a_server_that_keeps_nothing_or_everything_ends_the_search() {
        assert_eq!(bisect(FIRST_RATE, &mut |_| Ok(false)).unwrap(), None);
        assert!(bisect(FIRST_RATE, &mut |_| Ok(true)).unwrap().unwrap() > RATE_MAX / 2.0);
    }
}
