//! The clients of `clients/`: their own tests, and the conformance suite that all of them pass.

mod python;
mod typescript;

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Output, Stdio};

use crate::cluster_serve::lab::{Lab, await_ready};
use crate::server::{Server, wait};
use crate::support::not_run;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// What `clients/prepare` has installed; `None` where it cannot, which is told.
fn prepared(check: &str, what: &str) -> Option<String> {
    let prepare = Command::new("bash")
        .arg(format!("{ROOT}/clients/prepare"))
        .arg(what)
        .stdin(Stdio::null())
        .output()
        .expect("bash runs");
    if !prepare.status.success() {
        not_run(check, String::from_utf8_lossy(&prepare.stderr).trim());
        return None;
    }
    Some(String::from_utf8(prepare.stdout).expect("UTF-8").trim().to_owned())
}

/// Runs a command that must succeed, and returns what it printed.
fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().expect("the command runs");
    let said = said(&output);
    assert!(output.status.success(), "{command:?}: {said}");
    said
}

fn said(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    format!("{out}{err}")
}

/// Kills the node that a client uses. The client, which gets the URLs of three nodes, says which it is after
/// its first tokens, and `ok` after its last.
fn outlives_its_node(check: &str, client: &mut Command) {
    let Some(lab) = Lab::begun(check) else { return };
    let nodes = lab.start(["a", "b", "c"]);
    nodes.iter().for_each(await_ready);
    client.args(nodes.each_ref().map(url));
    let mut client = client.stdout(Stdio::piped()).spawn().expect("it runs");
    let mut said = BufReader::new(client.stdout.take().expect("its output"));
    let mut first = String::new();
    said.read_line(&mut first).expect("a line");
    let (used, _others): (Vec<_>, Vec<_>) =
        nodes.into_iter().partition(|node| first == format!("begun {}\n", url(node)));
    assert_eq!(used.len(), 1, "{first}");
    used.into_iter().for_each(Server::kill9);
    let ended = wait(&mut client);
    let mut rest = String::new();
    said.read_to_string(&mut rest).expect("text");
    assert!(ended.success(), "{rest}");
    assert_eq!(rest, "ok\n");
}

fn url(node: &Server) -> String {
    format!("http://{}", node.data)
}
