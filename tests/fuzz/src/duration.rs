//! Durations as text: every form in the documentation has its documented value, any other text is
//! refused or is whole milliseconds, and a duration that was read is the same after it is written
//! and read again.

use std::time::Duration;

use jeton::model::text::parse_duration;

/// Centuries: far beyond every limit of a duration.
const SURELY_IN_RANGE_MS: u128 = 1 << 43;

/// Reads the bytes as a duration.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let read = parse_duration(text);
    if let Some(millis) = documented(text).filter(|millis| *millis < SURELY_IN_RANGE_MS) {
        assert_eq!(read.map(|duration| duration.as_millis()), Ok(millis), "{text:?}");
    }
    let Ok(duration) = read else { return };
    assert_eq!(duration.subsec_nanos() % 1_000_000, 0, "{text:?} is not in whole milliseconds");
    let millis = duration.as_millis();
    if millis >= SURELY_IN_RANGE_MS {
        return;
    }
    for again in [format!("{millis}ms"), human(duration)] {
        assert_eq!(parse_duration(&again), Ok(duration), "{text:?} as {again:?}");
    }
    let seconds = format!("{}.{:03}", duration.as_secs(), duration.subsec_millis());
    assert_eq!(parse_duration(&seconds), Ok(duration), "{text:?} as {seconds:?}");
}

fn human(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (days, hours) = (seconds / 86_400, seconds / 3_600 % 24);
    let (minutes, seconds) = (seconds / 60 % 60, seconds % 60);
    format!("{days}d {hours}h {minutes}m {seconds}s {}ms", duration.subsec_millis())
}

/// What the documentation says of `250ms`, `90s`, `15m`, `1h 30m`, `7d`, a bare number of seconds:
/// milliseconds. None of other texts; a unit that is named twice is one.
fn documented(text: &str) -> Option<u128> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // As many digits as a float holds exactly.
        return text.parse().ok().filter(|seconds: &u128| *seconds < 1 << 40).map(|s| s * 1_000);
    }
    let (mut millis, mut units) = (0u128, Vec::new());
    for word in text.split(' ') {
        let digits = word.find(|c: char| !c.is_ascii_digit())?;
        let number: u128 = word[..digits].parse().ok()?;
        let unit = match &word[digits..] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        if units.contains(&unit) {
            return None;
        }
        units.push(unit);
        millis = millis.checked_add(number.checked_mul(unit)?)?;
    }
    Some(millis)
}
