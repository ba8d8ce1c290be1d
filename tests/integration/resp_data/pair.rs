//! A real server and jeton, which get the same commands.

use std::net::SocketAddr;

use super::differences::difference;
use super::redis::{Jeton, Redis};
use super::wire::{Wire, encode, show, words_of};

/// Both, each with one connection.
pub struct Pair {
    pub redis: Wire,
    pub jeton: Wire,
    /// What a `%` before a key stands for.
    prefix: String,
}

/// How the two answers to one line compare.
#[derive(Clone, Copy)]
enum Expected<'a> {
    Same,
    /// The same but for the time that passes: integers differ by a little.
    Nearly,
    /// Different, as the table says.
    Different(&'a str),
}

impl Pair {
    /// New connections, of protocol 2 or 3.
    pub fn open(redis: &Redis, jeton: &Jeton, protocol: u8, script: &str) -> Self {
        let open = |address: SocketAddr| match protocol {
            2 => Wire::open(address),
            _ => Wire::open_3(address),
        };
        let prefix = format!("{script}:{protocol}:");
        Self { redis: open(redis.address), jeton: open(jeton.address), prefix }
    }

    /// Sends one line to both. Returns what is wrong with the answer of jeton.
    pub fn compare(&mut self, line: &str) -> Option<String> {
        let (expected, command) = match line.split_at(1) {
            ("~", command) => (Expected::Nearly, command),
            ("?", rest) => {
                let (name, command) = rest.split_once(' ').expect("a name and a command");
                (Expected::Different(name), command)
            }
            _ => (Expected::Same, line),
        };
        let request = self.request(command);
        self.redis.send(&request);
        self.jeton.send(&request);
        let (redis, jeton) = (self.redis.answer(), self.jeton.answer());
        let is_right = match expected {
            Expected::Same => redis == jeton,
            Expected::Nearly => are_near(&redis, &jeton),
            Expected::Different(name) => {
                let expected = difference(name).jeton.as_bytes();
                redis != jeton && jeton.starts_with(expected) && !jeton.starts_with(b":-")
            }
        };
        let told = || format!("{line}\n      redis {}\n      jeton {}", show(&redis), show(&jeton));
        (!is_right).then(told)
    }

    /// The bytes of a command. One that begins with `'` is sent as it is, inline.
    fn request(&self, command: &str) -> Vec<u8> {
        if let Some(inline) = command.strip_prefix('\'') {
            return format!("{}\r\n", inline.replace('%', &self.prefix)).into_bytes();
        }
        let words = words_of(command);
        let of_key = |word: Vec<u8>| match word.strip_prefix(b"%") {
            Some(key) => [self.prefix.as_bytes(), key].concat(),
            None => word,
        };
        let words: Vec<_> = words.into_iter().map(of_key).collect();
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        encode(&words)
    }

    /// The bytes of a whole script, with its commands' ends.
    pub fn pipeline(&self, lines: &[&str]) -> (Vec<u8>, Vec<usize>) {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for line in lines {
            bytes.extend_from_slice(&self.request(line));
            ends.push(bytes.len());
        }
        (bytes, ends)
    }
}

/// The lines of a script, without those that are empty or comments.
pub fn lines(script: &str) -> Vec<&str> {
    let lines = script.lines().map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
}

/// Whether two answers are the same but for integers that are near each other.
fn are_near(one: &[u8], other: &[u8]) -> bool {
    let (one, other) = (one.split(|byte| *byte == b'\n'), other.split(|byte| *byte == b'\n'));
    let (one, other): (Vec<_>, Vec<_>) = (one.collect(), other.collect());
    let integer = |line: &[u8]| -> Option<i64> {
        std::str::from_utf8(line.strip_prefix(b":")?).ok()?.trim_end().parse().ok()
    };
    let near = |(one, other): (&&[u8], &&[u8])| match (integer(one), integer(other)) {
        (Some(one), Some(other)) => {
            let apart = one.abs_diff(other);
            one.signum() == other.signum() && apart <= (one.unsigned_abs() / 10).clamp(2, 5_000)
        }
        _ => one == other,
    };
    one.len() == other.len() && one.iter().zip(&other).all(near)
}

#[test]
fn nearness_is_of_integers_alone() {
    assert!(are_near(b":100\r\n", b":99\r\n"));
    assert!(are_near(b"*2\r\n:100000\r\n$1\r\na\r\n", b"*2\r\n:99000\r\n$1\r\na\r\n"));
    assert!(!are_near(b":100\r\n", b":50\r\n"));
    assert!(!are_near(b":1\r\n", b":-1\r\n"));
    assert!(!are_near(b"$3\r\n100\r\n", b"$2\r\n99\r\n"));
}
