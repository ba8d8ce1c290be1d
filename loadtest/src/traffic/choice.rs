//! Which operation comes next, in proportion to the weights of a mix.

use rand::RngExt;

use super::Rng;
use crate::workload::{Mix, Operation};

/// Chooses operations at random, without memory of the ones before.
#[derive(Clone, Debug)]
pub struct Choice {
    /// The sum of the weights up to and with each operation, over their total; infinity for the
    /// last one that occurs, so that rounding can't choose one with the weight 0.
    bounds: [f64; Operation::ALL.len()],
}

impl Choice {
    /// `mix` is valid: no weight is negative and one is above 0.
    pub fn new(mix: &Mix) -> Self {
        // Weights are shares of the requests, and one choice of a consume makes several.
        let weight = |operation| match operation {
            Operation::Consume => mix.consume / mix.rivals.max(1) as f64,
            _ => mix.weight(operation),
        };
        let total: f64 = Operation::ALL.iter().map(|&operation| weight(operation)).sum();
        let mut sum = 0.0;
        let bounds = Operation::ALL.map(|operation| {
            sum += weight(operation);
            sum / total
        });
        let last = Operation::ALL.iter().rposition(|&operation| mix.weight(operation) > 0.0);
        let mut choice = Self { bounds };
        for bound in choice.bounds.iter_mut().skip(last.unwrap_or(0)) {
            *bound = f64::INFINITY;
        }
        choice
    }

    /// The next one.
    pub fn operation(&self, rng: &mut Rng) -> Operation {
        let point: f64 = rng.random();
        // Counting is faster than searching: there are eight and no branch to guess.
        let index = self.bounds.iter().filter(|&&bound| bound <= point).count();
        Operation::ALL[index]
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::fits;
    use super::*;
    use crate::traffic::rng;

    fn counts(mix: &Mix, draws: usize) -> [u64; 8] {
        let (choice, mut rng) = (Choice::new(mix), rng(7, 0));
        let mut counts = [0; 8];
        for _ in 0..draws {
            let chosen = choice.operation(&mut rng);
            counts[Operation::ALL.iter().position(|&operation| operation == chosen).unwrap()] += 1;
        }
        counts
    }

    #[test]
    fn operations_come_as_often_as_their_weights_say() {
        let mix = Mix {
            issue: 5.0,
            resolve: 80.0,
            batch: 1.0,
            consume: 5.0,
            revoke: 2.0,
            extend: 2.5,
            miss: 0.5,
            replay: 4.0,
            ..Mix::default()
        };
        let chances = Operation::ALL.map(|operation| mix.weight(operation) / 100.0);
        assert!(fits(&counts(&mix, 1_000_000), &chances));
        let mut swapped = chances;
        swapped.swap(4, 5);
        assert!(!fits(&counts(&mix, 1_000_000), &swapped), "the test can tell 2 % from 2.5 %");
    }

    #[test]
    fn an_operation_without_weight_never_comes() {
        let mix = Mix { resolve: 0.1, extend: 1e-9, ..Mix::default() };
        let counts = counts(&mix, 100_000);
        assert_eq!(counts[1] + counts[5], 100_000);
        for operation in Operation::ALL {
            let mut mix = Mix::default();
            *mix.weight_mut(operation) = 1e-3;
            let (choice, mut rng) = (Choice::new(&mix), rng(1, 1));
            assert!((0..1_000).all(|_| choice.operation(&mut rng) == operation));
        }
    }
}
