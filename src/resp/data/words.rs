//! The words of a command: numbers and options, as strictly as Redis reads them.

/// An integer: decimal, in the range of an `i64`, without a `+`, spaces or leading zeros.
pub(super) fn integer(word: &[u8]) -> Option<i64> {
    let digits = word.strip_prefix(b"-").unwrap_or(word);
    let is_zero = word == b"0";
    let is_canonical = matches!(digits.first(), Some(b'1'..=b'9'));
    if !(is_zero || is_canonical) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // Only ASCII digits and a sign are left.
    std::str::from_utf8(word).ok()?.parse().ok()
}

/// Whether a word is an option, in any case.
pub(super) fn is(word: &[u8], option: &str) -> bool {
    word.eq_ignore_ascii_case(option.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_have_one_form() {
        for (word, value) in [
            ("0", Some(0)),
            ("7", Some(7)),
            ("-7", Some(-7)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("-9223372036854775809", None),
            ("99999999999999999999999", None),
            ("", None),
            ("-", None),
            ("-0", None),
            ("+5", None),
            (" 5", None),
            ("5 ", None),
            ("05", None),
            ("1.5", None),
            ("--5", None),
            ("5\0", None),
            ("٥", None),
        ] {
            assert_eq!(integer(word.as_bytes()), value, "{word:?}");
        }
    }

    #[test]
    fn options_have_any_case_and_nothing_else() {
        assert!(is(b"eX", "EX"));
        assert!(!is(b"EX\0", "EX"));
        assert!(!is(b"E", "EX"));
    }
}
