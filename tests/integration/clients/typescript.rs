//! The TypeScript client: its tests with its types, its README, the conformance suite, and one run of the
//! package in each runtime.

use std::process::Command;

use super::{JETON, ROOT, has_python, outlives_its_node, prepared, run, speaks_tls};
use crate::server::Server;
use crate::volume::volume;

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

/// Runs the conformance suite with the command of a driver, and the name of its runtime.
fn conforms(folder: &str, driver: &[&str], name: &str) {
    let mut python = Command::new("python3");
    // Node looks at the proxies of the environment only with this.
    python.env("NODE_USE_ENV_PROXY", "1").current_dir(folder);
    super::conforms(&mut python, driver, &format!("typescript-{name}"));
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
    speaks_tls(&mut node(&folder, "tls.mjs"));
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
