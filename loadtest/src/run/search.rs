//! The highest rate that keeps the objectives: doubled until they are missed, then halved in
//! between; each rate is measured on the same connections and tokens.
//!
//! A rate is kept when every objective is, nothing went wrong, and in the time in which requests were
//! due at least 99 answers came for 100 of them, so that no backlog grew. It is missed when that was
//! measured twice. What a disturbed harness measured, or too few answers show, is neither: it ends
//! the search as a miss does, and the answer says that it is in doubt. The rate above the answer is
//! tried once more at the end, so that a hiccup of the machine does not decide.
//!
//! The answer is a rate that was kept for the whole time; every measurement is a row of the table.

use std::time::Duration;

use crate::drive::session::{Length, Observer, Spec};
use crate::failure::{Failure, Result};
use crate::report::model::{Ended, How, Kept, Report, Search, Step};
use crate::report::units;
use crate::run::job::Job;
use crate::run::{Bench, INTERRUPTED};
use crate::workload::Connect;

/// The first rate, in requests a second, where the workload names none.
const FIRST_RATE: f64 = 1_000.0;
/// Below it the search gives up.
const RATE_MIN: f64 = 1.0;
/// And above it.
const RATE_MAX: f64 = 10_000_000.0;
/// The answer is as exact as this.
const PRECISION: f64 = 0.03;
/// Share of the requests that were due which must be answered in time.
const ACHIEVED_MIN: f64 = 0.99;
/// Requests that may be under way at the end without counting as a backlog.
const UNDER_WAY: u64 = 5;
/// Before each rate is measured.
const SETTLE: Duration = Duration::from_millis(500);
/// A rate is measured for at most so long, unless its percentiles need more answers; the last time
/// for as long as the workload says.
const STEP_MAX: Duration = Duration::from_secs(5);
/// A rate is measured so often before it is given up.
const TRIES: usize = 3;
/// Measurements that must miss before a rate counts as missed.
const MISSES: usize = 2;
/// The rate above the answer is tried again at most so often.
const SECOND_LOOKS: usize = 2;
/// Of the rate found, in the long run.
const LONG_RUN: [f64; 6] = [1.0, 0.9, 0.8, 0.7, 0.6, 0.5];
/// Share of all cores that other programs may take before a miss is in doubt.
const OTHERS_SHARE: f64 = 0.25;

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
    if job.workload.load.connect != Connect::Once {
        return Err(Failure::Input(
            "--find-max: searches a rate, and load.connect makes connections as fast as they are \
             answered: leave one of the two out (--connect once)"
                .to_owned(),
        ));
    }
    let bench = Bench::set_up(job, observer)?;
    let mut seeker = Seeker { bench, job, observer, steps: Vec::new(), last: None };
    let rate = seeker.find()?;
    let Seeker { bench, steps, last, .. } = seeker;
    let mut report =
        last.ok_or_else(|| Failure::Input("stopped before anything was measured".to_owned()))?;
    let rate = rate.filter(|_| report.ended.is_none());
    let doubt = doubt(rate, &steps, report.machine.cores);
    report.search = Some(Search { rate, doubt, steps });
    bench.finish(&mut report);
    Ok(report)
}

struct Seeker<'a> {
    bench: Bench,
    job: &'a Job,
    observer: &'a mut dyn Observer,
    steps: Vec<Step>,
    last: Option<Report>,
}

