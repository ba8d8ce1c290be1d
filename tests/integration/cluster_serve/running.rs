//! What three nodes do together, and what becomes of one that is killed, copied or cut off.

use serde_json::json;
use std::path::Path;

use crate::client::Client;
use crate::cluster::servers::within;
use crate::server::{jeton, output};
use crate::support::copy_folder;

use super::lab::{Lab, admin, await_equal, await_known, await_ready, refused, report};

const PAYLOAD: &str = r#"{"payload":{"order":"A-17"},"ttl":"10m"}"#;

#[test]
fn p2_a_token_is_issued_resolved_and_consumed_on_three_nodes_once() {
    let Some(lab) = Lab::begun("three nodes of a cluster") else { return };
    let [one, two, three] = lab.start(["a", "b", "c"]);
    for server in [&one, &two, &three] {
        await_ready(server);
    }
    let token = Client::of(&one).issued(PAYLOAD).token;
    // At once: what another node does not know yet it does not call unknown.
    let found = Client::of(&two).resolve(&token);
    assert_eq!((found.status, found.text()), (200, r#"{"order":"A-17"}"#));
    assert_eq!(Client::of(&three).consume(&token).status, 200);
    for server in [&three, &one, &two] {
        let mut client = Client::of(server);
        let again = client.consume(&token);
        assert_eq!(again.status, 404, "{}", again.text());
    }
    let linear = [("Jeton-Read", "linear")];
    for server in [&one, &two, &three] {
        let path = format!("/v1/tokens/{token}");
        assert_eq!(Client::of(server).send("GET", &path, &linear, "").status, 404);
    }
    let chains = await_equal(&[&one, &two, &three]);
    assert!(chains.iter().all(|chain| *chain == chains[0] && !chain.0.is_empty()), "{chains:?}");
    well(&one);
    [one, two, three].into_iter().for_each(crate::server::Server::stop_well);
}

/// `jeton cluster status` of a node says that all is well.
fn well(server: &crate::server::Server) {
    let url = format!("http://{}", server.admin);
    let status = output(jeton().args(["cluster", "status", "--server", &url, "--wait", "30s"]));
    let shown = String::from_utf8_lossy(&status.stdout).into_owned();
    assert_eq!(status.status.code(), Some(0), "{shown}");
    assert!(shown.starts_with("cluster shop: ready"), "{shown}");
    let json = output(jeton().args(["cluster", "status", "--server", &url, "--json"]));
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!((&json["state"], &json["degraded"]), (&json!("ready"), &json!([])));
}

#[test]
fn p2_rivals_on_all_nodes_have_one_winner() {
    let Some(lab) = Lab::begun("rivals in a cluster") else { return };
    let servers = lab.start(["a", "b", "c"]);
    let tokens: Vec<String> =
        (0..40).map(|_| Client::of(&servers[0]).issued(PAYLOAD).token).collect();
    for server in &servers {
        await_known(server, tokens.last().expect("many"));
    }
    let wins: Vec<Vec<bool>> = std::thread::scope(|scope| {
        let rivals = servers.each_ref().map(|server| {
            let tokens = &tokens;
            scope.spawn(move || {
                let mut client = Client::of(server);
                tokens.iter().map(|token| client.consume(token).status == 200).collect()
            })
        });
        rivals.map(|rival| rival.join().expect("no panic")).into()
    });
    for n in 0..tokens.len() {
        let winners = wins.iter().filter(|won| won[n]).count();
        assert_eq!(winners, 1, "token {n}");
    }
    let chains = await_equal(&servers.each_ref());
    assert!(chains.iter().all(|chain| *chain == chains[0]), "{chains:?}");
}

#[test]
fn p1_a_killed_node_catches_up_and_the_others_go_on() {
    let Some(lab) = Lab::begun("kill -9 of a node") else { return };
    let [one, two, three] = lab.start(["a", "b", "c"]);
    let before = Client::of(&three).issued(PAYLOAD).token;
    await_known(&one, &before);
    three.kill9();
    let meanwhile = Client::of(&one).issued(PAYLOAD).token;
    assert_eq!(Client::of(&two).consume(&before).status, 200);
    let [three] = lab.start(["c"]);
    // It serves only when it knows everything that was acknowledged before.
    let mut client = Client::of(&three);
    assert_eq!(client.resolve(&meanwhile).status, 200);
    assert_eq!(client.resolve(&before).status, 404);
    let chains = await_equal(&[&one, &two, &three]);
    assert!(chains.iter().all(|chain| *chain == chains[0]), "{chains:?}");
    [one, two, three].into_iter().for_each(crate::server::Server::stop_well);
}

#[test]
fn a_second_process_of_the_same_node_ends_the_first_for_good() {
    let Some(lab) = Lab::begun("second process of a node") else { return };
    let [first] = lab.start(["a"]);
    let token = Client::of(&first).issued(PAYLOAD).token;
    copy_folder(&lab.path("a"), &lab.path("copy"));
    let [second] = lab.start(["copy"]);
    assert_eq!(Client::of(&second).resolve(&token).status, 200);
    assert_eq!(first.ended().code(), Some(4));
    // A supervisor that restarts it anyway achieves nothing.
    let again = refused(&lab.node("a"));
    assert_eq!(again.status.code(), Some(4), "{again:?}");
    assert!(again.stderr.contains("another process runs as this node"), "{}", again.stderr);
    assert_eq!(report(&second)["state"], "ready");
    // Only a person brings it back, as another node.
    let dir = lab.path("a");
    let rejoined = output(jeton().args(["cluster", "rejoin", dir.to_str().expect("UTF-8")]));
    assert!(rejoined.status.success(), "{rejoined:?}");
    let [first] = lab.start(["a"]);
    assert_eq!(Client::of(&first).resolve(&token).status, 200);
    assert_ne!(report(&first)["node"], report(&second)["node"]);
    second.stop_well();
    first.stop_well();
}

#[test]
fn p1_without_a_majority_changes_are_refused_and_known_tokens_resolve() {
    let Some(mut lab) = Lab::begun("no majority of a cluster") else { return };
    let [server] = lab.start(["a"]);
    let mut client = Client::of(&server);
    let token = client.issued(PAYLOAD).token;
    lab.nats.kill(0);
    lab.nats.kill(1);
    within("changes are refused", || match client.issue(PAYLOAD) {
        refused if refused.status == 503 && refused.text().contains("no-quorum") => Ok(()),
        other => Err(format!("{}: {}", other.status, other.text())),
    });
    assert_eq!(client.resolve(&token).status, 200);
    let unknown = client.resolve("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    assert_eq!(unknown.status, 503, "a miss is answered only after it was confirmed");
    assert_eq!(admin(&server, "/healthz").status, 200);
    let reads = admin(&server, "/readyz");
    assert_eq!((reads.status, reads.text().starts_with("no-quorum: ")), (200, true));
    let changes = admin(&server, "/readyz?for=changes");
    assert_eq!(changes.status, 503, "{}", changes.text());
    lab.nats.run(0);
    lab.nats.run(1);
    await_ready(&server);
    assert_eq!(client.issue(PAYLOAD).status, 201);
    server.stop_well();
}

#[test]
fn resolves_end_when_the_node_has_been_silent_for_too_long() {
    let Some(mut lab) = Lab::begun("staleness of a node") else { return };
    let server = lab.node("a").flag("--cluster-staleness", "3s").start();
    let mut client = Client::of(&server);
    let token = client.issued(PAYLOAD).token;
    lab.nats.kill(0);
    lab.nats.kill(1);
    within("it is stale", || match admin(&server, "/readyz") {
        answer if answer.status == 503 && answer.text().starts_with("stale: ") => Ok(()),
        other => Err(other.text().to_owned()),
    });
    let stale = client.resolve(&token);
    assert_eq!(stale.status, 503, "{}", stale.text());
    assert!(stale.text().contains("stale"), "{}", stale.text());
    lab.nats.run(0);
    lab.nats.run(1);
    await_ready(&server);
    assert_eq!(client.resolve(&token).status, 200);
}

#[test]
fn a_setting_that_becomes_wrong_stops_changes_until_it_is_right() {
    let Some(lab) = Lab::begun("edited setting under a node") else { return };
    let [server] = lab.start(["a"]);
    let mut client = Client::of(&server);
    let token = client.issued(PAYLOAD).token;
    lab.nats.edit(&json!({ "discard": "old" }));
    within("it is told", || match admin(&server, "/readyz?for=changes") {
        answer if answer.status == 503 && answer.text().contains("wrong-settings") => Ok(()),
        other => Err(other.text().to_owned()),
    });
    let answer = client.issue(PAYLOAD);
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(client.resolve(&token).status, 200);
    lab.nats.edit(&json!({ "discard": "new" }));
    await_ready(&server);
    assert_eq!(client.issue(PAYLOAD).status, 201);
}

#[test]
fn a_stream_made_anew_is_never_followed() {
    let Some(lab) = Lab::begun("remade stream under a node") else { return };
    let [server] = lab.start(["a"]);
    let mut client = Client::of(&server);
    client.issued(PAYLOAD);
    let position = report(&server)["position"].clone();
    lab.nats.api("STREAM.DELETE", &json!({}));
    assert!(lab.init().status.success());
    within("it is lost", || match admin(&server, "/readyz") {
        answer if answer.status == 503 && answer.text().starts_with("lost: ") => Ok(()),
        other => Err(other.text().to_owned()),
    });
    let answer = client.issue(PAYLOAD);
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(report(&server)["state"], "lost", "after position {position}");
    server.kill9();
    // A restart does not change that.
    let again = refused(&lab.node("a"));
    assert_eq!(again.status.code(), Some(2), "{again:?}");
}

#[test]
fn metrics_of_a_node_are_those_of_the_book() {
    let Some(lab) = Lab::begun("metrics of a node") else { return };
    // Some metrics are there only where the node has what they say.
    let server = lab.node("a").flag("--max-memory", "1GiB").start();
    await_ready(&server);
    let text = within("the metrics have the node's limit", || {
        let text = admin(&server, "/metrics").text().to_owned();
        if text.contains("members_memory_max") { Ok(text) } else { Err(text) }
    });
    let described = text.lines().filter_map(|line| {
        let (name, _) = line.strip_prefix("# TYPE ")?.split_once(' ')?;
        Some(name.to_owned())
    });
    let mut served: Vec<String> =
        described.filter(|name| name.starts_with("jeton_cluster_")).collect();
    served.sort();
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/src/operations/cluster.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `jeton_cluster_"));
    let mut listed: Vec<String> =
        rows.filter_map(|row| Some(format!("jeton_cluster_{}", row.split_once('`')?.0))).collect();
    listed.sort();
    assert_eq!(served, listed);
    assert!(text.contains("\njeton_cluster_state{state=\"ready\"} 1\n"), "{text}");
}

#[test]
fn p7_the_stream_forgets_what_two_nodes_have_and_a_backup_makes_a_new_one() {
    let Some(lab) = Lab::begun("trim of the stream") else { return };
    let [one, two] = lab.start(["a", "b"]);
    let mut client = Client::of(&one);
    let token = client.issued(PAYLOAD).token;
    // Half of the stream stays: 128 MiB.
    let payload = format!(r#"{{"payload":"{}","ttl":"2s"}}"#, "x".repeat(60 << 10));
    let batch = format!(r#"{{"tokens":[{}]}}"#, vec![payload; 16].join(","));
    for _ in 0..160 {
        let answer = client.post("/v1/tokens/batch", &batch);
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    within("the begin is forgotten", || match report(&two)["stream"]["first"].as_u64() {
        Some(first) if first > 1 => Ok(()),
        first => Err(format!("{first:?}")),
    });
    let refused = refused(&lab.node("new"));
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(
        refused.stderr.contains("run jeton cluster join into a new directory"),
        "{}",
        refused.stderr
    );
    let (backup, dir, secret) = (lab.path("backup"), lab.path("c"), lab.path("secret.key"));
    let url = format!("http://{}", two.admin);
    let taken = output(jeton().args(["backup", "--server", &url]).arg(&backup));
    assert!(taken.status.success(), "{taken:?}");
    let restored = jeton()
        .arg("restore")
        .arg(&backup)
        .arg("--data-dir")
        .arg(&dir)
        .arg("--secret-file")
        .arg(&secret)
        .output()
        .expect("it runs");
    assert!(restored.status.success(), "{restored:?}");
    let [three] = lab.start(["c"]);
    assert_eq!(Client::of(&three).resolve(&token).status, 200);
    let chains = await_equal(&[&one, &two, &three]);
    assert!(chains.iter().all(|chain| *chain == chains[0]), "{chains:?}");
    [one, two, three].into_iter().for_each(crate::server::Server::stop_well);
}
