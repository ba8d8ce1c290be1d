//! Bounds of a gate's decisions: harmless and regression, the number of pairs, and how undecided
//! workloads count.

use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;

use crate::quantity::Percent;

/// The bounds of harmless and of a regression, written `1%..5%`, or `5%` for both.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Band {
    low: Percent,
    high: Percent,
}

impl Band {
    /// The ratio up to which a change is harmless.
    pub fn harmless(self) -> f64 {
        self.low.limit()
    }

    /// The ratio from which it is a regression; not below [`Self::harmless`].
    pub fn regression(self) -> f64 {
        self.high.limit()
    }
}

impl FromStr for Band {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (low, high) = text.split_once("..").unwrap_or((text, text));
        let (low, high) = (low.parse::<Percent>()?, high.parse::<Percent>()?);
        if low > high {
            return Err(format!("`{text}`: the first share must not be above the second"));
        }
        Ok(Self { low, high })
    }
}

impl fmt::Display for Band {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.low, self.high)
    }
}

impl serde::Serialize for Band {
    fn serialize<S: serde::Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// How many pairs, at first and at most.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Pairs {
    /// At least 1.
    pub min: usize,
    /// At least `min`, at most 200.
    pub max: usize,
}

impl FromStr for Pairs {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (min, max) = text.split_once("..").unwrap_or((text, text));
        let number = |part: &str| part.trim().parse::<usize>().ok();
        match (number(min), number(max)) {
            (Some(min), Some(max)) if 1 <= min && min <= max && max <= 200 => Ok(Self { min, max }),
            _ => Err(format!("`{text}` is not like 12..27, with 1 to 200 pairs")),
        }
    }
}

impl fmt::Display for Pairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.min, self.max)
    }
}

/// What an undecided workload counts as.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Undecided {
    /// Passed, with a warning.
    Pass,
    /// A regression.
    Fail,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_and_pairs_are_read_or_refused() {
        let band: Band = "1%..5%".parse().unwrap();
        assert!((band.harmless() - 1.01).abs() < 1e-12 && (band.regression() - 1.05).abs() < 1e-12);
        assert_eq!(band.to_string(), "1%..5%");
        assert_eq!("5".parse::<Band>(), "5%..5%".parse::<Band>());
        for wrong in ["", "5%..1%", "1%..", "..5%", "a..b"] {
            assert!(wrong.parse::<Band>().is_err(), "{wrong}");
        }
        assert_eq!("12..27".parse::<Pairs>().unwrap(), Pairs { min: 12, max: 27 });
        assert_eq!("20".parse::<Pairs>().unwrap(), Pairs { min: 20, max: 20 });
        for wrong in ["", "0..4", "5..4", "1..201", "a..b", "1..2..3"] {
            assert!(wrong.parse::<Pairs>().is_err(), "{wrong}");
        }
    }
}
