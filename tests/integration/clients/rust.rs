//! The Rust client: the conformance suite, its examples, and what all clients are tested with. Its unit
//! tests and its README are among the tests of the workspace.

use std::process::Command;

use super::{JETON, ROOT, conforms, has_python, outlives_its_node, prepared, run, speaks_tls};
use crate::server::Server;

/// An example of the client.
fn example(check: &str, name: &str) -> Option<Command> {
    let folder = prepared(check, "rust")?;
    Some(Command::new(format!("{folder}/{name}")))
}

#[test]
fn p2_p8_p9_the_client_conforms() {
    let check = "the conformance of the Rust client";
    let Some(driver) = example(check, "conformance") else { return };
    if has_python(check) {
        let driver = driver.get_program().to_str().expect("UTF-8");
        conforms(&mut Command::new("python3"), &[driver], "rust");
    }
}

#[test]
fn p2_each_token_is_consumed_once_although_a_node_is_killed() {
    let check = "the Rust client on three nodes";
    let Some(mut client) = example(check, "conformance_cluster") else { return };
    outlives_its_node(check, &mut client);
}

#[test]
fn it_speaks_tls_with_a_certificate_of_its_own() {
    let Some(mut client) = example("TLS of the Rust client", "conformance_tls") else { return };
    speaks_tls(&mut client);
}

#[test]
fn p2_its_example_consumes_a_token_once() {
    let Some(mut client) = example("the example of the Rust client", "consume_once") else {
        return;
    };
    let server = Server::fresh();
    let said = run(client.arg(format!("http://{}", server.data)));
    assert_eq!(said, "issued, resolved, and consumed once\n");
}

/// At a small volume, which compares every answer and measures nothing.
#[test]
fn its_cost_can_be_measured() {
    let Some(program) = prepared("the cost of the Rust client", "cost") else { return };
    let said = run(Command::new(program).args([
        "--jeton",
        JETON,
        "--callers",
        "20",
        "--rounds",
        "1",
        "--milliseconds",
        "50",
    ]));
    assert!(said.contains("\n| jeton-client | "), "{said}");
}

#[test]
fn its_version_is_that_of_the_server() {
    let manifest = std::fs::read_to_string(format!("{ROOT}/clients/rust/Cargo.toml"));
    let version = concat!("\nversion = \"", env!("CARGO_PKG_VERSION"), "\"\n");
    assert!(manifest.expect("the manifest").contains(version));
}
