//! Words of commands, and errors about them.

use std::borrow::Cow;

/// Length of the longest word of a command that an error repeats.
const SHOWN_LEN_MAX: usize = 128;

/// Whether a command of this arity may have `count` words.
pub(super) fn is_accepted(arity: i32, count: usize) -> bool {
    let min = usize::try_from(arity.unsigned_abs()).unwrap_or(usize::MAX);
    if arity < 0 { count >= min } else { count == min }
}

/// Whether a word is `option`, in any case.
pub(super) fn is(word: &[u8], option: &str) -> bool {
    word.eq_ignore_ascii_case(option.as_bytes())
}

/// A word of a command as an error repeats it.
pub(super) fn shown(word: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(&word[..word.len().min(SHOWN_LEN_MAX)])
}

pub(super) fn wrong_count(name: &str) -> String {
    format!("ERR wrong number of arguments for '{}' command", name.to_ascii_lowercase())
}
