//! Sizes as text: every form in the documentation has its documented value, and no size wraps
//! around.

use clap::{Args, Command, FromArgMatches};
use jeton::cli::settings::ServeArgs;
use jeton::config::Flags;

/// Reads the bytes as the value of `--max-memory`.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if text.contains('\0') {
        return;
    }
    let read = read(text);
    if let Some(wanted) = documented(text) {
        let is_same = match u64::try_from(wanted) {
            Ok(wanted) => read == Some(wanted),
            // Refused or the largest size, but never less.
            Err(_) => read.is_none_or(|size| size == u64::MAX),
        };
        assert!(is_same, "{text:?} is {read:?}");
    }
    // A float holds no more digits than that, and no machine has more memory.
    let Some(size) = read.filter(|size| *size < 1 << 53) else { return };
    assert_eq!(self::read(&format!("{size}B")), Some(size), "{text:?}");
}

fn read(text: &str) -> Option<u64> {
    let command = ServeArgs::augment_args(Command::new("serve"));
    let flag = format!("--max-memory={text}");
    let matches = command.try_get_matches_from(["serve", &flag]).ok()?;
    let args = ServeArgs::from_arg_matches(&matches).ok()?;
    args.check().ok()?.engine.max_memory_bytes
}

/// The bytes of a whole number with a unit such as `64KiB`; `None` for other texts and for more
/// digits than a float holds.
fn documented(text: &str) -> Option<u128> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u128 = text[..digits].parse().ok().filter(|number| *number < 1 << 53)?;
    let shift = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let shift = shift.iter().position(|unit| *unit == &text[digits..])?;
    Some(number << (10 * shift))
}
