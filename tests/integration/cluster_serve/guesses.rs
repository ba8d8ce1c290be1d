//! Guesses at three real nodes: no record for them, and the latency of honest callers meanwhile.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::scope;
use std::time::{Duration, Instant};

use super::lab::{Lab, admin, await_ready, report};
use crate::client::Client;
use crate::server::Server;
use crate::support::{Over, Rng};
use crate::volume::{tell, volume};

const GUESSERS: u64 = 4;
/// Tokens of one list of guesses.
const LIST_LEN: usize = 200;
/// Rounds of the honest caller without guesses, and at least with them.
const ROUNDS: usize = 60;
/// A message is at most so long in a node's log if it has no records.
const MESSAGE_LEN: u64 = 512;
/// What an honest round leaves in a log, at most: its issue, its consume, and what stays of them.
const ROUND_LEN: u64 = 2_048;

/// Issues on one node, resolves on another, and consumes on the third, until `is_over`; returns the
/// latencies.
fn honest(servers: &[Server], is_over: impl Fn(usize) -> bool) -> Vec<Duration> {
    let mut clients: Vec<Client> = servers.iter().map(Client::of).collect();
    let mut latencies = Vec::new();
    let mut round = 0;
    while !is_over(round) {
        let place = |step: usize| (round + step) % servers.len();
        let mut timed = |ask: &mut dyn FnMut()| {
            let begin = Instant::now();
            ask();
            latencies.push(begin.elapsed());
        };
        let mut token = String::new();
        timed(&mut || token = clients[place(0)].issued(r#"{"payload":7,"ttl":"10m"}"#).token);
        timed(&mut || assert_eq!(clients[place(1)].resolve(&token).status, 200));
        timed(&mut || assert_eq!(clients[place(2)].consume(&token).status, 200));
        round += 1;
    }
    latencies
}

fn percentile_us(latencies: &[Duration], percent: usize) -> u64 {
    let mut sorted = latencies.to_vec();
    sorted.sort_unstable();
    let at = (sorted.len() * percent / 100).min(sorted.len() - 1);
    sorted[at].as_micros() as u64
}

/// Sends guesses until `left` is used up: lists of each operation, and single resolves between.
fn guess(server: &Server, seed: u64, left: &AtomicU64) {
    const PATHS: [&str; 5] =
        ["/v1/revoke", "/v1/consume", "/v1/resolve", "/v1/status", "/v1/extend"];
    let (mut client, mut rng) = (Client::of(server), Rng::new(seed));
    let mut token = || (0..32).map(|_| char::from(b'a' + rng.below(26) as u8)).collect::<String>();
    for path in PATHS.iter().cycle() {
        let taken = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            (left > 0).then(|| left.saturating_sub(LIST_LEN as u64 + 1))
        });
        if taken.is_err() {
            return;
        }
        let tokens: Vec<String> = (0..LIST_LEN).map(|_| format!("\"{}\"", token())).collect();
        let ttl = if *path == "/v1/extend" { r#","ttl":"1h""# } else { "" };
        let answer = client.post(path, &format!(r#"{{"tokens":[{}]{ttl}}}"#, tokens.join(",")));
        assert!(matches!(answer.status, 200 | 204), "{path}: {}", answer.text());
        assert_eq!(client.resolve(&token()).status, 404);
    }
}

/// Bytes that a node has appended to its log.
fn appended(server: &Server) -> u64 {
    let text = admin(server, "/metrics").text().to_owned();
    let line = text.lines().find_map(|line| line.strip_prefix("jeton_log_appended_bytes_total "));
    line.and_then(|value| value.parse().ok()).expect("a number")
}

fn position(server: &Server) -> u64 {
    let report = report(server);
    let position = report["position"].as_str().expect("a position").split_once('.');
    position.and_then(|(_, seq)| seq.parse().ok()).expect("a number")
}

/// `JETON_GUESSES=1000000` for the large volume.
#[test]
fn p8_guesses_have_no_record_and_leave_honest_callers_their_time() {
    let Some(lab) = Lab::begun("guesses at a cluster") else { return };
    let servers = lab.start(["a", "b", "c"]);
    servers.iter().for_each(await_ready);
    let guesses = volume("guesses", 20_000);
    let without = honest(&servers, |round| round == ROUNDS);
    let before = servers.each_ref().map(|server| (appended(server), position(server)));
    let (left, is_over) = (AtomicU64::new(guesses), AtomicBool::new(false));
    let with = scope(|scope| {
        let _over = Over(&is_over);
        let caller = scope
            .spawn(|| honest(&servers, |round| round >= ROUNDS && is_over.load(Ordering::Relaxed)));
        let guessing: Vec<_> = (0..GUESSERS)
            .map(|seed| (seed, &servers[seed as usize % servers.len()]))
            .map(|(seed, server)| (seed, server, &left))
            .map(|(seed, server, left)| scope.spawn(move || guess(server, seed + 1, left)))
            .collect();
        guessing.into_iter().for_each(|one| one.join().expect("it guesses"));
        is_over.store(true, Ordering::Relaxed);
        caller.join().expect("it is answered")
    });
    let rounds = with.len() as u64 / 3;
    for (server, (bytes, seq)) in servers.iter().zip(before) {
        let (bytes, messages) = (appended(server) - bytes, position(server) - seq);
        let expected = messages * MESSAGE_LEN + rounds * ROUND_LEN;
        // A record of a consume or a revoke has more than 16 bytes.
        assert!(bytes < expected + 4 * guesses, "{bytes} bytes, {messages} messages");
    }
    tell(
        "guesses",
        &[
            ("guesses", guesses),
            ("p50_us_without", percentile_us(&without, 50)),
            ("p50_us_with", percentile_us(&with, 50)),
            ("p99_us_without", percentile_us(&without, 99)),
            ("p99_us_with", percentile_us(&with, 99)),
            ("honest_rounds", rounds),
        ],
    );
    // A node that starves its honest callers answers after its time limit of 10 s, if at all.
    assert!(percentile_us(&with, 99) < 5_000_000, "{:?}", with.iter().max());
    servers.into_iter().for_each(Server::stop_well);
}
