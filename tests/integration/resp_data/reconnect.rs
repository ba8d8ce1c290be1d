//! Real clients go on after the server was killed and started anew (P1): what they had set is there.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use super::clients::{FOLDER, prepared};
use super::redis::Jeton;
use crate::server::{Launch, Server};

/// Runs a program that prints `restart` when the server is to be killed and started anew, waits for a
/// line of its standard input, and prints `ok` in the end.
fn goes_on(check: &str, command: &mut Command) {
    let dir = tempfile::tempdir().expect("a folder");
    let start =
        |listen: &str| -> Server { Launch::on(dir.path()).flag("--resp-listen", listen).start() };
    let mut jeton = Jeton::of(start("127.0.0.1:0"));
    let address = jeton.address;
    command.args([address.ip().to_string(), address.port().to_string()]);
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = piped.spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("piped");
    let mut restarts = 0;
    for line in BufReader::new(child.stdout.take().expect("piped")).lines() {
        match line.expect("UTF-8").as_str() {
            "restart" => {
                jeton.server.kill9();
                jeton = Jeton::of(start(&address.to_string()));
                stdin.write_all(b"\n").expect("it reads on");
                restarts += 1;
            }
            "ok" => {
                assert!(restarts > 0, "{check} has seen no restart");
                assert!(child.wait().expect("a child of ours").success(), "{check}");
                return;
            }
            other => panic!("{check}: {other}"),
        }
    }
    panic!("{check} does not go on: {:?}", child.wait());
}

#[test]
fn p1_redis_py_goes_on_after_a_restart() {
    if let Some(python) = prepared("redis-py, a restart", "python") {
        goes_on("redis-py", Command::new(python).arg(format!("{FOLDER}/reconnect.py")));
    }
}

#[test]
fn p1_ioredis_and_node_redis_go_on_after_a_restart() {
    if let Some(folder) = prepared("ioredis and node-redis, a restart", "node") {
        let mut node = Command::new("node");
        node.arg(format!("{FOLDER}/reconnect.js"));
        goes_on("node", node.env("NODE_PATH", format!("{folder}/node_modules")));
    }
}

#[test]
fn p1_redis_rs_goes_on_after_a_restart() {
    if let Some(program) = prepared("redis-rs, a restart", "rust") {
        goes_on("redis-rs", Command::new(program).arg("reconnect-redis-rs"));
    }
}

#[test]
fn p1_fred_goes_on_after_a_restart() {
    if let Some(program) = prepared("fred, a restart", "rust") {
        goes_on("fred", Command::new(program).arg("reconnect-fred"));
    }
}
