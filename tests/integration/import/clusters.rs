//! Imports from replicas and from clusters.

use std::time::Duration;

use super::source::{Source, begun, count, import, said};
use crate::resp_data::redis::Jeton;
use crate::server::output;
use crate::support::eventually;

#[test]
fn a_replica_is_read_with_a_warning_and_refused_without_its_primary() {
    let Some(primary) = Source::start("import: replica") else { return };
    let port = primary.address.port();
    let flags = ["--replicaof", &format!("127.0.0.1 {port}"), "--repl-diskless-sync-delay", "0"];
    let Some(replica) = Source::start_with("import: replica", &flags) else { return };
    let jeton = Jeton::start();
    let dir = tempfile::tempdir().expect("a temporary folder");
    primary.say("SET a 1 EX 600");
    let is_up = || replica.say("INFO replication").contains("master_link_status:up");
    eventually("the replica has its primary", is_up);
    eventually("the replica has the key", || replica.say("DBSIZE") == ":1\\r\\n");
    let (code, text) = said(&output(&mut import(&replica.url(), &jeton, &dir)));
    assert_eq!((code, count(&text, "copied")), (0, 1), "{text}");
    assert!(text.contains("the source is a replica"), "{text}");
    drop(primary);
    eventually("the replica notices", || !is_up());
    let (code, text) = said(&output(&mut import(&replica.url(), &jeton, &dir)));
    assert!(code == 1 && text.contains("a replica without its primary"), "{text}");
}

/// Primaries, by their address; the first two have all slots.
fn cluster(count: usize) -> Option<Vec<Source>> {
    let flags = ["--cluster-enabled", "yes", "--cluster-node-timeout", "5000"];
    let start = |_| Source::start_with("import: cluster", &flags);
    let mut nodes: Vec<Source> = (0..count).map(start).collect::<Option<_>>()?;
    nodes.sort_by_key(|node| node.address.to_string());
    nodes[0].say("CLUSTER ADDSLOTSRANGE 0 8191");
    nodes[1].say("CLUSTER ADDSLOTSRANGE 8192 16383");
    for (node, epoch) in nodes.iter().zip(1..) {
        node.say(&format!("CLUSTER SET-CONFIG-EPOCH {epoch}"));
        nodes[0].say(&format!("CLUSTER MEET 127.0.0.1 {}", node.address.port()));
    }
    let known = format!("cluster_known_nodes:{count}");
    for node in &nodes {
        let is_whole = || {
            let info = node.say("CLUSTER INFO");
            info.contains("cluster_state:ok") && info.contains(&known)
        };
        eventually("the cluster is whole", is_whole);
    }
    Some(nodes)
}

/// Sets a key on the node that has it.
fn set(nodes: &[Source], key: &str) {
    let words = format!("SET {key} 1 EX 600");
    let is_set = nodes.iter().any(|node| node.wire().say(&words) == "+OK\\r\\n");
    assert!(is_set, "{key}");
}

#[test]
fn each_primary_of_a_cluster_is_read_and_keys_that_move_meanwhile_are_followed() {
    let Some(nodes) = cluster(2) else { return };
    let jeton = Jeton::start();
    let dir = tempfile::tempdir().expect("a temporary folder");
    (0..300).for_each(|number| set(&nodes, &format!("k{number}")));
    // All of these are in one slot of the first node.
    (0..1_500).for_each(|number| set(&nodes, &format!("{{a1}}{number}")));
    let slot = slot(&nodes[0], "a1");
    let holder = usize::from(slot > 8191);
    let (from, to) = (&nodes[holder], &nodes[1 - holder]);
    let child = begun(import(&nodes[0].url(), &jeton, &dir).args(["--rate", "600"]));
    std::thread::sleep(Duration::from_millis(300));
    move_slot(slot, from, to);
    let (code, text) = said(&child.wait_with_output().expect("its output"));
    assert!(code == 0 || code == 1, "{text}");
    let (code, text) = said(&output(&mut import(&nodes[1].url(), &jeton, &dir)));
    assert_eq!((code, count(&text, "unknown")), (0, 0), "{text}");
    let mut wire = jeton.wire();
    for key in (0..300).map(|it| format!("k{it}")).chain((0..1_500).map(|it| format!("{{a1}}{it}")))
    {
        assert_eq!(wire.say(&format!("GET {key}")), "$1\\r\\n1\\r\\n", "{key}");
    }
}

fn slot(node: &Source, key: &str) -> u16 {
    let answer = node.say(&format!("CLUSTER KEYSLOT {key}"));
    answer.trim_start_matches(':').trim_end_matches("\\r\\n").parse().expect("a slot")
}

/// A slot moves from the second primary, which is scanned, to another one.
fn copied_once_though_a_slot_moves_to(other: usize) {
    let Some(nodes) = cluster(3) else { return };
    let (jeton, dir) = (Jeton::start(), tempfile::tempdir().expect("a temporary folder"));
    let tag = (0..).map(|number| format!("a{number}"));
    let tag = tag.into_iter().find(|tag| slot(&nodes[0], tag) > 8191).expect("one of them");
    (0..1_500).for_each(|number| set(&nodes, &format!("{{{tag}}}{number}")));
    (0..200).for_each(|number| set(&nodes, &format!("k{number}")));
    let child = begun(import(&nodes[0].url(), &jeton, &dir).args(["--rate", "400"]));
    // The first one is over when keys of the second are there.
    let is_there = |number| jeton.wire().say(&format!("EXISTS {{{tag}}}{number}")) == ":1\\r\\n";
    eventually("some of the second are copied", || (0..1_500).step_by(50).any(is_there));
    move_slot(slot(&nodes[0], &tag), &nodes[1], &nodes[other]);
    let (code, text) = said(&child.wait_with_output().expect("its output"));
    assert_eq!((code, count(&text, "copied")), (0, 1_700), "{text}");
}

#[test]
fn a_slot_that_moves_to_a_primary_whose_scan_is_over_is_scanned_there() {
    copied_once_though_a_slot_moves_to(0);
}

#[test]
fn a_primary_whose_scan_is_over_is_counted_once_when_another_one_is_new() {
    copied_once_though_a_slot_moves_to(2);
}

fn move_slot(slot: u16, from: &Source, to: &Source) {
    let id = |node: &Source| {
        let answer = node.say("CLUSTER MYID");
        answer.split("\\r\\n").nth(1).expect("an id").to_owned()
    };
    to.say(&format!("CLUSTER SETSLOT {slot} IMPORTING {}", id(from)));
    from.say(&format!("CLUSTER SETSLOT {slot} MIGRATING {}", id(to)));
    loop {
        let keys = from.say(&format!("CLUSTER GETKEYSINSLOT {slot} 100"));
        let keys: Vec<_> = keys.split("\\r\\n").filter(|key| key.starts_with('{')).collect();
        if keys.is_empty() {
            break;
        }
        let port = to.address.port();
        from.say(&format!("MIGRATE 127.0.0.1 {port} \"\" 0 5000 KEYS {}", keys.join(" ")));
    }
    for node in [to, from] {
        node.say(&format!("CLUSTER SETSLOT {slot} NODE {}", id(to)));
    }
}
