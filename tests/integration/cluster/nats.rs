//! A stream on three real nats-servers: it keeps the promises of `Stream` while servers die, stop
//! and are restarted, and every loss and every wrong setting is told.

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use jeton::cluster::nats::Nats;
use jeton::cluster::stream::{Hint, Loss, Message, Next, Stream, StreamError};
use rustix::process::Signal;
use serde_json::json;

use super::contract::{self, land, read};
use super::servers::{Cluster, MESSAGE_LEN_MAX, Setup, within};

const MOMENT: Duration = Duration::from_millis(300);
const PATIENCE: Duration = Duration::from_secs(1);
/// Time for one disturbance, with all that follows from it.
const LIMIT: Duration = Duration::from_secs(150);

/// The loss that a follower is told within a minute.
pub fn lost(nats: &mut Nats, seq: u64) -> Loss {
    within("the loss is told", || match nats.next(seq, PATIENCE) {
        Err(Next::Lost(loss)) => Ok(loss),
        other => Err(format!("{other:?}")),
    })
}

/// A cluster whose stream has messages from 1 to `count`, and a node that has followed them.
pub fn followed(check: &str, count: u64) -> Option<(Cluster, Nats)> {
    let cluster = Cluster::with_stream(check, Setup::default())?;
    let mut nats = cluster.open();
    for n in 1..=count {
        land(&mut nats, n, &n.to_le_bytes());
    }
    Some((cluster, nats))
}

#[test]
fn stream_contract_holds_on_nats() {
    let Some(cluster) = Cluster::with_stream("contract on NATS", Setup::default()) else { return };
    contract::holds(&mut || Box::new(cluster.open()));
}

#[test]
fn longest_message_lands_and_is_read_from_everywhere() {
    let Some((cluster, mut nats)) = followed("longest message", 1) else { return };
    let longest = vec![7; MESSAGE_LEN_MAX];
    let seq = land(&mut nats, 2, &longest);
    assert_eq!(read(&mut cluster.open(), seq).bytes, longest);
    let too_long = vec![7; MESSAGE_LEN_MAX + 1];
    let refused = nats.propose(&too_long);
    assert!(matches!(refused, Err(Hint::TooLong { most: MESSAGE_LEN_MAX, .. })), "{refused:?}");
}

#[test]
fn first_message_is_stored_once_whoever_tries() {
    let check = "first message on NATS";
    let Some(cluster) = Cluster::with_stream(check, Setup::default()) else { return };
    let nats = cluster.open();
    assert_eq!(nats.store_first(b"genesis"), Ok(1));
    let second = cluster.open().store_first(b"another");
    assert!(matches!(second, Err(StreamError::Refused(_))), "{second:?}");
}

#[test]
fn stream_that_is_deleted_is_gone_for_good() {
    let Some((cluster, mut nats)) = followed("deleted stream on NATS", 5) else { return };
    cluster.api("STREAM.DELETE", &json!({}));
    assert_eq!(lost(&mut nats, 6), Loss::Gone);
    cluster.create(cluster.config());
    assert_eq!(nats.next(6, MOMENT), Err(Next::Lost(Loss::Gone)));
    assert_eq!(nats.bounds(), Err(StreamError::Lost(Loss::Gone)));
}

#[test]
fn stream_that_was_made_anew_is_not_followed() {
    let Some((cluster, mut nats)) = followed("remade stream on NATS", 5) else { return };
    cluster.api("STREAM.DELETE", &json!({}));
    cluster.create(cluster.config());
    let mut other = cluster.open();
    for n in 1..=9 {
        land(&mut other, n, b"of the new stream");
    }
    let loss = lost(&mut nats, 6);
    assert!(matches!(loss, Loss::Remade { .. } | Loss::Other { .. }), "{loss}");
}

#[test]
fn purge_of_what_was_not_followed_is_told() {
    let Some((cluster, mut nats)) = followed("purge on NATS", 9) else { return };
    let mut behind = cluster.open();
    assert_eq!(read(&mut behind, 2).seq, 2);
    cluster.api("STREAM.PURGE", &json!({ "seq": 8 }));
    // Some may have been ready before the purge.
    let first = (3..=9).find_map(|seq| match behind.next(seq, PATIENCE) {
        Ok(_) => None,
        Err(Next::Trimmed { first }) => Some(first),
        Err(other) => panic!("message {seq}: {other:?}"),
    });
    assert!(matches!(first, None | Some(8)), "{first:?}");
    assert_eq!(cluster.open().next(1, PATIENCE * 5), Err(Next::Trimmed { first: 8 }));
    // All of it, which leaves nothing that a later number could show.
    cluster.api("STREAM.PURGE", &json!({}));
    assert_eq!(cluster.open().next(9, PATIENCE * 8), Err(Next::Trimmed { first: 10 }));
    assert_eq!(land(&mut nats, 10, b"goes on"), 10);
}

#[test]
fn full_stream_refuses_and_takes_again_what_was_trimmed() {
    let Some((cluster, mut nats)) = followed("full stream on NATS", 1) else { return };
    cluster.edit(&json!({ "max_bytes": 1 << 20 }));
    let body = vec![1; 100 << 10];
    let (mut seq, mut refused) = (2, None);
    while refused.is_none() && seq < 30 {
        nats.propose(&body).expect("connected");
        if nats.next(seq, PATIENCE).is_ok() {
            seq += 1;
        }
        refused = std::iter::from_fn(|| nats.answer()).find(Result::is_err);
    }
    assert_eq!(refused, Some(Err(Hint::Full)), "after {seq} messages");
    contract::patiently(|| nats.trim(5).map_err(|error| error.to_string()));
    assert_eq!(land(&mut nats, seq, &body), seq);
}

