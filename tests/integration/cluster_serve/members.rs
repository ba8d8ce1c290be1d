//! Nodes that join, leave and are forgotten, on three real nats-servers.

use std::process::Output;

use crate::client::Client;
use crate::server::{Server, jeton, output};
pub use crate::support::said;

use super::lab::{Lab, await_equal, await_known, await_ready, refused, report};

const PAYLOAD: &str = r#"{"payload":{"order":"A-17"},"ttl":"10m"}"#;

fn url(server: &Server) -> String {
    format!("http://{}", server.admin)
}

/// A command about the cluster, which must end with this code.
#[track_caller]
pub fn ends(code: i32, args: &[&str], asked: &Server) -> String {
    let ended = output(jeton().arg("cluster").args(args).args(["--server", &url(asked)]));
    assert_eq!(ended.status.code(), Some(code), "{args:?}: {}", said(&ended));
    said(&ended)
}

/// `jeton cluster join` into this directory, with another value of one flag.
pub fn join(lab: &Lab, peer: &Server, dir: &str, other: Option<(&str, &str)>) -> Output {
    let mut command = jeton();
    command.args(["cluster", "join", "--server", &url(peer), "--data-dir"]).arg(lab.path(dir));
    for (flag, value) in lab.flags() {
        let other = other.filter(|(name, _)| *name == flag);
        command.arg(flag).arg(other.map_or(&*value, |(_, value)| value));
    }
    output(&mut command)
}

fn id(server: &Server) -> String {
    report(server)["node"].as_str().expect("an id").to_owned()
}

fn nodes(server: &Server) -> usize {
    report(server)["nodes"].as_array().expect("nodes").len()
}

#[test]
fn p2_a_node_joins_one_leaves_and_one_is_forgotten() {
    let Some(lab) = Lab::begun("nodes that join, leave and are forgotten") else { return };
    let [one, two, three] = lab.start(["a", "b", "c"]);
    let consumed = Client::of(&one).issued(PAYLOAD).token;
    let token = Client::of(&two).issued(PAYLOAD).token;
    assert_eq!(Client::of(&three).consume(&consumed).status, 200);

    // One more joins, from the log of a running one.
    let joined = join(&lab, &one, "d", None);
    assert_eq!(joined.status.code(), Some(0), "{}", said(&joined));
    assert!(said(&joined).contains("start the new node with jeton serve"), "{}", said(&joined));
    let [four] = lab.start(["d"]);
    assert_eq!(Client::of(&four).resolve(&token).status, 200);
    assert_eq!(Client::of(&four).consume(&consumed).status, 404);
    let chains = await_equal(&[&one, &two, &three, &four]);
    assert!(chains.iter().all(|chain| *chain == chains[0]), "{chains:?}");

    // One leaves, for good.
    let (id_two, id_three, id_four) = (id(&two), id(&three), id(&four));
    let left = ends(0, &["leave"], &two);
    assert!(left.contains(&id_two) && left.contains("has left the cluster"), "{left}");
    assert_eq!(two.ended().code(), Some(4));
    let again = refused(&lab.node("b"));
    assert_eq!(again.status.code(), Some(4), "{again:?}");
    assert!(again.stderr.contains("was taken out of its cluster"), "{}", again.stderr);

    // One is lost, and forgotten while it is down; another while it runs.
    three.kill9();
    ends(0, &["forget", &id_three], &one);
    ends(0, &["forget", &id_four], &one);
    assert_eq!(four.ended().code(), Some(4));
    assert_eq!(nodes(&one), 1);
    ends(0, &["status", "--wait", "30s"], &one);
    let back = refused(&lab.node("c"));
    assert_eq!(back.status.code(), Some(4), "{back:?}");
    assert!(back.stderr.contains("was taken out of its cluster"), "{}", back.stderr);

    // A forgotten node comes back as another one; nothing was lost and nothing doubled.
    let rejoined = output(jeton().args(["cluster", "rejoin"]).arg(lab.path("c")));
    assert!(rejoined.status.success(), "{}", said(&rejoined));
    let [three] = lab.start(["c"]);
    assert_ne!(id(&three), id_three);
    await_known(&three, &token);
    for server in [&one, &three] {
        assert_eq!(Client::of(server).resolve(&token).status, 200);
        assert_eq!(Client::of(server).consume(&consumed).status, 404);
    }
    let chains = await_equal(&[&one, &three]);
    assert!(chains.iter().all(|chain| *chain == chains[0]), "{chains:?}");
    [one, three].into_iter().for_each(Server::stop_well);
}

#[test]
fn decisions_that_must_not_be_are_refused_with_their_reason() {
    let Some(lab) = Lab::begun("decisions that must not be") else { return };
    let [one] = lab.start(["a"]);
    await_ready(&one);
    let own = id(&one);
    assert!(ends(1, &["leave"], &one).contains("the last node cannot leave"));
    assert!(ends(1, &["forget", &own], &one).contains("leaves with jeton cluster leave"));
    assert!(ends(1, &["forget", "00000000000000ff"], &one).contains("has no node"));
    ends(2, &["forget", "n1"], &one);
    ends(2, &["upgrade"], &one);
    let finished = ends(0, &["upgrade", "--finish"], &one);
    assert!(finished.contains("1 nodes of the cluster shop have agreed on format 2"), "{finished}");
    assert_eq!(report(&one)["format"], 2);

    // A node that is silent may come back as an older version.
    let [two] = lab.start(["b"]);
    let id_two = id(&two);
    two.kill9();
    crate::cluster::servers::within("it is silent", || match report(&one)["nodes"].to_string() {
        nodes if nodes.contains("\"present\":false") => Ok(()),
        nodes => Err(nodes),
    });
    let unfinished = ends(1, &["upgrade", "--finish"], &one);
    assert!(unfinished.contains(&id_two) && unfinished.contains("start it, or forget it"));
    one.stop_well();
}

#[test]
fn what_cannot_be_joined_is_refused_and_makes_nothing() {
    let Some(lab) = Lab::begun("joins that are refused") else { return };
    let [one] = lab.start(["a"]);
    await_ready(&one);
    let own = join(&lab, &one, "a", None);
    assert_eq!(own.status.code(), Some(2), "{}", said(&own));
    assert!(said(&own).contains("is not empty"), "{}", said(&own));
    let other = join(&lab, &one, "new", Some(("--cluster-name", "other")));
    assert_eq!(other.status.code(), Some(2), "{}", said(&other));
    assert!(said(&other).contains("is a node of the cluster shop"), "{}", said(&other));
    let secret = lab.write_secret("other.key", 9);
    let secret = ("--secret-file", secret.to_str().expect("UTF-8"));
    let wrong = join(&lab, &one, "new", Some(secret));
    assert_eq!(wrong.status.code(), Some(1), "{}", said(&wrong));
    assert!(said(&wrong).contains("is not the secret of this log"), "{}", said(&wrong));
    let single = Server::fresh();
    let alone = join(&lab, &single, "new", None);
    assert_eq!(alone.status.code(), Some(1), "{}", said(&alone));
    assert!(said(&alone).contains("not a node of a cluster"), "{}", said(&alone));
    assert!(!lab.path("new").exists() && !lab.path("new.partial").exists());
    one.stop_well();
}
