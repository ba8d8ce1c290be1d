//! All servers lose power at the same time.

use std::os::unix::fs::symlink;
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::client::Client;
use crate::cluster::servers::{NAME, Setup, within};
use crate::cluster_kills::house::House;
use crate::cluster_kills::{chapter, judge};
use crate::cluster_serve::lab::{
    Lab, await_equal, await_known, await_lost, await_ready, position, refused, setup, started,
};
use crate::server::{Launch, Server, output};
use crate::volume::tell;

use super::disk::Disk;

const NODES: [&str; 3] = ["a", "b", "c"];
const PAYLOAD: &str = r#"{"payload":{"order":"A-17"},"ttl":"10m"}"#;
const DISK_MIB: u64 = 128;
/// Bytes that the stream may hold, as in the lab.
const STREAM_MAX: &str = "256MiB";

/// A folder of the servers in which each store is on its own disk.
fn folder(disks: &[Disk; 3]) -> TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    for (n, disk) in disks.iter().enumerate() {
        symlink(disk.path(), dir.path().join(format!("n{n}"))).expect("made");
    }
    dir
}

/// All servers lose power at the same instant, and start again.
fn cut(lab: &mut Lab, disks: &[Disk; 3]) {
    // None of them does anything between the cuts.
    (0..3).for_each(|n| lab.nats.signal(n, Signal::STOP));
    disks.iter().for_each(Disk::cut);
    (0..3).for_each(|n| lab.nats.kill(n));
    disks.iter().for_each(Disk::again);
    (0..3).for_each(|n| lab.nats.run(n));
}

#[test]
fn p1_p2_power_cut_of_all_servers_loses_nothing_and_consumes_nothing_twice() {
    let check = "power cut of all servers";
    let Some(disks) = Disk::three(check, DISK_MIB) else { return };
    let Some(lab) = Lab::begun_in(check, folder(&disks), setup()) else { return };
    let launches = NODES.map(|name| lab.node(name));
    let mut house = House::of(lab, launches);
    let mut back_ms = 0;
    let done = chapter(&mut house, 1, |house| {
        for _ in 0..2 {
            thread::sleep(Duration::from_secs(2));
            cut(&mut house.lab, &disks);
            let begin = Instant::now();
            house.lab.nats.await_health();
            house.await_all_ready();
            back_ms = back_ms.max(since_ms(begin));
        }
    });
    let silence_ms = done.silence_ms;
    let histories = judge(&house, done, "of a power cut of all servers");
    let calls: usize = histories.iter().map(Vec::len).sum();
    assert!(histories.len() > 20, "{} tokens are too few to show anything", histories.len());
    house.stop();
    let figures = [("tokens", histories.len() as u64), ("calls", calls as u64)];
    let times = [("back_ms", back_ms), ("silence_ms", silence_ms)];
    tell("cluster-power-servers", &[figures, times].concat());
}

/// A command of the cluster that cannot see how the servers sync.
fn blind(lab: &Lab, args: &[&str]) -> Command {
    let mut command = crate::server::jeton();
    command.args(args);
    for (name, value) in lab.flags() {
        if name != "--cluster-monitor" {
            command.arg(name).arg(value);
        }
    }
    command.arg("--cluster-accept-unverified-sync");
    command
}

fn blind_node(lab: &Lab, name: &str) -> Launch {
    lab.node_without("--cluster-monitor", name).switch("--cluster-accept-unverified-sync")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A cluster on servers that sync now and then: nobody makes it by mistake.
fn risky(check: &str, disks: &[Disk; 3]) -> Option<Lab> {
    let servers = Setup { syncs_always: [false; 3], ..setup() };
    let lab = Lab::empty_in(check, folder(disks), servers)?;
    let init = ["cluster", "init", "--stream-max-bytes", STREAM_MAX];
    let made = lab.init();
    assert!(!made.status.success() && said(&made).contains("sync"), "{made:?}");
    let made = output(&mut blind(&lab, &init));
    assert!(made.status.success() && said(&made).contains("warning: "), "{made:?}");
    let refused = refused(&lab.node("a").switch("--cluster-accept-unverified-sync"));
    assert!(refused.stderr.contains("sync"), "{}", refused.stderr);
    lab.nats.await_health();
    Some(lab)
}

#[test]
fn p1_stream_that_a_power_cut_has_shortened_is_reported_and_the_nodes_bring_everything_back() {
    let check = "power cut of servers that do not sync each message";
    let Some(disks) = Disk::three(check, DISK_MIB) else { return };
    let Some(mut lab) = risky(check, &disks) else { return };
    let launches = NODES.map(|name| blind_node(&lab, name));
    let nodes = started(&launches);
    nodes.iter().for_each(await_ready);
    let mut clients = nodes.each_ref().map(Client::of);
    let mut tokens: Vec<_> = (0..60).map(|n| clients[n % 3].issued(PAYLOAD).token).collect();
    let consumed = tokens.split_off(40);
    for token in &consumed {
        await_known(&nodes[0], token);
        assert_eq!(clients[0].consume(token).status, 200);
    }
    // The last consume may not have reached all nodes yet.
    await_equal(&nodes.each_ref());
    cut(&mut lab, &disks);
    let begin = Instant::now();
    let sentences = nodes.each_ref().map(await_lost);
    let told_ms = since_ms(begin);
    for client in &mut clients {
        assert_eq!(client.issue(PAYLOAD).status, 503);
        assert_eq!(client.resolve(&tokens[0]).status, 503, "{}", sentences[0]);
    }
    nodes.into_iter().for_each(Server::kill9);
    let dirs = NODES.map(|name| lab.path(name));
    let highest = NODES.into_iter().max_by_key(|name| position(&lab.path(name))).expect("three");
    let seq = position(&lab.path(highest)).1;
    assert!(dirs.iter().all(|dir| position(dir) == (1, seq)), "the logs stay as they are");
    let gave_up = reseed(&lab, highest);
    let nodes = started(&launches);
    nodes.iter().for_each(await_ready);
    for node in &nodes {
        let mut client = Client::of(node);
        assert!(tokens.iter().all(|token| client.resolve(token).status == 200));
        assert!(consumed.iter().all(|token| client.consume(token).status == 404));
    }
    assert_eq!(Client::of(&nodes[0]).consume(&tokens[0]).status, 200);
    let chains = await_equal(&nodes.each_ref());
    assert!(chains.iter().all(|one| *one == chains[0]), "{chains:?}");
    nodes.into_iter().for_each(Server::stop_well);
    let figures = [("told_ms", told_ms), ("stream_was_there", gave_up), ("position", seq)];
    tell("cluster-power-unsynced", &figures);
}

/// Makes the stream anew; 1 if what was left of the old one had to be given up.
fn reseed(lab: &Lab, name: &str) -> u64 {
    let with = |way: &str| {
        let mut command = blind(lab, &["cluster", "reseed", "--stream-max-bytes", STREAM_MAX]);
        output(command.arg("--data-dir").arg(lab.path(name)).args([way, NAME]))
    };
    let done = with("--old-cluster-is-stopped");
    if done.status.success() {
        return 0;
    }
    assert!(said(&done).contains("--give-up-stream"), "{done:?}");
    within("the stream is made anew", || match with("--give-up-stream") {
        done if done.status.success() => Ok(1),
        done => Err(said(&done)),
    })
}

fn since_ms(begin: Instant) -> u64 {
    u64::try_from(begin.elapsed().as_millis()).expect("not that long")
}
