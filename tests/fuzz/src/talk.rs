//! An engine with a few tokens that every seed may name, and a worker to talk to.

use std::sync::Arc;
use std::time::Duration;

use ahash::RandomState;
use jeton::engine::Op;
use jeton::http::Config;
use jeton::model::time::UnixMillis;
use jeton::model::token::{Digester, Secret, Token};
use jeton::testkit::clock::ManualClock;
use jeton::testkit::connection::{Heard, Talk, converse};
use jeton::testkit::stepped::Stepped;

use super::answers::{self, Answer};

/// Can be resolved: `"one"`, with three uses.
pub const ONE: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA1";
/// Can only be consumed: `{"n": 2}`.
pub const TWO: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA2";

/// The time at which all happens.
pub const NOW_MS: u64 = 1_800_000_000_000;
/// What the server may hold for a client when all is over.
const ANSWERS_LEN_MAX: usize = 64 << 20;

/// An engine in memory, with [`ONE`] and [`TWO`].
pub fn engine() -> Stepped {
    let clock = Arc::new(ManualClock::at(UnixMillis(NOW_MS)));
    let digester = Digester::new(&Secret::from_bytes([7; 32]), "default");
    let mut stepped = Stepped::new(digester, &RandomState::with_seeds(1, 2, 3, 4), clock);
    let issue = |text: &str, payload: &[u8], uses, peek| Op::Issue {
        digest: stepped.engine().digest(&Token::parse(text.as_bytes()).expect("a token")),
        payload: payload.to_vec(),
        ttl: Duration::from_secs(900),
        uses,
        peek,
        derived: false,
    };
    let ops = vec![issue(ONE, b"\"one\"", 3, true), issue(TWO, b"{\"n\": 2}", 1, false)];
    stepped.carry_out(ops).expect("the engine is open");
    stepped
}

/// Says these pieces to a worker, and takes apart what it answers.
pub fn say(stepped: &mut Stepped, pieces: &[&[u8]], with_hot_path: bool) -> Vec<Answer> {
    // What hyper takes for HTTP/2 is answered in frames: only that it ends is looked at.
    let whole = pieces.concat();
    let heard: Heard = converse(stepped, &Config::default(), &Talk { pieces, with_hot_path });
    assert!(heard.is_over, "the connection stays when the peer has gone");
    assert_eq!(heard.inflight_bytes, 0, "P8: bytes are held for nobody");
    assert!(heard.answers.len() <= ANSWERS_LEN_MAX, "P8: {} bytes", heard.answers.len());
    if whole.starts_with(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") {
        return Vec::new();
    }
    answers::read(&heard.answers, whole.windows(5).any(|word| word == b"HEAD "))
}

/// One whole request, which must be answered.
pub fn ask(stepped: &mut Stepped, method: &str, path: &str, body: &[u8]) -> Answer {
    let len = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
         Content-Length: {len}\r\n\r\n"
    );
    let head = if len == 0 && method == "GET" {
        format!("{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n")
    } else {
        head
    };
    let mut answers = say(stepped, &[head.as_bytes(), body], true);
    assert_eq!(answers.len(), 1, "one answer to one request");
    answers.pop().expect("one answer")
}

/// Cuts the bytes in pieces: the first byte says how long they are, zero that they come as one.
pub fn pieces(bytes: &[u8]) -> Vec<&[u8]> {
    match bytes.split_first() {
        None | Some((0, [])) => Vec::new(),
        Some((0, rest)) => vec![rest],
        Some((len, rest)) => rest.chunks(usize::from(*len)).collect(),
    }
}
