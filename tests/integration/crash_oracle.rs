//! The outside knowledge about each token: acknowledged changes, and requests without an answer.
//! The crash test compares every restarted server with it.

use std::io;

use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::client::{Client, Issued, expect};
use crate::raw::{Conn, Response, request};
use crate::server::Server;
use crate::support::{Rng, millis, now_ms};

/// Maximum tokens that a witness tracks from one round to the next.
const KNOWN_MAX: usize = 120;

/// A possible state of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    Gone,
    Alive { uses_left: u64 },
}

/// One token whose issue was acknowledged.
pub struct Known {
    token: String,
    payload: String,
    expires_at: String,
    /// One possible state, or two while a request about it has no answer.
    fates: Vec<Fate>,
    /// An extension without an answer: the deadline may be later than known.
    maybe_extended: bool,
    /// A consume with this key without an answer, which can be retried.
    retry: Option<String>,
    /// The last answered consume with a key: repeating it consumes no use.
    answered: Option<String>,
}

/// A short-lived token, to check its expiry.
struct Passing {
    token: String,
    expires_at: String,
}

/// An issue without an answer that can be retried by its key or reference.
struct Unanswered {
    body: String,
    key: Option<String>,
    payload: String,
    uses: u64,
}

/// One client of the server and its knowledge, which it keeps in every round.
pub struct Witness {
    id: usize,
    rng: Rng,
    issued: usize,
    known: Vec<Known>,
    unanswered: Vec<Unanswered>,
    /// Issues without an answer that cannot be queried.
    lost: usize,
    passing: Vec<Passing>,
    /// Acknowledged operations.
    pub acknowledged: u64,
}

impl Witness {
    pub fn new(id: usize, seed: u64) -> Self {
        Self {
            id,
            rng: Rng::new(seed * 1000 + id as u64 + 1),
            issued: 0,
            known: Vec::new(),
            unanswered: Vec::new(),
            lost: 0,
            passing: Vec::new(),
            acknowledged: 0,
        }
    }

    /// Acts until the server has ended.
    pub fn act_until_crash(&mut self, server: &Server) -> io::Error {
        loop {
            if let Err(error) = self.act(server, usize::MAX) {
                return error;
            }
        }
    }

    /// Acts this number of times, or until the server has ended.
    pub fn act(&mut self, server: &Server, times: usize) -> io::Result<()> {
        let mut client = Client::of(server);
        for _ in 0..times {
            let living = self.living();
            let result = match (self.rng.below(20), living) {
                (0, _) => self.issue_passing(&mut client),
                (1..8, _) | (_, None) => self.issue(&mut client),
                (8..14, Some(at)) => self.consume(&mut client, at),
                (14..16, Some(at)) => self.revoke(&mut client, at),
                (16..18, Some(at)) => self.extend(&mut client, at),
                (_, Some(at)) => self.resolve(&mut client, at),
            };
            result?;
            self.acknowledged += 1;
        }
        Ok(())
    }

    /// A random token that is certainly alive.
    fn living(&mut self) -> Option<usize> {
        if self.known.is_empty() {
            return None;
        }
        let from = self.rng.below(self.known.len());
        let order = (from..self.known.len()).chain(0..from);
        order.into_iter().find(|&at| matches!(self.known[at].fates[..], [Fate::Alive { .. }]))
    }

