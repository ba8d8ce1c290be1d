//! The slices of a run as series of which figures can be computed for any selection.

use std::collections::BTreeSet;

use hdrhistogram::Histogram;

use crate::report::model::{Report, Slice};
use crate::stats::{self, Interval, Series};

/// Of each interval of a comparison. Six of them are looked at at once: all six hold what they must
/// with 99 % (Bonferroni). With 95 % each, every third comparison of a run with its like would find
/// something.
pub const CONFIDENCE: f64 = 0.998;

/// The same two reports give the same intervals.
const SEED: u64 = 7_450;

/// Slices beyond these are put together with their neighbours: blocks hold what neighbours share
/// anyway, and a run of hours is compared as fast as one of seconds.
const GROUPS_MAX: usize = 100;

/// The slices of one run, ready to be drawn from.
pub struct Run {
    groups: Vec<Group>,
    latencies: Option<Latencies>,
}

/// Some neighbouring slices.
struct Group {
    length_s: f64,
    requests: f64,
    server_cpu_s: Option<f64>,
    p50_us: f64,
    p99_us: f64,
}

/// The histograms of all groups over the same bins.
struct Latencies {
    /// The least and greatest microseconds of each bin, in ascending order.
    bins: Vec<(f64, f64)>,
    /// For each group and bin: the answers up to the end of the bin.
    cumulative: Vec<Vec<u64>>,
}

impl Run {
    /// Without the last slice, which may be of any length.
    pub fn new(report: &Report) -> Self {
        let whole = report.slices.first().map_or(0.0, |slice| slice.length_s);
        let slices = match report.slices.split_last() {
            Some((last, others)) if last.length_s < 0.5 * whole => others,
            _ => &report.slices[..],
        };
        let size = slices.len().div_ceil(GROUPS_MAX).max(1);
        let groups = slices.chunks(size).map(Group::new).collect();
        Self { groups, latencies: Latencies::new(slices, size) }
    }

    fn series<'a>(&self, figure: &'a dyn Fn(&[usize]) -> f64) -> Series<'a> {
        Series { len: self.groups.len(), figure }
    }

    fn sum(&self, chosen: &[usize], value: impl Fn(&Group) -> f64) -> f64 {
        chosen.iter().map(|at| value(&self.groups[*at])).sum()
    }
}

impl Group {
    fn new(slices: &[Slice]) -> Self {
        let median = |value: fn(&Slice) -> f64| {
            stats::median(&slices.iter().map(value).collect::<Vec<_>>()).unwrap_or_default()
        };
        Self {
            length_s: slices.iter().map(|slice| slice.length_s).sum(),
            requests: slices.iter().map(|slice| slice.requests as f64).sum(),
            server_cpu_s: slices.iter().map(|slice| slice.server_cpu_s).sum(),
            p50_us: median(|slice| slice.p50_us),
            p99_us: median(|slice| slice.p99_us),
        }
    }
}

impl Latencies {
    /// None where a slice has no histogram.
    fn new(slices: &[Slice], size: usize) -> Option<Self> {
        let histograms: Option<Vec<Histogram<u64>>> =
            slices.iter().map(|slice| slice.to_histogram().ok().flatten()).collect();
        let histograms = histograms?;
        let first = histograms.first()?;
        let values: Vec<u64> = histograms
            .iter()
            .flat_map(|histogram| histogram.iter_recorded().map(|value| value.value_iterated_to()))
            .map(|value| first.lowest_equivalent(value))
            .collect::<BTreeSet<u64>>()
            .into_iter()
            .collect();
        let us = |ns: u64| ns as f64 / 1e3;
        let bins =
            values.iter().map(|low| (us(*low), us(first.highest_equivalent(*low)))).collect();
        let cumulative = histograms.chunks(size).map(|group| {
            let mut counts = vec![0; values.len()];
            for value in group.iter().flat_map(|histogram| histogram.iter_recorded()) {
                let low = first.lowest_equivalent(value.value_iterated_to());
                if let Ok(bin) = values.binary_search(&low) {
                    counts[bin] += value.count_at_value();
                }
            }
            let mut upto = 0;
            counts.iter_mut().for_each(|count| {
                upto += *count;
                *count = upto;
            });
            counts
        });
        Some(Self { cumulative: cumulative.collect(), bins })
    }

    /// Microseconds that this share of the answers of the chosen groups did not exceed.
    fn percentile(&self, chosen: &[usize], share: f64) -> f64 {
        let upto = |bin: usize| chosen.iter().map(|at| self.cumulative[*at][bin]).sum::<u64>();
        let Some(last) = self.bins.len().checked_sub(1) else { return f64::NAN };
        let wanted = share * upto(last) as f64;
        let (mut low, mut high) = (0, last);
        while low < high {
            let middle = usize::midpoint(low, high);
            if (upto(middle) as f64) < wanted {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let before = if low == 0 { 0 } else { upto(low - 1) } as f64;
        let within = (wanted - before) / (upto(low) as f64 - before).max(1.0);
        let (from, to) = self.bins[low];
        from + (to - from) * within.clamp(0.0, 1.0)
    }
}

/// Requests a second.
pub fn throughput(runs: &[Run; 2]) -> Option<Interval> {
    both(runs, |run, chosen| {
        run.sum(chosen, |group| group.requests) / run.sum(chosen, |group| group.length_s)
    })
}

/// CPU of the server for each request.
pub fn cpu(runs: &[Run; 2]) -> Option<Interval> {
    both(runs, |run, chosen| {
        run.sum(chosen, |group| group.server_cpu_s.unwrap_or(f64::NAN))
            / run.sum(chosen, |group| group.requests)
    })
}

/// A percentile: of the histograms of slices where there are any, otherwise, for the median and
/// the 99th, the median of those of the slices, moved to the ratio of the whole runs.
pub fn percentile(runs: &[Run; 2], share: f64, ratio: f64) -> Option<Interval> {
    if runs.iter().all(|run| run.latencies.is_some()) {
        return both(runs, |run, chosen| {
            run.latencies.as_ref().map_or(f64::NAN, |all| all.percentile(chosen, share))
        });
    }
    let value: fn(&Group) -> f64 = match share {
        0.5 => |group| group.p50_us,
        0.99 => |group| group.p99_us,
        _ => return None,
    };
    let interval = both(runs, |run, chosen| {
        let values: Vec<f64> = chosen.iter().map(|at| value(&run.groups[*at])).collect();
        stats::median(&values).unwrap_or(f64::NAN)
    })?;
    let moved = ratio / interval.estimate;
    Some(Interval {
        low: interval.low * moved,
        estimate: ratio,
        high: interval.high * moved,
        confidence: interval.confidence,
    })
}

fn both(runs: &[Run; 2], figure: impl Fn(&Run, &[usize]) -> f64) -> Option<Interval> {
    let [a, b] = runs;
    let (of_a, of_b) = (|chosen: &[usize]| figure(a, chosen), |chosen: &[usize]| figure(b, chosen));
    stats::series_ratio(&a.series(&of_a), &b.series(&of_b), CONFIDENCE, SEED)
}
