//! The limits of memory and disk: requests are refused, and nothing is lost.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::client::{Client, expect};
use crate::raw::Response;
use crate::server::{Launch, Server};
use crate::support::{eventually, not_run};

/// Issues until the server refuses: the tokens it acknowledged, and the refusal.
fn fill(client: &mut Client, payload_len: usize, at_most: usize) -> (Vec<String>, Response) {
    let body = format!("{{\"payload\":\"{}\",\"ttl\":\"1h\"}}", "f".repeat(payload_len));
    let mut tokens = Vec::new();
    for _ in 0..at_most {
        let answer = client.issue(&body);
        if answer.status != 201 {
            return (tokens, answer);
        }
        tokens.push(answer.json()["token"].as_str().expect("a token").to_owned());
    }
    panic!("{at_most} payloads of {payload_len} bytes were all taken");
}

fn assert_all_there(client: &mut Client, tokens: &[String], payload_len: usize) {
    for token in tokens {
        let answer = client.resolve(token);
        expect(&answer, 200);
        assert_eq!(answer.body.len(), payload_len + 2);
    }
}

#[test]
fn p8_a_full_memory_refuses_and_evicts_nothing() {
    const PAYLOAD_LEN: usize = 30_000;
    let server = Server::fresh_with(|launch| launch.flag("--max-memory", "4MiB"));
    let mut client = Client::of(&server);
    let (tokens, refusal) = fill(&mut client, PAYLOAD_LEN, 2000);
    expect(&refusal, 507);
    let memory = 4 * 1024 * 1024;
    assert!(tokens.len() * PAYLOAD_LEN <= memory, "{} tokens were taken", tokens.len());
    assert!(tokens.len() > 20, "only {} tokens were taken", tokens.len());
    assert_all_there(&mut client, &tokens, PAYLOAD_LEN);
    let item = json!({ "payload": "f".repeat(PAYLOAD_LEN) });
    let batch = client.post("/v1/tokens/batch", &json!({ "tokens": [item] }).to_string());
    expect(&batch, 200);
    assert_eq!(batch.json()["results"][0]["error"]["status"], 507);
    for token in &tokens[..10] {
        expect(&client.revoke(token), 204);
    }
    expect(&client.consume(&tokens[10]), 200);
    eventually("freed memory takes new tokens", || {
        client.issue(&format!("{{\"payload\":\"{}\"}}", "f".repeat(PAYLOAD_LEN))).status == 201
    });
    assert_all_there(&mut client, &tokens[11..], PAYLOAD_LEN);
}

#[test]
fn memory_only_needs_no_folder_and_keeps_nothing() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let data = dir.path().join("never-made");
    let launch = Launch::on(&data).switch("--memory-only");
    let server = launch.start();
    let token = Client::of(&server).issued(r#"{"payload":1}"#).token;
    assert_eq!(Client::of(&server).consume(&token).text(), "1");
    server.stop_well();
    assert!(!data.exists(), "--memory-only made {}", data.display());
    assert_eq!(launch.start().tokens, 0);
}

/// A small file system of this test's own.
struct SmallDisk<'a>(&'a Path);

impl SmallDisk<'_> {
    /// `None` if this process may not mount.
    fn mount(at: &Path) -> Option<SmallDisk<'_>> {
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=12m", "tmpfs"]).arg(at).output();
        mount.is_ok_and(|output| output.status.success()).then_some(SmallDisk(at))
    }

    /// A file that uses up the remaining space.
    fn fill_up(&self) -> std::path::PathBuf {
        use std::io::Write;
        let path = self.0.join("ballast");
        let mut file = std::fs::File::create(&path).expect("a file");
        let full = (0..100_000).find(|_| file.write_all(&[1; 4096]).is_err());
        full.expect("the disk is full");
        path
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).output();
    }
}

#[test]
fn p6_a_full_disk_acknowledges_nothing_false_and_recovers() {
    const PAYLOAD_LEN: usize = 30_000;
    let dir = tempfile::tempdir().expect("a temporary folder");
    let Some(disk) = SmallDisk::mount(dir.path()) else {
        return not_run("p6, a full disk", "mounting a tmpfs is not permitted here");
    };
    let data = dir.path().join("data");
    let launch = Launch::on(&data);
    let server = launch.start();
    let mut client = Client::of(&server);
    let mut tokens = vec![client.issued(r#"{"payload":"first","ttl":"1h"}"#).token];
    let ballast = disk.fill_up();
    let (more, refusal) = fill(&mut client, PAYLOAD_LEN, 2000);
    expect(&refusal, 507);
    assert_all_there(&mut client, &more, PAYLOAD_LEN);
    assert_eq!(client.resolve(&tokens[0]).text(), "\"first\"");

    std::fs::remove_file(ballast).expect("space again");
    eventually("writes come back when there is space", || {
        client.issue(&format!("{{\"payload\":\"{}\"}}", "g".repeat(PAYLOAD_LEN))).status == 201
    });
    tokens.push(client.issued(r#"{"payload":"last","ttl":"1h"}"#).token);
    server.kill9();

    let server = launch.start();
    let mut client = Client::of(&server);
    assert_all_there(&mut client, &more, PAYLOAD_LEN);
    assert_eq!(client.resolve_many(&[&tokens[0], &tokens[1]]).text(), r#"["first","last"]"#);
    server.stop_well();
}

/// P7: many times its size can be written to a log of four small segments, as long as few entries
/// are alive.
#[test]
fn p7_the_ring_turns_and_keeps_what_lives() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let launch = Launch::on(dir.path());
    let server = launch.start();
    let mut client = Client::of(&server);
    let keeper = r#"{"payload":"keeper","ttl":"1h","uses":3}"#;
    let keepers: Vec<_> = (0..50).map(|_| client.issued(keeper).token).collect();
    expect(&client.consume(&keepers[0]), 200);
    expect(&client.consume_keyed("first-try", &keepers[1]), 200);
    expect(&client.revoke(&keepers[2]), 204);
    let deadline = client.extend(&keepers[3], "2h").json()["expires_at"].clone();

    let passing = format!("{{\"payload\":\"{}\"}}", "p".repeat(60_000));
    for _ in 0..500 {
        let token = client.issued(&passing).token;
        expect(&client.revoke(&token), 204);
    }
    let on_disk = bytes_on_disk(dir.path());
    assert!(on_disk <= 12 << 20, "30 MB passed through, {on_disk} bytes are on disk");

    let check = |server: &Server| {
        let mut client = Client::of(server);
        assert_eq!(client.uses_left(&keepers[0]), 2);
        assert_eq!(client.uses_left(&keepers[1]), 2);
        expect(&client.consume_keyed("first-try", &keepers[1]), 200);
        assert_eq!(client.uses_left(&keepers[1]), 2, "a retry, long after");
        expect(&client.resolve(&keepers[2]), 404);
        assert_eq!(client.status(&keepers[3]).json()["expires_at"], deadline);
        for token in &keepers[4..] {
            assert_eq!(client.uses_left(token), 3);
        }
    };
    check(&server);
    server.kill9();
    let server = launch.start();
    assert_eq!(server.tokens, 49);
    check(&server);
}

fn bytes_on_disk(dir: &Path) -> u64 {
    let files = crate::support::files_under(dir);
    files.iter().map(|path| path.metadata().expect("a file").len()).sum()
}
