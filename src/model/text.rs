//! Durations and sizes as text. Flags, environment, configuration file, keys commands and JSON
//! bodies all parse them here, so a text has the same meaning everywhere.
//!
//! # Durations
//!
//! | text | meaning |
//! |---|---|
//! | `250ms`, `90s`, `15m`, `7d` | a number and a unit |
//! | `1h 30m`, `1h30m` | the sum; each unit at most once |
//! | `1.5h` | fractions are allowed |
//! | `90`, `0.25` | a bare number is seconds |
//!
//! The units are `us`, `ms`, `s`, `m` (minutes), `h`, `d`, `w`, `M` (months of 30.44 days) and `y`
//! (years of 365.25 days), each also by its English name, such as `sec` or `minutes`. Values are
//! rounded to the nearest millisecond.
//!
//! # Sizes
//!
//! | text | meaning |
//! |---|---|
//! | `64KiB`, `1GiB`, `1.5 MiB` | powers of 1024: `KiB`, `MiB`, `GiB`, `TiB`, `PiB`, `EiB` |
//! | `64kB`, `1GB` | powers of 1000: `kB`, `MB`, `GB`, `TB`, `PB`, `EB` |
//! | `512`, `512B` | bytes |
//!
//! Case does not matter, and the final `B` may be left out: `64Ki` is 65,536 bytes, `64K` is 64,000.

use std::time::Duration;

use bytesize::ByteSize;

/// Form of a duration, for error messages: "must be …".
pub const DURATION_FORM: &str = "a duration such as 250ms, 15m, 1h 30m or 7d";
/// Form of a size, for error messages: "must be …".
pub const SIZE_FORM: &str = "a size such as 64KiB or 1GiB";

/// Why a text is not a duration or not a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// The text has the wrong form.
    #[error("not a number with a unit")]
    Form,
    /// The text has the right form, but its value is negative or too large.
    #[error("out of range")]
    OutOfRange,
}

/// Reads a duration, such as `250ms`, `1h 30m` or `90` (seconds).
///
/// ```
/// use std::time::Duration;
/// use jeton::model::text::parse_duration;
///
/// assert_eq!(parse_duration("1h 30m"), Ok(Duration::from_secs(5_400)));
/// assert_eq!(parse_duration("0.25"), Ok(Duration::from_millis(250)));
/// assert!(parse_duration("soon").is_err());
/// ```
///
/// # Errors
/// The text is not a duration, or its value is out of range.
pub fn parse_duration(text: &str) -> Result<Duration, QuantityError> {
    let text = text.trim();
    if text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'-')) {
        return parse_seconds(text);
    }
    if names_a_unit_twice(text) {
        return Err(QuantityError::Form);
    }
    match humantime::parse_duration(text) {
        Ok(duration) => Ok(round_to_millis(duration)),
        Err(humantime::DurationError::NumberOverflow) => Err(QuantityError::OutOfRange),
        Err(_) => Err(QuantityError::Form),
    }
}

/// Reads a number of seconds in the form of JSON numbers: `90`, `0.25`, `1e3`.
///
/// # Errors
/// The text is not a number, or its value is out of range.
pub fn parse_seconds(text: &str) -> Result<Duration, QuantityError> {
    // `parse` also reads "inf" and "nan". A number that overflows becomes infinite.
    if !text.starts_with(|first: char| first.is_ascii_digit() || first == '-') {
        return Err(QuantityError::Form);
    }
    let seconds: f64 = text.parse().map_err(|_| QuantityError::Form)?;
    Duration::try_from_secs_f64((seconds * 1000.0).round() / 1000.0)
        .map(round_to_millis)
        .map_err(|_| QuantityError::OutOfRange)
}

/// Whether two parts have the same unit, as in `1h 1hr`, which is most likely a mistake.
fn names_a_unit_twice(text: &str) -> bool {
    let units = text.split(|c: char| !c.is_alphabetic()).filter(|unit| !unit.is_empty());
    let mut seen = Vec::new();
    for unit in units {
        // A unit has several names, but only one length.
        let Ok(length) = humantime::parse_duration(&format!("1{unit}")) else { continue };
        if seen.contains(&length) {
            return true;
        }
        seen.push(length);
    }
    false
}

