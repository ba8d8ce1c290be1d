//! References: the same order has the same canonical form however it is written, two orders never
//! have the same, and the form can be read back to what was given.

use jeton::reference::{AMOUNT_DIGITS_MAX, ORDER_NUMBER_LEN_MAX, Reference, ReferenceError};

/// What the fields of a reference mean.
#[derive(Debug, PartialEq, Eq)]
struct Meaning {
    order_number: Option<String>,
    nanoseconds: Option<i128>,
    amount: Option<Amount>,
}

/// A decimal number: its digits without the point, and where that stands; zeros at the ends gone.
#[derive(Debug, PartialEq, Eq)]
struct Amount {
    is_negative: bool,
    whole: String,
    fraction: String,
}

/// The bytes are two references: their fields are split by bytes that UTF-8 does not have, and the
/// first byte says which are given.
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

/// Checks one reference; gives its meaning and its form, if it is one.
fn one(order: Option<&str>, time: Option<&str>, amount: Option<&str>) -> Option<(Meaning, String)> {
    let made = Reference::new(order, time, amount);
    let is_order = |text: &str| {
        (1..=ORDER_NUMBER_LEN_MAX).contains(&text.len()) && !text.chars().any(char::is_control)
    };
    let nanoseconds = |text: &str| Some(text.parse::<jiff::Timestamp>().ok()?.as_nanosecond());
    let is_given = order.is_some() || time.is_some() || amount.is_some();
    let is_good = is_given
        && order.is_none_or(is_order)
        && time.is_none_or(|text| nanoseconds(text).is_some())
        && amount.is_none_or(|text| read_amount(text).is_some());
    assert_eq!(made.is_ok(), is_good, "{:?}: {order:?} {time:?} {amount:?}", made.err());
    if let Some(time) = time.filter(|time| is_rfc_3339(time)) {
        let refused = Reference::new(None, Some(time), None) == Err(ReferenceError::CreatedAt);
        assert!(!refused, "{time} is a time");
    }
    let canonical = String::from_utf8(made.ok()?.canonical().to_vec()).expect("it is text");
    let meaning = Meaning {
        order_number: order.map(str::to_owned),
        nanoseconds: time.and_then(nanoseconds),
        amount: amount.and_then(read_amount),
    };
    let [o, t, a] = read_canonical(&canonical);
    let read = Meaning {
        order_number: o.map(str::to_owned),
        nanoseconds: t.map(|text| text.parse().expect("nanoseconds")),
        amount: a.and_then(read_amount),
    };
    assert_eq!(read, meaning, "{canonical} says otherwise");
    let rendered = t.map(|text| {
        let nanoseconds = text.parse().expect("nanoseconds");
        jiff::Timestamp::from_nanosecond(nanoseconds).expect("in range").to_string()
    });
    let again = Reference::new(o, rendered.as_deref(), a).expect("its own form is a reference");
    assert_eq!(again.canonical(), canonical.as_bytes(), "the form of the form is another");
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

/// A date and time of day with an offset, that no calendar could object to.
fn is_rfc_3339(text: &str) -> bool {
    let form = "dddd-dd-ddTdd:dd:ddZ".bytes();
    let fits = |(byte, form): (u8, u8)| match form {
        b'd' => byte.is_ascii_digit(),
        form => byte == form,
    };
    let number = |at: usize| text[at..at + 2].parse().unwrap_or(99);
    text.len() == 20
        && text.bytes().zip(form).all(fits)
        && text[..4] > *"0000"
        && text[..4] < *"9999"
        && (1..=12).contains(&number(5))
        && (1..=28).contains(&number(8))
        && number(11) < 24
        && number(14) < 60
        && number(17) < 60
}
