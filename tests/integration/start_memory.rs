//! P8: a start needs memory for the live tokens, not for the log.

use crate::client::{Client, expect};
use crate::server::{Launch, jeton, output};
use crate::support::files_under;

/// At any moment only one long-lived token and a small part of the log are alive.
#[test]
fn p8_a_start_of_a_long_log_of_short_lives_stays_small() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let settings = |launch: Launch| {
        launch.flag("--sync", "never").flag("--segment-size", "4MiB").flag("--log-min-size", "1GiB")
    };
    let server = settings(Launch::on(dir.path())).start();
    let mut client = Client::of(&server);
    let kept = client.issued(r#"{"payload":"kept","ttl":"1h"}"#).token;
    let payload = "x".repeat(60_000);
    let token = format!(r#"{{"payload":"{payload}","ttl":"100ms"}}"#);
    let batch = format!(r#"{{"tokens":[{}]}}"#, vec![token; 100].join(","));
    for _ in 0..32 {
        expect(&client.post("/v1/tokens/batch", &batch), 200);
    }
    server.stop_well();
    let log: u64 =
        files_under(dir.path()).iter().map(|file| file.metadata().expect("a file").len()).sum();
    assert!(log > 180 << 20, "{log}");
    let server = settings(Launch::on(dir.path())).start();
    assert_eq!(server.tokens, 1);
    let peak_kib = server.peak_kib();
    assert!(peak_kib < 100 << 10, "{peak_kib} KiB for a token");
    expect(&Client::of(&server).resolve(&kept), 200);
    server.stop_well();
    let verified = output(jeton().arg("verify").arg(dir.path()));
    let text = String::from_utf8_lossy(&verified.stdout).into_owned();
    assert!(verified.status.success() && text.contains("records   3201"), "{text}");
}
