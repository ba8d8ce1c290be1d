//! When the pairs are looked at, and what a look decides: statistics alone, without a clock or a
//! server.
//!
//! For each workload and metric there is a band of ratios head / base: below it a change is harmless, above
//! it is a regression, within it either answer is right. A look takes the confidence interval of the
//! ratio: as a whole above the lower end of the band it fails, as a whole below the upper end it
//! passes, across the band more pairs are needed. Equal revisions and a regression are thereby each
//! a whole band away from a false answer, and a look need not be surer than the band is wide.
//!
//! Looking often, and at many things, finds something by chance. So that the chance of any false
//! answer in the whole gate stays below [`ERROR_MAX`], it is divided evenly (Bonferroni) by the
//! number of comparisons and by the number of looks that each can get at most. No assumption about
//! how looks or metrics depend on each other is needed; the price is a few more pairs. The looks are
//! fixed before the first pair: at the fewest pairs, then each at half as many again, and at the
//! most. Where the time is up earlier, the look then takes the place of those that would follow.

use super::bounds::{Band, Pairs};
use super::verdict::Verdict;
use crate::failure::{Failure, Result};
use crate::stats::{Interval, paired_ratio, pairs_needed};

/// The chance that any answer of a whole gate is false where a ratio is just at its limit; far
/// smaller where revisions are equal, which are a whole threshold away from it.
pub const ERROR_MAX: f64 = 0.05;

/// Metrics of a workload that decide: CPU time, and how long a request takes.
pub const METRICS: usize = 2;

/// When to look, and with which confidence.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    looks: Vec<usize>,
    confidence: f64,
}

impl Plan {
    /// The plan for this number of workloads.
    ///
    /// # Errors
    /// The maximum of pairs is too small to decide anything; says how many are needed.
    pub fn new(workloads: usize, pairs: Pairs) -> Result<Self> {
        let looks = looks(pairs);
        let share = ERROR_MAX / (workloads.max(1) * METRICS * looks.len()) as f64;
        let confidence = 1.0 - share;
        let needed = pairs_needed(confidence);
        if pairs.max < needed {
            return Err(Failure::Input(format!(
                "--pairs {pairs}: with {workloads} workloads a decision needs at least {needed} pairs"
            )));
        }
        Ok(Self { looks, confidence })
    }

    /// The number of pairs at each look, growing.
    pub fn looks(&self) -> &[usize] {
        &self.looks
    }

    /// Of every interval, 0 to 1.
    pub fn confidence(&self) -> f64 {
        self.confidence
    }

    /// What the pairs so far say: the interval of head / base and the verdict. `base` and `head`
    /// are costs, the less the better, all above 0.
    pub fn look(&self, base: &[f64], head: &[f64], band: Band) -> Option<(Interval, Verdict)> {
        let interval = paired_ratio(base, head, self.confidence)?;
        let verdict = if interval.low > band.harmless() {
            Verdict::Fail
        } else if interval.high <= band.regression() {
            Verdict::Pass
        } else {
            Verdict::Undecided
        };
        Some((interval, verdict))
    }
}

fn looks(pairs: Pairs) -> Vec<usize> {
    let mut looks = vec![pairs.min];
    let mut at = pairs.min;
    while at < pairs.max {
        at = (at + at.div_ceil(2)).min(pairs.max);
        looks.push(at);
    }
    looks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(pairs: (usize, usize)) -> Plan {
        Plan::new(3, Pairs { min: pairs.0, max: pairs.1 }).unwrap()
    }

    #[test]
    fn looks_grow_by_half_and_end_at_the_most() {
        assert_eq!(plan((12, 36)).looks(), [12, 18, 27, 36]);
        assert_eq!(plan((20, 20)).looks(), [20]);
        assert_eq!(looks(Pairs { min: 1, max: 5 }), [1, 2, 3, 5]);
    }

    #[test]
    fn the_error_is_shared_by_all_comparisons_and_looks() {
        let spent = (1.0 - plan((12, 36)).confidence()) * (3 * METRICS * 4) as f64;
        assert!((spent - ERROR_MAX).abs() < 1e-12, "{spent}");
    }

    #[test]
    fn too_few_pairs_are_refused_and_the_number_that_would_do_is_named() {
        let error = Plan::new(3, Pairs { min: 2, max: 4 }).unwrap_err().to_string();
        let needed = error.split_whitespace().rev().nth(1).unwrap().parse::<usize>().unwrap();
        assert!(needed > 4, "{error}");
        assert!(Plan::new(3, Pairs { min: needed, max: needed * 4 }).is_ok());
    }

    #[test]
    fn an_interval_on_one_side_of_the_limit_decides() {
        let plan = plan((12, 36));
        // Differences that are not all alike: 1 % up and down.
        let base: Vec<f64> = (0..20).map(|n| 100.0 + f64::from(n % 3)).collect();
        let times = |factor: f64| -> Vec<f64> { base.iter().map(|cost| cost * factor).collect() };
        let verdict = |factor| plan.look(&base, &times(factor), "5%".parse().unwrap()).unwrap().1;
        assert_eq!(verdict(1.0), Verdict::Pass);
        assert_eq!(verdict(0.5), Verdict::Pass, "faster is no regression");
        assert_eq!(verdict(1.1), Verdict::Fail);
        let between = |band: &str| plan.look(&base, &times(1.03), band.parse().unwrap()).unwrap().1;
        assert_eq!(between("1%..5%"), Verdict::Fail, "surely not harmless");
        assert_eq!(between("3%..5%"), Verdict::Pass, "surely below");
        assert_eq!(
            plan.look(&base[..4], &times(1.1)[..4], "5%".parse().unwrap()).unwrap().1,
            Verdict::Undecided
        );
        assert_eq!(
            plan.look(&[0.0; 20], &base, "5%".parse().unwrap()),
            None,
            "a cost of nothing is no cost"
        );
    }
}
