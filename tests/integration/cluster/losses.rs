//! Servers that were set back to older files, and a replica that does not have what the leader has.

use std::time::Duration;

use futures_util::StreamExt as _;
use jeton::cluster::nats::{Names, Nats};
use jeton::cluster::stream::{Loss, Next, Stream};
use serde_json::{Value, json};

use super::contract::{land, read};
use super::nats::{followed, lost};
use super::servers::{Cluster, NAME, Setup, within};
use crate::support::copy_folder;

const PATIENCE: Duration = Duration::from_secs(1);

/// All servers with the files that they had after message 5; a node has followed up to 9.
fn set_back(check: &str) -> Option<(Cluster, Nats)> {
    let (mut cluster, mut nats) = followed(check, 5)?;
    let dir = cluster.dir.path().to_owned();
    let (files, kept) = (|n| dir.join(format!("n{n}")), |n| dir.join(format!("kept{n}")));
    (0..3).for_each(|n| cluster.kill(n));
    (0..3).for_each(|n| copy_folder(&files(n), &kept(n)));
    (0..3).for_each(|n| cluster.run(n));
    cluster.await_health();
    for n in 6..=9 {
        assert_eq!(land(&mut nats, n, b"after the copy"), n);
    }
    (0..3).for_each(|n| cluster.kill(n));
    (0..3).for_each(|n| copy_folder(&kept(n), &files(n)));
    (0..3).for_each(|n| cluster.run(n));
    cluster.await_health();
    Some((cluster, nats))
}

#[test]
fn stream_that_was_set_back_is_lost() {
    let Some((_cluster, mut nats)) = set_back("set back on NATS") else { return };
    let loss = lost(&mut nats, 10);
    assert!(matches!(loss, Loss::Shorter { followed: 9.., last: 5 }), "{loss}");
}

#[test]
fn stream_that_was_set_back_and_written_to_is_lost() {
    let Some((cluster, mut nats)) = set_back("set back and written to on NATS") else { return };
    let mut other = cluster.open_as("b");
    for n in 6..=12 {
        assert_eq!(land(&mut other, n, b"over what was followed"), n);
    }
    let loss = lost(&mut nats, 10);
    // The last one may have been proposed, and followed, twice.
    assert!(matches!(loss, Loss::Other { seq: 6..=12 }), "{loss}");
}

#[test]
fn proposal_that_lands_below_what_was_followed_is_a_loss() {
    let Some((_cluster, mut nats)) = set_back("proposal on a stream that was set back") else {
        return;
    };
    let loss = within("the loss is told", || {
        let _ = nats.propose(b"it lands at 6");
        match nats.next(10, PATIENCE) {
            Err(Next::Lost(loss)) => Ok(loss),
            other => Err(format!("{other:?}")),
        }
    });
    assert!(matches!(loss, Loss::Other { seq: 6.. } | Loss::Shorter { .. }), "{loss}");
}

#[test]
fn message_that_was_deleted_is_a_hole() {
    let check = "a hole on NATS";
    let Some(cluster) = Cluster::with_stream(check, Setup::default()) else { return };
    // With the right settings nothing can be deleted.
    let mut config = cluster.api("STREAM.INFO", &json!({}))["config"].clone();
    config["deny_delete"] = json!(false);
    cluster.api("STREAM.DELETE", &json!({}));
    within("another stream", || match cluster.api("STREAM.CREATE", &config).get("error") {
        Some(error) => Err(error.to_string()),
        None => Ok(()),
    });
    let mut nats = cluster.open();
    for n in 1..=5 {
        land(&mut nats, n, b"a");
    }
    let deleted = cluster.api("STREAM.MSG.DELETE", &json!({ "seq": 3 }));
    assert_eq!(deleted["success"], true, "{deleted}");
    let mut new = cluster.open_as("b");
    assert_eq!(read(&mut new, 2).seq, 2);
    assert_eq!(lost(&mut new, 3), Loss::Hole { seq: 3 });
    assert_eq!(land(&mut nats, 6, b"who had it goes on"), 6);
}

/// Answers every Direct Get beside the replicas: with a number far behind the one that was asked for.
async fn imposter(server: String) {
    let client = async_nats::connect(server).await.expect("connected");
    let stream = Names::new(NAME).stream;
    let subject = format!("$JS.API.DIRECT.GET.{stream}");
    let mut requests = client.subscribe(subject).await.expect("subscribed");
    while let Some(request) = requests.next().await {
        let asked: Value = serde_json::from_slice(&request.payload).expect("JSON");
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("Nats-Stream", stream.as_str());
        headers
            .insert("Nats-Sequence", (asked["seq"].as_u64().expect("a number") + 1000).to_string());
        headers.insert("Nats-Time-Stamp", "2026-01-01T00:00:00Z");
        let reply = request.reply.expect("a request");
        client.publish_with_headers(reply, headers, "skipped".into()).await.expect("sent");
    }
}

#[test]
fn replica_that_skips_numbers_is_not_believed() {
    let Some((cluster, mut nats)) = followed("a replica that skips on NATS", 20) else { return };
    let server = cluster.config().servers[0].clone();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let answering = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            tokio::select! {
                () = imposter(server) => {}
                _ = stopped => {}
            }
        });
    });
    let all: Vec<_> = (1..=20).map(|seq| read(&mut nats, seq)).collect();
    within("a gap is counted", || {
        // It is on one server, and not always the first to answer.
        let mut new = cluster.open_as("b");
        let again: Vec<_> = (1..=20).map(|seq| read(&mut new, seq)).collect();
        assert_eq!(again, all);
        if new.gaps() > 0 { Ok(()) } else { Err("no gap".to_owned()) }
    });
    assert_eq!(nats.next(21, PATIENCE), Err(Next::Quiet));
    assert_eq!(land(&mut nats, 21, b"goes on"), 21);
    drop(stop);
    answering.join().expect("no panic");
}
