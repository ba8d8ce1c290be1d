//! What is asked next: generators of payloads, keys, times and choices, all of them fast, without
//! memory that grows, and the same for the same seed.

pub mod arrivals;
pub mod choice;
pub mod lifetime;
pub mod payload;
pub mod plan;
pub mod popularity;
pub mod slots;
pub mod verdict;

use rand::SeedableRng;

/// The generator behind all choices of a run. It is named, not whichever is good at the time, so
/// that a seed keeps its choices; between versions of the harness they may still differ.
pub type Rng = rand::rngs::Xoshiro256PlusPlus;

/// A generator for one purpose of one thread: streams of the same seed are independent.
pub fn rng(seed: u64, stream: u64) -> Rng {
    Rng::seed_from_u64(mix(seed ^ mix(stream)))
}

/// Scatters a number over all 64 bits, one to one: the finalizer of SplitMix64.
pub(crate) fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;

    #[test]
    fn streams_differ_and_repeat() {
        let first = |seed, stream| rng(seed, stream).random::<u64>();
        assert_eq!(first(1, 2), first(1, 2));
        let all = [first(0, 0), first(0, 1), first(1, 0), first(1, 1), first(2, 1), first(1, 2)];
        let distinct: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }

    /// Whether counts are what chances say, by chi-square: its 99.99 % quantile for this many
    /// degrees of freedom. With fixed seeds the answer is always the same.
    pub(super) fn fits(counts: &[u64], chances: &[f64]) -> bool {
        use statrs::distribution::{ChiSquared, ContinuousCDF};
        assert_eq!(counts.len(), chances.len());
        let total: u64 = counts.iter().sum();
        let square: f64 = counts
            .iter()
            .zip(chances)
            .map(|(&count, chance)| {
                let expected = chance * total as f64;
                assert!(expected >= 5.0, "too few for the test");
                (count as f64 - expected).powi(2) / expected
            })
            .sum();
        let freedom = (counts.len() - 1) as f64;
        square < ChiSquared::new(freedom).unwrap().inverse_cdf(0.9999)
    }
}
