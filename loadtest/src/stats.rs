//! What the harness says about figures that scatter: estimates with the interval they lie in.
//!
//! Everything compared here is a ratio of two positive figures (requests a second, microseconds),
//! so everything is done on the logarithm: twice as fast and half as fast are equally far from
//! alike, and the interval of a/b is that of b/a turned over.
//!
//! - Runs in pairs, one of each kind in turn: [`paired_ratio`], the Hodges–Lehmann estimate in the
//!   exact interval of Wilcoxon's signed ranks (Hodges & Lehmann, Annals of Mathematical Statistics
//!   34 (1963) 598; Hollander, Wolfe & Chicken, Nonparametric Statistical Methods (2014), 3.2–3.4).
//! - The same, if the differences were normal: [`paired_ratio_t`], for reference (Student,
//!   Biometrika 6 (1908) 1).
//! - Two single runs, each a series of slices: [`series_ratio`], the bootstrap of moving blocks
//!   (Künsch, Annals of Statistics 17 (1989) 1217; on a circle: Politis & Romano, in: Exploring the
//!   Limits of Bootstrap (1992) 263; for short series: Hesterberg, The American Statistician 69
//!   (2015) 371).
//!
//! Signed ranks ask only that the differences of pairs lie symmetrically about their centre; a
//! run disturbed by a neighbour on the machine moves them little. They do not help against a
//! disturbance that hits one side of every pair: that is why pairs are interleaved.
//!
//! Blocks keep what neighbouring slices share. They cannot show what differs from one start of a
//! server to the next, as memory layout or the hour: the interval of two single runs is therefore
//! too narrow for "which program is faster", and several pairs answer that better.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::Serialize;
use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

/// An estimate and the bounds it lies in. For ratios 1.0 is "alike".
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// Lower bound; 0 where nothing can be said. Never above `estimate`.
    pub low: f64,
    /// The single best figure.
    pub estimate: f64,
    /// Upper bound; infinite (`null` in JSON) where nothing can be said. Never below `estimate`.
    pub high: f64,
    /// How sure, 0 to 1: at least what was asked for. Exact intervals of few pairs come in steps,
    /// and 1.0 stands for bounds that say nothing.
    pub confidence: f64,
}

impl Interval {
    /// Whether a value lies within the bounds.
    pub fn contains(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }

    /// Whether both bounds say something.
    pub fn is_bounded(&self) -> bool {
        self.low > 0.0 && self.high.is_finite()
    }

    /// The bounds of the reciprocal: of b/a, where this is of a/b.
    pub fn inverse(&self) -> Self {
        Self {
            low: 1.0 / self.high,
            estimate: 1.0 / self.estimate,
            high: 1.0 / self.low,
            confidence: self.confidence,
        }
    }

    fn exp(low: f64, estimate: f64, high: f64, confidence: f64) -> Self {
        Self { low: low.exp(), estimate: estimate.exp(), high: high.exp(), confidence }
    }
}

/// Up to this number of pairs the distribution of signed ranks is exact; above, its normal
/// approximation is as good (some ranks of five thousand).
const EXACT_PAIRS_MAX: usize = 200;

/// How head compares with base, from runs in pairs: the ratio head / base.
///
/// The estimate is the Hodges–Lehmann one, the median of the means of every two differences of
/// logarithms (and of each with itself); the bounds are the outermost of these means that the
/// signed-rank test does not reject. Fewer pairs than the confidence needs (6 for 95 %, 8 for
/// 99 %) give the bounds 0 and infinity: nothing can be said yet.
///
/// None where there is no pair, the lengths differ, a figure is not above 0 and finite, or the
/// confidence is not between 0 and 1.
pub fn paired_ratio(base: &[f64], head: &[f64], confidence: f64) -> Option<Interval> {
    let differences = log_differences(base, head)?;
    if !is_confidence(confidence) {
        return None;
    }
    let means = walsh_means(&differences);
    let estimate = median(&means)?;
    let (trimmed, reached) = signed_rank_trim(differences.len(), confidence);
    if trimmed == 0 {
        return Some(Interval::exp(f64::NEG_INFINITY, estimate, f64::INFINITY, 1.0));
    }
    let (low, high) = (means[trimmed - 1], means[means.len() - trimmed]);
    Some(Interval::exp(low, estimate, high, reached))
}

