//! The Redis protocol on three real nodes: puts, deadlines and transactions are alike on all of them,
//! and half of a transaction is never seen.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::client::Client;
use crate::cluster::servers::within;
use crate::resp_data::redis::Jeton;
use crate::resp_data::wire::Wire;
use crate::server::{Launch, Server};
use crate::support::Over;
use crate::volume::{tell, volume};

use super::lab::{Lab, await_equal, await_ready, report, started};

fn nodes<const N: usize>(
    lab: &Lab,
    names: [&str; N],
    settings: impl Fn(Launch) -> Launch,
) -> [Jeton; N] {
    let launch = |name: &str| settings(lab.node(name).flag("--resp-listen", "127.0.0.1:0"));
    let nodes = started(&names.map(launch)).map(Jeton::of);
    nodes.iter().for_each(|node| await_ready(&node.server));
    nodes
}

fn all_alike(nodes: &[Jeton]) {
    let servers: Vec<&Server> = nodes.iter().map(|node| &node.server).collect();
    let chains = await_equal(&servers);
    assert!(chains.iter().all(|chain| *chain == chains[0]), "{chains:?}");
}

/// Whether nothing has happened because the messages of the node do not land at the moment. A loaded
/// machine may need a second for a sync.
fn is_cut_off(answer: &str) -> bool {
    answer.starts_with("-NOREPLICAS") || answer.starts_with("-MASTERDOWN")
}

/// The answer of a node that is not cut off.
fn served(mut ask: impl FnMut() -> String) -> String {
    within("the node is served", || match ask() {
        said if is_cut_off(&said) => Err(said),
        said => Ok(said),
    })
}

fn say(wire: &mut Wire, command: &str) -> String {
    served(|| wire.say(command))
}

/// A transaction; returns the answer to its `EXEC`.
fn execute(wire: &mut Wire, commands: &[&str]) -> String {
    served(|| execute_once(wire, commands))
}

fn execute_once(wire: &mut Wire, commands: &[&str]) -> String {
    wire.say("MULTI");
    for command in commands {
        assert_eq!(wire.say(command), "+QUEUED\\r\\n", "{command}");
    }
    wire.say("EXEC")
}

#[test]
fn p2_p3_commands_are_alike_on_all_nodes() {
    let Some(lab) = Lab::begun("the Redis protocol in a cluster") else { return };
    let nodes = nodes(&lab, ["a", "b", "c"], |launch| launch);
    let [mut one, mut two, mut three] = nodes.each_ref().map(Jeton::wire);
    let nil = "$-1\\r\\n";
    assert_eq!(say(&mut one, "SET k 1 EX 100"), "+OK\\r\\n");
    // A condition is decided when it lands, so it knows what was acknowledged anywhere.
    assert_eq!(say(&mut two, "SET k 2 NX"), nil);
    assert_eq!(say(&mut two, "SET k 2 XX KEEPTTL GET"), "$1\\r\\n1\\r\\n");
    assert_eq!(say(&mut three, "SET none 1 XX"), nil);
    // A miss is never answered from the past.
    assert_eq!(say(&mut three, "SET new 1 EX 100"), "+OK\\r\\n");
    assert_eq!(say(&mut one, "GET new"), "$1\\r\\n1\\r\\n");
    assert_eq!(say(&mut two, "EXISTS new k none"), ":2\\r\\n");
    assert_eq!(say(&mut three, "EXPIRE k 1000 GT"), ":1\\r\\n");
    assert_eq!(say(&mut one, "EXPIRE k 10 GT"), ":0\\r\\n");
    assert_eq!(say(&mut one, "PEXPIRE new 300"), ":1\\r\\n");
    assert_eq!(say(&mut two, "EXPIRE k -1"), ":1\\r\\n");
    assert_eq!(say(&mut one, "SET own 1 EX 100"), "+OK\\r\\n");
    for wire in [&mut one, &mut two, &mut three] {
        assert_eq!(say(wire, "GETEX own EX 50"), "$1\\r\\n1\\r\\n");
    }
    within("the deadline comes", || match say(&mut three, "GET new") {
        gone if gone == nil => Ok(()),
        there => Err(there),
    });
    assert_eq!(say(&mut three, "GET k"), nil);
    assert_eq!(say(&mut one, "MSET a 1 b 2 c 3"), "+OK\\r\\n");
    assert_eq!(say(&mut two, "DEL a b none"), ":2\\r\\n");
    assert_eq!(say(&mut three, "GETDEL c"), "$1\\r\\n3\\r\\n");
    assert_eq!(say(&mut one, "GETDEL c"), nil);
    // Over HTTP it is the same.
    let mut client = Client::of(&nodes[1].server);
    let body = "{\"payload\":7,\"ttl\":\"1m\"}";
    let json = [("Content-Type", "application/json")];
    assert_eq!(client.send("PUT", "/v1/names/seven", &json, body).status, 200);
    assert_eq!(say(&mut three, "GET seven"), "$1\\r\\n7\\r\\n");
    all_alike(&nodes);
}