/// Proposes one message after the other until told to stop, and returns what landed, and the
/// longest silence.
fn propose_all(mut nats: Nats, stop: &AtomicBool) -> (Vec<(u64, Vec<u8>)>, Duration) {
    let (mut landed, mut seq, mut silence) = (Vec::new(), 1, Duration::ZERO);
    for n in 0_u64.. {
        if stop.load(Relaxed) {
            break;
        }
        let (bytes, begin) = (n.to_le_bytes(), Instant::now());
        let mut has_landed = false;
        while !has_landed {
            let _ = nats.propose(&bytes);
            loop {
                match nats.next(seq, Duration::from_millis(250)) {
                    Ok(message) => {
                        seq += 1;
                        has_landed = message.bytes == bytes[..];
                    }
                    Err(Next::Quiet) => break,
                    Err(why) => panic!("message {seq}: {why:?}"),
                }
                if has_landed {
                    break;
                }
            }
            assert!(begin.elapsed() < Duration::from_secs(90), "message {n} never landed");
        }
        landed.push((seq - 1, bytes.to_vec()));
        silence = silence.max(begin.elapsed());
    }
    (landed, silence)
}

/// Runs `disturb` while one node proposes and two follow; none loses or repeats a message.
fn undisturbed(check: &str, disturb: impl FnOnce(&mut Cluster)) {
    let Some(mut cluster) = Cluster::with_stream(check, Setup::default()) else { return };
    let (stop, proposer) = (AtomicBool::new(false), cluster.open());
    // The last number that landed, once it is known.
    let (end, begin) = (AtomicU64::new(u64::MAX), Instant::now());
    let mut follower = cluster.open_as("b");
    let ((landed, silence), followed) = std::thread::scope(|scope| {
        let proposing = scope.spawn(|| propose_all(proposer, &stop));
        let following = scope.spawn(|| {
            let mut messages: Vec<Message> = Vec::new();
            loop {
                match follower.next(messages.len() as u64 + 1, MOMENT) {
                    Ok(message) => messages.push(message),
                    Err(Next::Quiet) if messages.len() as u64 >= end.load(Relaxed) => break,
                    Err(Next::Quiet) => assert!(begin.elapsed() < LIMIT, "it does not catch up"),
                    Err(why) => panic!("message {}: {why:?}", messages.len() + 1),
                }
            }
            messages
        });
        std::thread::sleep(PATIENCE);
        disturb(&mut cluster);
        std::thread::sleep(PATIENCE);
        stop.store(true, Relaxed);
        let landed = proposing.join().expect("no panic");
        end.store(landed.0.last().map_or(0, |(seq, _)| *seq), Relaxed);
        (landed, following.join().expect("no panic"))
    });
    for (seq, bytes) in &landed {
        let at = usize::try_from(*seq).expect("small") - 1;
        assert_eq!(followed.get(at).map(|message| &message.bytes[..]), Some(&bytes[..]), "{seq}");
    }
    let mut late = cluster.open();
    let again: Vec<_> = (1..=followed.len() as u64).map(|seq| read(&mut late, seq)).collect();
    assert_eq!(again, followed, "a late follower reads the same");
    let count = landed.len();
    let _ = writeln!(std::io::stdout(), "{check}: {count} landed, longest silence {silence:?}");
}

#[test]
fn kill_of_the_leader_loses_nothing() {
    undisturbed("kill -9 of the leader", |cluster| {
        let leader = cluster.leader();
        cluster.kill(leader);
        std::thread::sleep(Duration::from_secs(8));
        cluster.run(leader);
        cluster.await_health();
    });
}

#[test]
fn kill_of_the_connected_server_loses_nothing() {
    undisturbed("kill -9 of the connected server", |cluster| {
        let connected = cluster.server_of("a").expect("it is connected");
        cluster.kill(connected);
        within("another server", || cluster.server_of("a").ok_or_else(String::new));
        std::thread::sleep(Duration::from_secs(1));
        cluster.run(connected);
        cluster.await_health();
    });
}

#[test]
fn kill_of_all_servers_loses_nothing() {
    undisturbed("kill -9 of all servers", |cluster| {
        (0..3).for_each(|n| cluster.kill(n));
        std::thread::sleep(Duration::from_secs(1));
        (0..3).for_each(|n| cluster.run(n));
        cluster.await_health();
    });
}

#[test]
fn stopped_replica_holds_nobody_up() {
    undisturbed("SIGSTOP of a replica", |cluster| {
        let leader = cluster.leader();
        let replica = (leader + 1) % 3;
        cluster.signal(replica, Signal::STOP);
        std::thread::sleep(Duration::from_secs(5));
        cluster.signal(replica, Signal::CONT);
        cluster.await_health();
    });
}

#[test]
fn planned_stop_of_the_connected_server_loses_nothing() {
    undisturbed("lame duck of the connected server", |cluster| {
        let connected = cluster.server_of("a").expect("it is connected");
        cluster.signal(connected, Signal::USR2);
        within("another server", || match cluster.server_of("a") {
            Some(n) if n != connected => Ok(()),
            other => Err(format!("{other:?}")),
        });
    });
}
