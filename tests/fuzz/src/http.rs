//! Any bytes sent to a worker: its answers are exact HTTP, at most one for each request, and none
//! follows the answer to a request that it could not read.

use super::answers::Answer;
use super::talk;

/// Sends the bytes to a worker. The first selects how they are cut.
pub fn check(bytes: &[u8]) {
    let mut stepped = talk::engine();
    let pieces = talk::pieces(bytes);
    let answers = talk::say(&mut stepped, &pieces, true);
    let finals: Vec<_> = answers.iter().filter(|answer| answer.status >= 200).collect();
    let heads = heads(&pieces.concat());
    // One more for a request that was never finished, or for bytes that are no request.
    assert!(finals.len() <= heads + 1, "{} answers to {heads} heads", finals.len());
    for (n, answer) in finals.iter().enumerate() {
        well_formed(answer);
        assert!(!answer.closes() || n + 1 == finals.len(), "answered after it closed: {finals:?}");
    }
    for answer in answers.iter().filter(|answer| answer.status < 200) {
        assert_eq!(answer.status, 100, "{answer:?}");
    }
    // Whatever was sent, the engine continues: each request consumed at most one of three uses.
    let status = talk::ask(&mut stepped, "GET", &format!("/v1/tokens/{}/status", talk::ONE), b"");
    assert!(matches!(status.status, 200 | 404), "{status:?}");
}

/// Ends of heads that a lenient parser could see.
fn heads(bytes: &[u8]) -> usize {
    let mut heads = 0;
    for (at, _) in bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
        let rest = &bytes[at + 1..];
        heads += usize::from(rest.starts_with(b"\n") || rest.starts_with(b"\r\n"));
    }
    heads
}

/// The rules for every answer of the data listener.
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
