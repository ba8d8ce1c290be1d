//! Times by the grammar `date-time` of RFC 3339, section 5.6, and nothing else.
//!
//! ```text
//! date-time = YYYY-MM-DD "T" hh:mm:ss [ "." 1 to 9 digits ] ( "Z" / ( "+" / "-" ) hh:mm )
//! ```
//!
//! `T` and `Z` may be small letters. Years are 0000 to 9999 as written, offsets −23:59 to +23:59
//! (`-00:00` is UTC at an unknown place). Not in the grammar, and therefore refused: a space
//! instead of `T`, a time without seconds or without an offset, a comma before the fraction, basic
//! formats without separators, and names of zones in brackets.
//!
//! A second `:60` is a leap second. It exists only as the last second of June or of December in
//! UTC, and its value is different from both the second before it and the one after it.

/// An instant with the range and precision of RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instant {
    /// Nanoseconds since 1970-01-01T00:00:00Z, leap seconds not counted. In a leap second: those of
    /// the second before it, with the leap second's own fraction.
    pub unix_nanos: i128,
    /// Whether the instant is in a leap second.
    pub is_leap_second: bool,
}

const NANOS_PER_SECOND: i128 = 1_000_000_000;
const SECONDS_PER_DAY: i64 = 86_400;
const FRACTION_DIGITS_MAX: usize = 9;

/// Parses a time; `None` if the text is not one.
#[must_use]
pub fn parse(text: &str) -> Option<Instant> {
    let mut reader = Reader(text.as_bytes());
    let date = reader.date()?;
    reader.one_of(b"Tt")?;
    let (hour, minute) = reader.hour_and_minute()?;
    reader.one_of(b":")?;
    let second = reader.number(2, 60)?;
    let fraction_nanos = reader.fraction()?;
    let offset_seconds = reader.offset()?;
    if !reader.0.is_empty() {
        return None;
    }
    let epoch = jiff::civil::date(1970, 1, 1);
    let midnight = date.duration_since(epoch).as_secs();
    let is_leap_second = second == 60;
    let second = if is_leap_second { 59 } else { second };
    let unix_seconds = midnight + hour * 3_600 + minute * 60 + second - offset_seconds;
    if is_leap_second && !may_be_followed_by_a_leap_second(unix_seconds) {
        return None;
    }
    let unix_nanos = i128::from(unix_seconds) * NANOS_PER_SECOND + i128::from(fraction_nanos);
    Some(Instant { unix_nanos, is_leap_second })
}

/// Whether this second is the last one of June or December in UTC.
fn may_be_followed_by_a_leap_second(unix_seconds: i64) -> bool {
    if (unix_seconds + 1).rem_euclid(SECONDS_PER_DAY) != 0 {
        return false;
    }
    let days = jiff::Span::new().try_days((unix_seconds + 1).div_euclid(SECONDS_PER_DAY));
    let next = days.and_then(|days| jiff::civil::date(1970, 1, 1).checked_add(days));
    next.is_ok_and(|next| next.day() == 1 && matches!(next.month(), 1 | 7))
}