/// As [`paired_ratio`], by Student's t on the differences of logarithms; its estimate is the
/// geometric mean. For reference: a single disturbed run widens it a lot.
///
/// None also for fewer than two pairs.
pub fn paired_ratio_t(base: &[f64], head: &[f64], confidence: f64) -> Option<Interval> {
    let differences = log_differences(base, head)?;
    if differences.len() < 2 || !is_confidence(confidence) {
        return None;
    }
    let count = differences.len() as f64;
    let mean = mean(&differences)?;
    let squares = differences.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
    let error = (squares / (count - 1.0) / count).sqrt();
    let reach = StudentsT::new(0.0, 1.0, count - 1.0).ok()?.inverse_cdf(upper_tail(confidence));
    Some(Interval::exp(mean - reach * error, mean, mean + reach * error, confidence))
}

/// How many pairs at least give [`paired_ratio`] bounds at this confidence.
pub fn pairs_needed(confidence: f64) -> usize {
    (1..EXACT_PAIRS_MAX).find(|&n| signed_rank_trim(n, confidence).0 > 0).unwrap_or(EXACT_PAIRS_MAX)
}

/// The exact null distribution of Wilcoxon's signed-rank sum of `pairs` differences: element w is
/// the probability that the ranks of the positive ones add up to w.
pub fn signed_rank_distribution(pairs: usize) -> Vec<f64> {
    let mut chances = vec![0.0; pairs * (pairs + 1) / 2 + 1];
    chances[0] = 1.0;
    let mut greatest = 0;
    for rank in 1..=pairs {
        greatest += rank;
        for sum in (0..=greatest).rev() {
            let with = if sum >= rank { chances[sum - rank] } else { 0.0 };
            chances[sum] = (chances[sum] + with) / 2.0;
        }
    }
    chances
}

/// How many of the sorted means to leave out at each end, less one, and the confidence reached;
/// 0 where even the outermost are not far enough.
fn signed_rank_trim(pairs: usize, confidence: f64) -> (usize, f64) {
    let tail = 1.0 - upper_tail(confidence);
    if pairs > EXACT_PAIRS_MAX {
        return (approximate_trim(pairs, tail), confidence);
    }
    let mut below = 0.0;
    let mut trimmed = 0;
    for chance in signed_rank_distribution(pairs) {
        if below + chance > tail {
            break;
        }
        below += chance;
        trimmed += 1;
    }
    (trimmed, 1.0 - 2.0 * below)
}

fn approximate_trim(pairs: usize, tail: f64) -> usize {
    let count = pairs as f64;
    let centre = count * (count + 1.0) / 4.0;
    let spread = (count * (count + 1.0) * (2.0 * count + 1.0) / 24.0).sqrt();
    (centre - Normal::standard().inverse_cdf(1.0 - tail) * spread).floor().max(0.0) as usize
}

/// The means of every two of the values, and of each with itself, in ascending order.
fn walsh_means(values: &[f64]) -> Vec<f64> {
    let mut means = Vec::with_capacity(values.len() * (values.len() + 1) / 2);
    for (at, first) in values.iter().enumerate() {
        means.extend(values[at..].iter().map(|second| f64::midpoint(*first, *second)));
    }
    means.sort_by(f64::total_cmp);
    means
}

fn log_differences(base: &[f64], head: &[f64]) -> Option<Vec<f64>> {
    let usable = |values: &[f64]| values.iter().all(|value| *value > 0.0 && value.is_finite());
    if base.is_empty() || base.len() != head.len() || !usable(base) || !usable(head) {
        return None;
    }
    Some(base.iter().zip(head).map(|(base, head)| head.ln() - base.ln()).collect())
}

fn is_confidence(confidence: f64) -> bool {
    confidence > 0.0 && confidence < 1.0
}

/// The probability below the upper bound of a two-sided interval.
fn upper_tail(confidence: f64) -> f64 {
    f64::midpoint(1.0, confidence)
}

/// Slices that a series must have for [`series_ratio`] to say anything.
pub const SLICES_MIN: usize = 8;

/// Resamples of the bootstrap: enough that the bounds repeat to a small part of their width.
const RESAMPLES: usize = 2_000;

/// One side of [`series_ratio`]: a series of `len` slices, and the figure that any selection of
/// them gives (with repetition; as many as there are).
pub struct Series<'a> {
    /// Slices.
    pub len: usize,
    /// From the numbers of the slices to a figure; one that is not above 0 and finite counts as
    /// "cannot say".
    pub figure: &'a dyn Fn(&[usize]) -> f64,
}

