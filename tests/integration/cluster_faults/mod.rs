//! What happens to the processes and files of a cluster besides kills, under load: a leader of the
//! stream that stands still, a node that is resumed after another process has taken its place, a
//! damaged file of the stream, and a node that fails again and again while it joins. P1, P2 and P8
//! across machines.
//!
//! Callers, their histories and the judge are those of `cluster_kills`. After each fault all nodes
//! must be at an equal position with equal chains, and some order explains every answer.
//!
//! `JETON_CLUSTER_FAULTS` is the number of faults of each kind.

mod damage;

use std::thread;
use std::time::Duration;

use rustix::process::{Signal, kill_process};

use crate::cluster_kills::house::House;
use crate::cluster_kills::{chapter, judge};
use crate::cluster_serve::lab::{await_ready, report};
use crate::cluster_serve::members::{ends, join, said};
use crate::linear::history::Call;
use crate::support::Rng;
use crate::volume::{Round, seeds, tell, volume};

const TEST: &str = "p1_p2_p8_what_stands_still_returns_or_is_damaged_loses_and_doubles_nothing";

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The leader of the stream stands still for seconds, and goes on.
    LeaderStandsStill,
    /// A node stands still while a copy of its directory starts, and then goes on.
    NodeIsResumed,
    /// A file of the stream is damaged on one server, from which a new node then reads too.
    StreamIsDamaged,
    /// A node is killed again and again while it joins.
    JoinerFails,
}

const FAULTS: [Fault; 4] =
    [Fault::LeaderStandsStill, Fault::NodeIsResumed, Fault::StreamIsDamaged, Fault::JoinerFails];

#[derive(Default)]
struct Counts {
    tokens: u64,
    calls: u64,
    lost_answers: u64,
    damaged_bytes: u64,
    joins_killed: u64,
    silence_ms: u64,
}

impl Counts {
    fn add(&mut self, history: &[Call]) {
        self.tokens += 1;
        self.calls += history.len() as u64;
        self.lost_answers += history.iter().filter(|call| call.is_lost()).count() as u64;
    }
}

fn carry_out(house: &mut House, fault: Fault, rng: &mut Rng, number: u64, counts: &mut Counts) {
    thread::sleep(Duration::from_millis(300 + rng.below(700) as u64));
    match fault {
        Fault::LeaderStandsStill => {
            let leader = house.leader();
            house.lab.nats.signal(leader, Signal::STOP);
            thread::sleep(Duration::from_millis(500 + rng.below(6_000) as u64));
            house.lab.nats.signal(leader, Signal::CONT);
        }
        Fault::NodeIsResumed => {
            let n = rng.below(3);
            let old = house.take(n);
            kill_process(old.pid(), Signal::STOP).expect("it runs");
            house.start_copy(n, &format!("copy-{number}"));
            house.await_all_ready();
            thread::sleep(Duration::from_millis(rng.below(1_500) as u64));
            kill_process(old.pid(), Signal::CONT).expect("it stands still");
            assert_eq!(old.ended().code(), Some(4), "another process has taken its place");
        }
        Fault::StreamIsDamaged => {
            let server = (house.leader() + 1 + rng.below(2)) % 3;
            house.lab.nats.kill(server);
            let dir = house.lab.nats.dir.path().join(format!("n{server}"));
            counts.damaged_bytes += damage::damage(&dir, rng);
            house.lab.nats.run(server);
            house.lab.nats.await_health();
        }
        Fault::JoinerFails => {
            let name = format!("joiner-{number}");
            let launch = house.lab.node(&name);
            for _ in 0..4 {
                launch.start_and_kill9(Duration::from_millis(20 + rng.below(600) as u64));
                counts.joins_killed += 1;
            }
        }
    }
}

/// A node that has nothing follows the stream from its begin, or, if that is forgotten, joins: it has
/// the same as the others. Then it leaves.
fn try_a_new_node(house: &House, name: &str) {
    let [first, ..] = house.servers();
    if report(first)["stream"]["first"] != 1 {
        let copied = join(&house.lab, first, name, None);
        assert_eq!(copied.status.code(), Some(0), "{}", said(&copied));
    }
    let joined = house.lab.node(name).start();
    await_ready(&joined);
    house.assert_equal_chains_with(&joined);
    let id = report(&joined)["node"].as_str().expect("an id").to_owned();
    ends(0, &["forget", &id], first);
    assert_eq!(joined.ended().code(), Some(4));
}

#[test]
fn p1_p2_p8_what_stands_still_returns_or_is_damaged_loses_and_doubles_nothing() {
    let (rounds, seed) = (volume("cluster_faults", 1), seeds("cluster_fault_seeds", 1).start);
    let Some(mut house) = House::begun("faults of a cluster besides kills") else { return };
    let (mut rng, mut counts) = (Rng::new(seed), Counts::default());
    for round in 0..rounds {
        for (kind, fault) in (0..).zip(FAULTS) {
            let _told = Round { test: TEST, attack: "cluster_faults", seed, round };
            let number = round * FAULTS.len() as u64 + kind;
            let name = seed * 1_000_000 + number;
            let done = chapter(&mut house, name, |house| {
                carry_out(house, fault, &mut rng, number, &mut counts);
            });
            counts.silence_ms = counts.silence_ms.max(done.silence_ms);
            for history in judge(&house, done, &format!("after {fault:?} in round {round}")) {
                counts.add(&history);
            }
            match fault {
                Fault::StreamIsDamaged => try_a_new_node(&house, &format!("reader-{number}")),
                Fault::JoinerFails => try_a_new_node(&house, &format!("joiner-{number}")),
                Fault::LeaderStandsStill | Fault::NodeIsResumed => {}
            }
        }
    }
    assert!(counts.tokens > rounds, "{} tokens are too few to show anything", counts.tokens);
    house.stop();
    tell(
        "cluster-faults",
        &[
            ("faults", rounds * FAULTS.len() as u64),
            ("damaged_bytes", counts.damaged_bytes),
            ("joins_killed", counts.joins_killed),
            ("tokens", counts.tokens),
            ("calls", counts.calls),
            ("lost_answers", counts.lost_answers),
            ("longest_silence_ms", counts.silence_ms),
        ],
    );
}
