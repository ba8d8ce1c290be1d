//! Every wrong setting of the stream and of the servers is named, with its value.

use std::io::Write as _;
use std::path::Path;

use jeton::cluster::nats::{Creation, Nats};
use jeton::cluster::stream::{Hint, Stream, StreamError};
use serde_json::{Value, json};

use super::servers::{BYTES_MAX, Cluster, MESSAGE_LEN_MAX, Setup, opened, promises, within};

fn sentences(nats: &mut Nats) -> Vec<String> {
    promises(nats).mistakes.iter().map(ToString::to_string).collect()
}

#[test]
fn stream_as_it_was_made_has_no_mistake() {
    let check = "settings on NATS";
    let Some(cluster) = Cluster::with_stream(check, Setup::default()) else { return };
    let found = promises(&mut cluster.open());
    assert_eq!((found.mistakes, found.unverified), (vec![], vec![]));
    assert_eq!((found.copies, found.bytes_max), (3, Some(BYTES_MAX)));
    for server in &found.servers {
        assert_eq!(server.message_len_max, Some(MESSAGE_LEN_MAX), "{server:?}");
        assert_eq!((server.syncs_always, server.has_copy), (Some(true), true), "{server:?}");
    }
    // Made again it stays; other settings are refused.
    let nats = cluster.open();
    assert_eq!(nats.create(Creation { copies: 3, bytes_max: BYTES_MAX }), Ok(()));
    let other = nats.create(Creation { copies: 3, bytes_max: BYTES_MAX * 2 });
    assert!(matches!(other, Err(StreamError::Refused(_))), "{other:?}");
}

#[test]
fn each_setting_that_is_edited_in_use_is_named() {
    let check = "edited settings on NATS";
    let Some(cluster) = Cluster::with_stream(check, Setup::default()) else { return };
    let mut nats = cluster.open();
    let day = 86_400_000_000_000_u64;
    let edits = [
        ("subjects", json!(["jeton.shop.from.*", "more"])),
        ("discard", json!("old")),
        ("max_age", json!(day)),
        ("max_bytes", json!(1 << 20)),
        ("max_msgs", json!(1_000_000)),
        ("max_msg_size", json!(4096)),
        ("num_replicas", json!(1)),
        ("allow_direct", json!(false)),
        ("republish", Value::Null),
        ("allow_rollup_hdrs", json!(true)),
        ("compression", json!("s2")),
        ("no_ack", json!(true)),
        ("subject_transform", json!({ "src": "jeton.shop.from.*", "dest": "x.{{wildcard(1)}}" })),
        // Last: a server never switches it off again.
        ("allow_msg_ttl", json!(true)),
    ];
    for (name, value) in &edits {
        let before = cluster.api("STREAM.INFO", &json!({}))["config"][name].clone();
        let mut config = cluster.api("STREAM.INFO", &json!({}))["config"].clone();
        config[name] = value.clone();
        let answer = cluster.api("STREAM.UPDATE", &config);
        if let Some(refused) = answer.get("error") {
            let why = &refused["description"];
            let _ = writeln!(std::io::stdout(), "{name}: the server refuses to edit it: {why}");
            continue;
        }
        let said = sentences(&mut nats);
        let begin = format!("stream jeton-shop: {name} is ");
        assert!(said.iter().any(|said| said.starts_with(&begin)), "{name}: {said:?}");
        if *name == "allow_msg_ttl" {
            continue;
        }
        cluster.edit(&json!({ *name: before }));
        within("the stream is as before", || match sentences(&mut nats) {
            said if said.is_empty() => Ok(()),
            said => Err(said.join("; ")),
        });
    }
}

#[test]
fn each_server_that_does_not_promise_enough_is_named() {
    let setup = Setup {
        syncs_always: [true, false, true],
        max_payload: [MESSAGE_LEN_MAX, MESSAGE_LEN_MAX, 64 << 10],
        ..Setup::default()
    };
    let Some(cluster) = Cluster::with_stream("servers' settings on NATS", setup) else { return };
    let mut nats = cluster.open();
    let wrong = [
        "server n1: sync_interval is not always, but must be always",
        "server n2: max_payload is 65536, but must be at least 1048576",
    ];
    assert_eq!(sentences(&mut nats), wrong);

    let mut blind = cluster.config();
    blind.monitors.truncate(1);
    let found = promises(&mut opened(blind));
    let unknown = [1, 2]
        .map(|n| format!("server n{n}: its sync_interval is not known: give its monitor port"));
    assert_eq!(found.unverified, unknown);

    // Who is connected to the server that takes less is told at once.
    let mut small = cluster.config();
    small.servers = vec![small.servers[2].clone()];
    let refused = opened(small).propose(&vec![0; 100 << 10]);
    assert!(matches!(refused, Err(Hint::TooLong { most: 65536, .. })), "{refused:?}");
}

#[test]
fn server_without_others_is_told_that_it_keeps_too_few_copies() {
    let setup = Setup { is_alone: true, ..Setup::default() };
    let Some(cluster) = Cluster::start("a single server of NATS", setup) else { return };
    let mut nats = cluster.open();
    let chosen = Creation { copies: 1, bytes_max: BYTES_MAX };
    within("the stream is made", || nats.create(chosen).map_err(|error| error.to_string()));
    let wrong = ["stream jeton-shop: num_replicas is 1, but must be at least 3"];
    assert_eq!(sentences(&mut nats), wrong);
}

#[test]
fn missing_stream_and_missing_servers_are_told() {
    let Some(mut cluster) = Cluster::start("no stream on NATS", Setup::default()) else { return };
    let mut nats = cluster.open();
    within("the stream is missing", || match nats.bounds() {
        Err(StreamError::Missing(name)) if name == "jeton-shop" => Ok(()),
        other => Err(format!("{other:?}")),
    });
    (0..3).for_each(|n| cluster.kill(n));
    within("not connected", || match nats.bounds() {
        Err(StreamError::NotConnected(why)) if !why.is_empty() => Ok(()),
        other => Err(format!("{other:?}")),
    });
    assert_eq!(nats.propose(b"lost"), Err(Hint::NotConnected));
    let mut config = cluster.config();
    config.credentials = Some(Path::new("/nonexistent").to_owned());
    let without = Nats::open(config).expect("a thread");
    within("the file is named", || match without.connected() {
        Err(why) if why.contains("cluster-credentials /nonexistent") => Ok(()),
        other => Err(format!("{other:?}")),
    });
}
