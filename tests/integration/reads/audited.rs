//! The audit logs of the nodes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use jeton::audit::{self, Audit};
use jeton::clock::SystemClock;
use jeton::permissions::Strictness;

use super::*;

/// An audit log that requests need a line in.
pub fn required(file: &std::path::Path) -> Audit {
    let config = audit::Config {
        file: Some(file.to_owned()),
        is_required: true,
        size_max_bytes: 64 << 20,
        files_kept: 0,
        permissions: Strictness::default(),
        refused_size_max_bytes: 64 << 20,
        refused_files_kept: 1,
        warns_of_replays: false,
        checkpoints: None,
    };
    Audit::start(&config, Arc::new(SystemClock::new())).expect("a file")
}

/// One history: the lines of all nodes in the order of their positions.
#[test]
fn lines_of_the_audit_log_name_the_node_and_its_position() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |node: usize| folder.path().join(format!("audit-{node}.log"));
    let (started, audits) = (AtomicUsize::new(0), std::sync::Mutex::new(Vec::new()));
    let trio = Trio::configured([0; 3], |config| {
        let audit = required(&file(started.fetch_add(1, Ordering::Relaxed)));
        audits.lock().expect("nobody panics with it").push(audit.clone());
        config.audit = Some(audit);
    });
    let (token, issued) = trio.issue(0, r#","uses":2"#);
    let position = issued.header("jeton-position").expect("a position").to_owned();
    assert_eq!(Consume.ask(&trio, 2, &token).status, 200);
    let read = Resolve.ask_with(&trio, 1, &token, &[("Jeton-At-Least", &position)]);
    assert_eq!(read.status, 200);
    assert_eq!(Revoke.ask(&trio, 1, &token).status, 204);
    assert_eq!(Consume.ask(&trio, 0, &token).status, 404);
    drop(trio);
    audits.lock().expect("nobody panics with it").iter().for_each(Audit::close);
    let mut lines = Vec::new();
    for node in 0..3 {
        for file in [file(node), audit::refused_path(&file(node))] {
            for line in std::fs::read_to_string(file).expect("a log").lines() {
                let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
                assert_eq!(line["node"], format!("{:016x}", node + 1), "{line}");
                let position = line["position"].as_str().expect("a position");
                let seq = position.strip_prefix("2.").expect("of this stream");
                let seq: u64 = seq.parse().expect("a number");
                lines.push((seq, line["operation"].as_str().expect("a word").to_owned()));
            }
        }
    }
    lines.sort();
    let history: Vec<&str> =
        lines.iter().map(|(_, operation)| &**operation).filter(|one| *one != "resolve").collect();
    assert_eq!(history, ["issue", "consume", "revoke", "consume"], "{lines:?}");
}
