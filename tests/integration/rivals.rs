//! Many clients for the same token: P2 under contention, with rivals released by a barrier.

use std::collections::BTreeMap;
use std::sync::Barrier;
use std::thread;

use serde_json::json;

use crate::client::{Client, Issued, expect};
use crate::raw::Response;
use crate::server::Server;

/// Runs the same action of `count` rivals at the same moment, each on its own connection.
fn race<T: Send>(
    server: &Server,
    count: usize,
    act: impl Fn(usize, &mut Client) -> T + Sync,
) -> Vec<T> {
    let barrier = Barrier::new(count);
    thread::scope(|scope| {
        let rivals: Vec<_> = (0..count)
            .map(|n| {
                let (barrier, act) = (&barrier, &act);
                scope.spawn(move || {
                    let mut client = Client::of(server);
                    // Opens the connection before the barrier.
                    client.send("GET", "/", &[], "");
                    barrier.wait();
                    act(n, &mut client)
                })
            })
            .collect();
        rivals.into_iter().map(|rival| rival.join().expect("a rival ends well")).collect()
    })
}

/// Number of answers by status.
fn totals(answers: &[Response]) -> BTreeMap<u16, usize> {
    let mut counts = BTreeMap::new();
    for answer in answers {
        *counts.entry(answer.status).or_default() += 1;
    }
    counts
}

#[test]
fn p2_sixty_four_rivals_one_winner() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    for round in 0..5 {
        let token = client.issued(&format!(r#"{{"payload":{round}}}"#)).token;
        let answers = race(&server, 64, |_, client| client.consume(&token));
        assert_eq!(totals(&answers), BTreeMap::from([(200, 1), (404, 63)]));
        expect(&client.resolve(&token), 404);
    }
}

#[test]
fn p2_thirty_two_rivals_five_uses() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    let token = client.issued(r#"{"payload":1,"uses":5}"#).token;
    let answers = race(&server, 32, |_, client| client.consume(&token));
    assert_eq!(totals(&answers), BTreeMap::from([(200, 5), (404, 27)]));
    expect(&client.status(&token), 404);
}

#[test]
fn p2_rivals_in_batches_win_once() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    let tokens: Vec<_> = (0..50).map(|_| client.issued(r#"{"payload":1}"#).token).collect();
    let answers = race(&server, 16, |n, client| {
        let mut order = tokens.clone();
        order.rotate_left(n * 3);
        let body = json!({ "tokens": order }).to_string();
        client.post("/v1/consume", &body).text().matches('1').count()
    });
    assert_eq!(answers.iter().sum::<usize>(), 50);
}

#[test]
fn p2_rivals_under_one_key_share_one_use() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    let token = client.issued(r#"{"payload":"mine","uses":2}"#).token;
    let answers = race(&server, 32, |_, client| client.consume_keyed("same", &token));
    assert_eq!(totals(&answers), BTreeMap::from([(200, 32)]));
    assert!(answers.iter().all(|answer| answer.text() == "\"mine\""));
    assert_eq!(client.uses_left(&token), 1);
}

#[test]
fn p2_rivals_under_two_keys_have_one_winner() {
    let server = Server::shared();
    let token = Client::of(&server).issued(r#"{"payload":1}"#).token;
    let answers = race(&server, 32, |n, client| {
        (n % 2, client.consume_keyed(["even", "odd"][n % 2], &token).status)
    });
    let winners: Vec<_> = answers.iter().filter(|(_, status)| *status == 200).collect();
    assert_eq!(winners.len(), 16, "all tries of one key, none of the other: {answers:?}");
    assert!(winners.iter().all(|(key, _)| *key == winners[0].0), "{answers:?}");
}

/// Rivals issue one reference with four payloads: one payload wins, and all clients get the same
/// result.
fn issue_rivals(server: &Server, issue: impl Fn(&mut Client, &str) -> Response + Sync) {
    let answers = race(server, 32, |n, client| {
        let payload = format!("{}", n % 4);
        let answer = issue(client, &format!("{{\"payload\":{payload},\"ttl\":\"10m\""));
        (payload, answer)
    });
    let created: Vec<_> = answers.iter().filter(|(_, answer)| answer.status == 201).collect();
    assert_eq!(created.len(), 1, "one issue makes the token");
    let (winner, first) = created[0];
    let token = Issued::from(&first.json()).token;
    for (payload, answer) in &answers {
        if payload != winner {
            expect(answer, 409);
        } else if answer.status != 201 {
            expect(answer, 200);
            assert_eq!(answer.json(), first.json());
        }
    }
    let mut client = Client::of(server);
    assert_eq!(client.resolve(&token).text(), winner);
    let (_, again) =
        (winner, issue(&mut client, &format!("{{\"payload\":{winner},\"ttl\":\"10m\"")));
    expect(&again, 200);
    assert_eq!(again.json(), first.json());
}

#[test]
fn p2_rivals_for_a_reference_make_one_token() {
    let server = Server::fresh();
    issue_rivals(&server, |client, body| {
        client.issue(&format!(r#"{body},"reference":{{"order_number":"rivals"}}}}"#))
    });
}

#[test]
fn p2_rivals_for_a_key_make_one_token() {
    let server = Server::fresh();
    issue_rivals(&server, |client, body| client.issue_keyed("rivals", &format!("{body}}}")));
}

#[test]
fn p2_consume_and_revoke_race_without_a_second_winner() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    for _ in 0..5 {
        let token = client.issued(r#"{"payload":1}"#).token;
        let answers = race(&server, 16, |n, client| match n % 2 {
            0 => client.consume(&token),
            _ => client.revoke(&token),
        });
        let counts = totals(&answers);
        assert_eq!(counts.get(&204), Some(&8));
        assert!(counts.get(&200).copied().unwrap_or(0) <= 1, "{counts:?}");
        expect(&client.consume(&token), 404);
    }
}
