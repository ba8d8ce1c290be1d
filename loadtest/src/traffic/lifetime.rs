//! How long the next token lives.

use rand::RngExt;
use rand::distr::{Distribution, Uniform};
use rand_distr::Exp;

use super::Rng;
use crate::quantity::Span;
use crate::workload::{TTL_MAX, Ttl};

const NS_PER_MS: u64 = 1_000_000;

/// Draws times to live in whole milliseconds, 1 ms to 30 days.
#[derive(Clone, Copy, Debug)]
pub enum Lifetimes {
    /// All alike.
    Fixed(u64),
    /// Each millisecond from the least to the greatest as likely as any other.
    Uniform(Uniform<u64>),
    /// Memoryless, cut at the limits.
    Exponential(Exp<f64>),
    /// Until a moment of the session, the same for all but for a spread.
    Until(Uniform<u64>),
}

impl Lifetimes {
    /// `ttl` is valid; what it has below a millisecond is dropped.
    pub fn new(ttl: &Ttl) -> Self {
        match *ttl {
            Ttl::Fixed(span) => Self::Fixed(ttl_ms(span)),
            Ttl::Uniform { min, max } => Uniform::new_inclusive(ttl_ms(min), ttl_ms(max))
                .map_or(Self::Fixed(ttl_ms(min)), Lifetimes::Uniform),
            Ttl::Exponential { mean } => Exp::new(1.0 / ttl_ms(mean) as f64)
                .map_or(Self::Fixed(ttl_ms(mean)), Lifetimes::Exponential),
        }
    }

    /// Deadlines that lie anywhere between two moments of the session, in nanoseconds from its
    /// begin, whenever the tokens are issued.
    pub fn until(from_ns: u64, to_ns: u64) -> Self {
        let (from_ms, to_ms) = (from_ns / NS_PER_MS, to_ns.max(from_ns) / NS_PER_MS);
        Uniform::new_inclusive(from_ms, to_ms).map_or(Self::Fixed(from_ms.max(1)), Lifetimes::Until)
    }

    /// The next one, in milliseconds, of a token that is issued `now_ns` after the session began.
    pub fn ttl_ms(&self, rng: &mut Rng, now_ns: u64) -> u64 {
        match self {
            Self::Fixed(ttl_ms) => *ttl_ms,
            Self::Uniform(uniform) => rng.sample(uniform),
            Self::Until(moments) => rng.sample(moments).saturating_sub(now_ns / NS_PER_MS).max(1),
            Self::Exponential(exponential) => {
                (exponential.sample(rng).round() as u64).clamp(1, ttl_ms(Span(TTL_MAX)))
            }
        }
    }
}

fn ttl_ms(span: Span) -> u64 {
    span.as_millis().max(1)
}

#[cfg(test)]
mod tests {
    use super::super::tests::fits;
    use super::*;
    use crate::traffic::rng;
    use std::time::Duration;

    fn span(ms: u64) -> Span {
        Span(Duration::from_millis(ms))
    }

    fn draw(ttl: &Ttl, draws: usize) -> Vec<u64> {
        let (lifetimes, mut rng) = (Lifetimes::new(ttl), rng(3, 0));
        (0..draws).map(|_| lifetimes.ttl_ms(&mut rng, 0)).collect()
    }

    #[test]
    fn fixed_is_fixed() {
        assert!(draw(&Ttl::Fixed(span(900_000)), 100).iter().all(|&ttl| ttl == 900_000));
        assert_eq!(draw(&Ttl::Fixed(Span(Duration::from_micros(1_999))), 1), [1]);
    }

    #[test]
    fn deadlines_stay_where_they_are_whenever_a_token_is_issued() {
        let lifetimes = Lifetimes::until(5_000_000_000, 6_000_000_000);
        let mut rng = rng(3, 0);
        let mut deadlines_ms = Vec::new();
        for now_ms in (0..5_000).step_by(5) {
            deadlines_ms.push(now_ms + lifetimes.ttl_ms(&mut rng, now_ms * NS_PER_MS));
        }
        assert!(deadlines_ms.iter().all(|deadline| (5_000..=6_000).contains(deadline)));
        assert!(deadlines_ms.iter().any(|deadline| *deadline < 5_100));
        assert!(deadlines_ms.iter().any(|deadline| *deadline > 5_900));
        assert_eq!(lifetimes.ttl_ms(&mut rng, u64::MAX), 1, "one that is late lives as shortly");
    }

    #[test]
    fn uniform_reaches_both_ends_and_all_between() {
        let drawn = draw(&Ttl::Uniform { min: span(10), max: span(19) }, 100_000);
        let mut counts = [0; 10];
        for ttl in drawn {
            counts[usize::try_from(ttl - 10).unwrap()] += 1;
        }
        assert!(fits(&counts, &[0.1; 10]));
        let one = Ttl::Uniform { min: span(5), max: span(5) };
        assert!(draw(&one, 100).iter().all(|&ttl| ttl == 5));
    }

    #[test]
    fn exponential_has_its_quartiles_and_its_limits() {
        let drawn = draw(&Ttl::Exponential { mean: span(600_000) }, 100_000);
        let quartile = |part: f64| (-(1.0 - part).ln() * 600_000.0) as u64;
        let mut counts = [0; 4];
        for ttl in drawn {
            let above = [0.25, 0.5, 0.75].iter().filter(|&&part| ttl > quartile(part)).count();
            counts[above] += 1;
        }
        assert!(fits(&counts, &[0.25; 4]));
        assert!(draw(&Ttl::Exponential { mean: span(1) }, 10_000).iter().all(|&ttl| ttl >= 1));
        let long = draw(&Ttl::Exponential { mean: Span(TTL_MAX) }, 10_000);
        assert_eq!(long.iter().max(), Some(&(30 * 86_400_000)));
    }
}
