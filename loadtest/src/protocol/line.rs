//! What the protocols made of lines share: where one ends, and the numbers in it.

use super::contract::BODY_MAX;
use super::{Garbage, excerpt};

/// A longer line is refused.
const LINE_MAX: usize = 64 << 10;

/// A part and what is behind it; none while it is not whole.
type Split<'a> = Result<Option<(&'a [u8], &'a [u8])>, Garbage>;

/// The first line without its end, and what is behind it; none while it is not whole.
pub(super) fn split(input: &[u8]) -> Split<'_> {
    match memchr::memchr(b'\n', input) {
        Some(end) => match input[..end].strip_suffix(b"\r") {
            Some(line) => Ok(Some((line, &input[end + 1..]))),
            None => Err(Garbage(format!("a line without its \\r: {}", excerpt(&input[..end])))),
        },
        None if input.len() > LINE_MAX => {
            Err(Garbage(format!("a line of more than {LINE_MAX} bytes: {}", excerpt(input))))
        }
        None => Ok(None),
    }
}

/// The next `length` bytes and what is behind them and their line end; none while they are not
/// whole.
pub(super) fn split_data(input: &[u8], length: usize) -> Split<'_> {
    let Some((data, rest)) = input.split_at_checked(length) else {
        return Ok(None);
    };
    match rest {
        [b'\r', b'\n', after @ ..] => Ok(Some((data, after))),
        [] | [b'\r'] => Ok(None),
        _ => Err(Garbage(format!("{length} bytes without their end: {}", excerpt(rest)))),
    }
}

/// A length in bytes, within what is taken.
pub(super) fn length(digits: &[u8]) -> Result<usize, Garbage> {
    let digits_only = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(digits).ok().filter(|_| digits_only);
    match text.and_then(|text| text.parse::<usize>().ok()) {
        Some(length) if length <= BODY_MAX => Ok(length),
        _ => Err(Garbage(format!("not a length of at most {BODY_MAX}: {}", excerpt(digits)))),
    }
}
