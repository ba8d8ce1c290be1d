//! A backup under load: the restored tokens are those of one moment between the call and the
//! answer.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use serde_json::Value;

use super::gate::Gate;
use super::writer::{State, Writer, state_of};
use super::{export, fill, manifest, number, restore, said, stats};
use crate::client::Client;
use crate::server::{Launch, Server, wait};
use crate::support::{Over, eventually, find_bytes};

const WRITERS: usize = 3;

/// Takes a backup while writers write and the ring turns. Returns their changes, and the time of
/// the request.
fn written_meanwhile(server: &Server, gate: &Gate, backup: &Path) -> (Vec<Writer>, Instant) {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let working: Vec<_> = (0..WRITERS)
            .map(|seed| {
                let mut writer = Writer::new(server, seed as u64 + 1);
                let is_over = &is_over;
                scope.spawn(move || {
                    while !is_over.load(Ordering::SeqCst) {
                        writer.act();
                    }
                    writer
                })
            })
            .collect();
        let over = Over(&is_over);
        // One after the other: each in its time.
        let turned = |name: &str, by: u64| {
            let since = number(&stats(server), name);
            for step in 1..=by {
                eventually(name, || number(&stats(server), name) >= since + step);
            }
        };
        // The log has nearly its maximum length.
        turned("segments_released", 4);
        let from = Instant::now();
        let mut child = gate.begin(backup);
        let held = stats(server);
        let made =
            |stats: &Value| number(stats, "segments_created") + number(stats, "segments_recycled");
        // The same number of segments: without the pin all would have been replaced.
        for step in 1..=number(&held, "segments") {
            eventually("a segment is made", || made(&stats(server)) >= made(&held) + step);
        }
        let meanwhile = stats(server);
        assert_eq!(meanwhile["backup_running"], true);
        assert!(number(&meanwhile, "segments") > number(&held, "segments") + 4, "{meanwhile}");
        gate.open();
        let status = wait(&mut child);
        let ended = child.wait_with_output().expect("its output");
        assert!(status.success(), "{}", said(&ended));
        // Segments are released again, and reused.
        let recycled = number(&stats(server), "segments_recycled");
        eventually("segments are used again", || {
            number(&stats(server), "segments_recycled") > recycled + 2
        });
        drop(over);
        let writers = working.into_iter().map(|writer| writer.join().expect("a writer"));
        (writers.collect::<Vec<Writer>>(), from)
    })
}

/// Number of a writer's live tokens, which must all have the state of one moment in that time.
fn alive_of(writer: &Writer, client: &mut Client, from: Instant, until: Instant) -> u64 {
    let mut found = BTreeMap::new();
    for change in &writer.changes {
        let state = state_of(client, &change.token);
        found.insert(change.token.clone(), state);
    }
    let alive = found.values().filter(|state| **state != State::Gone).count() as u64;
    let moments = writer.moments(&found, from, until);
    assert!(!moments.is_empty(), "what was restored was never so");
    assert!(writer.changes.len() > moments[0] + 50, "it went on after the moment");
    // The comparison can fail: one token with a different state.
    let gone = |state: &State| *state == State::Gone;
    let other = State::Alive { expires_at: String::new(), uses_left: 9 };
    let wrong = found.values_mut().find(|state| gone(state)).expect("one was consumed");
    *wrong = other;
    assert!(writer.moments(&found, from, until).is_empty());
    alive
}

#[test]
fn p2_p7_a_backup_under_load_is_one_moment_token_by_token() {
    let dir = tempfile::tempdir().expect("a folder");
    let [data, backup, secret, restored] =
        ["data", "backup", "secret", "restored"].map(|name| dir.path().join(name));
    let server = Launch::on(&data).start();
    let kept = fill(&server, &mut Client::of(&server), 6);
    let gate = Gate::before(server.admin);
    let (writers, from) = written_meanwhile(&server, &gate, &backup);
    let until = gate.answered_at();
    assert_eq!(stats(&server)["backups"], 1);
    // P9: it contains neither a token nor the secret.
    export(&data, &secret);
    let bytes = std::fs::read(&secret).expect("a secret");
    assert!(find_bytes(&backup, &bytes).is_empty());
    for token in kept.iter().take(3).chain(writers.iter().map(|w| &w.changes[0].token)) {
        assert!(find_bytes(&backup, token.as_bytes()).is_empty(), "a token is in the backup");
    }
    server.stop_well();

    let output = restore(&backup, &restored, &secret);
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("CONSUMED AGAIN"), "{}", said(&output));
    let server = Launch::on(&restored).start();
    // Tokens that had just expired may still count at the moment of the backup.
    let counted = manifest(&backup)["tokens"].as_u64().expect("a number");
    assert!(counted >= server.tokens, "{counted} {}", server.tokens);
    let mut client = Client::of(&server);
    let mut alive = kept.len() as u64;
    for token in &kept {
        assert!(matches!(state_of(&mut client, token), State::Alive { .. }));
    }
    for writer in &writers {
        alive += alive_of(writer, &mut client, from, until);
    }
    assert_eq!(alive, server.tokens, "and there are no other tokens");
}
