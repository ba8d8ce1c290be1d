//! kill -9 of random processes of a cluster under load: three nats-servers and three nodes, and
//! callers on all nodes that repeat what had no answer. P1 and P2 across machines.
//!
//! The judge shares no code with jeton: it is the linearizability checker of `linear`, which decides
//! from the callers' histories alone whether any order of the operations explains every answer. Each
//! token's history ends with a read on every node. After that the nodes must be at an equal position
//! with equal chains.
//!
//! Reading order: `caller` (what is asked, and how an answer becomes a call of a history), `house`
//! (the processes, and what is killed), and the test.
//!
//! `JETON_CLUSTER_KILLS` is the number of kills. A seed repeats what is killed, not the timing.

pub mod caller;
pub mod house;

use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use caller::{Arena, Caller, Token};
use house::{House, Victim};

use crate::linear::checker::assert_linearizable;
use crate::linear::history::Call;
use crate::linear::model::Rules;
use crate::support::Rng;
use crate::volume::{Round, seeds, tell, volume};

/// Deadlines are beyond the run: the clocks of the servers do not matter here.
const RULES: Rules = Rules { max_ttl_ms: 30 * 24 * 3_600_000, extends_late: true };
/// Callers, two for each node.
const CALLERS: usize = 6;
/// Kills until everything is judged.
const KILLS_PER_CHAPTER: u64 = 10;
const TEST: &str = "p1_p2_kills_of_random_processes_lose_nothing_and_consume_nothing_twice";

#[derive(Default)]
struct Counts {
    servers: u64,
    nodes: u64,
    in_start: u64,
    tokens: u64,
    calls: u64,
    lost_answers: u64,
    silence_ms: u64,
}

impl Counts {
    fn add(&mut self, history: &[Call]) {
        self.tokens += 1;
        self.calls += history.len() as u64;
        self.lost_answers += history.iter().filter(|call| call.is_lost()).count() as u64;
    }

    fn kills(&self) -> u64 {
        self.servers + self.nodes + self.in_start
    }

    fn killed(&mut self, victim: Victim) {
        match victim {
            Victim::Server(_) => self.servers += 1,
            Victim::Node { in_start: false, .. } => self.nodes += 1,
            Victim::Node { in_start: true, .. } => self.in_start += 1,
        }
    }
}

/// What callers did while something was disturbed.
pub struct Chapter {
    tokens: Vec<Token>,
    /// The longest time without an acknowledged change.
    pub silence_ms: u64,
}

/// Callers work while `disturb` runs, until all nodes take changes again.
pub fn chapter(house: &mut House, seed: u64, disturb: impl FnOnce(&mut House)) -> Chapter {
    let arena = Arena::new(house.addresses.clone(), house.ticks.clone(), seed);
    thread::scope(|scope| {
        let arena = &arena;
        let callers: Vec<_> = (0..CALLERS)
            .map(|id| scope.spawn(move || Caller::new(arena, id, seed).work()))
            .collect();
        // Callers end also when a kill panics; else the scope would wait for ever.
        let _ends = arena.ends_with();
        disturb(house);
        house.await_all_ready();
        thread::sleep(Duration::from_millis(300));
        arena.stops.store(true, Ordering::SeqCst);
        for caller in callers {
            caller.join().expect("a caller ends well");
        }
    });
    let silence_ms = arena.silence_ms();
    Chapter { tokens: arena.into_tokens(), silence_ms }
}

/// All nodes are equal, and some order of the operations explains every answer. Returns the
/// histories of the tokens.
pub fn judge(house: &House, chapter: Chapter, told: &str) -> Vec<Vec<Call>> {
    house.assert_equal_chains();
    let histories = house.finish(chapter.tokens);
    histories.iter().for_each(|history| assert_linearizable(history, RULES, told));
    house.assert_equal_chains();
    histories
}

/// Kills processes, and starts each again.
fn kill_some(house: &mut House, rng: &mut Rng, kills: u64, counts: &mut Counts) {
    for n in 0..kills {
        thread::sleep(Duration::from_millis(200 + rng.below(900) as u64));
        let victim = match (counts.kills(), n) {
            // The first kills are of each kind, whatever the seed.
            (0, _) => Victim::Server(house.leader()),
            (1, _) => Victim::Node { n: rng.below(3), in_start: false },
            _ => house.choose(rng),
        };
        counts.killed(victim);
        let pause = Duration::from_millis(rng.below(1_500) as u64);
        house.kill(victim, pause);
    }
}

#[test]
fn p1_p2_kills_of_random_processes_lose_nothing_and_consume_nothing_twice() {
    let (kills, seed) = (volume("cluster_kills", 5), seeds("cluster_kill_seeds", 1).start);
    let Some(mut house) = House::begun("kills of random processes of a cluster") else { return };
    let (mut rng, mut counts) = (Rng::new(seed), Counts::default());
    let mut chapters = 0;
    while counts.kills() < kills {
        let round = counts.kills();
        let _told = Round { test: TEST, attack: "cluster_kills", seed, round };
        let planned = KILLS_PER_CHAPTER.min(kills - counts.kills());
        chapters += 1;
        let name = seed * 1_000_000 + chapters;
        let done = chapter(&mut house, name, |house| {
            kill_some(house, &mut rng, planned, &mut counts);
        });
        counts.silence_ms = counts.silence_ms.max(done.silence_ms);
        for history in judge(&house, done, &format!("in chapter {chapters}")) {
            counts.add(&history);
        }
    }
    assert!(counts.tokens > kills, "{} tokens are too few to show anything", counts.tokens);
    house.stop();
    tell(
        "cluster-kills",
        &[
            ("kills", counts.kills()),
            ("of_servers", counts.servers),
            ("of_nodes", counts.nodes),
            ("of_starting_nodes", counts.in_start),
            ("chapters", chapters),
            ("tokens", counts.tokens),
            ("calls", counts.calls),
            ("lost_answers", counts.lost_answers),
            ("longest_silence_ms", counts.silence_ms),
        ],
    );
}
