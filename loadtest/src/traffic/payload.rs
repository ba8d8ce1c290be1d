//! What tokens stand for: JSON values that are made again from their number alone, so that an
//! answer can be checked without any of them being kept.
//!
//! A generated payload is `{"id":"<number in hex>","d":"<filler>"}`. Only the number is made for
//! each; the filler is a slice of one random block, at an offset that hangs on the number, so a
//! payload costs a copy, and a false answer differs from the right one in both.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use rand::RngExt;
use serde::de::IgnoredAny;

use super::{mix, rng};
use crate::failure::{Failure, Result, at};
use crate::workload;

const HEAD: &[u8] = b"{\"id\":\"";
const MIDDLE: &[u8] = b"\",\"d\":\"";
const TAIL: &[u8] = b"\"}";
const HEX_LEN: usize = 16;
/// What is there before the filler and behind it.
const AROUND: usize = HEAD.len() + HEX_LEN + MIDDLE.len() + TAIL.len();
/// Offsets at which a filler can begin.
const OFFSETS: usize = 1 << 16;
/// What the filler is made of: nothing that JSON would escape.
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// The greatest file of orders, which is held in memory.
const FILE_MAX: u64 = 1 << 30;
/// The greatest payload.
const LINE_MAX: usize = 1 << 20;

/// The payload of each number.
#[derive(Debug)]
pub struct Payloads {
    seed: u64,
    source: Source,
}

#[derive(Debug)]
enum Source {
    /// Random letters, `OFFSETS` more than one filler takes.
    Generated { letters: Vec<u8>, filler_len: usize },
    /// The text of a file and where its lines are.
    Lines { text: Vec<u8>, lines: Vec<std::ops::Range<usize>> },
}

/// What the floor answers, whatever it is asked: a JSON string of this many bytes with its
/// quotation marks, at least 2.
pub fn fixed_body(bytes: usize) -> Vec<u8> {
    format!("\"{}\"", "x".repeat(bytes.saturating_sub(2))).into_bytes()
}

impl Payloads {
    /// For a valid workload.
    ///
    /// # Errors
    /// The file of orders can't be read, is greater than 1 GiB, holds no line, or has one that is
    /// not a JSON value other than null or is greater than 1 MiB: named with line and column.
    pub fn new(payload: &workload::Payload, seed: u64) -> Result<Self> {
        let source = match &payload.file {
            Some(path) => read_lines(path)?,
            None => {
                let size = usize::try_from(payload.size.0).unwrap_or(LINE_MAX);
                generate(size.clamp(AROUND, LINE_MAX) - AROUND, seed)
            }
        };
        Ok(Self { seed: mix(seed), source })
    }

    /// The payload of a number; of a file any of its lines, chosen by the number. What is built is
    /// built in `scratch`, whose content is lost.
    pub fn payload<'a>(&'a self, number: u64, scratch: &'a mut Vec<u8>) -> &'a [u8] {
        match &self.source {
            Source::Generated { .. } => {
                scratch.clear();
                scratch.extend_from_slice(HEAD);
                scratch.extend_from_slice(&hex(number));
                scratch.extend_from_slice(MIDDLE);
                scratch.extend_from_slice(self.stored(number));
                scratch.extend_from_slice(TAIL);
                scratch
            }
            Source::Lines { .. } => self.stored(number),
        }
    }

    /// Whether these are the bytes of the payload of this number; builds nothing.
    pub fn matches(&self, number: u64, got: &[u8]) -> bool {
        let stored = self.stored(number);
        if let Source::Lines { .. } = self.source {
            return got == stored;
        }
        if got.len() != AROUND + stored.len() {
            return false;
        }
        let (head, rest) = got.split_at(HEAD.len());
        let (digits, rest) = rest.split_at(HEX_LEN);
        let (middle, rest) = rest.split_at(MIDDLE.len());
        let (filler, tail) = rest.split_at(stored.len());
        digits == hex(number)
            && filler == stored
            && head == HEAD
            && middle == MIDDLE
            && tail == TAIL
    }

    /// The size of a payload; of a file that of the line of middle length.
    pub fn typical_len(&self) -> usize {
        match &self.source {
            Source::Generated { .. } => self.payload(0, &mut Vec::new()).len(),
            Source::Lines { lines, .. } => {
                let mut lines = lines.clone();
                let middle = lines.len() / 2;
                lines.select_nth_unstable_by_key(middle, ExactSizeIterator::len).1.len()
            }
        }
    }

