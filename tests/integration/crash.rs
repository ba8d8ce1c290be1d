//! kill -9 in a loop while clients write: P1, P2 and P4 against an oracle outside the process.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::client::{Client, expect};
use crate::crash_oracle::Witness;
use crate::server::{Launch, Server, jeton, output};
use crate::support::{Rng, files_under};
use crate::volume::{Round, seeds, tell, volume};

const WITNESSES: usize = 6;
const SYNCS: [&str; 4] = ["always", "always", "100ms", "never"];

/// Runs all witnesses until the server is killed; `cut` runs just before.
pub fn work_until_crash(
    server: Server,
    witnesses: &mut [Witness],
    delay: Duration,
    cut: impl FnOnce(),
) {
    let killed = AtomicBool::new(false);
    thread::scope(|scope| {
        let (server, killed) = (&server, &killed);
        for witness in witnesses {
            scope.spawn(move || {
                let error = witness.act_until_crash(server);
                assert!(killed.load(Ordering::SeqCst), "the server failed by itself: {error}");
            });
        }
        thread::sleep(delay);
        killed.store(true, Ordering::SeqCst);
        cut();
        rustix::process::kill_process(server.pid(), rustix::process::Signal::KILL)
            .expect("it runs");
    });
    // Waits for its end: the next server needs the data directory.
    drop(server);
}

pub fn check_all(server: &Server, witnesses: &mut [Witness]) {
    let ranges: Vec<_> = witnesses.iter().map(Witness::living_range).collect();
    let at_least: usize = ranges.iter().map(|(at_least, _)| at_least).sum();
    let at_most: usize = ranges.iter().map(|(_, at_most)| at_most).sum();
    let tokens = usize::try_from(server.tokens).expect("in range");
    assert!((at_least..=at_most).contains(&tokens), "{tokens} not in {at_least}..={at_most}");
    thread::scope(|scope| {
        for witness in witnesses {
            scope.spawn(|| witness.check(server));
        }
    });
}

/// How many segments the log has had.
fn last_segment(dir: &Path) -> u64 {
    let names = files_under(dir).into_iter();
    let seq = |path: PathBuf| -> Option<u64> {
        let name = path.file_name()?.to_str()?;
        let digits = name.strip_prefix("segment-")?.strip_suffix(".log")?;
        u64::from_str_radix(digits, 16).ok()
    };
    names.filter_map(seq).max().unwrap_or(0)
}

#[test]
fn p1_p2_p4_crashes_lose_nothing_acknowledged() {
    let (rounds, seed) = (volume("kills", 50), seeds("kill_seeds", 1).start);
    let dir = tempfile::tempdir().expect("a temporary folder");
    let launch = Launch::on(dir.path());
    let mut witnesses: Vec<_> = (0..WITNESSES).map(|id| Witness::new(id, seed)).collect();
    let mut rng = Rng::new(seed);
    for round in 0..rounds {
        let _told = Round { test: "p1_p2_p4_crashes", attack: "kills", seed, round };
        // A kill loses no written data: with any of these modes all changes must exist.
        let launch = launch.clone().flag("--sync", SYNCS[rng.below(SYNCS.len())]);
        if round % 4 == 3 {
            launch.start_and_kill9(Duration::from_millis(rng.below(40) as u64));
        }
        let server = launch.start();
        check_all(&server, &mut witnesses);
        let delay = Duration::from_millis(30 + rng.below(200) as u64);
        work_until_crash(server, &mut witnesses, delay, || {});
    }
    let server = launch.start();
    check_all(&server, &mut witnesses);
    server.stop_well();
    let server = launch.start();
    check_all(&server, &mut witnesses);
    server.stop_well();
    let verified = output(jeton().arg("verify").arg(dir.path()));
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
    let acknowledged = witnesses.iter().map(|witness| witness.acknowledged).sum();
    let segments = last_segment(dir.path());
    assert!(rounds < 50 || segments > 2, "the ring did not turn: {segments} segments");
    tell("kills", &[("rounds", rounds), ("acknowledged", acknowledged), ("segments", segments)]);
}

/// One acknowledged issue, one crash, repeated: the smallest possible log.
#[test]
fn p1_an_acknowledged_issue_is_there_after_a_crash_at_once() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let launch = Launch::on(dir.path());
    let mut tokens: Vec<String> = Vec::new();
    for round in 0..5 {
        let server = launch.start();
        let mut client = Client::of(&server);
        let wanted: Vec<_> = (0..round).map(|n| n.to_string()).collect();
        let known: Vec<&str> = tokens.iter().map(String::as_str).collect();
        assert_eq!(client.resolve_many(&known).text(), format!("[{}]", wanted.join(",")));
        tokens.push(client.issued(&format!("{{\"payload\":{round},\"ttl\":\"1h\"}}")).token);
        server.kill9();
    }
}

/// A whole batch is one request: either all of its tokens are acknowledged, or the request was not.
#[test]
fn p1_an_acknowledged_batch_is_there_after_a_crash() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let launch = Launch::on(dir.path());
    let server = launch.start();
    let mut client = Client::of(&server);
    let items: Vec<_> = (0..1000).map(|n| json!({ "payload": n })).collect();
    let issued = client.post("/v1/tokens/batch", &json!({ "tokens": items }).to_string()).json();
    let results = issued["results"].as_array().expect("results");
    let tokens: Vec<&str> = results.iter().filter_map(|result| result["token"].as_str()).collect();
    let consumed = client.post("/v1/consume", &json!({ "tokens": tokens[..500] }).to_string());
    expect(&consumed, 200);
    server.kill9();
    let server = launch.start();
    assert_eq!(server.tokens, 500);
    let found = Client::of(&server).resolve_many(&tokens);
    let wanted: Vec<_> =
        (0..1000).map(|n| if n < 500 { "null".to_owned() } else { n.to_string() }).collect();
    assert_eq!(found.text(), format!("[{}]", wanted.join(",")));
}

#[test]
fn p1_a_clean_stop_loses_nothing_however_seldom_it_syncs() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for sync in ["100ms", "never", "always"] {
        let launch = Launch::on(dir.path()).flag("--sync", sync);
        let server = launch.start();
        let token = Client::of(&server).issued(r#"{"payload":"kept","ttl":"1h"}"#).token;
        server.stop_well();
        let server = launch.start();
        assert_eq!(Client::of(&server).resolve(&token).text(), "\"kept\"");
    }
}