/// The unread part of the text.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn date(&mut self) -> Option<jiff::civil::Date> {
        let year = self.number(4, 9_999)?;
        self.one_of(b"-")?;
        let month = self.number(2, 12)?;
        self.one_of(b"-")?;
        let day = self.number(2, 31)?;
        // In these ranges nothing is cut off; the calendar decides about the rest.
        jiff::civil::Date::new(year as i16, month as i8, day as i8).ok()
    }

    fn hour_and_minute(&mut self) -> Option<(i64, i64)> {
        let hour = self.number(2, 23)?;
        self.one_of(b":")?;
        Some((hour, self.number(2, 59)?))
    }

    /// Nanoseconds; 0 without a fraction.
    fn fraction(&mut self) -> Option<i64> {
        let Some(rest) = self.0.strip_prefix(b".") else { return Some(0) };
        self.0 = rest;
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if !(1..=FRACTION_DIGITS_MAX).contains(&digits) {
            return None;
        }
        let missing = (FRACTION_DIGITS_MAX - digits) as u32;
        Some(self.number(digits, i64::MAX)? * 10_i64.pow(missing))
    }

    /// Seconds ahead of UTC.
    fn offset(&mut self) -> Option<i64> {
        let sign = match self.one_of(b"Zz+-")? {
            b'+' => 1,
            b'-' => -1,
            _ => return Some(0),
        };
        let (hours, minutes) = self.hour_and_minute()?;
        Some(sign * (hours * 3_600 + minutes * 60))
    }

    /// A number of exactly `digits` digits, at most `max`.
    fn number(&mut self, digits: usize, max: i64) -> Option<i64> {
        let (number, rest) = self.0.split_at_checked(digits)?;
        let mut value = 0;
        for byte in number {
            value = value * 10 + i64::from(char::from(*byte).to_digit(10)?);
        }
        self.0 = rest;
        (value <= max).then_some(value)
    }

    fn one_of(&mut self, allowed: &[u8]) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        allowed.contains(first).then_some(*first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn nanos(text: &str) -> i128 {
        let instant = parse(text).unwrap_or_else(|| panic!("{text} is a time"));
        assert!(!instant.is_leap_second, "{text}");
        instant.unix_nanos
    }

    #[test]
    fn every_year_letter_fraction_and_offset_of_the_grammar() {
        assert_eq!(nanos("1970-01-01T00:00:00Z"), 0);
        assert_eq!(nanos("1970-01-01t00:00:00.5z"), 500_000_000);
        assert_eq!(nanos("1970-01-01T00:00:00.000000001-00:00"), 1);
        assert_eq!(nanos("1970-01-01T00:00:00+23:59"), -86_340 * NANOS_PER_SECOND);
        assert_eq!(nanos("9999-12-31T23:59:59Z"), 253_402_300_799 * NANOS_PER_SECOND);
        assert_eq!(nanos("9999-12-31T23:59:59-23:59"), 253_402_387_139 * NANOS_PER_SECOND);
        assert_eq!(nanos("0000-01-01T00:00:00Z"), -62_167_219_200 * NANOS_PER_SECOND);
        assert_eq!(nanos("0000-02-29T00:00:00+00:01"), -62_162_121_660 * NANOS_PER_SECOND);
    }

    #[test]
    fn a_leap_second_is_a_value_of_its_own_and_only_where_there_can_be_one() {
        for (text, before) in [
            ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59Z"),
            ("2015-06-30T23:59:60.25Z", "2015-06-30T23:59:59.25Z"),
            ("2017-01-01T00:59:60+01:00", "2017-01-01T00:59:59+01:00"),
            ("1990-12-31T15:59:60-08:00", "1990-12-31T15:59:59-08:00"),
        ] {
            let leap = parse(text).unwrap_or_else(|| panic!("{text} is a time"));
            assert!(leap.is_leap_second, "{text}");
            assert_eq!(leap.unix_nanos, nanos(before), "{text}");
        }
        for text in [
            "2016-12-31T23:58:60Z",
            "2016-12-30T23:59:60Z",
            "2016-09-30T23:59:60Z",
            "2016-12-31T23:59:60+01:00",
            "2016-12-31T23:59:61Z",
            "1970-01-01T00:00:60Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn other_standards_are_refused() {
        for text in [
            "",
            "2016-12-31",
            "20161231T235959Z",
            "2016-12-31T23:59Z",
            "2016-12-31T23Z",
            "2016-12-31T23:59:59",
            "2016-12-31 23:59:59Z",
            "2016-12-31T23:59:59,5Z",
            "2016-12-31T23:59:59.Z",
            "2016-12-31T23:59:59.0123456789Z",
            "2016-12-31T23:59:59Z[UTC]",
            "2016-12-31T23:59:59+01:00[Europe/Paris]",
            "2016-12-31T23:59:59+0100",
            "2016-12-31T23:59:59+01",
            "2016-12-31T23:59:59+24:00",
            "2016-12-31T23:59:59+01:60",
            "2016-12-31T23:59:59+01:00:00",
            "2016-12-31T24:00:00Z",
            "2015-02-29T00:00:00Z",
            "2016-13-01T00:00:00Z",
            "2016-00-01T00:00:00Z",
            "2016-12-32T00:00:00Z",
            "+2016-12-31T23:59:59Z",
            "-002016-12-31T23:59:59Z",
            "12016-12-31T23:59:59Z",
            " 2016-12-31T23:59:59Z",
            "2016-12-31T23:59:59Z ",
            "2016-12-31T23:59:5\u{663}Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        /// Another implementation reads the same instant, if it accepts the text.
        #[test]
        fn the_instant_is_that_of_another_implementation(
            seconds in -62_000_000_000_i64..253_000_000_000, nanos in 0..1_000_000_000_i32,
            offset_minutes in -1_439..=1_439_i64, digits in 1..=9_usize,
        ) {
            let timestamp = jiff::Timestamp::new(seconds, nanos).unwrap();
            let local = jiff::Timestamp::from_second(seconds + offset_minutes * 60).unwrap();
            let nanos = timestamp.subsec_nanosecond().rem_euclid(1_000_000_000);
            let fraction = &format!("{nanos:09}")[..digits];
            let sign = if offset_minutes < 0 { '-' } else { '+' };
            let (hours, minutes) = (offset_minutes.abs() / 60, offset_minutes.abs() % 60);
            let civil = local.to_zoned(jiff::tz::TimeZone::UTC).datetime();
            let text = format!(
                "{}T{:02}:{:02}:{:02}.{fraction}{sign}{hours:02}:{minutes:02}",
                civil.date(), civil.hour(), civil.minute(), civil.second()
            );
            let own = parse(&text);
            let theirs: Option<jiff::Timestamp> = text.parse().ok();
            if let Some(theirs) = theirs {
                let own = own.map(|own| own.unix_nanos);
                prop_assert_eq!(own, Some(theirs.as_nanosecond()), "{}", text);
            }
        }

        #[test]
        fn any_text_is_a_time_or_none(text in ".{0,40}") {
            let _ = parse(&text);
        }
    }
}