    /// What is kept for a number: its filler or its line.
    fn stored(&self, number: u64) -> &[u8] {
        let mixed = mix(number ^ self.seed);
        match &self.source {
            Source::Generated { letters, filler_len } => {
                let offset = below(mixed, OFFSETS);
                &letters[offset..offset + filler_len]
            }
            Source::Lines { text, lines } => &text[lines[below(mixed, lines.len())].clone()],
        }
    }
}

/// Brings a random number below `n`, all as likely.
fn below(random: u64, n: usize) -> usize {
    ((u128::from(random) * n as u128) >> 64) as usize
}

/// Sixteen digits, the highest first.
fn hex(number: u64) -> [u8; HEX_LEN] {
    // All digits at once: a nibble in each byte, then 7 * 16 + 9 = `a` - 10 where it is above 9.
    let spread = |half: u64| {
        let wide = (half | (half << 16)) & 0x0000_ffff_0000_ffff;
        let wide = (wide | (wide << 8)) & 0x00ff_00ff_00ff_00ff;
        let nibbles = (wide | (wide << 4)) & 0x0f0f_0f0f_0f0f_0f0f;
        let letters = ((nibbles + 0x0606_0606_0606_0606) >> 4) & 0x0101_0101_0101_0101;
        nibbles + 0x3030_3030_3030_3030 + letters * u64::from(b'a' - 10 - b'0')
    };
    let mut digits = [0; HEX_LEN];
    digits[..8].copy_from_slice(&spread(number >> 32).to_be_bytes());
    digits[8..].copy_from_slice(&spread(number & 0xffff_ffff).to_be_bytes());
    digits
}

fn generate(filler_len: usize, seed: u64) -> Source {
    let mut rng = rng(seed, u64::from_be_bytes(*b"payloads"));
    let letters =
        (0..OFFSETS + filler_len).map(|_| LETTERS[usize::from(rng.random::<u8>() % 64)]).collect();
    Source::Generated { letters, filler_len }
}

fn read_lines(path: &Path) -> Result<Source> {
    let mut text = Vec::new();
    let file = File::open(path).map_err(at(path))?;
    file.take(FILE_MAX + 1).read_to_end(&mut text).map_err(at(path))?;
    if text.len() as u64 > FILE_MAX {
        return Err(Failure::Input(format!("{}: greater than 1GiB", path.display())));
    }
    let mut lines = Vec::new();
    let mut begin = 0;
    for (index, line) in text.split(|&byte| byte == b'\n').enumerate() {
        let lead = line.len() - line.trim_ascii_start().len();
        let value = line.trim_ascii();
        if !value.is_empty() {
            check(value).map_err(|(column, problem)| Failure::File {
                path: path.to_owned(),
                line: index + 1,
                column: lead + column,
                field: "payload.file".to_owned(),
                problem,
            })?;
            lines.push(begin + lead..begin + lead + value.len());
        }
        begin += line.len() + 1;
    }
    if lines.is_empty() {
        let problem = "holds no line; each must be a JSON value";
        return Err(Failure::Input(format!("{}: {problem}", path.display())));
    }
    Ok(Source::Lines { text, lines })
}

