//! The TypeScript client: its tests with its types, its README, the conformance suite, and one run of the
//! package in each runtime.

use std::process::Command;

use super::{ROOT, outlives_its_node, prepared, run};
use crate::pki::{Ca, Files, put};
use crate::server::{Launch, Server};
use crate::support::not_run;
use crate::volume::volume;

const JETON: &str = env!("CARGO_BIN_EXE_jeton");

/// The folder with the built client.
fn built(check: &str) -> Option<String> {
    prepared(check, "typescript")
}

/// Node with a script of `clients/typescript/conformance`.
fn node(folder: &str, script: &str) -> Command {
    let mut node = Command::new("node");
    node.arg(format!("conformance/{script}")).current_dir(folder);
    node
}

#[test]
fn its_tests_pass() {
    let Some(folder) = built("the tests of the TypeScript client") else { return };
    let log = std::fs::read_to_string(format!("{folder}.log")).expect("the log of the build");
    assert!(std::fs::exists(format!("{folder}.installed")).expect("readable"), "{log}");
    let mut npm = Command::new("npm");
    // The build has run: only the tests.
    npm.args(["run", "--silent", "--ignore-scripts", "test"])
        .env("JETON", JETON)
        .current_dir(folder);
    let said = run(&mut npm);
    assert!(said.contains("fail 0") && !said.contains("pass 0"), "{said}");
}

/// Runs the conformance suite with a driver, which is the last part of the command.
fn conforms(folder: &str, driver: &[&str], name: &str) {
    let size = if volume("clients", 1) > 1 { "all" } else { "small" };
    let said = run(Command::new("python3")
        .arg(format!("{ROOT}/clients/conformance/run.py"))
        .args(["--jeton", JETON, "--volume", size, "--quiet", "--"])
        .args(driver)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        // Node looks at the proxies of the environment only with this.
        .env("NODE_USE_ENV_PROXY", "1")
        .current_dir(folder));
    assert!(said.contains(&format!("typescript-{name}: ")), "{said}");
    assert!(said.contains(" cases, 0 failed"), "{said}");
}

fn has_python(check: &str) -> bool {
    let there = Command::new("python3").arg("--version").output().is_ok();
    if !there {
        not_run(check, "there is no python3");
    }
    there
}

#[test]
fn p2_p8_p9_the_client_for_node_conforms() {
    let check = "the conformance of the TypeScript client";
    let Some(folder) = built(check) else { return };
    if has_python(check) {
        conforms(&folder, &["node", "conformance/driver.mjs"], "node");
    }
}

/// The package as its users get it, in the latest Node, Deno and Bun. At a large volume they conform too.
#[test]
fn p9_the_package_runs_in_each_runtime() {
    let check = "the TypeScript client in other runtimes";
    let Some(folder) = prepared(check, "runtimes") else { return };
    let deno =
        ["node_modules/.bin/deno", "run", "--allow-net", "--allow-read", "--allow-env=NO_PROXY"];
    let runtimes: [(&str, &[&str]); 3] = [
        ("node", &["node_modules/node-24/bin/node"]),
        ("deno", &deno),
        ("bun", &["node_modules/.bin/bun"]),
    ];
    let server = Server::fresh();
    for (name, command) in runtimes {
        let mut runtime = Command::new(command[0]);
        runtime.args(&command[1..]).arg("smoke.mjs").arg(format!("http://{}", server.data));
        // No key may go to a proxy of the environment.
        for variable in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
            runtime.env(variable, "http://127.0.0.1:9");
        }
        let said = run(runtime.env("NODE_USE_ENV_PROXY", "1").current_dir(&folder));
        assert_eq!(said, "ok\n", "{name}");
        if volume("clients", 1) > 1 && has_python(check) {
            conforms(&folder, &[command, &["driver.mjs"]].concat(), name);
        }
    }
}

#[test]
fn tls_files_go_through_the_callers_fetch() {
    let Some(folder) = built("TLS of the TypeScript client") else { return };
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
    let mut node = node(&folder, "tls.mjs");
    node.arg(format!("https://{}", server.data)).args([&files.ca, &own.cert, &own.key]);
    assert_eq!(run(&mut node), "ok\n");
}

#[test]
fn p2_each_token_is_consumed_once_although_a_node_is_killed() {
    let check = "the TypeScript client on three nodes";
    let Some(folder) = built(check) else { return };
    outlives_its_node(check, &mut node(&folder, "cluster.mjs"));
}

#[test]
fn its_version_is_that_of_the_server() {
    for (file, version) in [
        ("package.json", concat!("\"version\": \"", env!("CARGO_PKG_VERSION"), "\"")),
        ("src/version.ts", concat!("version = \"", env!("CARGO_PKG_VERSION"), "\"")),
    ] {
        let path = format!("{ROOT}/clients/typescript/{file}");
        let text = std::fs::read_to_string(path).expect("the file of the version");
        assert!(text.contains(version), "{file}: {text}");
    }
}

#[test]
fn it_has_no_dependencies() {
    let package = std::fs::read_to_string(format!("{ROOT}/clients/typescript/package.json"));
    let package: serde_json::Value =
        serde_json::from_str(&package.expect("the package")).expect("JSON");
    for kind in ["dependencies", "peerDependencies", "optionalDependencies"] {
        assert!(package.get(kind).is_none(), "{kind}");
    }
}
