//! Durations, sizes and shares as people write them: `250ms`, `15m`, `64KiB`, `5%`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A duration; in files `250ms`, `90s`, `1h 30m`, or a number of seconds.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Span(pub Duration);

/// A number of bytes; in files `128`, `64KiB`, `1MB`.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct ByteSize(pub u64);

impl Span {
    /// Milliseconds, rounded down.
    pub fn as_millis(self) -> u64 {
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(seconds) = text.parse::<f64>() {
            return Duration::try_from_secs_f64(seconds)
                .map(Self)
                .map_err(|error| format!("`{text}`: {error}"));
        }
        humantime::parse_duration(text)
            .map(Self)
            .map_err(|error| format!("`{text}` is not a duration such as 250ms or 15m: {error}"))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let size = text
            .parse::<bytesize::ByteSize>()
            .map(|size| size.as_u64())
            .map_err(|_| format!("`{text}` is not a size such as 128 or 64KiB"))?;
        // What is greater than can be counted comes as the greatest that can.
        if size == u64::MAX && text.parse() != Ok(size) {
            return Err(format!("`{text}` is not a size such as 128 or 64KiB: too great"));
        }
        Ok(Self(size))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes != 0 && bytes.is_multiple_of(1 << 20) => write!(f, "{}MiB", bytes >> 20),
            bytes if bytes != 0 && bytes.is_multiple_of(1 << 10) => write!(f, "{}KiB", bytes >> 10),
            bytes => write!(f, "{bytes}"),
        }
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Reads a value that is written as text or as a bare number.
struct Quantity<T>(std::marker::PhantomData<T>, &'static str);

impl<T: FromStr<Err = String>> Visitor<'_> for Quantity<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.1)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<T, E> {
        value.to_string().parse().map_err(E::custom)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<T, E> {
        value.to_string().parse().map_err(E::custom)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<T, E> {
        value.to_string().parse().map_err(E::custom)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "a duration such as \"250ms\" or \"15m\", or a number of seconds";
        deserializer.deserialize_any(Quantity(std::marker::PhantomData, expected))
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "a size such as \"64KiB\", or a number of bytes";
        deserializer.deserialize_any(Quantity(std::marker::PhantomData, expected))
    }
}

/// A share, written `5%` or `5`.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Percent(f64);

impl Percent {
    /// The greatest ratio it allows: 1.05 for 5 %.
    pub fn limit(self) -> f64 {
        1.0 + self.0 / 100.0
    }
}

impl FromStr for Percent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.trim().trim_end_matches('%').trim_end();
        number
            .parse::<f64>()
            .ok()
            .filter(|percent| (0.0..=1_000.0).contains(percent))
            .map(Self)
            .ok_or_else(|| format!("`{text}` is not a share from 0% to 1000%, such as 5%"))
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq, Serialize)]
    struct Both {
        span: Span,
        size: ByteSize,
    }

    fn span_ms(text: &str) -> Result<u64, String> {
        text.parse::<Span>().map(Span::as_millis)
    }

    fn bytes(text: &str) -> Result<u64, String> {
        text.parse::<ByteSize>().map(|size| size.0)
    }

    #[test]
    fn durations_as_people_write_them() {
        for (text, expected) in [
            ("250ms", 250),
            ("90s", 90_000),
            ("15m", 900_000),
            ("1h 30m", 5_400_000),
            ("1h30m", 5_400_000),
            ("7d", 604_800_000),
            ("2", 2000),
            ("0.25", 250),
            ("0", 0),
            ("1999us", 1),
        ] {
            assert_eq!(span_ms(text), Ok(expected), "{text}");
        }
        for text in ["", "soon", "-1", "-1s", "1x", "NaN", "inf", "1e99", "ms"] {
            assert!(span_ms(text).unwrap_err().contains(&format!("`{text}`")), "{text}");
        }
    }

    #[test]
    fn sizes_as_people_write_them() {
        for (text, expected) in [
            ("128", 128),
            ("0", 0),
            ("64KiB", 65_536),
            ("64 KiB", 65_536),
            ("1MB", 1_000_000),
            ("1.5MiB", 1_572_864),
        ] {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
        for text in ["", "big", "-1", "-1KiB", "1.5", "1e3", "NaN", "inf", "1e99GiB", "KiB"] {
            assert!(bytes(text).is_err(), "{text}: {:?}", bytes(text));
        }
        assert!(bytes("99999999TiB").unwrap_err().contains("too great"));
    }

    #[test]
    fn files_may_hold_text_or_numbers() {
        let read = |text: &str| toml::from_str::<Both>(text).map_err(|error| error.to_string());
        let half = Both { span: Span(Duration::from_millis(500)), size: ByteSize(64) };
        assert_eq!(read("span = 0.5\nsize = 64").as_ref(), Ok(&half));
        assert_eq!(read("span = \"500ms\"\nsize = \"64\"").as_ref(), Ok(&half));
        let wrong = read("span = true\nsize = 64").unwrap_err();
        assert!(wrong.contains("expected a duration such as"), "{wrong}");
        let wrong = read("span = 1\nsize = [1]").unwrap_err();
        assert!(wrong.contains("expected a size such as"), "{wrong}");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            seconds in 0_u64..100_000_000,
            nanos in prop_oneof![Just(0), 0_u32..1_000_000_000],
            size in prop_oneof![any::<u64>(), 0_u64..5000, (0_u64..5000).prop_map(|n| n << 20)],
        ) {
            let both = Both { span: Span(Duration::new(seconds, nanos)), size: ByteSize(size) };
            prop_assert_eq!(both.span.to_string().parse(), Ok(both.span));
            prop_assert_eq!(both.size.to_string().parse(), Ok(both.size));
            let json = serde_json::to_string(&both).unwrap();
            prop_assert_eq!(serde_json::from_str::<Both>(&json).unwrap(), both);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[0-9a-zA-Z. +-]{0,12}") {
            let _read_or_refused = (text.parse::<Span>(), text.parse::<ByteSize>());
        }
    }

    #[test]
    fn shares_are_read_or_refused() {
        assert!((("5%".parse::<Percent>().unwrap()).limit() - 1.05).abs() < 1e-12);
        assert!((("0.5".parse::<Percent>().unwrap()).limit() - 1.005).abs() < 1e-12);
        for wrong in ["", "%", "-1%", "1001%", "five", "nan", "inf"] {
            assert!(wrong.parse::<Percent>().is_err(), "{wrong}");
        }
    }
}