impl Seeker<'_> {
    /// The highest rate that was kept for the whole time.
    fn find(&mut self) -> Result<Option<f64>> {
        let first = self.job.workload.load.rate.unwrap_or(FIRST_RATE);
        let Some(found) = bisect(first, &mut |rate| self.probe(rate))? else { return Ok(None) };
        for share in LONG_RUN {
            if self.is_over() {
                break;
            }
            let rate = (found * share).max(RATE_MIN);
            self.observer.phase(&format!("{rate:.0}/s for the whole time"), Length::Open);
            let time = &self.job.workload.time;
            let duration = time.duration.0.max(self.needed(rate));
            let spec =
                Spec { rate: Some(rate), warm_up: time.warm_up.0, duration, ramp: time.ramp.0 };
            for _ in 0..MISSES {
                match self.measure(rate, spec)? {
                    Kept::Yes => return Ok(Some(rate)),
                    Kept::No | Kept::Undecided => {}
                }
            }
        }
        Ok(None)
    }

    /// One rate: kept as soon as it once is, missed with the second miss.
    fn probe(&mut self, rate: f64) -> Result<Kept> {
        let duration = self.job.workload.time.duration.0.min(STEP_MAX).max(self.needed(rate));
        let spec = Spec { rate: Some(rate), warm_up: SETTLE, duration, ramp: Duration::ZERO };
        let mut misses = 0;
        for _ in 0..TRIES {
            if self.is_over() {
                return Ok(Kept::Undecided);
            }
            match self.measure(rate, spec)? {
                Kept::Yes => return Ok(Kept::Yes),
                Kept::No => misses += 1,
                Kept::Undecided => {}
            }
            if misses == MISSES {
                return Ok(Kept::No);
            }
        }
        Ok(Kept::Undecided)
    }

    fn measure(&mut self, rate: f64, spec: Spec) -> Result<Kept> {
        let mut report = match self.bench.measure_as(spec, self.observer) {
            // A signal came before the first answer: what was measured before is still reported.
            Err(Failure::Input(_)) if self.last.is_some() && self.job.is_stopped() => {
                let ended = Ended { how: How::Interrupted, reason: INTERRUPTED.to_owned() };
                if let Some(last) = &mut self.last {
                    last.ended = Some(ended);
                }
                return Ok(Kept::Undecided);
            }
            measured => measured?,
        };
        let kept = kept(&report);
        self.steps.push(Step {
            rate,
            achieved: report.totals.requests_per_s,
            worst: worst(&report),
            length_s: spec.duration.as_secs_f64(),
            others_cpu_s: report.others_cpu_s,
            kept,
        });
        report.search = None;
        self.last = Some(report);
        Ok(kept)
    }

    /// The server went away, or a signal came.
    fn is_over(&self) -> bool {
        self.last.as_ref().is_some_and(|last| last.ended.is_some())
    }

    /// How long this rate must be measured for the percentiles to have enough answers, within
    /// [`STEP_MAX`].
    fn needed(&self, rate: f64) -> Duration {
        let shares = self.job.workload.objectives.iter().map(|one| one.percentile / 100.0);
        let most = shares.filter(|share| *share < 1.0).fold(0.0, f64::max);
        // A tenth more, as Poisson arrivals scatter.
        let seconds = 1.1 / ((1.0 - most) * rate);
        Duration::from_secs_f64(seconds.min(STEP_MAX.as_secs_f64()))
    }
}

/// The highest rate for which `kept` holds, within [`PRECISION`]; `None` where there is none.
fn bisect(first: f64, kept: &mut dyn FnMut(f64) -> Result<Kept>) -> Result<Option<f64>> {
    let (mut low, mut high) = (None, None);
    let mut second_looks = 0;
    let mut rate = first;
    loop {
        if kept(rate)? == Kept::Yes {
            low = Some(rate);
            high = high.filter(|high| *high > rate);
        } else {
            high = Some(rate);
        }
        rate = match (low, high) {
            (Some(low), None) if low >= RATE_MAX => return Ok(Some(low)),
            (Some(low), None) => (low * 2.0).min(RATE_MAX),
            (None, Some(high)) if high <= RATE_MIN => return Ok(None),
            (None, Some(high)) => (high / 2.0).max(RATE_MIN),
            (Some(low), Some(high)) if high / low <= 1.0 + PRECISION => {
                second_looks += 1;
                if second_looks > SECOND_LOOKS || high <= rate {
                    return Ok(Some(low));
                }
                high
            }
            (Some(low), Some(high)) => f64::midpoint(low, high),
            (None, None) => return Ok(None),
        };
    }
}

/// Whether one measurement kept everything. What went wrong while tokens were issued was before it.
fn kept(report: &Report) -> Kept {
    let went_wrong = |error: &crate::report::model::ErrorReport| {
        error.wrong || error.count > error.while_issuing
    };
    if report.errors.iter().any(went_wrong) {
        return Kept::No;
    }
    // Against what was due, not against the rate: Poisson arrivals are now more, now fewer.
    let came: u64 = report.slices.iter().map(|slice| slice.requests).sum();
    let fell_behind = ((came + UNDER_WAY) as f64) < report.totals.requests as f64 * ACHIEVED_MIN;
    let any = |kept| report.objectives.iter().any(|objective| objective.kept == kept);
    // A short disturbance does not explain requests that found no free connection.
    let is_disturbed = report.generator.disturbed_s > 0.0 && !report.totals.queue_grew;
    if any(Kept::No) || fell_behind && !is_disturbed {
        Kept::No
    } else if any(Kept::Undecided) || fell_behind || report.ended.is_some() {
        Kept::Undecided
    } else {
        Kept::Yes
    }
}

