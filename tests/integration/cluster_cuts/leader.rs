//! The server that leads the stream is cut off from the others, while the nodes reach all three: a
//! node that is connected to it must go to another one. The judge is that of `cluster_kills`.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::cluster::servers::within;
use crate::cluster_kills::caller::{Arena, Caller, Token};
use crate::cluster_serve::lab::await_ready;
use crate::linear::checker::assert_linearizable;
use crate::linear::history::Ticks;
use crate::linear::model::Rules;
use crate::raw::Conn;
use crate::volume::tell;

use super::net::Cut;
use super::place::{Place, SERVERS, since_ms};

const PAYLOAD: &str = r#"{"payload":{"order":"A-17"},"ttl":"10m"}"#;
const RULES: Rules = Rules { max_ttl_ms: 30 * 24 * 3_600_000, extends_late: true };
/// Callers, one for each node.
const CALLERS: usize = 3;
/// Maximum time until all servers have all messages again.
const CATCH_UP: Duration = Duration::from_secs(400);

#[test]
fn p1_p2_leader_cut_off_from_the_other_servers_loses_nothing_and_consumes_nothing_twice() {
    leader_is_cut_off("leader cut off from the other servers", Cut::Both);
}

#[test]
fn p1_p2_leader_whose_packets_to_the_other_servers_are_lost_loses_nothing() {
    leader_is_cut_off("leader whose packets to the other servers are lost", Cut::Sent);
}

#[test]
fn p1_p2_leader_that_receives_nothing_of_the_other_servers_loses_nothing() {
    leader_is_cut_off("leader that receives nothing of the other servers", Cut::Received);
}

fn leader_is_cut_off(check: &str, cut: Cut) {
    let Some(place) = Place::begun(check) else { return };
    let leader = within("the node is connected", || place.server_of(0).ok_or_else(String::new));
    place.lab.nats.lead(leader);
    place.lab.nats.await_health();
    assert_eq!(place.server_of(0), Some(leader), "the node stays at its server");
    let others: Vec<&str> = SERVERS.into_iter().filter(|one| *one != SERVERS[leader]).collect();
    let ticks: Arc<Ticks> = Arc::default();
    let arena = Arena::new(place.addresses(), ticks.clone(), 1);
    let mut times = [0; 4];
    thread::scope(|scope| {
        let arena = &arena;
        let work = |id| scope.spawn(move || Caller::new(arena, id, 1).work());
        let callers: Vec<_> = (0..CALLERS).map(work).collect();
        // Callers end also when something panics; else the scope would wait for ever.
        let _ends = arena.ends_with();
        thread::sleep(Duration::from_secs(2));
        place.net.cut(SERVERS[leader], &others, cut);
        // What was on its way may still be answered.
        thread::sleep(Duration::from_secs(1));
        times[..3].copy_from_slice(&changes_go_on(&place));
        thread::sleep(Duration::from_secs(3));
        place.net.heal();
        let begin = Instant::now();
        place.nodes.iter().for_each(await_ready);
        times[3] = since_ms(begin);
        thread::sleep(Duration::from_secs(1));
        arena.stops.store(true, Ordering::SeqCst);
        callers.into_iter().for_each(|caller| caller.join().expect("a caller ends well"));
    });
    let silence_ms = arena.silence_ms();
    let (tokens, calls) = judge(&place, arena.into_tokens(), &ticks);
    place.assert_equal_chains();
    let current_ms = servers_catch_up(&place);
    place.assert_equal_chains();
    place.stop();
    let name = format!("cluster-leader-cut-{cut:?}").to_lowercase();
    let [a, b, c, healed] = times;
    tell(
        &name,
        &[
            ("tokens", tokens),
            ("calls", calls),
            ("silence_ms", silence_ms),
            ("its_node_ms", a),
            ("second_ms", b),
            ("third_ms", c),
            ("ready_ms", healed),
            ("current_ms", current_ms),
        ],
    );
}

/// How long the servers took until each had all messages again: about two seconds for each message
/// that the leader stored while it was cut off.
fn servers_catch_up(place: &Place) -> u64 {
    let begin = Instant::now();
    while let Err(why) = place.lab.nats.health() {
        assert!(begin.elapsed() < CATCH_UP, "never: {why}");
        thread::sleep(Duration::from_millis(100));
    }
    since_ms(begin)
}

/// When each node acknowledged a change again.
fn changes_go_on(place: &Place) -> [u64; 3] {
    let begin = Instant::now();
    thread::scope(|scope| {
        let waits = place.nodes.each_ref().map(|node| {
            scope.spawn(move || {
                let mut client = Client::of(node);
                within("changes go on", || match client.issue(PAYLOAD) {
                    made if made.status == 201 => Ok(()),
                    other => Err(other.text().to_owned()),
                });
                since_ms(begin)
            })
        });
        waits.map(|wait| wait.join().expect("changes go on"))
    })
}

/// Reads each token on each node, and judges its history; how many tokens and calls.
fn judge(place: &Place, mut tokens: Vec<Token>, ticks: &Ticks) -> (u64, u64) {
    for node in &place.nodes {
        let mut conn = Conn::open(node.data).expect("it runs");
        tokens.iter_mut().for_each(|token| token.finish(&mut conn, ticks));
    }
    let (count, mut calls) = (tokens.len() as u64, 0);
    for mut token in tokens {
        token.calls.sort_by_key(|call| call.began.tick);
        calls += token.calls.len() as u64;
        assert_linearizable(&token.calls, RULES, "of a cut leader");
    }
    assert!(count > 5, "{count} tokens are too few to show anything");
    (count, calls)
}