/// The column, from 1, and what is wrong there.
fn check(value: &[u8]) -> std::result::Result<(), (usize, String)> {
    if value.len() > LINE_MAX {
        return Err((1, format!("has {} bytes, must have at most 1MiB", value.len())));
    }
    if value == b"null" {
        return Err((1, "is null, must be any other JSON value".to_owned()));
    }
    serde_json::from_slice::<IgnoredAny>(value).map(drop).map_err(|error| {
        let text = error.to_string();
        let problem = text.split(" at line ").next().unwrap_or(&text);
        (error.column().max(1), format!("is not a JSON value: {problem}"))
    })?;
    // Skipping a value does not look into its strings.
    std::str::from_utf8(value)
        .map(drop)
        .map_err(|error| (error.valid_up_to() + 1, "is not UTF-8".to_owned()))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;
    use crate::quantity::ByteSize;
    use crate::workload::Payload;

    fn generated(size: u64, seed: u64) -> Payloads {
        Payloads::new(&Payload { size: ByteSize(size), file: None }, seed).unwrap()
    }

    fn from_file(content: &[u8]) -> Result<Payloads> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        Payloads::new(&Payload { size: ByteSize(128), file: Some(file.path().to_owned()) }, 1)
    }

    #[test]
    fn digits_are_those_of_the_standard_library() {
        for number in [0, 9, 10, 0xabcdef, 0x0123_4567_89ab_cdef, u64::MAX] {
            assert_eq!(hex(number), format!("{number:016x}").as_bytes());
        }
    }

    #[test]
    fn seeds_make_different_payloads() {
        let (mut one, mut other) = (Vec::new(), Vec::new());
        let first = generated(128, 1);
        assert_eq!(first.payload(5, &mut one), generated(128, 1).payload(5, &mut other));
        assert_ne!(first.payload(5, &mut one), generated(128, 2).payload(5, &mut other));
        assert_eq!(first.typical_len(), 128);
    }

    #[test]
    fn lines_are_sampled_from_the_file() {
        let text = b"{\"order\": 1}\r\n  \"two\"  \n\n[3, 4, 5, 6, 7, 8]\n17";
        let payloads = from_file(text).unwrap();
        let expected = ["{\"order\": 1}", "\"two\"", "[3, 4, 5, 6, 7, 8]", "17"];
        let mut seen = std::collections::BTreeMap::new();
        let mut scratch = Vec::new();
        for number in 0..1000 {
            let payload = payloads.payload(number, &mut scratch).to_vec();
            assert!(payloads.matches(number, &payload));
            assert!(!payloads.matches(number, b"{}"));
            *seen.entry(String::from_utf8(payload).unwrap()).or_insert(0) += 1;
        }
        let mut names: Vec<&str> = seen.keys().map(String::as_str).collect();
        names.sort_by_key(|name| expected.iter().position(|line| line == name));
        assert_eq!(names, expected);
        assert!(seen.values().all(|&count| count > 150), "{seen:?}");
        assert_eq!(payloads.typical_len(), b"{\"order\": 1}".len());
    }

    #[test]
    fn a_bad_line_is_named() {
        for (text, place) in [
            ("1\nnull\n", "2:1: payload.file: is null"),
            ("{}\n{}\n  {\"a\":}\n", "3:8: payload.file: is not a JSON value"),
            ("1 2\n", "1:3: payload.file: is not a JSON value"),
            ("{\"a\"\n1", "1:4: payload.file: is not a JSON value"),
        ] {
            let failure = from_file(text.as_bytes()).unwrap_err().to_string();
            assert!(failure.contains(place), "{failure}");
        }
        let failure = from_file(b"\"a\"\n\"\xff\"\n").unwrap_err().to_string();
        assert!(failure.contains(":2:2: payload.file: is not"), "{failure}");
        let long = format!("1\n\"{}\"\n", "x".repeat(LINE_MAX));
        let failure = from_file(long.as_bytes()).unwrap_err().to_string();
        assert!(failure.contains(":2:1: payload.file: has 1048578 bytes"), "{failure}");
    }

    #[test]
    fn a_file_without_lines_is_refused_and_so_is_none() {
        let failure = from_file(b" \n\n").unwrap_err().to_string();
        assert!(failure.contains("holds no line"), "{failure}");
        let missing = Payload { size: ByteSize(128), file: Some("no/such/orders.jsonl".into()) };
        let failure = Payloads::new(&missing, 1).unwrap_err().to_string();
        assert!(failure.starts_with("no/such/orders.jsonl: "), "{failure}");
    }

    proptest! {
        #[test]
        fn each_number_has_its_own_valid_payload_of_the_size(
            size in prop_oneof![Just(32_u64), 32_u64..3000],
            seed: u64,
            number: u64,
            other: u64,
        ) {
            let payloads = generated(size, seed);
            let (mut one, mut two) = (Vec::new(), Vec::new());
            let payload = payloads.payload(number, &mut one);
            prop_assert_eq!(payload.len() as u64, size);
            let value: serde_json::Value = serde_json::from_slice(payload).unwrap();
            prop_assert_eq!(&value["id"], &format!("{number:016x}"));
            prop_assert!(payloads.matches(number, payload));
            if other != number {
                prop_assert_ne!(payload, payloads.payload(other, &mut two));
                prop_assert!(!payloads.matches(other, payload));
            }
        }

        /// No byte is left unlooked at, and no length is taken for another.
        #[test]
        fn any_change_is_noticed(size in 32_usize..200, at: usize, bit in 0_u8..8, cut: usize) {
            let payloads = generated(size as u64, 1);
            let mut changed = payloads.payload(77, &mut Vec::new()).to_vec();
            changed[at % size] ^= 1 << bit;
            prop_assert!(!payloads.matches(77, &changed));
            changed[at % size] ^= 1 << bit;
            prop_assert!(payloads.matches(77, &changed));
            prop_assert!(!payloads.matches(77, &changed[..cut % size]));
            changed.push(b' ');
            prop_assert!(!payloads.matches(77, &changed));
        }
    }
}
