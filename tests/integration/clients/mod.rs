//! The clients of `clients/`: their own tests, and the conformance suite that all of them pass.

mod python;
mod rust;
mod typescript;

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};

use crate::cluster_serve::lab::{Lab, await_ready};
use crate::pki::{Ca, Files, put};
use crate::server::{Launch, Server, wait};
use crate::support::{not_run, prepared_by, said};
use crate::volume::volume;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const JETON: &str = env!("CARGO_BIN_EXE_jeton");

/// What `clients/prepare` has installed; where it installs nothing, the check is not run. A client that does
/// not compile fails the test.
fn prepared(check: &str, what: &str) -> Option<String> {
    prepared_by(&format!("{ROOT}/clients/prepare"), check, what)
}

/// Runs a command that must succeed, and returns what it printed.
fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().expect("the command runs");
    let said = said(&output);
    assert!(output.status.success(), "{command:?}: {said}");
    said
}

fn has_python(check: &str) -> bool {
    let there = Command::new("python3").arg("--version").output().is_ok();
    if !there {
        not_run(check, "there is no python3");
    }
    there
}

/// Runs the conformance suite with a Python and the command of a driver, which gives itself this name.
fn conforms(python: &mut Command, driver: &[&str], name: &str) {
    let size = if volume("clients", 1) > 1 { "all" } else { "small" };
    let said = run(python
        .arg(format!("{ROOT}/clients/conformance/run.py"))
        .args(["--jeton", JETON, "--volume", size, "--quiet", "--"])
        .args(driver)
        .env("PYTHONDONTWRITEBYTECODE", "1"));
    assert!(said.contains(&format!("{name}: ")), "{said}");
    assert!(said.contains(" cases, 0 failed"), "{said}");
}

/// A client that gets the URL of a server, its authority, and a certificate with its key that the server
/// asks for. It says `ok` at the end.
fn speaks_tls(client: &mut Command) {
    let dir = tempfile::tempdir().expect("a folder");
    let (ca, clients) = (Ca::new("servers"), Ca::new("clients"));
    let files = Files::in_dir(dir.path(), &ca.issue(&["127.0.0.1"]), &ca);
    let own = dir.path().join("own");
    std::fs::create_dir(&own).expect("a folder");
    let own = Files::in_dir(&own, &clients.issue(&["shop.example"]), &clients);
    let [client_ca, keys] = ["clients.pem", "keys.toml"].map(|name| dir.path().join(name));
    put(&client_ca, &clients.pem);
    let text = |path: &std::path::Path| path.to_str().expect("UTF-8").to_owned();
    let mut add = Command::new(JETON);
    add.args(["keys", "add", "--keys", &text(&keys), "--scope", "issue,consume"]);
    run(add.args(["--certificate", "shop.example"]));
    let server = Launch::on(&dir.path().join("data"))
        .flag("--keys", &text(&keys))
        .flag("--tls-cert", &text(&files.cert))
        .flag("--tls-key", &text(&files.key))
        .flag("--tls-client-ca", &text(&client_ca))
        .start();
    client.arg(format!("https://{}", server.data)).args([&files.ca, &own.cert, &own.key]);
    assert_eq!(run(client), "ok\n");
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