/// Three names that are always changed together.
fn look(wire: &mut Wire) {
    let seen = say(wire, "MGET x y z");
    let values: Vec<&str> = seen.split("\\r\\n").skip(1).collect();
    let values = match values.contains(&"$-1") {
        true => values[..3].to_vec(),
        false => vec![values[1], values[3], values[5]],
    };
    assert!(values.iter().all(|one| *one == values[0]), "half: {seen}");
    let count = say(wire, "EXISTS x y z");
    assert!(count == ":0\\r\\n" || count == ":3\\r\\n", "half: {count}");
}

#[test]
fn p4_half_of_a_transaction_is_never_seen_on_any_node() {
    let Some(lab) = Lab::begun("transactions in a cluster") else { return };
    let nodes = nodes(&lab, ["a", "b", "c"], |launch| launch);
    let rounds = volume("cluster_transactions", 40);
    let is_over = AtomicBool::new(false);
    let looks: u64 = std::thread::scope(|scope| {
        let _over = Over(&is_over);
        let is_over = &is_over;
        let readers = nodes.each_ref().map(|node| {
            let mut wire = node.wire();
            scope.spawn(move || {
                let mut looks = 0;
                while !is_over.load(Ordering::Relaxed) {
                    look(&mut wire);
                    looks += 1;
                }
                looks
            })
        });
        // Rivals on all nodes: of each round one takes the ticket and leaves its name.
        let writers: Vec<_> = nodes
            .iter()
            .enumerate()
            .map(|(at, node)| {
                let mut wire = node.wire();
                scope.spawn(move || {
                    let mut won = Vec::new();
                    for round in 0..rounds {
                        let number = format!("{round}.{at}");
                        let set = |key: &str| format!("SET {key} {number} EX 100");
                        let (x, y, z) = (set("x"), set("y"), set("z"));
                        let answer =
                            within("it is known", || match execute(&mut wire, &[&x, &y, &z]) {
                                unknown if unknown.starts_with("-UNKNOWN") => Err(unknown),
                                answer => Ok(answer),
                            });
                        assert_eq!(answer, "*3\\r\\n+OK\\r\\n+OK\\r\\n+OK\\r\\n");
                        say(&mut wire, &format!("SET ticket:{round} 1 NX EX 100"));
                        let (take, leave) = (
                            format!("GETDEL ticket:{round}"),
                            format!("SET winner:{round} {at} NX EX 100"),
                        );
                        let answer = execute(&mut wire, &[&take, &leave]);
                        // What is unknown on a loaded machine may have won.
                        let has_won = answer == "*2\\r\\n$1\\r\\n1\\r\\n+OK\\r\\n";
                        won.push(has_won || answer.starts_with("-UNKNOWN"));
                        if round % 3 == 0 {
                            say(&mut wire, "DEL x y z");
                        }
                    }
                    won
                })
            })
            .collect();
        let won: Vec<Vec<bool>> =
            writers.into_iter().map(|writer| writer.join().expect("it ends well")).collect();
        is_over.store(true, Ordering::Relaxed);
        for round in 0..rounds as usize {
            let winners: Vec<usize> = (0..won.len()).filter(|at| won[*at][round]).collect();
            let left = say(&mut nodes[0].wire(), &format!("GET winner:{round}"));
            assert!(winners.iter().any(|at| left == format!("$1\\r\\n{at}\\r\\n")), "{left}");
        }
        readers.map(|reader| reader.join().expect("it ends well")).iter().sum()
    });
    assert!(looks > 0);
    all_alike(&nodes);
    tell("cluster_transactions", &[("rounds", rounds), ("looks", looks)]);
}