impl Series<'_> {
    /// The slices that stay together. n^(1/3) is the order that keeps what neighbours share
    /// (Künsch); a little more costs little, and too short blocks promise too much.
    fn block(&self) -> usize {
        (1.5 * (self.len as f64).cbrt()).round() as usize
    }

    fn blocks(&self) -> f64 {
        self.len as f64 / self.block() as f64
    }

    fn log_figure(&self, chosen: &[usize]) -> f64 {
        let figure = (self.figure)(chosen);
        if figure > 0.0 && figure.is_finite() { figure.ln() } else { f64::NAN }
    }

    /// The logarithms of the figure of many resampled series.
    fn resample(&self, resamples: usize, random: &mut StdRng) -> Vec<f64> {
        let mut chosen = Vec::with_capacity(self.len + self.block());
        (0..resamples)
            .map(|_| {
                chosen.clear();
                while chosen.len() < self.len {
                    let start = random.random_range(0..self.len);
                    chosen.extend((start..start + self.block()).map(|at| at % self.len));
                }
                chosen.truncate(self.len);
                self.log_figure(&chosen)
            })
            .collect()
    }
}

/// How b compares with a, from two runs that are independent of each other: the ratio b / a.
///
/// Blocks of neighbouring slices are drawn with repetition (from a circle, so that the ends count
/// as much as the middle), the figure is computed of each draw, and the bounds are percentiles of
/// the ratios. The bootstrap of few blocks is too sure of itself: the percentiles are those that a
/// t distribution with as many degrees of freedom asks for. The same seed gives the same bounds.
///
/// None where a series has fewer than [`SLICES_MIN`] slices, where more than one draw in a hundred
/// gives no figure, or the confidence is not between 0 and 1.
pub fn series_ratio(
    a: &Series<'_>,
    b: &Series<'_>,
    confidence: f64,
    seed: u64,
) -> Option<Interval> {
    resampled_ratio(a, b, confidence, RESAMPLES, seed)
}

fn resampled_ratio(
    a: &Series<'_>,
    b: &Series<'_>,
    confidence: f64,
    resamples: usize,
    seed: u64,
) -> Option<Interval> {
    if a.len.min(b.len) < SLICES_MIN || !is_confidence(confidence) {
        return None;
    }
    let whole = |series: &Series<'_>| series.log_figure(&(0..series.len).collect::<Vec<_>>());
    let estimate = whole(b) - whole(a);
    if !estimate.is_finite() {
        return None;
    }
    let mut random = StdRng::seed_from_u64(seed);
    let (of_a, of_b) = (a.resample(resamples, &mut random), b.resample(resamples, &mut random));
    let mut ratios: Vec<f64> =
        of_a.iter().zip(&of_b).map(|(a, b)| b - a).filter(|ratio| ratio.is_finite()).collect();
    if ratios.len() * 100 < resamples * 99 {
        return None;
    }
    ratios.sort_by(f64::total_cmp);
    let fewest = a.blocks().min(b.blocks());
    let freedom = a.blocks() + b.blocks() - 2.0;
    let student = StudentsT::new(0.0, 1.0, freedom).ok()?;
    let reach = (fewest / (fewest - 1.0)).sqrt() * student.inverse_cdf(upper_tail(confidence));
    let tail = 1.0 - Normal::standard().cdf(reach);
    let low = percentile(&ratios, 100.0 * tail)?.min(estimate);
    let high = percentile(&ratios, 100.0 * (1.0 - tail))?.max(estimate);
    Some(Interval::exp(low, estimate, high, confidence))
}

/// The arithmetic mean; none of nothing.
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The geometric mean of values above 0; none of nothing.
pub fn geometric_mean(values: &[f64]) -> Option<f64> {
    let logs: Vec<f64> = values.iter().map(|value| value.ln()).collect();
    mean(&logs).map(f64::exp)
}

/// The middle one, or the mean of the two in the middle; none of nothing. In any order.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    percentile(&sorted, 50.0)
}

/// The value that `percent` (0 to 100) of the values do not exceed, between two of them on the
/// straight line (type 7 of Hyndman & Fan, The American Statistician 50 (1996) 361); none of
/// nothing. The values must be in ascending order.
pub fn percentile(sorted: &[f64], percent: f64) -> Option<f64> {
    debug_assert!(sorted.is_sorted_by(|a, b| a.total_cmp(b).is_le()), "must be in order");
    let last = sorted.len().checked_sub(1)?;
    let place = percent.clamp(0.0, 100.0) / 100.0 * last as f64;
    let below = sorted[place.floor() as usize];
    let above = sorted[place.ceil() as usize];
    Some(below + (above - below) * place.fract())
}

#[cfg(test)]
mod tests;
