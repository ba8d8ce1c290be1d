//! Which of the living tokens is asked for.
//!
//! A rank is drawn first: uniformly, or from Zipf's law by rejection inversion (W. Hörmann and
//! G. Derflinger, "Rejection-inversion to generate variates from monotone discrete
//! distributions", 1996): the integral of x^-s is turned round at a random point, and the integer
//! near it is kept almost always, so that nothing has to be tabulated and even 100 million tokens
//! cost neither memory nor set-up.
//!
//! The number of tokens changes as they are issued and consumed. The law is prepared for a few
//! more than there are and ranks beyond the end are drawn again, which leaves exactly the law of
//! the present number; it is prepared anew only when there are more than that, or far fewer.

use rand::RngExt;

use super::{Rng, mix};
use crate::workload::{Keys, Popularity};

/// Draws places among the living tokens.
#[derive(Clone, Debug)]
pub enum Picker {
    /// Each as likely as any other.
    Uniform,
    /// The popular ones are scattered over all places.
    Zipf(Zipf, Scatter),
    /// Places are counted back from the youngest, which is 0.
    Latest(Zipf),
}

impl Picker {
    /// For the tokens of a valid workload; where the popular ones are hangs on the seed.
    pub fn new(keys: &Keys, seed: u64) -> Self {
        match keys.popularity {
            Popularity::Uniform => Self::Uniform,
            Popularity::Zipf => {
                let scatter = Scatter::new(keys.population, seed);
                Self::Zipf(Zipf::new(keys.population, keys.exponent), scatter)
            }
            Popularity::Latest => Self::Latest(Zipf::new(keys.population, keys.exponent)),
        }
    }

    /// A place from 0 and below `n`, which is at least 1. While `n` stays about the same, a popular
    /// place of `Zipf` stays popular; of `Latest` 0 is the youngest, 1 the one issued before it.
    pub fn pick(&mut self, n: u64, rng: &mut Rng) -> u64 {
        debug_assert!(n > 0);
        match self {
            Self::Uniform => rng.random_range(0..n),
            Self::Zipf(zipf, scatter) => scatter.place(zipf.rank(n, rng), n),
            Self::Latest(zipf) => zipf.rank(n, rng),
        }
    }

    /// Whether places are counted back from the youngest token, not over all in any order.
    pub fn from_youngest(&self) -> bool {
        matches!(self, Self::Latest(_))
    }
}

/// Zipf's law: rank r, from 0, in proportion to 1 / (r + 1)^exponent.
#[derive(Clone, Debug)]
pub struct Zipf {
    /// 1 - exponent.
    power: f64,
    /// The ranks it is prepared for; at least as many as are asked for.
    prepared: u64,
    /// The integral up to half a rank beyond the last.
    integral_end: f64,
    /// The integral where the area of the first rank begins.
    integral_begin: f64,
    /// A point at most this far below its integer is kept without another look.
    kept_below: f64,
}

impl Zipf {
    /// For about `count` ranks; the exponent is above 0, at most 5.
    pub fn new(n: u64, exponent: f64) -> Self {
        let mut zipf = Self {
            power: 1.0 - exponent,
            prepared: 0,
            integral_end: 0.0,
            integral_begin: 0.0,
            kept_below: 0.0,
        };
        zipf.integral_begin = zipf.integral(1.5) - 1.0;
        zipf.kept_below = 2.0 - zipf.inverse(zipf.integral(2.5) - zipf.density(2.0));
        zipf.prepare(n);
        zipf
    }

    /// A rank from 0 and below `n`, which is at least 1.
    pub fn rank(&mut self, n: u64, rng: &mut Rng) -> u64 {
        if n > self.prepared || n < self.prepared - self.prepared / 8 {
            self.prepare(n);
        }
        loop {
            let place: f64 = rng.random();
            let area = self.integral_end + place * (self.integral_begin - self.integral_end);
            let point = self.inverse(area);
            let rank = (point + 0.5).floor().max(1.0);
            // Rounding may reach one beyond the end, as may the spare ranks.
            if rank > n as f64 {
                continue;
            }
            if rank - point <= self.kept_below
                || area >= self.integral(rank + 0.5) - self.density(rank)
            {
                return rank as u64 - 1;
            }
        }
    }

    /// Leaves a little room, so that a number that goes up and down prepares nothing.
    fn prepare(&mut self, n: u64) {
        self.prepared = n + n / 64;
        self.integral_end = self.integral(self.prepared as f64 + 0.5);
    }

