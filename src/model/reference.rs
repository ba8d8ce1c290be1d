//! References: an order's number, creation time and amount, of which one or several identify a
//! token.
//!
//! # The canonical form
//!
//! The same order must always give the same token, whatever its spelling. The canonical form is the
//! fields that are given, in this order, each as a letter, the length of its text in bytes as a
//! decimal number, a colon and the text:
//!
//! | field | letter | text |
//! |---|---|---|
//! | `order_number` | `o` | as given, byte for byte: 1 to 128 bytes without control characters |
//! | `created_at` | `t` | the instant in UTC, in nanoseconds since 1970 as a decimal number |
//! | `amount` | `a` | a decimal number without `+`, leading or trailing zeros; `-0` is `0` |
//!
//! In a leap second the number is that of the second before it, followed by `+leap`.
//!
//! So `2010-12-01T08:26:00Z` and `2010-12-01T09:26:00+01:00` are the same time, `139.1` and
//! `139.10` the same amount, and `order 7` alone is another reference than `order 7` with an
//! amount. Amounts have no currency: give the order number too if orders in several currencies
//! could collide.

use std::fmt;
use std::fmt::Write as _;

use crate::model::rfc3339;

/// Maximum length of an order number, in bytes.
pub const ORDER_NUMBER_LEN_MAX: usize = 128;
/// Maximum digits of an amount, before and after the point together.
pub const AMOUNT_DIGITS_MAX: usize = 38;

/// Fields of an order in canonical form.
#[derive(Clone, PartialEq, Eq)]
pub struct Reference {
    canonical: String,
}

/// Why fields are not a reference. The texts name the field and its limit, never its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// No field was given.
    #[error("reference: give at least one of order_number, created_at and amount")]
    Empty,
    /// The order number is empty or too long.
    #[error("reference.order_number: must have 1 to {ORDER_NUMBER_LEN_MAX} bytes, has {0}")]
    OrderNumberLength(usize),
    /// The order number contains a control character.
    #[error("reference.order_number: must not contain control characters")]
    OrderNumberControl,
    /// The creation time is not a timestamp with an offset.
    #[error(
        "reference.created_at: must be an RFC 3339 (section 5.6) time with an offset, such as \
        2026-01-31T12:00:00Z, with at most 9 digits of fraction"
    )]
    CreatedAt,
    /// The amount is not a decimal number.
    #[error("reference.amount: must be a decimal number without an exponent, such as 139.12 or -5")]
    Amount,
    /// The amount has too many digits.
    #[error("reference.amount: must have at most {AMOUNT_DIGITS_MAX} digits")]
    AmountDigits,
}

impl ReferenceError {
    /// Whether the value is well-formed but out of its limits.
    #[must_use]
    pub fn is_limit(self) -> bool {
        match self {
            Self::OrderNumberLength(_) | Self::OrderNumberControl | Self::AmountDigits => true,
            Self::Empty | Self::CreatedAt | Self::Amount => false,
        }
    }
}

impl Reference {
    /// The reference with these fields, of which at least one must be given.
    pub fn new(
        order_number: Option<&str>,
        created_at: Option<&str>,
        amount: Option<&str>,
    ) -> Result<Self, ReferenceError> {
        let mut canonical = String::new();
        let mut field = |letter: char, text: &str| {
            // Writing to a String cannot fail.
            let _ = write!(canonical, "{letter}{}:{text}", text.len());
        };
        if let Some(number) = order_number {
            check_order_number(number)?;
            field('o', number);
        }
        if let Some(text) = created_at {
            let instant = rfc3339::parse(text).ok_or(ReferenceError::CreatedAt)?;
            let leap = if instant.is_leap_second { "+leap" } else { "" };
            field('t', &format!("{}{leap}", instant.unix_nanos));
        }
        if let Some(text) = amount {
            field('a', &canonical_amount(text)?);
        }
        if canonical.is_empty() {
            return Err(ReferenceError::Empty);
        }
        Ok(Self { canonical })
    }

