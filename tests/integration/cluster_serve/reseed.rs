//! `jeton cluster reseed` on real servers: the stream is gone, and the nodes have everything.

use std::process::Output;

use serde_json::json;

use crate::client::Client;
use crate::cluster::servers::NAME;
use crate::server::{Server, jeton, output};

use super::lab::{
    Lab, await_equal, await_known, await_lost, await_ready, position, refused, report,
};

const PAYLOAD: &str = r#"{"payload":{"order":"A-17"},"ttl":"10m"}"#;
/// A stream in a test.
const STREAM_MAX: [&str; 2] = ["--stream-max-bytes", "256MiB"];

fn reseed(lab: &Lab, name: &str, more: &[&str]) -> Output {
    let dir = lab.path(name);
    let mut command = lab.command(&["cluster", "reseed"]);
    output(command.arg("--data-dir").arg(dir).args(STREAM_MAX).args(more))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A new node from a backup of a running one.
fn join(lab: &Lab, from: &Server, name: &str) -> Server {
    lab.restore(from, name);
    lab.node(name).start()
}

#[test]
fn p1_a_deleted_stream_is_made_anew_from_the_nodes_and_nothing_acknowledged_is_lost() {
    let Some(lab) = Lab::begun("reseed after a deleted stream") else { return };
    let servers = lab.start(["a", "b", "c"]);
    let mut tokens = Vec::new();
    for n in 0..60 {
        tokens.push(Client::of(&servers[n % 3]).issued(PAYLOAD).token);
    }
    let consumed = tokens.split_off(40);
    for token in &consumed {
        await_known(&servers[0], token);
        assert_eq!(Client::of(&servers[0]).consume(token).status, 200);
    }
    lab.nats.api("STREAM.DELETE", &json!({}));
    servers.iter().for_each(|server| drop(await_lost(server)));
    let running = reseed(&lab, "a", &["--old-cluster-is-stopped", NAME]);
    assert_eq!(running.status.code(), Some(1), "{running:?}");
    servers.into_iter().for_each(Server::kill9);
    let names = ["a", "b", "c"];
    let highest = names.into_iter().max_by_key(|name| position(&lab.path(name))).expect("three");
    let unsaid = reseed(&lab, highest, &[]);
    assert_eq!(unsaid.status.code(), Some(1), "{unsaid:?}");
    assert!(said(&unsaid).contains("--old-cluster-is-stopped shop"), "{}", said(&unsaid));
    let (_, end) = position(&lab.path(highest));
    for _ in 0..2 {
        let done = reseed(&lab, highest, &["--old-cluster-is-stopped", NAME]);
        assert!(done.status.success(), "{done:?}");
        let shown = String::from_utf8_lossy(&done.stdout).into_owned();
        let begin = format!("cluster shop goes on in era 2, from position 1.{end} with chain ");
        assert!(shown.starts_with(&begin), "{shown}");
    }
    let first = lab.node(highest).start();
    let mut all = Vec::new();
    for name in names.into_iter().filter(|name| *name != highest) {
        if position(&lab.path(name)) == (1, end) {
            all.push(lab.node(name).start());
        } else {
            let refused = refused(&lab.node(name));
            assert_eq!(refused.status.code(), Some(4), "{refused:?}");
            all.push(join(&lab, &first, &format!("{name}-anew")));
        }
    }
    all.push(first);
    for server in &all {
        await_ready(server);
        let mut client = Client::of(server);
        assert!(tokens.iter().all(|token| client.resolve(token).status == 200));
        assert!(consumed.iter().all(|token| client.consume(token).status == 404));
        let path = format!("/v1/tokens/{}", tokens[0]);
        let mut at_least = |position: String| {
            client.send("GET", &path, &[("Jeton-At-Least", &position)], "").status
        };
        assert_eq!(at_least(format!("1.{end}")), 200);
        assert_eq!(at_least(format!("1.{}", end + 1)), 412, "it is lost");
    }
    assert_eq!(Client::of(&all[0]).consume(&tokens[0]).status, 200);
    assert_eq!(Client::of(&all[1]).consume(&tokens[0]).status, 404);
    let chains = await_equal(&all.iter().collect::<Vec<_>>());
    assert!(chains.iter().all(|chain| *chain == chains[0]), "{chains:?}");
    assert!(report(&all[0])["position"].as_str().is_some_and(|text| text.starts_with("2.")));
    all.into_iter().for_each(Server::stop_well);
}

#[test]
fn p2_nodes_on_a_stream_that_is_given_up_end_for_good() {
    let Some(lab) = Lab::begun("reseed under a running node") else { return };
    let [one, two] = lab.start(["a", "b"]);
    let token = Client::of(&one).issued(PAYLOAD).token;
    await_known(&two, &token);
    one.stop_well();
    let followable = reseed(&lab, "a", &["--old-cluster-is-stopped", NAME]);
    assert_eq!(followable.status.code(), Some(1), "{followable:?}");
    assert!(said(&followable).contains("this node can follow it"), "{}", said(&followable));
    // Acknowledged on the old stream, and given up with it.
    let lost = Client::of(&two).issued(PAYLOAD).token;
    let done = reseed(&lab, "a", &["--give-up-stream", NAME]);
    assert!(done.status.success(), "{done:?}");
    assert_eq!(two.ended().code(), Some(4));
    let [one] = lab.start(["a"]);
    await_ready(&one);
    let mut client = Client::of(&one);
    assert_eq!((client.consume(&token).status, client.resolve(&lost).status), (200, 404));
    // The marker first, then the log itself prevents a start.
    let again = refused(&lab.node("b"));
    assert_eq!(again.status.code(), Some(4), "{again:?}");
    let dir = lab.path("b");
    let rejoined = output(jeton().args(["cluster", "rejoin"]).arg(&dir));
    assert!(rejoined.status.success(), "{rejoined:?}");
    let again = refused(&lab.node("b"));
    assert_eq!(again.status.code(), Some(4), "{again:?}");
    assert!(again.stderr.contains("the cluster goes on in era 2"), "{}", again.stderr);
    let rejoined = output(jeton().args(["cluster", "rejoin"]).arg(&dir));
    assert!(!rejoined.status.success(), "its log can never be continued");
    let two = join(&lab, &one, "c");
    assert_eq!(Client::of(&two).resolve(&token).status, 404);
    one.stop_well();
    two.stop_well();
}
