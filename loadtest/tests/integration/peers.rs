//! jeton beside its peers: what was measured before a server died is written, with the reason.

use std::path::Path;

use rustix::process::{Signal, kill_process};
use serde_json::Value;

use crate::harness::{Out, Running, command, jeton_bin, run};

fn read(out: &Out, name: &str) -> String {
    std::fs::read_to_string(out.path().join(name)).expect(name)
}

/// Nothing but jeton and the floor, so that it does not matter what is installed.
fn peers(words: &str, out: &Out, server: &Path) -> std::process::Command {
    let mut command = command(words);
    command.env("PATH", "/none").arg("--server-bin").arg(server).arg("--out").arg(out.path());
    command
}

/// The results of hours went with one server.
#[test]
fn what_was_measured_before_a_server_died_is_written_with_the_reason() {
    let out = Out::new();
    let words = "peers --work resolve --rounds 6 --duration 100ms --population 200";
    std::fs::write(out.path().join("peers.md"), "of an earlier run").expect("a file");
    let running = Running::start(&mut peers(words, &out, jeton_bin()));
    let server = running.child("jeton");
    running.wait_for_text("round 3 of 6");
    kill_process(server, Signal::KILL).expect("it runs");
    let ended = running.end();
    assert_eq!(ended.code, Some(1), "{}", ended.said());
    let peers: Value = serde_json::from_str(&read(&out, "peers.json")).expect("JSON");
    let rows = peers["works"][0]["rows"].as_array().expect("rows");
    let rounds = |row: &Value| row["figures"].as_array().map_or(0, Vec::len);
    let died = rows.iter().find(|row| row["failed"].is_string()).expect("one died");
    let reason = died["failed"].as_str().expect("a reason");
    assert!(reason.contains("failed in round"), "{reason}");
    assert!((1..6).contains(&rounds(died)), "its whole rounds are kept: {died}");
    assert!(rows.iter().filter(|row| row["failed"].is_null()).all(|row| rounds(row) == 6));
    for text in [read(&out, "peers.md"), read(&out, "peers.html"), ended.stdout] {
        assert!(text.contains("failed in round"), "{text}");
        assert!(text.contains("pogocache is not on the PATH"), "{text}");
    }
    assert_eq!(read(&out, "peers.previous.md"), "of an earlier run");
}

#[test]
fn an_interrupt_keeps_the_rounds_that_were_whole() {
    let out = Out::new();
    let words = "peers --work resolve --rounds 50 --duration 100ms --population 200";
    let running = Running::start(&mut peers(words, &out, jeton_bin()));
    running.wait_for_text("round 2 of 50");
    running.interrupt();
    let ended = running.end();
    assert_eq!(ended.code, Some(3), "{}", ended.said());
    let peers: Value = serde_json::from_str(&read(&out, "peers.json")).expect("JSON");
    assert_eq!(peers["interrupted"], true);
    assert!(read(&out, "peers.md").contains("A signal ended it early"));
}

#[test]
fn a_server_that_does_not_start_ends_it_while_nothing_is_lost() {
    let out = Out::new();
    let words = "peers --work resolve --rounds 6 --duration 100ms --population 200";
    run(&mut peers(words, &out, Path::new("/bin/false")))
        .refused(&["jeton", "before it was ready"]);
    assert!(!out.path().join("peers.json").exists());
}
