//! Any bytes against a worker: it answers in HTTP to the letter, at most once for each request, and
//! after what it could not read it answers nothing more.

use super::answers::Answer;
use super::talk;

/// Says the bytes to a worker. The first says how they are cut.
pub fn check(bytes: &[u8]) {
    let mut stepped = talk::engine();
    let pieces = talk::pieces(bytes);
    let answers = talk::say(&mut stepped, &pieces, true);
    let finals: Vec<_> = answers.iter().filter(|answer| answer.status >= 200).collect();
    let heads = heads(&pieces.concat());
    // One more for what was never finished, or was no request.
    assert!(finals.len() <= heads + 1, "{} answers to {heads} heads", finals.len());
    for (n, answer) in finals.iter().enumerate() {
        well_formed(answer);
        assert!(!answer.closes() || n + 1 == finals.len(), "answered after it closed: {finals:?}");
    }
    for answer in answers.iter().filter(|answer| answer.status < 200) {
        assert_eq!(answer.status, 100, "{answer:?}");
    }
    // Whatever was said, the engine goes on: one use of three at most was taken by each request.
    let status = talk::ask(&mut stepped, "GET", &format!("/v1/tokens/{}/status", talk::ONE), b"");
    assert!(matches!(status.status, 200 | 404), "{status:?}");
}

/// Ends of heads that a generous reader could see.
fn heads(bytes: &[u8]) -> usize {
    let mut heads = 0;
    for (at, _) in bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
        let rest = &bytes[at + 1..];
        heads += usize::from(rest.starts_with(b"\n") || rest.starts_with(b"\r\n"));
    }
    heads
}

/// What holds for every answer of the data listener.
pub fn well_formed(answer: &Answer) {
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{answer:?}");
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{answer:?}");
    assert!(answer.header("date").is_some(), "{answer:?}");
    if answer.status >= 400 {
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{answer:?}");
        if !answer.body.is_empty() {
            let problem: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
            assert_eq!(problem["status"], answer.status, "{answer:?}");
        }
    }
    assert!(answer.status != 500, "{answer:?}");
}
