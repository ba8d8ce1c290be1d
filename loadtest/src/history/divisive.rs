//! Change points of a series: E-divisive, with a permutation test.
//!
//! A series is cut where the two sides differ most, by the energy statistic: how much farther apart
//! values of different sides are than values of one side (Matteson & James, Journal of the American
//! Statistical Association 109 (2014) 334; exponent 1). Whether that is chance is asked of the series
//! itself: shuffled many times, how often is there as good a cut? Where it is not, both parts are
//! looked at in turn. Apache Otava finds regressions in histories of benchmarks in the same way; its
//! published series are among the tests.
//!
//! Nothing is assumed of the distribution but that neighbouring values do not depend on each other.

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use crate::stats::median;

/// Values on each side of a cut, at least: fewer are outliers.
const SIDE_MIN: usize = 3;
/// The same series gives the same change points.
const SEED: u64 = 7_450;

/// What counts as a change.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// How likely a cut as good as one that is found may be in noise; above 0, below 1.
    pub p_max: f64,
    /// How often a series is shuffled; at least `1 / p_max`.
    pub permutations: usize,
    /// The least change of the median that counts: 0.01 is 1 %.
    pub change_min: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self { p_max: 0.005, permutations: 1_999, change_min: 0.01 }
    }
}

/// The places at which something changed, ascending: each is that of the first value after it.
pub fn change_points(values: &[f64], options: &Options) -> Vec<usize> {
    let mut random = StdRng::seed_from_u64(SEED);
    let mut found = Vec::new();
    let mut open = vec![(0, values.len())];
    while let Some((from, to)) = open.pop() {
        if let Some(cut) = significant_cut(&values[from..to], options, &mut random) {
            found.push(from + cut);
            open.extend([(from, from + cut), (from + cut, to)]);
        }
    }
    found.sort_unstable();
    drop_small(values, found, options.change_min)
}

/// The best cut, where few of the shuffled series have as good a one.
fn significant_cut(values: &[f64], options: &Options, random: &mut StdRng) -> Option<usize> {
    let (cut, found) = best_cut(values)?;
    let allowed = (options.p_max * (options.permutations + 1) as f64).floor() as usize;
    let mut shuffled = values.to_vec();
    // The series itself is one of its orders.
    let mut as_good = 1;
    for _ in 0..options.permutations {
        if as_good > allowed {
            return None;
        }
        shuffled.shuffle(random);
        as_good += usize::from(best_cut(&shuffled).is_some_and(|(_, other)| other >= found));
    }
    (as_good <= allowed).then_some(cut)
}

/// Where the values before and some values behind differ most, and by how much; none where there are
/// too few or all are alike. How far the values behind go is free, so that a change is seen that is
/// taken back later.
fn best_cut(values: &[f64]) -> Option<(usize, f64)> {
    let sums = Distances::new(values);
    let mut best: Option<(usize, f64)> = None;
    for cut in SIDE_MIN..(values.len() + 1).saturating_sub(SIDE_MIN) {
        for end in cut + SIDE_MIN..=values.len() {
            let energy = sums.energy(cut, end);
            if energy > best.map_or(0.0, |(_, energy)| energy) {
                best = Some((cut, energy));
            }
        }
    }
    best
}

/// Sums of distances between any two ranges of values.
struct Distances {
    /// Row i, column j: of all pairs of the first i with the first j.
    sums: Vec<f64>,
    width: usize,
}

impl Distances {
    fn new(values: &[f64]) -> Self {
        let width = values.len() + 1;
        let mut sums = vec![0.0; width * width];
        for (i, a) in values.iter().enumerate() {
            let mut row = 0.0;
            for (j, b) in values.iter().enumerate() {
                row += (a - b).abs();
                sums[(i + 1) * width + j + 1] = sums[i * width + j + 1] + row;
            }
        }
        Self { sums, width }
    }

    fn upto(&self, i: usize, j: usize) -> f64 {
        self.sums[i * self.width + j]
    }

    /// Of the values up to `cut` against those from there up to `end`.
    fn energy(&self, cut: usize, end: usize) -> f64 {
        let before = self.upto(cut, cut);
        let across = self.upto(cut, end) - before;
        let behind = self.upto(end, end) - 2.0 * self.upto(cut, end) + before;
        let (m, n) = (cut as f64, (end - cut) as f64);
        // The sums hold each pair of one side twice.
        let apart = 2.0 * across / (m * n) - before / (m * (m - 1.0)) - behind / (n * (n - 1.0));
        m * n / (m + n) * apart
    }
}

/// Takes out the smallest change below the least that counts, again and again: without it, its
/// neighbours stand between other values.
fn drop_small(values: &[f64], mut points: Vec<usize>, change_min: f64) -> Vec<usize> {
    loop {
        let changes = points.iter().enumerate().map(|(at, _)| (at, change(values, &points, at)));
        let least = changes.min_by(|(_, a), (_, b)| a.abs().total_cmp(&b.abs()));
        match least {
            Some((at, change)) if change.abs() < change_min => drop(points.remove(at)),
            _ => return points,
        }
    }
}

/// By how much the median changed at the change point of this number: 0.05 is 5 % more.
pub fn change(values: &[f64], points: &[usize], at: usize) -> f64 {
    let from = at.checked_sub(1).map_or(0, |before| points[before]);
    let to = points.get(at + 1).copied().unwrap_or(values.len());
    let of = |range: &[f64]| median(range).unwrap_or(f64::NAN);
    let (before, behind) = (of(&values[from..points[at]]), of(&values[points[at]..to]));
    if before == behind { 0.0 } else { behind / before - 1.0 }
}
