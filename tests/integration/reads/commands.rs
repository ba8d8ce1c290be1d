//! The client commands against nodes of a cluster.

use std::process::Output;

use super::*;
use crate::server::{jeton, output};

/// Runs a client command against a node.
fn run(trio: &Trio, at: usize, args: &[&str]) -> Output {
    let server = format!("http://{}", trio.address(at));
    let [command, args @ ..] = args else { panic!("no command") };
    output(jeton().arg(command).args(["--server", &server]).args(args))
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8").trim()
}

/// What a command printed, and the position of its change.
fn changed(output: &Output) -> (String, String) {
    assert!(output.status.success(), "{output:?}");
    let position = text(&output.stderr).strip_prefix("position: ").expect("a position");
    (text(&output.stdout).to_owned(), position.to_owned())
}

#[test]
fn p2_commands_read_what_commands_changed_on_another_node() {
    let trio = Trio::start();
    let issue = ["issue", "7", "--uses", "2", "--position"];
    let (token, mut position) = changed(&run(&trio, 0, &issue));
    for (at, command) in [(1, "consume"), (2, "extend"), (0, "revoke")] {
        let at_least = format!("at-least={position}");
        let other = (at + 1) % 3;
        for args in
            [["resolve", &token, "--read", &at_least], ["status", &token, "--read", "linear"]]
        {
            let read = run(&trio, other, &args);
            assert!(read.status.success(), "{args:?}: {read:?}");
        }
        let ttl: &[&str] = if command == "extend" { &["--ttl", "20m"] } else { &[] };
        let args = [&[command, &token, "--position"], ttl].concat();
        (_, position) = changed(&run(&trio, at, &args));
    }
    // A node that follows nothing is not asked for what it cannot know.
    trio.link(1, Link::Deaf);
    let at_least = format!("at-least={position}");
    let late = run(&trio, 1, &["resolve", &token, "--read", "at-least=2.999999"]);
    assert_eq!(late.status.code(), Some(3), "{late:?}");
    assert!(text(&late.stderr).contains("behind: "), "{late:?}");
    trio.link(1, Link::Whole);
    let gone = run(&trio, 1, &["resolve", &token, "--read", &at_least]);
    assert_eq!(gone.status.code(), Some(1), "{gone:?}");
}

#[test]
fn a_level_that_does_not_exist_is_a_mistake_and_a_single_server_has_no_position() {
    let server = Server::shared();
    let url = format!("http://{}", server.data);
    for level in ["at-least", "Linear", "2.17"] {
        let args = ["resolve", "--server", &url, UNKNOWN, "--read", level];
        let refused = output(jeton().args(args));
        assert_eq!(refused.status.code(), Some(2), "{level}: {refused:?}");
        let said = text(&refused.stderr);
        assert!(said.contains("local, linear or at-least=POSITION"), "{said}");
    }
    let issued = output(jeton().args(["issue", "--server", &url, "7", "--position"]));
    assert!(issued.status.success(), "{issued:?}");
    let said = text(&issued.stderr);
    assert!(said.starts_with("position: none"), "{said}");
}
