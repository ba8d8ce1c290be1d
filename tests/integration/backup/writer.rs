//! A client that makes one change after the other, and records the state of each token over time.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::json;

use super::PAYLOAD_LEN;
use crate::client::{Client, Issued, expect};
use crate::server::Server;
use crate::support::Rng;

/// State of a token after a change, as shown by its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    Gone,
    Alive { expires_at: String, uses_left: u64 },
}

/// A change by one writer.
pub(super) struct Change {
    pub(super) token: String,
    after: State,
    sent_at: Instant,
    answered_at: Instant,
}

/// A writer, and its changes in order.
pub(super) struct Writer {
    client: Client,
    rng: Rng,
    alive: Vec<(String, State)>,
    pub(super) changes: Vec<Change>,
}

impl Writer {
    pub(super) fn new(server: &Server, seed: u64) -> Self {
        let client = Client::of(server);
        Self { client, rng: Rng::new(seed), alive: Vec::new(), changes: Vec::new() }
    }

    pub(super) fn act(&mut self) {
        let sent_at = Instant::now();
        let is_new = self.alive.len() < 20 || self.rng.below(2) == 0 && self.alive.len() < 60;
        let (token, after) = if is_new { self.issue() } else { self.change() };
        if let State::Alive { .. } = after {
            self.alive.push((token.clone(), after.clone()));
        }
        let answered_at = Instant::now();
        self.changes.push(Change { token, after, sent_at, answered_at });
    }

    fn issue(&mut self) -> (String, State) {
        let payload = "x".repeat(PAYLOAD_LEN);
        let body = json!({"payload": payload, "ttl": "20m", "uses": 2}).to_string();
        let Issued { token, expires_at } = self.client.issued(&body);
        (token, State::Alive { expires_at, uses_left: 2 })
    }

    fn change(&mut self) -> (String, State) {
        let at = self.rng.below(self.alive.len());
        let (token, state) = self.alive.swap_remove(at);
        let State::Alive { expires_at, uses_left } = state else { unreachable!("it lives") };
        let after = match self.rng.below(4) {
            0 => {
                let ttl = format!("{}m", 21 + self.rng.below(60));
                let answer = self.client.extend(&token, &ttl);
                expect(&answer, 200);
                let expires_at = answer.json()["expires_at"].as_str().expect("one").to_owned();
                State::Alive { expires_at, uses_left }
            }
            1 => {
                expect(&self.client.revoke(&token), 204);
                State::Gone
            }
            _ => {
                expect(&self.client.consume(&token), 200);
                match uses_left - 1 {
                    0 => State::Gone,
                    uses_left => State::Alive { expires_at, uses_left },
                }
            }
        };
        (token, after)
    }

    /// The number of changes, among the possible ones, after which the state was `found`.
    pub(super) fn moments(
        &self,
        found: &BTreeMap<String, State>,
        from: Instant,
        until: Instant,
    ) -> Vec<usize> {
        let surely = self.changes.iter().filter(|change| change.answered_at < from).count();
        let possibly = self.changes.iter().filter(|change| change.sent_at <= until).count();
        let mut states: BTreeMap<&str, &State> =
            self.changes.iter().map(|change| (&change.token[..], &State::Gone)).collect();
        let mut moments = Vec::new();
        for done in 0..=possibly {
            if let Some(change) = done.checked_sub(1).map(|last| &self.changes[last]) {
                states.insert(&change.token, &change.after);
            }
            if done >= surely && states.iter().all(|(token, state)| &found[*token] == *state) {
                moments.push(done);
            }
        }
        moments
    }
}

/// The state of a token according to a server.
pub(super) fn state_of(client: &mut Client, token: &str) -> State {
    let status = client.status(token);
    if status.status == 404 {
        return State::Gone;
    }
    expect(&status, 200);
    let status = status.json();
    let expires_at = status["expires_at"].as_str().expect("a deadline").to_owned();
    State::Alive { expires_at, uses_left: status["uses_left"].as_u64().expect("uses") }
}
