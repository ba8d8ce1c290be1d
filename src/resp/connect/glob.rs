//! Patterns of names, as Redis reads them: `*`, `?`, `[a-z]`, `[^a]`, and `\` before a character
//! that means itself. The case of letters does not count.

/// Whether `pattern` matches the whole `name`. The time is at most their lengths multiplied: only the
/// last `*` is ever tried again.
pub(super) fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut rest, mut left) = (pattern, name);
    let mut again: Option<(&[u8], &[u8])> = None;
    loop {
        if let [b'*', after @ ..] = rest {
            again = Some((after, left));
            rest = after;
            continue;
        }
        match (one(rest, left), left) {
            (Some(after), [_, others @ ..]) => (rest, left) = (after, others),
            (None, []) if rest.is_empty() => return true,
            _ => {
                // The last star takes one more.
                let Some((after, [_, others @ ..])) = again else { return false };
                again = Some((after, others));
                (rest, left) = (after, others);
            }
        }
    }
}

/// What follows in `pattern` once its first element has matched the first character of `name`.
fn one<'a>(pattern: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let first = name.first()?.to_ascii_lowercase();
    match pattern {
        [] => None,
        [b'?', after @ ..] => Some(after),
        [b'[', after @ ..] => class(after, first),
        [b'\\', escaped, after @ ..] => (escaped.to_ascii_lowercase() == first).then_some(after),
        [byte, after @ ..] => (byte.to_ascii_lowercase() == first).then_some(after),
    }
}

/// What follows the class that `pattern` begins with, if `byte` is in it. A class ends at the end of
/// the pattern if it is not closed.
fn class(pattern: &[u8], byte: u8) -> Option<&[u8]> {
    let (is_negated, mut rest) = match pattern {
        [b'^', after @ ..] => (true, after),
        _ => (false, pattern),
    };
    let mut is_in = false;
    loop {
        let (low, high);
        (low, high, rest) = match rest {
            [] | [b']', ..] => break,
            [b'\\', escaped, after @ ..] => (*escaped, *escaped, after),
            [from, b'-', to, after @ ..] => (*from, *to, after),
            [only, after @ ..] => (*only, *only, after),
        };
        let (low, high) = (low.to_ascii_lowercase(), high.to_ascii_lowercase());
        is_in |= (low.min(high)..=low.max(high)).contains(&byte);
    }
    (is_in != is_negated).then(|| rest.strip_prefix(b"]").unwrap_or(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_redis() {
        for (pattern, name, is_match) in [
            ("save", "save", true),
            ("SAVE", "save", true),
            ("save", "saves", false),
            ("s*", "save", true),
            ("*", "", true),
            ("*", "save", true),
            ("*a*e", "save", true),
            ("*a*x", "save", false),
            ("s?ve", "save", true),
            ("s?ve", "sve", false),
            ("s[aA]v?", "save", true),
            ("s[^a]ve", "save", false),
            ("s[a-c]ve", "save", true),
            ("s[c-a]ve", "save", true),
            ("s[ab", "sa", true),
            ("\\*", "*", true),
            ("\\*", "x", false),
            ("", "", true),
            ("", "x", false),
            ("max*policy", "maxmemory-policy", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), is_match, "{pattern} {name}");
        }
    }

    #[test]
    fn p8_many_stars_take_no_time() {
        let pattern = [b"*a".repeat(2_000), b"b".to_vec()].concat();
        assert!(!matches(&pattern, &b"a".repeat(10_000)));
    }
}