/// The nearest millisecond: `1.001` as a float is a little less.
fn round_to_millis(duration: Duration) -> Duration {
    let millis = duration.saturating_add(Duration::from_micros(500)).as_millis();
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

/// Reads a size in bytes, such as `64KiB` or `1GiB`.
///
/// ```
/// use jeton::model::text::parse_size;
///
/// assert_eq!(parse_size("64KiB"), Ok(65_536));
/// assert_eq!(parse_size("64kB"), Ok(64_000));
/// assert!(parse_size("64 miles").is_err());
/// ```
///
/// # Errors
/// The text is not a size, or its value is 16 EiB or more.
pub fn parse_size(text: &str) -> Result<u64, QuantityError> {
    let text = text.trim();
    let ByteSize(size) = text.parse().map_err(|_| QuantityError::Form)?;
    // The library saturates: a larger size is returned as the maximum.
    if size == u64::MAX && text.parse() != Ok(size) {
        return Err(QuantityError::OutOfRange);
    }
    Ok(size)
}

/// Formats a duration for [`parse_duration`], in whole milliseconds: `15m`, `1h 30m`, `0s`. Less
/// than two minutes are given in seconds: `90s`.
#[must_use]
pub fn duration_text(duration: Duration) -> String {
    let (seconds, millis) = (duration.as_secs(), u64::from(duration.subsec_millis()));
    let parts = match seconds {
        0..120 => [(0, "d"), (0, "h"), (0, "m"), (seconds, "s"), (millis, "ms")],
        _ => [
            (seconds / 86_400, "d"),
            (seconds / 3_600 % 24, "h"),
            (seconds / 60 % 60, "m"),
            (seconds % 60, "s"),
            (millis, "ms"),
        ],
    };
    let parts = parts.iter().filter(|(number, _)| *number > 0);
    let parts: Vec<_> = parts.map(|(number, unit)| format!("{number}{unit}")).collect();
    if parts.is_empty() { "0s".to_owned() } else { parts.join(" ") }
}

/// Formats a size for [`parse_size`]. A whole number of a unit is exact, such as `64KiB`; any other
/// size of 1 KiB or more is rounded to one decimal, such as `1.5 MiB`.
#[must_use]
pub fn size_text(bytes: u64) -> String {
    let exponent = bytes.trailing_zeros() / 10;
    match (bytes, ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"].get(exponent as usize)) {
        (1.., Some(unit)) if bytes >> (10 * exponent) < 1024 => {
            format!("{}{unit}", bytes >> (10 * exponent))
        }
        _ => ByteSize(bytes).display().iec().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_in_all_their_forms() {
        for (text, millis) in [
            ("250ms", 250),
            ("90s", 90_000),
            ("15m", 900_000),
            ("1h 30m", 5_400_000),
            ("1h30m", 5_400_000),
            ("1.5h", 5_400_000),
            ("7d", 604_800_000),
            ("1 week", 604_800_000),
            ("90", 90_000),
            (" 0.25 ", 250),
            ("1.001", 1_001),
            ("1500us", 2),
            ("400us", 0),
        ] {
            assert_eq!(parse_duration(text).map(|read| read.as_millis()), Ok(millis), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_has_the_wrong_form_or_is_out_of_range() {
        for text in
            ["", "soon", "1.2.3", "1h 1h", "1h 30m 1hour", "1m1min", "5x", "nan", "inf", "1 2"]
        {
            assert_eq!(parse_duration(text), Err(QuantityError::Form), "{text:?}");
        }
        for text in ["-5", "99999999999999999999999d", "18446744073709551616s"] {
            assert_eq!(parse_duration(text), Err(QuantityError::OutOfRange), "{text:?}");
        }
        for text in ["1e300", "1e999", "-0.1"] {
            assert_eq!(parse_seconds(text), Err(QuantityError::OutOfRange), "{text:?}");
        }
        assert_eq!(parse_seconds("infinity"), Err(QuantityError::Form));
    }

    #[test]
    fn sizes_in_all_their_forms() {
        for (text, bytes) in [
            ("512", 512),
            ("512B", 512),
            ("64KiB", 65_536),
            (" 64 kib ", 65_536),
            ("64Ki", 65_536),
            ("64K", 64_000),
            ("64kB", 64_000),
            ("1.5MiB", 1_572_864),
            ("1GiB", 1 << 30),
            ("15EiB", 15 << 60),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "much", "-1", "1 000", "64 miles", "0x10", "1.2.3KiB"] {
            assert_eq!(parse_size(text), Err(QuantityError::Form), "{text:?}");
        }
        for text in ["16EiB", "99999999999EiB", "1e9EiB"] {
            assert!(parse_size(text).is_err(), "{text:?}");
        }
        assert_eq!(parse_size("16EiB"), Err(QuantityError::OutOfRange));
    }

    #[test]
    fn texts_are_short() {
        for text in
            ["0s", "1ms", "250ms", "90s", "15m", "1h 30m", "30d", "3650d", "1d 1h 1m 1s 1ms"]
        {
            assert_eq!(duration_text(parse_duration(text).unwrap()), text);
        }
        for text in ["1B", "512B", "64KiB", "256MiB", "1GiB", "1023KiB", "8EiB"] {
            assert_eq!(size_text(parse_size(text).unwrap()), text);
        }
        assert_eq!(size_text(0), "0 B");
        assert_eq!(size_text(1_500), "1.5 KiB");
        assert_eq!(size_text(1_025 << 10), "1.0 MiB");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(millis in 0..=1_u64 << 43, bytes in 0..=1_u64 << 63) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse_duration(&duration_text(duration)), Ok(duration));
            let read = parse_size(&size_text(bytes)).unwrap();
            prop_assert!(read.abs_diff(bytes) <= bytes / 20, "{} is {}", bytes, read);
        }
    }
}
