//! What a node demands before it starts, and what keeps it from starting.

use std::process::Output;

use crate::cluster::servers::Setup;
use crate::server::{Launch, jeton, output};

use super::lab::{Lab, MAX_PAYLOAD, refused, setup};

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn mistakes_in_the_flags_of_a_cluster_are_reported_together() {
    let refused = refused(
        &Launch::bare()
            .flag("--cluster", "nats://user:word@n1:4222,http://n2:4222")
            .flag("--cluster-name", "a.b")
            .flag("--cluster-monitor", "n1:8222")
            .flag("--cluster-answer-within", "1ms"),
    );
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    let flags = ["cluster", "cluster-monitor", "cluster-name", "cluster-answer-within"];
    for flag in flags {
        let begin = format!("error: --{flag} must ");
        assert!(refused.stderr.contains(&begin), "{flag}: {}", refused.stderr);
    }
    assert!(refused.stderr.contains("error: --cluster must have no user and no password"));
    assert!(!refused.stderr.contains("user:word"), "P9: {}", refused.stderr);
}

#[test]
fn what_a_node_cannot_be_is_reported_together() {
    let refused = refused(
        &Launch::bare()
            .flag("--cluster", "nats://127.0.0.1:4222")
            .flag("--segment-size", "1MiB")
            .flag("--log-min-size", "4MiB")
            .switch("--memory-only"),
    );
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    for mistake in [
        "error: --cluster needs --secret-file",
        "error: --memory-only cannot be used with --cluster",
        "error: --segment-size must be at least 16MiB with --cluster",
    ] {
        assert!(refused.stderr.contains(mistake), "{mistake}: {}", refused.stderr);
    }
    let lonely = output(jeton().args(["serve", "--node-address", "n1:7450"]));
    assert_eq!(lonely.status.code(), Some(2));
    assert!(said(&lonely).contains("--node-address needs --cluster"), "{}", said(&lonely));
}

#[test]
fn every_wrong_setting_of_the_servers_is_reported_at_once() {
    let wrong = Setup {
        syncs_always: [false, true, true],
        max_payload: [MAX_PAYLOAD, 1 << 20, MAX_PAYLOAD],
        ..Setup::default()
    };
    let Some(lab) = Lab::empty("wrong settings of a cluster", wrong) else { return };
    let made = lab.init();
    assert_eq!(made.status.code(), Some(1), "{made:?}");
    let mistakes = ["server n0: sync_interval is", "server n1: max_payload is 1048576"];
    for mistake in mistakes {
        assert!(said(&made).contains(mistake), "{mistake}: {}", said(&made));
    }
    assert!(said(&made).contains("the cluster has not begun"), "{}", said(&made));
    // The stream is there, but has no message.
    let started = refused(&lab.node("a"));
    assert_eq!(started.status.code(), Some(2), "{started:?}");
    for mistake in mistakes.into_iter().chain(["the stream has no message"]) {
        assert!(started.stderr.contains(mistake), "{mistake}: {}", started.stderr);
    }
    let checked = output(&mut lab.command(&["cluster", "check"]));
    assert_eq!(checked.status.code(), Some(1));
    assert!(said(&checked).contains(mistakes[0]), "{}", said(&checked));
}

#[test]
fn a_cluster_begins_once_and_is_checked() {
    let Some(lab) = Lab::begun("begin of a cluster") else { return };
    let again = lab.init();
    assert_eq!(again.status.code(), Some(1), "{again:?}");
    assert!(said(&again).contains("its cluster has begun"), "{}", said(&again));
    let checked = output(&mut lab.command(&["cluster", "check"]));
    let shown = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(checked.status.success(), "{shown}{}", said(&checked));
    assert!(shown.starts_with("cluster shop: ok, id "), "{shown}");
    assert_eq!(shown.matches("syncs each message, has a copy").count(), 3, "{shown}");
}

#[test]
fn a_node_with_another_secret_is_refused_and_makes_no_log() {
    let Some(lab) = Lab::begun("wrong secret in a cluster") else { return };
    let other = lab.write_secret("other.key", 9);
    let launch = lab.node("a").flag("--secret-file", other.to_str().expect("UTF-8"));
    let refused = refused(&launch);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    let sentence = "the messages of the stream do not open with the secret of --secret-file";
    assert!(refused.stderr.contains(sentence), "{}", refused.stderr);
    let files = std::fs::read_dir(lab.path("a")).expect("a folder");
    let names: Vec<_> = files.map(|file| file.expect("a file").file_name()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().ends_with(".log")), "{names:?}");
}

#[test]
fn sync_that_nobody_verifies_is_refused_or_accepted_aloud() {
    let Some(lab) = Lab::begun("unverified sync in a cluster") else { return };
    let mut blind = lab.node_without("--cluster-monitor", "a");
    let refused = refused(&blind);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(refused.stderr.contains("--cluster-accept-unverified-sync"), "{}", refused.stderr);
    blind = blind.switch("--cluster-accept-unverified-sync");
    let server = blind.start();
    assert!(server.stderr().contains("it is not known whether"), "{}", server.stderr());
    server.stop_well();
}

#[test]
fn a_log_of_a_single_server_does_not_become_a_node() {
    let Some(lab) = Lab::begun("log of a single server in a cluster") else { return };
    let secret = lab.path("secret.key");
    let single = Launch::on(&lab.path("a")).flag("--secret-file", secret.to_str().expect("UTF-8"));
    single.start().stop_well();
    let single_log = refused(&lab.node("a"));
    assert_eq!(single_log.status.code(), Some(2), "{single_log:?}");
    assert!(single_log.stderr.contains("the log of a single server"), "{}", single_log.stderr);
    let server = lab.start(["b"]);
    server.into_iter().for_each(crate::server::Server::stop_well);
    let other_way =
        Launch::on(&lab.path("b")).flag("--secret-file", secret.to_str().expect("UTF-8"));
    let node_log = refused(&other_way);
    assert_eq!(node_log.status.code(), Some(2), "{node_log:?}");
    assert!(node_log.stderr.contains("the log of a cluster's node"), "{}", node_log.stderr);
}

#[test]
fn a_missing_stream_is_a_mistake_and_missing_servers_are_waited_for() {
    let Some(mut lab) = Lab::empty("missing stream of a cluster", setup()) else { return };
    let started = refused(&lab.node("a"));
    assert_eq!(started.status.code(), Some(2), "{started:?}");
    assert!(started.stderr.contains("run jeton cluster init"), "{}", started.stderr);
    assert!(lab.init().status.success());
    (0..3).for_each(|n| lab.nats.kill(n));
    let launch = lab.node("a");
    std::thread::scope(|scope| {
        let starting = scope.spawn(|| launch.start());
        std::thread::sleep(std::time::Duration::from_secs(2));
        assert!(!starting.is_finished(), "it waits");
        (0..3).for_each(|n| lab.nats.run(n));
        starting.join().expect("it starts").stop_well();
    });
}