    /// The canonical form, from which the token is derived.
    #[must_use]
    pub fn canonical(&self) -> &[u8] {
        self.canonical.as_bytes()
    }
}

impl fmt::Debug for Reference {
    /// An order's data must not appear in logs either.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reference(…)")
    }
}

fn check_order_number(number: &str) -> Result<(), ReferenceError> {
    if number.is_empty() || number.len() > ORDER_NUMBER_LEN_MAX {
        return Err(ReferenceError::OrderNumberLength(number.len()));
    }
    if number.chars().any(char::is_control) {
        return Err(ReferenceError::OrderNumberControl);
    }
    Ok(())
}

fn canonical_amount(text: &str) -> Result<String, ReferenceError> {
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let (whole, fraction) = match digits.split_once('.') {
        Some((_, "")) => return Err(ReferenceError::Amount),
        Some(parts) => parts,
        None => (digits, ""),
    };
    if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return Err(ReferenceError::Amount);
    }
    if whole.len() + fraction.len() > AMOUNT_DIGITS_MAX {
        return Err(ReferenceError::AmountDigits);
    }
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        trimmed => trimmed,
    };
    let fraction = fraction.trim_end_matches('0');
    let mut canonical = String::new();
    if negative && !(whole == "0" && fraction.is_empty()) {
        canonical.push('-');
    }
    canonical.push_str(whole);
    if !fraction.is_empty() {
        canonical.push('.');
        canonical.push_str(fraction);
    }
    Ok(canonical)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(text: &str) -> Result<String, ReferenceError> {
        canonical_amount(text)
    }

    #[test]
    fn amounts_that_are_equal_are_the_same() {
        for (texts, canonical) in [
            (["139.1", "139.10", "+139.1", "0139.100"], "139.1"),
            (["-5", "-5.0", "-05", "-5.000"], "-5"),
            (["0", "-0", "0.00", "-0.0"], "0"),
            (["0.5", "00.5", "+0.50", "0.500"], "0.5"),
        ] {
            for text in texts {
                assert_eq!(amount(text).as_deref(), Ok(canonical), "{text}");
            }
        }
    }

    #[test]
    fn what_is_no_decimal_number_is_refused() {
        for text in ["", "-", ".", ".5", "5.", "1e3", "1,5", "0x10", "1.2.3", "--1", "١", " 1"] {
            assert_eq!(amount(text), Err(ReferenceError::Amount), "{text:?}");
        }
        assert_eq!(amount(&"9".repeat(39)), Err(ReferenceError::AmountDigits));
        assert!(amount(&"9".repeat(38)).is_ok());
    }

    #[test]
    fn the_same_instant_in_another_offset_is_the_same_reference() {
        let at = |text| Reference::new(None, Some(text), None);
        assert_eq!(at("2010-12-01T08:26:00Z"), at("2010-12-01T09:26:00.000+01:00"));
        assert_ne!(at("2010-12-01T08:26:00Z"), at("2010-12-01T08:26:00.001Z"));
        for text in ["2010-12-01", "yesterday", "2010-12-01T08:26:00", ""] {
            assert_eq!(at(text), Err(ReferenceError::CreatedAt), "{text:?}");
        }
    }

    #[test]
    fn fields_cannot_be_mistaken_for_each_other() {
        let one = Reference::new(Some("7a1:5"), None, None).unwrap();
        let two = Reference::new(Some("7"), None, Some("5")).unwrap();
        assert_ne!(one, two);
        assert_eq!(two.canonical(), b"o1:7a1:5");
        assert_eq!(Reference::new(None, None, None), Err(ReferenceError::Empty));
    }

    #[test]
    fn order_numbers_have_limits() {
        let number = |text: &str| Reference::new(Some(text), None, None);
        assert_eq!(number(""), Err(ReferenceError::OrderNumberLength(0)));
        assert_eq!(number(&"x".repeat(129)), Err(ReferenceError::OrderNumberLength(129)));
        assert!(number(&"x".repeat(128)).is_ok());
        assert_eq!(number("a\nb"), Err(ReferenceError::OrderNumberControl));
    }
}
