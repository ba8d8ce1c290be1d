//! Helpers for several tests: times, randomness, folders, and the message of a skipped check.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Sets a flag at its end, also when a test fails: threads of a scope that go on until then are waited
/// for.
pub struct Over<'a>(pub &'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Makes the folder `to` a copy of `from` with everything below it.
pub fn copy_folder(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(copied.expect("cp is part of every system").success());
}

/// Milliseconds since 1970 on this machine's clock, which is also the server's.
pub fn now_ms() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    elapsed.as_millis().try_into().expect("in range")
}

/// RFC 3339 in UTC with milliseconds, the one form the interface writes.
pub fn millis(expires_at: &str) -> i64 {
    let shape: String =
        expires_at.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(shape, "0000-00-00T00:00:00.000Z", "not RFC 3339 with milliseconds: {expires_at}");
    expires_at.parse::<jiff::Timestamp>().expect("a date that exists").as_millisecond()
}

/// Sleeps until the deadline has passed.
pub fn wait_past(expires_at: &str) {
    let deadline = millis(expires_at);
    loop {
        let left_ms = deadline - now_ms();
        if left_ms < 0 {
            return;
        }
        std::thread::sleep(Duration::from_millis(u64::try_from(left_ms).expect("positive") + 1));
    }
}

/// Polls until the condition is true, for effects without a guaranteed time.
pub fn eventually(what: &str, check: impl FnMut() -> bool) {
    assert!(comes_true(check), "never came true: {what}");
}

/// The same, with a reason while the condition is false.
pub fn comes_true(mut check: impl FnMut() -> bool) -> bool {
    for _ in 0..400 {
        if check() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    false
}

/// Prints, bypassing the harness's capture, that a check did not run, and why.
pub fn not_run(check: &str, why: &str) {
    let _ = writeln!(std::io::stderr(), "NOT RUN: {check}: {why}");
}

/// A small deterministic generator (xorshift64*), so that a failing round can be repeated.
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below `limit`, which is not 0.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let mixed = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(mixed).expect("31 bits") % limit
    }
}

/// Every file under `dir`, in a stable order.
pub fn files_under(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a readable folder") {
            let path = entry.expect("a readable entry").path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    files
}

/// Occurrences of `needle` in the files of `dir`, with file and offset.
pub fn find_bytes(dir: &Path, needle: &[u8]) -> Vec<(PathBuf, usize)> {
    let mut found = Vec::new();
    for path in files_under(dir) {
        let bytes = std::fs::read(&path).expect("a readable file");
        let mut from = 0;
        while let Some(at) = position(&bytes[from..], needle) {
            found.push((path.clone(), from + at));
            from += at + needle.len();
        }
    }
    found
}

fn position(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    // Compares the first byte before the rest: the files are mostly zeros.
    let starts = haystack.iter().enumerate().filter(|(_, byte)| **byte == needle[0]);
    starts.map(|(at, _)| at).find(|&at| haystack[at..].starts_with(needle))
}

/// All that a command has printed.
pub fn said(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    format!("{out}{err}")
}

/// What this script has installed, or `None`: then it prints why the check is not run. A script that ends
/// with 2 has found a fault of ours, and the test fails.
pub fn prepared_by(script: &str, check: &str, what: &str) -> Option<String> {
    let prepare =
        Command::new("bash").args([script, what]).stdin(Stdio::null()).output().expect("bash runs");
    assert_ne!(prepare.status.code(), Some(2), "{}", String::from_utf8_lossy(&prepare.stderr));
    if !prepare.status.success() {
        not_run(check, String::from_utf8_lossy(&prepare.stderr).trim());
        return None;
    }
    Some(String::from_utf8(prepare.stdout).expect("UTF-8").trim().to_owned())
}

#[test]
fn bytes_are_found_where_they_are() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    std::fs::create_dir(dir.path().join("inner")).expect("a folder");
    let file = dir.path().join("inner/log");
    std::fs::write(&file, b"\0\0aab\0aab").expect("a file");
    assert_eq!(find_bytes(dir.path(), b"ab"), [(file.clone(), 3), (file, 7)]);
    assert!(find_bytes(dir.path(), b"abc").is_empty());
}

#[test]
fn deadlines_are_read_to_the_millisecond() {
    assert_eq!(millis("1970-01-02T00:00:00.250Z"), 86_400_250);
    assert!(std::panic::catch_unwind(|| millis("1970-01-02T00:00:00Z")).is_err());
}
