//! Figures as people read them: three significant digits and a unit, thousands set apart.

/// Microseconds as `870 ns`, `12.3 µs`, `4.56 ms`, `1.20 s`.
pub fn latency(us: f64) -> String {
    if !us.is_finite() {
        return "–".to_owned();
    }
    // The limits are where three digits would round up to the next unit.
    match us {
        0.0 => "0 µs".to_owned(),
        us if us < 0.999_5 => format!("{:.0} ns", us * 1e3),
        us if us < 999.5 => format!("{} µs", three_digits(us)),
        us if us < 999_500.0 => format!("{} ms", three_digits(us / 1e3)),
        us => format!("{} s", three_digits(us / 1e6)),
    }
}

/// Bytes as `512 B`, `1.50 KiB`, `182 MiB`, `12.3 GiB`.
pub fn bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut at = 0;
    while value >= 999.5 && at + 1 < units.len() {
        value /= 1024.0;
        at += 1;
    }
    if at == 0 { format!("{bytes} B") } else { format!("{} {}", three_digits(value), units[at]) }
}

/// A whole number with its thousands set apart: `1,234,567`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number per second, rounded to what a reader needs: `123,457`, `12.3`.
pub fn rate(per_s: f64) -> String {
    if per_s.is_finite() && per_s >= 999.5 { count(per_s.round() as u64) } else { number(per_s) }
}

/// A short number for an axis: `0`, `250`, `1.5k`, `20k`, `3M`.
pub fn short(value: f64) -> String {
    let (scaled, unit) = match value.abs() {
        size if size >= 1e9 => (value / 1e9, "G"),
        size if size >= 1e6 => (value / 1e6, "M"),
        size if size >= 1e3 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    // Three significant digits, without zeros at the end.
    let digits = if scaled == 0.0 { 0.0 } else { 2.0 - scaled.abs().log10().floor() };
    let rounded = format!("{:.*}", digits.clamp(0.0, 9.0) as usize, scaled);
    let bare = match rounded.contains('.') {
        true => rounded.trim_end_matches('0').trim_end_matches('.'),
        false => &rounded,
    };
    format!("{bare}{unit}")
}

/// Three significant digits; a dash where there is no number.
pub fn number(value: f64) -> String {
    if value.is_finite() { three_digits(value) } else { "–".to_owned() }
}

/// Seconds as `0.50 s`, `10.0 s`, `2 min 30 s`.
pub fn seconds(seconds: f64) -> String {
    if !seconds.is_finite() {
        return "–".to_owned();
    }
    if seconds < 99.95 {
        return format!("{} s", three_digits(seconds));
    }
    let whole = seconds.round() as u64;
    match (whole / 3_600, whole / 60 % 60, whole % 60) {
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

/// The same number without what floating point added behind its ninth digit.
pub fn tidy(value: f64) -> f64 {
    format!("{value:.9}").parse().unwrap_or(value)
}

/// A ratio as `1.083`: 1 % and 2 % look different.
pub fn ratio(value: f64) -> String {
    if value.is_infinite() { "∞".to_owned() } else { format!("{value:.3}") }
}

/// A share of one as `97.3 %`.
pub fn percent(share: f64) -> String {
    format!("{} %", number(share * 100.0))
}

fn three_digits(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size < 9.995 => format!("{value:.2}"),
        size if size < 99.95 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_change_where_three_digits_end() {
        let cases = [
            (0.0, "0 µs"),
            (0.87, "870 ns"),
            (0.999_6, "1.00 µs"),
            (9.994, "9.99 µs"),
            (9.996, "10.0 µs"),
            (99.96, "100 µs"),
            (999.4, "999 µs"),
            (999.6, "1.00 ms"),
            (999_600.0, "1.00 s"),
            (61_000_000.0, "61.0 s"),
            (f64::NAN, "–"),
        ];
        for (us, text) in cases {
            assert_eq!(latency(us), text, "{us}");
        }
    }

    #[test]
    fn thousands_are_set_apart() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (12_345_678, "12,345,678")]
        {
            assert_eq!(count(number), text);
        }
        assert_eq!(count(u64::MAX), "18,446,744,073,709,551,615");
        assert_eq!(rate(12.34), "12.3");
        assert_eq!(rate(123_456.7), "123,457");
        assert_eq!(rate(f64::NAN), "–");
    }

    #[test]
    fn sizes_times_and_ratios_are_short() {
        assert_eq!(bytes(512), "512 B");
        assert_eq!(bytes(1_536), "1.50 KiB");
        assert_eq!(bytes(1_023 << 20), "1.00 GiB");
        assert_eq!(bytes(u64::MAX), "16777216 TiB");
        assert_eq!(seconds(0.5), "0.50 s");
        assert_eq!(seconds(150.2), "2 min 30 s");
        assert_eq!(seconds(7_265.0), "2 h 1 min");
        assert_eq!(ratio(1.0834), "1.083");
        assert_eq!(ratio(f64::INFINITY), "∞");
        assert_eq!(percent(0.973), "97.3 %");
        let shorts = [0.0, 0.005, 0.125, 250.0, 1_500.0, 20_000.0, 3e6].map(short);
        assert_eq!(shorts, ["0", "0.005", "0.125", "250", "1.5k", "20k", "3M"]);
    }
}
