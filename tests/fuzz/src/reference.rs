//! References: all spellings of an order have the same canonical form, two orders never have the
//! same, and the form can be parsed back to the order's fields.

use jeton::model::reference::{AMOUNT_DIGITS_MAX, ORDER_NUMBER_LEN_MAX, Reference};

/// The meaning of a reference's fields.
#[derive(Debug, PartialEq, Eq)]
struct Meaning {
    order_number: Option<String>,
    moment: Option<Moment>,
    amount: Option<Amount>,
}

/// An instant, and whether it is in the leap second behind it.
#[derive(Debug, PartialEq, Eq)]
struct Moment {
    nanoseconds: i128,
    is_leap_second: bool,
}

/// A decimal number: its digits without the point and without zeros at the ends, and the position
/// of the point.
#[derive(Debug, PartialEq, Eq)]
struct Amount {
    is_negative: bool,
    whole: String,
    fraction: String,
}

/// The bytes are two references: their fields are separated by bytes that UTF-8 does not have, and
/// the first byte selects the fields that are present.
pub fn check(bytes: &[u8]) {
    let Some((given, rest)) = bytes.split_first() else { return };
    let fields: Vec<Option<&str>> = rest
        .split(|byte| *byte == 0xFF)
        .map(|field| std::str::from_utf8(field).ok())
        .chain(std::iter::repeat(Some("")))
        .take(6)
        .enumerate()
        .map(|(n, field)| field.filter(|_| given >> n & 1 == 1))
        .collect();
    let [one, two] =
        [&fields[..3], &fields[3..]].map(|fields| one(fields[0], fields[1], fields[2]));
    if let (Some((one, form)), Some((two, other))) = (one, two) {
        assert_eq!(one == two, form == other, "{one:?} and {two:?}: {form} and {other}");
    }
}

/// Checks one reference; returns its meaning and its form if it is valid.
fn one(order: Option<&str>, time: Option<&str>, amount: Option<&str>) -> Option<(Meaning, String)> {
    let made = Reference::new(order, time, amount);
    let is_order = |text: &str| {
        (1..=ORDER_NUMBER_LEN_MAX).contains(&text.len()) && !text.chars().any(char::is_control)
    };
    let is_given = order.is_some() || time.is_some() || amount.is_some();
    let is_good = is_given
        && order.is_none_or(is_order)
        && time.is_none_or(|text| read_time(text).is_some())
        && amount.is_none_or(|text| read_amount(text).is_some());
    assert_eq!(made.is_ok(), is_good, "{:?}: {order:?} {time:?} {amount:?}", made.err());
    let canonical = String::from_utf8(made.ok()?.canonical().to_vec()).expect("it is text");
    let meaning = Meaning {
        order_number: order.map(str::to_owned),
        moment: time.and_then(read_time),
        amount: amount.and_then(read_amount),
    };
    let [o, t, a] = read_canonical(&canonical);
    let read = Meaning {
        order_number: o.map(str::to_owned),
        moment: t.map(|text| Moment {
            nanoseconds: text.trim_end_matches("+leap").parse().expect("nanoseconds"),
            is_leap_second: text.ends_with("+leap"),
        }),
        amount: a.and_then(read_amount),
    };
    assert_eq!(read, meaning, "{canonical} says otherwise");
    Some((meaning, canonical))
}

/// `o`, `t` and `a`, in this order, each with its length.
fn read_canonical(mut text: &str) -> [Option<&str>; 3] {
    ['o', 't', 'a'].map(|letter| {
        let rest = text.strip_prefix(letter)?;
        let (len, rest) = rest.split_once(':').expect("a colon behind the length");
        let (field, rest) = rest.split_at(len.parse().expect("a length"));
        text = rest;
        Some(field)
    })
}

fn read_amount(text: &str) -> Option<Amount> {
    let (is_negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').map_or((digits, None), |(w, f)| (w, Some(f)));
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !is_number(whole) || !fraction.is_none_or(is_number) {
        return None;
    }
    let fraction = fraction.unwrap_or("");
    if whole.len() + fraction.len() > AMOUNT_DIGITS_MAX {
        return None;
    }
    let whole = whole.trim_start_matches('0').to_owned();
    let fraction = fraction.trim_end_matches('0').to_owned();
    let is_negative = is_negative && !(whole.is_empty() && fraction.is_empty());
    Some(Amount { is_negative, whole, fraction })
}

/// A time of RFC 3339 (section 5.6), parsed by its form and with another calendar, which has no
/// leap seconds: it reads the second before.
fn read_time(text: &str) -> Option<Moment> {
    let fits = |text: &str, form: &str| {
        text.len() == form.len()
            && text.bytes().zip(form.bytes()).all(|(byte, form)| match form {
                b'd' => byte.is_ascii_digit(),
                form => byte.eq_ignore_ascii_case(&form),
            })
    };
    let (whole, rest) = text.split_at_checked("dddd-dd-ddTdd:dd:dd".len())?;
    let digits = rest
        .strip_prefix('.')
        .map_or(0, |rest| rest.bytes().take_while(u8::is_ascii_digit).count());
    let (fraction, zone) = rest.split_at(if rest.starts_with('.') { digits + 1 } else { 0 });
    let is_fraction = fraction.is_empty() || (1..=9).contains(&digits);
    let is_zone = fits(zone, "z") || fits(zone, "+dd:dd") || fits(zone, "-dd:dd");
    if !fits(whole, "dddd-dd-ddTdd:dd:dd") || !is_fraction || !is_zone {
        return None;
    }
    let number = |text: &str, at: usize| text[at..at + 2].parse::<i64>().unwrap_or(99);
    let offset_minutes = match zone.as_bytes()[0] {
        b'z' | b'Z' => 0,
        sign => {
            let (hours, minutes) = (number(zone, 1), number(zone, 4));
            if hours > 23 || minutes > 59 {
                return None;
            }
            (hours * 60 + minutes) * if sign == b'-' { -1 } else { 1 }
        }
    };
    let is_leap_second = number(whole, 17) == 60;
    let second = if is_leap_second { 59 } else { number(whole, 17) };
    let civil = jiff::civil::DateTime::new(
        whole[..4].parse().ok()?,
        number(whole, 5) as i8,
        number(whole, 8) as i8,
        number(whole, 11) as i8,
        number(whole, 14) as i8,
        i8::try_from(second).ok()?,
        0,
    );
    let epoch = jiff::civil::date(1970, 1, 1).at(0, 0, 0, 0);
    let civil = civil.ok()?;
    let utc = civil.checked_sub(jiff::SignedDuration::from_mins(offset_minutes));
    let utc_is_last = utc.is_ok_and(|utc| {
        let is_last_day = matches!((utc.month(), utc.day()), (6, 30) | (12, 31));
        is_last_day && (utc.hour(), utc.minute(), utc.second()) == (23, 59, 59)
    });
    if is_leap_second && !utc_is_last {
        return None;
    }
    let seconds = civil.duration_since(epoch).as_secs() - offset_minutes * 60;
    let fraction: i128 = format!("{:0<9}", fraction.trim_start_matches('.')).parse().ok()?;
    Some(Moment { nanoseconds: i128::from(seconds) * 1_000_000_000 + fraction, is_leap_second })
}
