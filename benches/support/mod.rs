//! What the benches share: tokens that are the same in every run, payloads that say whose they
//! are, how large to measure, and what the process takes of memory.

#![allow(dead_code, reason = "each bench uses its part")]
#![allow(clippy::expect_used, reason = "a bench that cannot go on must stop")]

pub mod calls;

use std::env;
use std::time::Duration;

use criterion::Criterion;
use jeton::model::token::{Digest, Digester, SECRET_LEN, Secret, Token};
use jeton::wal::LogKey;

/// Length of a payload in bytes: what every figure of the project is measured with.
pub const PAYLOAD_LEN: usize = 128;

/// Tokens in a batch.
pub const BATCH_LEN: usize = 100;

/// Whether this is a test of the bench, which must be over soon, and no measurement.
pub fn is_smoke() -> bool {
    has_flag("--test") || !has_flag("--bench")
}

/// Whether somebody only asks for the names of the benches.
pub fn is_listing() -> bool {
    has_flag("--list")
}

/// Whether the sizes that take minutes and gigabytes are wanted too: `JETON_BENCH_FULL=1`.
pub fn is_full() -> bool {
    !is_smoke() && env::var("JETON_BENCH_FULL").is_ok_and(|value| value == "1")
}

/// `smoke` in a test of the bench, else `measured`.
pub fn sized<T>(smoke: T, measured: T) -> T {
    if is_smoke() { smoke } else { measured }
}

fn has_flag(flag: &str) -> bool {
    env::args().any(|argument| argument == flag)
}

/// Criterion with the command line's options, and runs short enough for many benches.
pub fn criterion() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args()
}

/// A digester whose secret is the same in every run.
pub fn digester() -> Digester {
    Digester::new(&Secret::from_bytes([7; SECRET_LEN]), "bench")
}

/// Token number `n`.
pub fn token(digester: &Digester, n: usize) -> Token {
    digester.token_for_reference(&(n as u64).to_le_bytes())
}

/// The digest of token number `n`.
pub fn digest(digester: &Digester, n: usize) -> Digest {
    digester.digest(&token(digester, n))
}

/// The digests of these tokens.
pub fn digests(numbers: std::ops::Range<usize>) -> Vec<Digest> {
    let digester = digester();
    numbers.map(|n| digest(&digester, n)).collect()
}

/// The payload of token number `n`: JSON that begins with the number.
pub fn payload(n: usize) -> [u8; PAYLOAD_LEN] {
    let mut payload = [b'x'; PAYLOAD_LEN];
    payload[..12].copy_from_slice(br#"{"order":"  "#);
    for (digit, byte) in payload[12..22].iter_mut().rev().enumerate() {
        *byte = b'0' + (n / 10usize.pow(digit as u32) % 10) as u8;
    }
    payload[PAYLOAD_LEN - 2..].copy_from_slice(br#""}"#);
    payload
}

/// The token number that a payload begins with: the cheapest check that tells any two apart. The
/// whole of it is compared where nobody measures.
pub fn number_in(payload: &[u8]) -> usize {
    payload[12..22].iter().fold(0, |n, digit| n * 10 + usize::from(digit - b'0'))
}

/// A small generator of random numbers (SplitMix64), the same in every run.
pub struct Random(pub u64);

impl Random {
    /// The next number, uniform.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// The next number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.next()) * end as u128) >> 64) as usize
    }
}

/// Physical memory of this process in bytes, as the system counts it.
pub fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has /proc");
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_ascii_whitespace().nth(1)?.parse::<u64>().ok());
    kib.expect("VmRSS is a number of KiB") * 1_024
}

/// The key of every log.
pub fn log_key() -> LogKey {
    LogKey::new(&Digester::new(&Secret::from_bytes([7; SECRET_LEN]), "default"))
}

/// A directory on a real disk, removed with this value.
pub fn scratch() -> tempfile::TempDir {
    tempfile::Builder::new()
        .prefix("bench-")
        .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
        .expect("the target directory can be written")
}
