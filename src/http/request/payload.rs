//! Limits of a payload beyond valid JSON, so that the JSON parser of every app can read it.
//!
//! jeton keeps a payload as text and never needs its value. Many parsers refuse deep nesting, and
//! an unpaired surrogate is not a character: after a consume such a payload would be lost. The
//! limits apply to new payloads only; existing ones are served unchanged.

use crate::http::answer::problem::Problem;

/// Maximum nesting depth of arrays and objects.
pub(in crate::http) const DEPTH_MAX: usize = 128;

/// Checks a valid JSON text.
pub(in crate::http) fn check(payload: &str) -> Result<(), Problem> {
    let bytes = payload.as_bytes();
    // Shortcut: most payloads have too few brackets for deep nesting, and no escapes.
    let has_many_brackets = memchr::memchr2_iter(b'[', b'{', bytes).nth(DEPTH_MAX).is_some();
    if has_many_brackets && is_too_deep(bytes) {
        let detail = format!("payload: must be nested at most {DEPTH_MAX} levels deep");
        return Err(Problem::out_of_limits(detail).about("payload"));
    }
    if has_lone_surrogate(bytes) {
        let detail = "payload: must not contain an unpaired surrogate (\\ud800 to \\udfff)";
        return Err(Problem::out_of_limits(detail).about("payload"));
    }
    Ok(())
}

fn is_too_deep(json: &[u8]) -> bool {
    let (mut depth, mut is_string, mut is_escaped) = (0, false, false);
    for byte in json {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => is_string = !is_string,
            b'[' | b'{' if !is_string => depth += 1,
            b']' | b'}' if !is_string => depth -= 1,
            _ => (),
        }
        if depth > DEPTH_MAX {
            return true;
        }
    }
    false
}

/// Only strings contain backslashes, and each backslash begins an escape.
fn has_lone_surrogate(json: &[u8]) -> bool {
    let mut rest = json;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        rest = &rest[at..];
        let len = match unit(rest) {
            Some(0xD800..=0xDBFF) => match unit(&rest[6..]) {
                Some(0xDC00..=0xDFFF) => 12,
                _ => return true,
            },
            Some(0xDC00..=0xDFFF) => return true,
            Some(_) => 6,
            None => 2,
        };
        rest = rest.get(len..).unwrap_or_default();
    }
    false
}

/// The UTF-16 code unit of an escape such as `\u00e9` at the start of `text`.
fn unit(text: &[u8]) -> Option<u16> {
    let digits = text.strip_prefix(b"\\u")?.get(..4)?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nesting_has_a_limit() {
        let nested = |open: &str, close: &str, depth: usize| {
            format!("{}1{}", open.repeat(depth), close.repeat(depth))
        };
        for (open, close) in [("[", "]"), ("{\"a\":", "}"), (" [ ", " ] ")] {
            assert!(check(&nested(open, close, DEPTH_MAX)).is_ok(), "{open}");
            let problem = check(&nested(open, close, DEPTH_MAX + 1)).unwrap_err();
            assert_eq!((problem.status.as_u16(), problem.field.as_deref()), (422, Some("payload")));
        }
        let (flat, text) = ("[[],{}],".repeat(500), "[{\\\"[".repeat(500));
        assert!(check(&format!("[{flat}\"{text}\"]")).is_ok());
        let behind = format!("[\"{text}\",{}]", nested("[", "]", DEPTH_MAX));
        assert!(check(&behind).is_err(), "brackets in strings do not count, those after them do");
    }

    #[test]
    fn a_surrogate_has_its_other_half() {
        for (text, is_whole) in [
            (r#""\ud83d\ude00""#, true),
            (r#"["\u00e9\n\\ud83d", {"\uD83D\uDE00": "\\\\ud83d"}]"#, true),
            (r#""\ud83d""#, false),
            (r#""\uDE00""#, false),
            (r#""\ud83d\ud83d\ude00""#, false),
            (r#""\ud83d\u0041""#, false),
            (r#""\ud83d\\ude00""#, false),
            (r#"{"\udfff": 1}"#, false),
            (r#""\\\ud800""#, false),
        ] {
            assert_eq!(check(text).is_ok(), is_whole, "{text}");
        }
    }
}
