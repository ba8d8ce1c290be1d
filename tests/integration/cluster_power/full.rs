//! A full disk under a node, and under a server.

use std::os::unix::fs::symlink;
use std::time::Instant;

use crate::client::Client;
use crate::cluster::servers::within;
use crate::cluster_serve::lab::{
    Lab, admin, await_equal, await_known, await_ready, report, setup, started,
};
use crate::full_disk::SmallDisk;
use crate::raw::Response;
use crate::server::Server;
use crate::support::not_run;
use crate::volume::tell;

const PAYLOAD: &str = r#"{"payload":{"order":"A-17"},"ttl":"10m"}"#;

/// A change that takes much room.
fn long_issue(client: &mut Client) -> Response {
    client.issue(&format!(r#"{{"payload":"{}","ttl":"10m"}}"#, "p".repeat(60_000)))
}

/// Waits until a node says this word to those who ask for changes; the whole text.
fn await_word(node: &Server, word: &str) -> String {
    within(word, || match admin(node, "/readyz?for=changes") {
        answer if answer.text().starts_with(&format!("{word}: ")) => Ok(answer.text().to_owned()),
        answer => Err(answer.text().to_owned()),
    })
}

/// What a node has proposed again.
fn proposed_again(node: &Server) -> u64 {
    let text = admin(node, "/metrics").text().to_owned();
    let line = text.lines().find(|line| line.starts_with("jeton_cluster_proposed_again_total"));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).expect("a number")
}

#[test]
fn p6_p8_node_with_a_full_disk_names_it_and_waits_and_the_others_go_on() {
    let check = "full disk of a node";
    let place = tempfile::tempdir().expect("a folder");
    let Some(disk) = SmallDisk::sized(place.path(), "80m") else {
        return not_run(check, "needs root");
    };
    let Some(lab) = Lab::begun(check) else { return };
    let data = place.path().join("data");
    let data = data.to_str().expect("UTF-8");
    let launches = [lab.node("a"), lab.node("b"), lab.node("c").flag("--data-dir", data)];
    let nodes = started(&launches.map(|one| one.flag("--cluster-staleness", "5s")));
    nodes.iter().for_each(await_ready);
    let [mut a, mut b, mut c] = nodes.each_ref().map(Client::of);
    let [known, consumed] = [(); 2].map(|()| a.issued(PAYLOAD).token);
    [&known, &consumed].into_iter().for_each(|one| drop(await_known(&nodes[2], one)));
    disk.fill_up();
    within("its log has no room", || {
        for _ in 0..10 {
            let made = long_issue(&mut a);
            assert_eq!(made.status, 201, "{}", made.text());
        }
        let text = admin(&nodes[2], "/readyz?for=changes").text().to_owned();
        if text.starts_with("unwritable: ") { Ok(()) } else { Err(text) }
    });
    let begin = Instant::now();
    let full = "the log's disk is full: ";
    let said = await_word(&nodes[2], "unwritable");
    assert!(said.starts_with(&format!("unwritable: {full}")), "{said}");
    assert_eq!(admin(&nodes[2], "/readyz").status, 200, "reads go on until the fence closes");
    let said = await_word(&nodes[2], "stale");
    let stale_ms = since_ms(begin);
    assert!(said.starts_with(&format!("stale: {full}")), "{said}");
    assert_eq!(c.resolve(&known).status, 503);
    assert_eq!(c.issue(PAYLOAD).status, 503);
    // The others go on, and the node does not fill the stream.
    let again = proposed_again(&nodes[2]);
    let fresh = b.issued(PAYLOAD).token;
    assert_eq!(b.consume(&consumed).status, 200);
    await_known(&nodes[0], &fresh);
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert_eq!(proposed_again(&nodes[2]), again, "what it has proposed may be stored long since");
    disk.give_back();
    let begin = Instant::now();
    await_ready(&nodes[2]);
    let ready_ms = since_ms(begin);
    assert_eq!(c.resolve(&fresh).status, 200);
    assert_eq!(c.consume(&consumed).status, 404);
    assert_eq!(c.consume(&known).status, 200);
    assert_equal(&nodes);
    nodes.into_iter().for_each(Server::stop_well);
    tell("cluster-full-node", &[("stale_ms", stale_ms), ("ready_ms", ready_ms)]);
}

#[test]
fn p1_p6_server_with_a_full_disk_stops_no_node() {
    let check = "full disk of a server";
    let place = tempfile::tempdir().expect("a folder");
    let Some(disk) = SmallDisk::sized(place.path(), "32m") else {
        return not_run(check, "needs root");
    };
    let dir = tempfile::tempdir().expect("a folder");
    symlink(place.path(), dir.path().join("n0")).expect("made");
    let Some(mut lab) = Lab::begun_in(check, dir, setup()) else { return };
    let nodes = lab.start(["a", "b", "c"]);
    nodes.iter().for_each(await_ready);
    lab.nats.lead(0);
    lab.nats.await_health();
    disk.fill_up();
    let begin = Instant::now();
    let mut clients = nodes.each_ref().map(Client::of);
    let mut tokens = Vec::new();
    // The servers write much more than what is left, so the full one has noticed it.
    within("another server leads, and changes go on", || {
        let made = long_issue(&mut clients[tokens.len() % 3]);
        if made.status != 201 {
            let said = |node| admin(node, "/readyz?for=changes").text().to_owned();
            return Err(format!("{}: {:?}", made.text(), nodes.each_ref().map(said)));
        }
        tokens.push(made.json()["token"].as_str().expect("a token").to_owned());
        if tokens.len() > 100 && lab.nats.leader() != 0 { Ok(()) } else { Err("n0".to_owned()) }
    });
    let elected_ms = since_ms(begin);
    within("the nodes name the server", || {
        let report = report(&nodes[1])["degraded"].to_string();
        let is_named = report.contains("server n0 stores nothing");
        if is_named { Ok(()) } else { Err(report) }
    });
    nodes.iter().for_each(await_ready);
    assert_eq!(clients[1].consume(&tokens[0]).status, 200);
    disk.give_back();
    // The server has shut its JetStream, and says so in its log: a person restarts it.
    lab.nats.kill(0);
    lab.nats.run(0);
    let begin = Instant::now();
    lab.nats.await_health();
    let healthy_ms = since_ms(begin);
    nodes.iter().for_each(await_ready);
    for client in &mut clients {
        assert!(tokens[1..].iter().all(|token| client.resolve(token).status == 200));
        assert_eq!(client.consume(&tokens[0]).status, 404);
    }
    assert_equal(&nodes);
    nodes.into_iter().for_each(Server::stop_well);
    drop(lab);
    tell("cluster-full-server", &[("elected_ms", elected_ms), ("healthy_ms", healthy_ms)]);
}

fn assert_equal(nodes: &[Server; 3]) {
    let chains = await_equal(&nodes.each_ref());
    assert!(chains.iter().all(|one| *one == chains[0]), "{chains:?}");
}

fn since_ms(begin: Instant) -> u64 {
    u64::try_from(begin.elapsed().as_millis()).expect("not that long")
}
