//! Objectives as people write them: `p99=2ms`, `max=1s`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Objective;

impl FromStr for Objective {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, limit) =
            text.split_once('=').ok_or_else(|| format!("`{text}` is not like p99=2ms"))?;
        let percentile = match name.trim() {
            "max" => 100.0,
            name => name
                .strip_prefix('p')
                .and_then(|number| number.parse::<f64>().ok())
                .filter(|percentile| (0.0..=100.0).contains(percentile))
                .ok_or_else(|| format!("`{name}` is neither p0 to p100, as p99.9, nor max"))?,
        };
        Ok(Self { percentile, limit: limit.trim().parse()? })
    }
}

impl fmt::Display for Objective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the spaces of `1m 30s`, so that it stays one word.
        let limit = self.limit.to_string().replace(' ', "");
        if self.percentile >= 100.0 {
            write!(f, "max={limit}")
        } else {
            write!(f, "p{}={limit}", self.percentile)
        }
    }
}

impl Serialize for Objective {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Objective {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for text in ["p50=800us", "p99=2ms", "p99.9=1m30s", "max=1s", "p0=1ms"] {
            let objective: Objective = text.parse().unwrap();
            assert_eq!(objective.to_string(), text);
        }
        assert_eq!("p100=1s".parse::<Objective>().unwrap().to_string(), "max=1s");
        assert_eq!(" p99 = 2ms".parse::<Objective>().unwrap().to_string(), "p99=2ms");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for text in ["", "p99", "99=2ms", "p101=2ms", "p-1=2ms", "pNaN=1s", "p99=soon", "p99="] {
            assert!(text.parse::<Objective>().is_err(), "{text}");
        }
    }
}