/// Why the answer may be too low: the lowest rate above it was not missed for certain, or while
/// others used the machine.
fn doubt(answer: Option<f64>, steps: &[Step], cores: usize) -> Option<String> {
    let above = |step: &&Step| step.kept != Kept::Yes && answer.is_none_or(|rate| step.rate > rate);
    let lowest = steps.iter().filter(above).map(|step| step.rate).min_by(f64::total_cmp)?;
    let at: Vec<&Step> =
        steps.iter().filter(|step| step.rate == lowest && step.kept != Kept::Yes).collect();
    let of = format!("{}/s", units::rate(lowest));
    if at.iter().filter(|step| step.kept == Kept::No).count() < MISSES {
        return Some(format!(
            "a miss at {of} is not certain: too few answers came, or the harness was disturbed"
        ));
    }
    let cores_of = |step: &&Step| step.others_cpu_s.unwrap_or(0.0) / step.length_s.max(0.001);
    let others = at.iter().map(cores_of).fold(0.0, f64::max);
    (others > cores as f64 * OTHERS_SHARE).then(|| {
        let cores_used = units::rate(others);
        format!("other programs used {cores_used} of {cores} cores while {of} was measured")
    })
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
    use crate::report::model::ErrorReport;
    use crate::report::sample::Sample;

    fn of(is_kept: bool) -> Kept {
        if is_kept { Kept::Yes } else { Kept::No }
    }

    #[test]
    fn the_search_finds_any_limit_within_its_precision() {
        for limit in [1.5, 10.0, 999.0, 1_000.0, 1_001.0, 44_444.0, 9_000_000.0] {
            let mut asked = 0;
            let found = bisect(FIRST_RATE, &mut |rate| {
                asked += 1;
                Ok(of(rate <= limit))
            });
            let found = found.unwrap().unwrap();
            assert!(found <= limit && found * (1.0 + PRECISION) >= limit, "{limit}: {found}");
            assert!(asked < 34, "{limit}: {asked} rates were tried");
        }
    }

    #[test]
    fn a_server_that_keeps_nothing_or_everything_ends_the_search() {
        assert_eq!(bisect(FIRST_RATE, &mut |_| Ok(Kept::No)).unwrap(), None);
        assert_eq!(bisect(FIRST_RATE, &mut |_| Ok(Kept::Undecided)).unwrap(), None);
        assert!(bisect(FIRST_RATE, &mut |_| Ok(Kept::Yes)).unwrap().unwrap() > RATE_MAX / 2.0);
    }

    /// A machine that stood still while one rate was measured made the search end far below.
    #[test]
    fn one_rate_that_was_missed_by_chance_does_not_end_the_search() {
        let mut asked = 0;
        let found = bisect(FIRST_RATE, &mut |rate| {
            asked += 1;
            Ok(of(rate <= 100_000.0 && asked != 3))
        });
        assert!(found.unwrap().unwrap() > 97_000.0);
    }

    #[test]
    fn a_refusal_while_tokens_are_issued_is_none_of_a_rate() {
        let mut report = Sample { slices: 8, requests: 100, ..Sample::default() }.report();
        assert_eq!(kept(&report), Kept::Yes);
        let error = |count, while_issuing, wrong| ErrorReport {
            kind: "status 503".to_owned(),
            count,
            while_issuing,
            wrong,
            example: String::new(),
        };
        for (error, expected) in [
            (error(1, 1, false), Kept::Yes),
            (error(2, 1, false), Kept::No),
            (error(1, 1, true), Kept::No),
        ] {
            report.errors = vec![error];
            assert_eq!(kept(&report), expected);
        }
    }

    #[test]
    fn a_miss_that_is_not_certain_is_told() {
        let step = |rate, kept, others_cpu_s| Step {
            rate,
            kept,
            others_cpu_s,
            length_s: 5.0,
            ..Step::default()
        };
        let (yes, no) = (step(10.0, Kept::Yes, None), step(20.0, Kept::No, Some(0.1)));
        let sure = [yes.clone(), no.clone(), no.clone()];
        assert_eq!(doubt(Some(10.0), &sure, 2), None);
        let unsure = [yes.clone(), no, step(20.0, Kept::Undecided, None)];
        assert!(doubt(Some(10.0), &unsure, 2).unwrap().contains("a miss at 20.0/s is not certain"));
        let busy = step(20.0, Kept::No, Some(6.0));
        let text = doubt(Some(10.0), &[yes.clone(), busy.clone(), busy], 2).unwrap();
        assert!(text.contains("1.20 of 2 cores"), "{text}");
        assert_eq!(doubt(Some(10.0), &[yes], 2), None, "the fastest there is");
    }
}