    /// x^-exponent.
    fn density(&self, x: f64) -> f64 {
        ((self.power - 1.0) * x.ln()).exp()
    }

    /// (x^power - 1) / power: the integral of the density from 1; the logarithm where power is 0,
    /// and exact near it.
    fn integral(&self, x: f64) -> f64 {
        let log = x.ln();
        log * expm1_over(self.power * log)
    }

    /// The point up to which the integral is so great.
    fn inverse(&self, area: f64) -> f64 {
        // Rounding may lead below the least value the integral can have.
        let scaled = (area * self.power).max(-1.0);
        (area * ln1p_over(scaled)).exp()
    }
}

/// expm1(x) / x, also at 0.
fn expm1_over(x: f64) -> f64 {
    if x.abs() > 1e-8 { x.exp_m1() / x } else { 1.0 + x / 2.0 }
}

/// ln(1 + x) / x, also at 0. The plain logarithm is faster, and exact to
/// twelve digits away from 0.
fn ln1p_over(x: f64) -> f64 {
    match x.abs() {
        1e-4.. => (1.0 + x).ln() / x,
        1e-8.. => x.ln_1p() / x,
        _ => 1.0 - x / 2.0,
    }
}

/// Scatters ranks over places, one to one: a permutation of a power of two, walked on until it
/// falls below the number of places, so that nothing has to be tabulated.
#[derive(Clone, Debug)]
pub struct Scatter {
    bits: u32,
    keys: [u64; 2],
}

impl Scatter {
    /// For about this number of places.
    pub fn new(n: u64, seed: u64) -> Self {
        let keys = [1, 2].map(|round| mix(mix(seed) ^ round));
        Self { bits: bits_for(n + n / 8), keys }
    }

    /// The place of a rank, both below `n`. It stays the same while `n` changes, but where `n`
    /// outgrows the power of two and where the place itself would be beyond the end.
    pub fn place(&mut self, rank: u64, n: u64) -> u64 {
        if n > 1 << self.bits || n < (1 << self.bits) / 16 {
            self.bits = bits_for(n + n / 8);
        }
        let mut place = self.permute(rank);
        while place >= n {
            place = self.permute(place);
        }
        place
    }

    /// Each step can be undone, so no two come together.
    fn permute(&self, number: u64) -> u64 {
        let mask = (1 << self.bits) - 1;
        self.keys.iter().fold(number, |number, key| {
            let odd = key | 1;
            let mixed = (number ^ (key >> 7)).wrapping_mul(odd) & mask;
            mixed ^ (mixed >> (self.bits / 2).max(1))
        }) & mask
    }
}