#[test]
fn p1_p4_what_was_acknowledged_survives_a_killed_node() {
    let Some(lab) = Lab::begun("kill -9 of a node with transactions") else { return };
    let mut nodes = nodes(&lab, ["a", "b", "c"], |launch| launch).map(Some);
    for round in 0..3_usize {
        let node = nodes[round].take().expect("it runs");
        let mut wire = node.wire();
        for n in 0..20 {
            let (set, next) = (format!("SET {round}.{n} {n}"), format!("SET last.{round} {n}"));
            assert_eq!(execute(&mut wire, &[&set, &next]), "*2\\r\\n+OK\\r\\n+OK\\r\\n");
        }
        assert_eq!(say(&mut wire, &format!("EXPIRE {round}.0 -1")), ":1\\r\\n");
        node.server.kill9();
        let other = nodes[(round + 1) % 3].as_ref().expect("it runs").wire();
        let name = ["a", "b", "c"][round];
        let [again] = self::nodes(&lab, [name], |launch| launch);
        for mut wire in [other, again.wire()] {
            assert_eq!(say(&mut wire, &format!("GET last.{round}")), "$2\\r\\n19\\r\\n");
            assert_eq!(
                say(&mut wire, &format!("EXISTS {round}.0 {round}.1 {round}.19")),
                ":2\\r\\n"
            );
        }
        nodes[round] = Some(again);
    }
    all_alike(&nodes.map(|node| node.expect("it runs")));
}

#[test]
fn reads_are_linear_if_asked_and_errors_say_whether_it_happened() {
    let Some(mut lab) = Lab::begun("errors of the Redis protocol in a cluster") else { return };
    let settings = |launch: Launch| {
        let launch = launch.flag("--resp-read", "linear").flag("--cluster-staleness", "10s");
        launch.flag("--cluster-answer-within", "2s")
    };
    let [one, two] = nodes(&lab, ["a", "b"], settings);
    assert_eq!(report(&one.server)["format"], 2);
    let (mut first, mut second) = (one.wire(), two.wire());
    for n in 0..50 {
        assert_eq!(say(&mut first, &format!("SET k {n} EX 1000")), "+OK\\r\\n");
        let shown = n.to_string();
        let expected = format!("${}\\r\\n{shown}\\r\\n", shown.len());
        assert_eq!(say(&mut second, "GET k"), expected, "a linear read is of the last change");
    }
    lab.nats.kill(0);
    lab.nats.kill(1);
    // Nothing lands any more: the first change may still happen, later ones did not.
    let said = first.say("SET k never EX 1000");
    let is_told = said.starts_with("-UNKNOWN") || said.starts_with("-NOREPLICAS");
    assert!(is_told, "{said}");
    within("changes are refused", || match first.say("SET k never EX 1000") {
        said if said.starts_with("-NOREPLICAS") => Ok(()),
        other => Err(other),
    });
    for command in ["GET k", "GET none", "MGET k none", "EXISTS none"] {
        let said = first.say(command);
        assert!(said.starts_with("-NOREPLICAS") || said.starts_with("-MASTERDOWN"), "{said}");
    }
    assert!(execute_once(&mut first, &["SET k 1", "GET k"]).starts_with("-NOREPLICAS"));
}

#[test]
fn a_node_that_has_not_joined_yet_says_loading() {
    let Some(lab) = Lab::empty("the start of a node with the Redis protocol", super::lab::setup())
    else {
        return;
    };
    let address = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
    let address = address.expect("a free port");
    let launch = lab.node("a").flag("--resp-listen", &address.to_string());
    std::thread::scope(|scope| {
        let starting = scope.spawn(|| launch.start());
        // It waits for its stream.
        within("it says so", || match Wire::try_open(address) {
            Ok(mut wire) => {
                wire.try_send(b"*1\r\n$4\r\nPING\r\n").map_err(|error| error.to_string())?;
                match wire.try_answer() {
                    Ok(said) if said.starts_with(b"-LOADING ") => Ok(()),
                    other => Err(format!("{other:?}")),
                }
            }
            Err(error) => Err(error.to_string()),
        });
        assert!(lab.init().status.success());
        let node = Jeton::of(starting.join().expect("it starts"));
        await_ready(&node.server);
        assert_eq!(node.wire().say("SET k 1"), "+OK\\r\\n");
        assert_eq!(node.wire().say("GET k"), "$1\\r\\n1\\r\\n");
    });
}
