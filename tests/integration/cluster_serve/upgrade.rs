//! An upgrade node by node, from a real earlier program whose nodes know no puts.
//!
//! `JETON_EARLIER_BIN` names the program: a build of a commit before the nodes of a cluster could agree
//! on a later format, with the same format of the log.

use std::path::PathBuf;

use crate::client::Client;
use crate::cluster::servers::within;
use crate::raw::{Conn, Response, request};
use crate::server::{Launch, Server, jeton, output};
use crate::support::not_run;

use super::lab::{Lab, await_equal, await_known, await_ready, refused, report, setup};
use super::members::{ends, said};

const ONCE: &str = r#"{"payload":{"order":"A-17"},"ttl":"10m"}"#;
const THRICE: &str = r#"{"payload":{"order":"A-18"},"ttl":"10m","uses":3}"#;

/// The earlier program; `None` where none is named, which is told.
fn earlier() -> Option<PathBuf> {
    let named = std::env::var_os("JETON_EARLIER_BIN").map(PathBuf::from);
    if named.is_none() {
        not_run("an upgrade from an earlier program", "JETON_EARLIER_BIN names none");
    }
    named
}

/// The node that this starts, run by the earlier program.
fn by(program: &str, launch: Launch) -> Launch {
    launch.under(&["sh", "-c", &format!("exec '{program}' \"$@\"")])
}

fn put(server: &Server) -> Response {
    let mut conn = Conn::open(server.data).expect("a connection");
    let body = br#"{"payload":{"cart":1},"ttl":"10m"}"#;
    let json = [("Content-Type", "application/json")];
    conn.send(&request("PUT", "/v1/names/cart-of-7-and-a-half", &json, body)).expect("sent");
    conn.response().expect("an answer")
}

fn refuses_puts(server: &Server) {
    let answer = put(server);
    assert_eq!(answer.status, 422, "{}", answer.text());
    assert!(answer.text().contains("upgrade --finish"), "{}", answer.text());
}

#[test]
fn p1_p2_tokens_of_an_earlier_program_survive_an_upgrade_node_by_node() {
    let Some(program) = earlier() else { return };
    let program = program.to_str().expect("UTF-8");
    let Some(lab) = Lab::empty("an upgrade", setup()) else { return };
    // Its first message is of the first format.
    lab.init_by(program);
    let old = |name: &str| by(program, lab.node(name)).start();
    let (one, two, three) = (old("a"), old("b"), old("c"));
    [&one, &two, &three].into_iter().for_each(await_ready);
    let tokens: Vec<String> =
        [&one, &two, &three].map(|server| Client::of(server).issued(ONCE).token).into();
    let thrice = Client::of(&two).issued(THRICE).token;
    let consumed = Client::of(&three).issued(ONCE).token;
    assert_eq!(Client::of(&one).consume(&consumed).status, 200);
    assert_eq!(Client::of(&three).consume(&thrice).status, 200);
    await_known(&three, &tokens[0]);

    three.stop_well();
    let three = lab.node("c").start();
    await_ready(&three);
    let mixed = one_is_new([&one, &two, &three], &tokens, &consumed, &thrice);

    // A step back, and forward again.
    three.stop_well();
    let three = old("c");
    await_ready(&three);
    await_known(&three, &mixed);
    three.stop_well();
    let three = lab.node("c").start();

    // All are new, and agree.
    one.stop_well();
    let one = lab.node("a").start();
    two.stop_well();
    let two = lab.node("b").start();
    let all = [&one, &two, &three];
    all.into_iter().for_each(await_ready);
    all.into_iter().for_each(refuses_puts);
    within("the nodes agree", || {
        let url = format!("http://{}", one.admin);
        let agreed =
            output(jeton().args(["cluster", "upgrade", "--finish", "--server", url.as_str()]));
        // Each must have been heard of since its start.
        if agreed.status.success() { Ok(()) } else { Err(said(&agreed)) }
    });
    for server in all {
        within("it has agreed", || match report(server)["format"] == 2 {
            true => Ok(()),
            false => Err(report(server).to_string()),
        });
        assert_eq!(put(server).status, 200);
        assert_eq!(await_known(server, &tokens[1]).status, 200);
        assert_eq!(await_known(server, &mixed).status, 200);
    }
    assert_eq!(Client::of(&one).consume(&thrice).status, 200);
    assert_eq!(Client::of(&two).consume(&thrice).status, 404);
    assert_eq!(Client::of(&two).consume(&tokens[0]).status, 404);
    await_equal_chains(&all);

    // The way back is closed.
    three.stop_well();
    let back = refused(&by(program, lab.node("c")));
    assert!(back.stderr.contains("format 2"), "{}", back.stderr);
    [one, two].into_iter().for_each(Server::stop_well);
}

/// One new node beside two old ones: each knows what the others did. Returns a token of that time.
fn one_is_new(nodes: [&Server; 3], tokens: &[String], consumed: &str, thrice: &str) -> String {
    let [one, two, new] = nodes;
    for token in tokens {
        assert_eq!(await_known(new, token).status, 200);
    }
    assert_eq!(Client::of(new).consume(consumed).status, 404);
    assert_eq!(Client::of(new).consume(thrice).status, 200);
    let mixed = Client::of(new).issued(ONCE).token;
    await_known(one, &mixed);
    assert_eq!(Client::of(two).consume(&tokens[0]).status, 200);
    assert_eq!(Client::of(new).consume(&tokens[0]).status, 404);
    refuses_puts(new);
    let unfinished = ends(1, &["upgrade", "--finish"], new);
    assert!(unfinished.contains("knows formats up to 1, not 2"), "{unfinished}");
    await_equal_chains(&nodes);
    mixed
}

fn await_equal_chains(servers: &[&Server]) {
    let chains = await_equal(servers);
    assert!(chains.iter().all(|chain| *chain == chains[0]), "{chains:?}");
}