/// Of the least power of two that holds that many.
fn bits_for(n: u64) -> u32 {
    n.max(2).next_power_of_two().trailing_zeros()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::fits;
    use super::*;
    use crate::traffic::rng;

    /// Exact chances of the first ranks, and of all others together.
    fn chances(n: u64, exponent: f64, first: usize) -> Vec<f64> {
        let weights: Vec<f64> = (1..=n).map(|rank| (rank as f64).powf(-exponent)).collect();
        let total: f64 = weights.iter().rev().sum();
        let mut chances: Vec<f64> =
            weights.iter().take(first).map(|weight| weight / total).collect();
        if n as usize > first {
            chances.push(weights.iter().skip(first).rev().sum::<f64>() / total);
        }
        chances
    }

    fn counts(zipf: &mut Zipf, n: u64, first: usize, draws: usize) -> Vec<u64> {
        let mut rng = rng(11, n);
        let mut counts = vec![0; first.min(n as usize) + usize::from(n as usize > first)];
        for _ in 0..draws {
            let rank = zipf.rank(n, &mut rng);
            assert!(rank < n);
            counts[(rank as usize).min(first)] += 1;
        }
        counts
    }

    #[test]
    fn zipf_is_exactly_zipf() {
        for exponent in [0.01, 0.5, 0.99, 1.0 - 1e-12, 1.0, 1.2, 2.0] {
            for n in [2, 10, 1000, 20_000] {
                let first = 5;
                let drawn = counts(&mut Zipf::new(n, exponent), n, first, 400_000);
                let chances = chances(n, exponent, first);
                assert!(fits(&drawn, &chances), "{exponent} {n}: {drawn:?} {chances:?}");
            }
        }
        let drawn = counts(&mut Zipf::new(1000, 5.0), 1000, 5, 400_000);
        assert!(fits(&drawn, &chances(1000, 5.0, 5)), "{drawn:?}");
    }

    #[test]
    fn the_far_end_of_zipf_has_its_chance_too() {
        let (n, mut rng) = (10_000, rng(4, 0));
        let mut zipf = Zipf::new(n, 0.7);
        let weights: Vec<f64> = (1..=n).map(|rank| (rank as f64).powf(-0.7)).collect();
        let total: f64 = weights.iter().sum();
        let chances: Vec<f64> =
            weights.chunks(500).map(|part| part.iter().sum::<f64>() / total).collect();
        let mut counts = vec![0; 20];
        for _ in 0..1_000_000 {
            counts[zipf.rank(n, &mut rng) as usize / 500] += 1;
        }
        assert!(fits(&counts, &chances), "{counts:?}");
    }

    #[test]
    fn the_test_can_tell_exponents_apart() {
        let drawn = counts(&mut Zipf::new(1000, 1.0), 1000, 5, 1_000_000);
        assert!(!fits(&drawn, &chances(1000, 1.01, 5)));
    }

    #[test]
    fn a_number_that_changes_is_followed_exactly() {
        let mut zipf = Zipf::new(1000, 0.99);
        for n in [1000, 1010, 990, 900, 50, 3, 1, 4000, 1000] {
            let draws = 300_000;
            let drawn = counts(&mut zipf, n, 5, draws);
            match n {
                1 => assert_eq!(drawn, [draws as u64]),
                _ => assert!(fits(&drawn, &chances(n, 0.99, 5)), "{n}: {drawn:?}"),
            }
        }
    }

    #[test]
    fn a_hundred_million_are_within_reach() {
        for exponent in [0.01, 0.99, 1.0, 5.0] {
            let n = 100_000_000;
            let (mut zipf, mut scatter, mut rng) =
                (Zipf::new(n, exponent), Scatter::new(n, 1), rng(1, 0));
            for _ in 0..10_000 {
                let rank = zipf.rank(n, &mut rng);
                assert!(rank < n && scatter.place(rank, n) < n);
            }
        }
    }

    #[test]
    fn hot_tokens_are_no_neighbours() {
        let n = 100_000;
        let mut scatter = Scatter::new(n, 1);
        let mut places: Vec<u64> = (0..1000).map(|rank| scatter.place(rank, n)).collect();
        let beside = places.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) < 50).count();
        assert!(beside < 20, "{beside} of 1000 ranks lie beside the next one");
        places.sort_unstable();
        let tenths = (0..10)
            .map(|tenth| places.iter().filter(|&&place| place / (n / 10) == tenth).count() as u64)
            .collect::<Vec<_>>();
        assert!(fits(&tenths, &[0.1; 10]), "{tenths:?}");
    }

    #[test]
    fn hot_places_stay_hot_while_the_number_changes_a_little() {
        let mut scatter = Scatter::new(100_000, 9);
        let before: Vec<u64> = (0..1000).map(|rank| scatter.place(rank, 100_000)).collect();
        let after: Vec<u64> = (0..1000).map(|rank| scatter.place(rank, 100_100)).collect();
        let moved = before.iter().zip(&after).filter(|(before, after)| before != after).count();
        assert!(moved < 20, "{moved} of 1000 moved");
    }

    #[test]
    fn uniform_is_uniform_and_latest_counts_from_the_youngest() {
        let keys = |popularity| Keys { population: 10, popularity, exponent: 1.0 };
        let draw = |popularity| {
            let (mut picker, mut rng) = (Picker::new(&keys(popularity), 1), rng(2, 2));
            let mut counts = vec![0; 10];
            for _ in 0..200_000 {
                counts[picker.pick(10, &mut rng) as usize] += 1;
            }
            counts
        };
        assert!(fits(&draw(Popularity::Uniform), &[0.1; 10]));
        assert!(fits(&draw(Popularity::Latest), &chances(10, 1.0, 10)));
        // Scattered: the same chances, in another order.
        let mut zipf = draw(Popularity::Zipf);
        assert!(!fits(&zipf, &chances(10, 1.0, 10)));
        zipf.sort_unstable_by_key(|&count| std::cmp::Reverse(count));
        assert!(fits(&zipf, &chances(10, 1.0, 10)));
    }

    proptest! {
        #[test]
        fn scattering_is_one_to_one(n in 1_u64..5000, planned in 1_u64..5000, seed: u64) {
            let mut scatter = Scatter::new(planned, seed);
            let mut seen = vec![false; n as usize];
            for rank in 0..n {
                let place = scatter.place(rank, n) as usize;
                prop_assert!(place < seen.len());
                prop_assert!(!std::mem::replace(&mut seen[place], true));
            }
        }
    }
}
