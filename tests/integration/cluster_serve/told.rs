//! What `jeton cluster status` and `nats-config` say: the gate between two restarts, servers that are
//! down, and a file that a NATS server takes.

use std::process::{Command, Output};

use crate::cluster::servers::{program, within};
use crate::server::{Server, jeton, output};
use crate::support::not_run;

use super::lab::{Lab, await_ready, report};

fn status(server: &Server, args: &[&str]) -> Output {
    let url = format!("http://{}", server.admin);
    output(jeton().args(["cluster", "status", "--server", &url]).args(args))
}

fn shown(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn gate_of_a_restart_is_passed_by_a_later_life_of_that_node() {
    let Some(lab) = Lab::begun("gate between two restarts") else { return };
    let [one, two] = ["a", "b"]
        .map(|name| lab.node(name).flag("--node-address", &format!("{name}.example:7450")).start());
    await_ready(&one);
    await_ready(&two);
    let before = report(&one);
    let (id, epoch) = (before["node"].as_str().expect("an id"), before["epoch"].to_string());
    let asked = ["--node", id, "--after-epoch", &epoch];
    let same_life = status(&one, &asked);
    assert_eq!(same_life.status.code(), Some(1), "{}", shown(&same_life));
    assert!(shown(&same_life).contains("a.example:7450"), "{}", shown(&same_life));
    let another = status(&two, &["--node", id, "--wait", "1s"]);
    assert_eq!(another.status.code(), Some(1), "{}", shown(&another));
    assert!(shown(&another).contains("not the node that was asked for"), "{}", shown(&another));
    one.stop_well();
    let [one] = lab.start(["a"]);
    let later = status(&one, &[&asked[..], &["--wait", "30s"]].concat());
    assert_eq!(later.status.code(), Some(0), "{}", shown(&later));
    [one, two].into_iter().for_each(Server::stop_well);
}

#[test]
fn a_server_that_is_down_is_told_although_sync_is_not_verified() {
    let Some(mut lab) = Lab::begun("server that is down, without monitors") else { return };
    let blind = lab.node_without("--cluster-monitor", "a");
    let server = blind.switch("--cluster-accept-unverified-sync").start();
    await_ready(&server);
    let well = status(&server, &["--wait", "30s"]);
    assert_eq!(well.status.code(), Some(0), "{}", shown(&well));
    let down = (lab.nats.leader() + 1) % 3;
    lab.nats.kill(down);
    let name = format!("server n{down} ");
    within("it is told", || match shown(&status(&server, &[])) {
        text if text.contains(&format!("degraded: {name}")) => Ok(()),
        text => Err(text),
    });
    assert_eq!(status(&server, &[]).status.code(), Some(1));
    assert_eq!(report(&server)["changes"], true, "two of three servers are enough");
    lab.nats.run(down);
    let well = status(&server, &["--wait", "60s"]);
    assert_eq!(well.status.code(), Some(0), "{}", shown(&well));
    server.stop_well();
}

#[test]
fn printed_configuration_is_taken_by_a_nats_server() {
    if let Err(why) = program() {
        return not_run("configuration of a NATS server", &why);
    }
    let dir = tempfile::tempdir().expect("a folder");
    let store = dir.path().join("streams of n1");
    let printed = output(
        jeton()
            .args(["cluster", "nats-config", "--server-name", "007", "--cluster-name", "1e3"])
            .args(["--routes", "nats://[::1]:6222,nats://n2.example:6222"])
            .args(["--listen", "[::1]:4222", "--route-listen", "[::1]:6222"])
            .args(["--monitor-listen", "0.0.0.0:8222", "--store-dir"])
            .arg(&store),
    );
    assert!(printed.status.success(), "{printed:?}");
    let file = dir.path().join("n1.conf");
    std::fs::write(&file, &printed.stdout).expect("written");
    let checked = Command::new("nats-server").arg("-t").arg("--config").arg(&file).output();
    let checked = checked.expect("it runs");
    assert!(checked.status.success(), "{checked:?}");
}
