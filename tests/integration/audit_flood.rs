//! P8: a flood of guesses at a server with an audit log.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::audit::{UNKNOWN, launch, lines};
use crate::client::Client;
use crate::raw::{Conn, request};
use crate::support::Over;
use crate::volume::{tell, volume};

const JSON_BODY: (&str, &str) = ("Content-Type", "application/json");

/// One address sends batches of unknown tokens as fast as it can. The log of completed operations
/// neither grows nor causes refusals, and the other file has a bounded size.
#[test]
fn p8_a_flood_of_misses_neither_fills_the_disk_nor_stops_honest_clients() {
    const REFUSED_MAX: u64 = 1 << 20;
    let dir = tempfile::tempdir().expect("a folder");
    let server = launch(dir.path())
        .switch("--audit-required")
        .flag("--audit-refused-max-size", "1MiB")
        .flag("--audit-refused-keep", "2")
        .start();
    let list = json!({ "tokens": vec![UNKNOWN; 1000] }).to_string();
    let block = request("POST", "/v1/resolve", &[JSON_BODY], list.as_bytes());
    let is_over = AtomicBool::new(false);
    let (refused_issues, asked) = thread::scope(|scope| {
        let _over = Over(&is_over);
        for _ in 0..4 {
            scope.spawn(|| {
                let mut conn = Conn::open(server.data).expect("connects");
                while !is_over.load(Ordering::Relaxed) {
                    conn.send(&block).and_then(|()| conn.response()).expect("an answer");
                }
            });
        }
        let mut client = Client::of(&server);
        let asked = volume("audit_flood_issues", 100);
        let refused = (0..asked)
            .filter(|_| {
                thread::sleep(Duration::from_millis(20));
                client.issue(r#"{"payload":1}"#).status != 201
            })
            .count();
        (refused, asked)
    });
    let file = dir.path().join("audit.log");
    server.stop_well();
    let done = lines(&file);
    let files = fs::read_dir(dir.path()).expect("a folder").map(|entry| entry.expect("one"));
    let of_refused = files.filter(|file| file.file_name().to_string_lossy().contains(".refused"));
    let bytes: u64 = of_refused.map(|file| file.metadata().expect("a file").len()).sum();
    let done_bytes = fs::metadata(&file).expect("a file").len();
    tell(
        "audit_flood",
        &[
            ("issues_refused", refused_issues as u64),
            ("of", asked),
            ("log_kib", done_bytes / 1024),
            ("refused_kib", bytes / 1024),
        ],
    );
    assert_eq!((refused_issues, done.len() as u64), (0, asked));
    assert!(bytes <= 3 * REFUSED_MAX, "{bytes} bytes of refusals");
}