    fn issue(&mut self, client: &mut Client) -> io::Result<()> {
        self.issued += 1;
        let name = format!("w{}-{}", self.id, self.issued);
        let pad = "x".repeat(self.rng.below(12_000));
        let payload = format!("{{ \"name\":\"{name}\", \"pad\":\"{pad}\"}}");
        let uses = 1 + self.rng.below(3) as u64;
        let kind = self.rng.below(3);
        let reference = match kind {
            0 => format!(r#","reference":{{"order_number":"{name}"}}"#),
            _ => String::new(),
        };
        let body = format!(r#"{{"payload":{payload},"ttl":"1h","uses":{uses}{reference}}}"#);
        let key = (kind == 1).then_some(name);
        let asked = Unanswered { body, key, payload, uses };
        match asked.send(client) {
            Ok(issued) => {
                self.known.push(asked.answered(issued));
                Ok(())
            }
            Err(error) => {
                if kind == 2 {
                    self.lost += 1;
                } else {
                    self.unanswered.push(asked);
                }
                Err(error)
            }
        }
    }

    fn issue_passing(&mut self, client: &mut Client) -> io::Result<()> {
        let ttl_ms = 50 + self.rng.below(2000);
        let body = format!(r#"{{"payload":"passing","ttl":"{ttl_ms}ms"}}"#);
        // Counted first, because it may take effect without an answer.
        self.lost += 1;
        let issued = Issued::from(&acknowledged(client, "POST", "/v1/tokens", &[], &body)?.json());
        self.lost -= 1;
        self.passing.push(Passing { token: issued.token, expires_at: issued.expires_at });
        Ok(())
    }

    fn consume(&mut self, client: &mut Client, at: usize) -> io::Result<()> {
        let key = (self.rng.below(2) == 0).then(|| format!("c{}", self.rng.below(1_000_000)));
        let known = &mut self.known[at];
        let after = known.sure().after_consume();
        let path = format!("/v1/tokens/{}/consume", known.token);
        let headers: Vec<_> = key.iter().map(|key| ("Idempotency-Key", key.as_str())).collect();
        match acknowledged(client, "POST", &path, &headers, "") {
            Ok(answer) => {
                expect(&answer, 200);
                assert_eq!(answer.text(), known.payload);
                known.fates = vec![after];
                known.answered = key.or(known.answered.take());
                Ok(())
            }
            Err(error) => {
                known.fates.push(after);
                known.retry = key;
                Err(error)
            }
        }
    }

    fn revoke(&mut self, client: &mut Client, at: usize) -> io::Result<()> {
        let known = &mut self.known[at];
        known.fates.push(Fate::Gone);
        known.answered = None;
        let path = format!("/v1/tokens/{}", known.token);
        let answer = acknowledged(client, "DELETE", &path, &[], "")?;
        expect(&answer, 204);
        known.fates = vec![Fate::Gone];
        Ok(())
    }

    fn extend(&mut self, client: &mut Client, at: usize) -> io::Result<()> {
        let known = &mut self.known[at];
        known.maybe_extended = true;
        let path = format!("/v1/tokens/{}", known.token);
        let answer = acknowledged(client, "PATCH", &path, &[], r#"{"ttl":"2h"}"#)?;
        expect(&answer, 200);
        known.expires_at = answer.json()["expires_at"].as_str().expect("a deadline").to_owned();
        known.maybe_extended = false;
        Ok(())
    }

    fn resolve(&mut self, client: &mut Client, at: usize) -> io::Result<()> {
        let known = &self.known[at];
        let answer = client.try_send("GET", &format!("/v1/tokens/{}", known.token), &[], "")?;
        expect(&answer, 200);
        assert_eq!(answer.text(), known.payload);
        Ok(())
    }

    /// Minimum and maximum number of live tokens.
    pub fn living_range(&self) -> (usize, usize) {
        let surely = |known: &&Known| !known.fates.contains(&Fate::Gone);
        let maybe = |known: &&Known| known.fates.iter().any(|fate| *fate != Fate::Gone);
        let at_least = self.known.iter().filter(surely).count();
        let at_most = self.known.iter().filter(maybe).count() + self.unanswered.len() + self.lost;
        (at_least, at_most + self.passing.len())
    }

    /// Compares the server's resolves with the knowledge; it writes nothing, and unanswered
    /// requests stay open.
    pub fn check_reads(&self, server: &Server) {
        let mut client = Client::of(server);
        for chunk in self.known.chunks(500) {
            check_payloads(&mut client, chunk);
        }
    }

    /// Compares a restarted server with the knowledge, and settles unanswered requests: from here
    /// on it is decided whether each took effect.
    pub fn check(&mut self, server: &Server) {
        let mut client = Client::of(server);
        for chunk in self.known.chunks(500) {
            check_payloads(&mut client, chunk);
        }
        for chunk in self.known.chunks_mut(100) {
            settle(server, chunk);
        }
        for known in &mut self.known {
            known.try_again(&mut client);
        }
        for asked in std::mem::take(&mut self.unanswered) {
            let issued = asked.send(&mut client).expect("the server is there");
            self.known.push(asked.answered(issued));
        }
        self.check_retries(&mut client);
        self.check_passed(&mut client);
        self.forget_some(&mut client);
    }

    /// A consume that was answered before the crash gets the same answer after it, and consumes no
    /// further use.
    fn check_retries(&mut self, client: &mut Client) {
        for known in self.known.iter().filter(|known| known.answered.is_some()).take(20) {
            let key = known.answered.as_deref().expect("just seen");
            let answer = client.consume_keyed(key, &known.token);
            expect(&answer, 200);
            assert_eq!(answer.text(), known.payload);
            match known.sure() {
                Fate::Gone => expect(&client.status(&known.token), 404),
                Fate::Alive { uses_left } => {
                    assert_eq!(client.uses_left(&known.token), *uses_left);
                }
            }
        }
    }

    /// Expired tokens are unknown (P3), the others exist (P1).
    fn check_passed(&mut self, client: &mut Client) {
        self.passing.retain(|passing| {
            let before = now_ms();
            let status = client.resolve(&passing.token).status;
            let after = now_ms();
            let deadline = millis(&passing.expires_at);
            assert!(status == 404 || before <= deadline, "back {} ms late", before - deadline);
            assert!(status == 200 || after >= deadline, "lost {} ms early", deadline - after);
            after <= deadline
        });
    }

    /// Bounds the knowledge and the log: the oldest live tokens are revoked, and only the latest
    /// removed ones are remembered.
    fn forget_some(&mut self, client: &mut Client) {
        let surplus = self.known.len().saturating_sub(KNOWN_MAX);
        for known in &mut self.known[..surplus] {
            if *known.sure() != Fate::Gone {
                expect(&client.revoke(&known.token), 204);
                known.fates = vec![Fate::Gone];
            }
        }
        self.known.drain(..surplus);
    }
}

/// Sends a request. While the power is out, a refusal to write counts as no acknowledgement.
fn acknowledged(
    client: &mut Client,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> io::Result<Response> {
    let answer = client.try_send(method, path, headers, body)?;
    if matches!(answer.status, 503 | 507) {
        return Err(io::Error::other(format!("refused with {}", answer.status)));
    }
    Ok(answer)
}

impl Unanswered {
    fn send(&self, client: &mut Client) -> io::Result<Issued> {
        let headers: Vec<_> =
            self.key.iter().map(|key| ("Idempotency-Key", key.as_str())).collect();
        let answer = acknowledged(client, "POST", "/v1/tokens", &headers, &self.body)?;
        assert!(matches!(answer.status, 200 | 201), "{}", answer.without_date());
        Ok(Issued::from(&answer.json()))
    }

    fn answered(self, issued: Issued) -> Known {
        Known {
            token: issued.token,
            payload: self.payload,
            expires_at: issued.expires_at,
            fates: vec![Fate::Alive { uses_left: self.uses }],
            maybe_extended: false,
            retry: None,
            answered: None,
        }
    }
}

impl Known {
    fn sure(&self) -> &Fate {
        let [fate] = &self.fates[..] else { panic!("an open fate: {:?}", self.fates) };
        fate
    }

    /// Whether the shown deadline is possible.
    fn may_end_at(&self, shown: &str) -> bool {
        shown == self.expires_at || self.maybe_extended && millis(shown) > millis(&self.expires_at)
    }

    /// Repeats the unanswered consume: the same answer, and one use consumed in total (P2).
    fn try_again(&mut self, client: &mut Client) {
        let Some(key) = self.retry.take() else { return };
        let answer = client.consume_keyed(&key, &self.token);
        expect(&answer, 200);
        assert_eq!(answer.text(), self.payload);
        // `settle` has seen the state before this retry; `fates` still contains both.
        let after = self.fates.pop().expect("the fate after the consumption");
        match &after {
            Fate::Gone => expect(&client.status(&self.token), 404),
            Fate::Alive { uses_left } => assert_eq!(client.uses_left(&self.token), *uses_left),
        }
        self.fates = vec![after];
    }
}

impl Fate {
    fn after_consume(&self) -> Self {
        match self {
            Self::Alive { uses_left: uses_left @ 2.. } => Self::Alive { uses_left: uses_left - 1 },
            Self::Alive { .. } | Self::Gone => Self::Gone,
        }
    }
}

/// The payload is found byte for byte, or not at all.
fn check_payloads(client: &mut Client, chunk: &[Known]) {
    let tokens: Vec<&str> = chunk.iter().map(|known| known.token.as_str()).collect();
    let answer = client.resolve_many(&tokens);
    let found: Vec<&RawValue> = serde_json::from_slice(&answer.body).expect("a JSON array");
    assert_eq!(found.len(), chunk.len());
    for (known, found) in chunk.iter().zip(found) {
        match found.get() {
            "null" => assert!(known.fates.contains(&Fate::Gone), "lost: {:?}", known.fates),
            payload => {
                assert_eq!(payload, known.payload);
                assert_ne!(known.fates, [Fate::Gone], "back again");
            }
        }
    }
}

/// Reads the status of each token, checks that it is possible, and records it.
fn settle(server: &Server, chunk: &mut [Known]) {
    let mut conn = Conn::open(server.data).expect("connects");
    let asked: Vec<u8> = chunk
        .iter()
        .flat_map(|known| request("GET", &format!("/v1/tokens/{}/status", known.token), &[], b""))
        .collect();
    conn.send(&asked).expect("sends");
    for known in chunk {
        let answer = conn.response().expect("an answer");
        let shown = match answer.status {
            404 => Fate::Gone,
            _ => {
                let status = answer.json();
                let shown = status["expires_at"].as_str().expect("a deadline");
                assert!(known.may_end_at(shown), "{shown} is not {}", known.expires_at);
                known.expires_at = shown.to_owned();
                assert_eq!(status["size"], json!(known.payload.len()));
                Fate::Alive { uses_left: status["uses_left"].as_u64().expect("uses_left") }
            }
        };
        known.maybe_extended = false;
        assert!(known.fates.contains(&shown), "{shown:?} is not among {:?}", known.fates);
        if known.retry.is_none() {
            known.fates = vec![shown];
        }
    }
}

#[test]
fn the_oracle_counts_uses_down_to_gone() {
    let three = Fate::Alive { uses_left: 3 };
    let two = three.after_consume();
    assert_eq!(two, Fate::Alive { uses_left: 2 });
    assert_eq!(two.after_consume().after_consume(), Fate::Gone);
    assert_eq!(Fate::Gone.after_consume(), Fate::Gone);
}

#[test]
fn the_oracle_accepts_a_later_deadline_only_after_an_unanswered_extension() {
    let asked = Unanswered { body: String::new(), key: None, payload: String::new(), uses: 1 };
    let expires_at = "2030-01-01T00:00:00.000Z";
    let body: Value = json!({ "token": "A".repeat(32), "expires_at": expires_at });
    let mut known = asked.answered(Issued::from(&body));
    let (earlier, later) = ("2029-01-01T00:00:00.000Z", "2030-01-01T00:00:00.001Z");
    assert!(known.may_end_at(expires_at) && !known.may_end_at(later));
    known.maybe_extended = true;
    assert!(known.may_end_at(expires_at) && known.may_end_at(later) && !known.may_end_at(earlier));
}
