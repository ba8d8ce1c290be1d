//! Nodes that leave, are forgotten, come back under another id or with the log of another node; and
//! the format that all agree on.

use std::future::Future;
use std::task::{Context, Poll, Waker};

use jeton::engine::clustered::{Standing, Stopped};
use jeton::engine::replicated::FORMAT;
use jeton::engine::{Config, Rejected, SyncMode};
use jeton::model::cluster::NodeId;
use jeton::model::record::replication::Decision;
use jeton::testkit::disk::{Keep, Random};
use jeton::testkit::stream::Faults;
use jeton::wal::{self, Preparing};

use super::lab::Lab;
use super::oracle::Broken;
use crate::seeds::{self, counts};
use crate::simulation::model::{Change, What};
use crate::volume;

const SEEDS: u64 = 120;
const NODES: usize = 3;

counts! { left, forgotten, forgotten_down, came_back, rejoined, joined, consumed, kills, released }

fn lab(seed: u64) -> Lab {
    let config = Config {
        recovery_threads: 1,
        sync: SyncMode::Always,
        wal: wal::Config {
            segment_size: 8 << 10,
            log_min_size: 32 << 10,
            max_age: None,
            preparing: Preparing::Inline,
        },
        ..Config::default()
    };
    let mut lab = Lab::new(seed, vec![config; NODES]);
    (0..NODES).for_each(|at| assert!(lab.open(at)));
    lab.run(2_000).expect("it runs");
    lab
}

fn standing(lab: &Lab, at: usize) -> Standing {
    lab.state(at).map(|state| state.standing).unwrap_or_default()
}

fn knows(lab: &Lab, at: usize, node: u64) -> bool {
    lab.state(at).is_some_and(|state| state.members.iter().any(|row| row.node == NodeId(node)))
}

/// Asks `at` for a decision, and runs until it says that it has landed. While its changes do not land
/// it refuses, and is asked again.
fn decide(lab: &mut Lab, at: usize, decision: Decision) -> Result<(), Broken> {
    for _ in 0..100 {
        let live = lab.nodes[at].live.as_ref().ok_or("it does not run")?;
        let landed = live.stepped.follower().decide(decision).map_err(|error| error.to_string())?;
        let mut landed = Box::pin(landed);
        for _ in 0..100 {
            lab.run(100)?;
            let is_over = match decision {
                Decision::Retire(NodeId(node)) => {
                    standing(lab, at) == Standing::Stopped(Stopped::Retired)
                        || !knows(lab, at, node)
                }
                Decision::Agree(format) => {
                    lab.state(at).is_some_and(|state| state.agreed >= format)
                }
            };
            if is_over {
                return Ok(());
            }
            let mut cx = Context::from_waker(Waker::noop());
            if let Poll::Ready(answer) = landed.as_mut().poll(&mut cx) {
                match answer {
                    Err(Rejected::NoQuorum) => break,
                    other => return Err(format!("{decision:?} changed nothing: {other:?}")),
                }
            }
        }
    }
    Err(format!("{decision:?} has not landed: {:?}", lab.state(at)))
}

/// The node has ended, and ends again after a restart, whatever it has landed before.
fn has_ended(lab: &mut Lab, at: usize) -> Result<(), Broken> {
    for restart in 0..2 {
        lab.run(1_500)?;
        if standing(lab, at) != Standing::Stopped(Stopped::Retired) {
            return Err(format!("node {at} is {:?} ({restart} restarts)", standing(lab, at)));
        }
        lab.kill(at, Keep::Everything);
        if !lab.open(at) {
            return Err(format!("node {at} does not open"));
        }
    }
    Ok(())
}

struct Run {
    lab: Lab,
    random: Random,
    counts: Counts,
    next_id: u64,
    next_node: u64,
}

impl Run {
    fn issue_and_consume(&mut self) -> Result<(), Broken> {
        for at in 0..NODES {
            self.next_id += 1;
            let payload = vec![b'1'; 200].into();
            let what = What::Issue { payload, ttl_ms: 90_000, uses: 1, peek: true, derived: false };
            self.lab.ask(at, vec![Change { id: self.next_id, what }])?;
            let older = self.random.between(1, self.next_id);
            let rival = Change { id: older, what: What::Consume { key: None } };
            self.lab.ask((at + 1) % NODES, vec![rival.clone()])?;
            self.lab.ask(at, vec![rival])?;
            self.counts.consumed += 1;
        }
        let millis = self.random.between(0, 400);
        self.lab.run(millis)
    }

    /// One node goes for good, in one of the ways, and another one comes in its place.
    fn replace(&mut self) -> Result<(), Broken> {
        let gone = self.random.below(NODES as u64) as usize;
        let asked = (gone + 1 + self.random.below(2) as usize) % NODES;
        let node = self.lab.nodes[gone].number;
        match self.random.below(3) {
            0 => {
                self.counts.left += 1;
                decide(&mut self.lab, gone, Decision::Retire(NodeId(node)))?;
            }
            1 => {
                self.counts.forgotten += 1;
                decide(&mut self.lab, asked, Decision::Retire(NodeId(node)))?;
            }
            _ => {
                self.counts.forgotten_down += 1;
                self.lab.kill(gone, Keep::Everything);
                decide(&mut self.lab, asked, Decision::Retire(NodeId(node)))?;
                self.issue_and_consume()?;
                self.counts.came_back += 1;
                if !self.lab.open(gone) {
                    return Err(format!("node {gone} does not open"));
                }
            }
        }
        has_ended(&mut self.lab, gone)?;
        self.issue_and_consume()?;
        // Either the old log goes on, or that of another node, both under a new id.
        self.lab.kill(gone, Keep::Everything);
        match self.random.chance(50) {
            true => self.counts.rejoined += 1,
            false => {
                self.counts.joined += 1;
                self.lab.nodes[gone].disk = self.lab.nodes[asked].disk.crash(Keep::Everything);
            }
        }
        self.next_node += 1;
        self.lab.nodes[gone].number = self.next_node;
        match self.lab.open(gone) {
            true => self.lab.run(1_500),
            false => Err(format!("node {gone} does not open as another node")),
        }
    }

    fn kill(&mut self) -> Result<(), Broken> {
        let at = self.random.below(NODES as u64) as usize;
        self.counts.kills += 1;
        if let Some(live) = &self.lab.nodes[at].live {
            self.counts.released += live.stepped.engine().stats().log.segments_released;
        }
        self.lab.kill(at, Keep::Some(self.random.number()));
        match self.lab.open(at) {
            true => self.lab.run(1_500),
            false => Err(format!("node {at} does not open again")),
        }
    }
}

fn run(seed: u64) -> Result<Counts, Broken> {
    let (random, counts) = (Random::new(seed), Counts::default());
    let mut run = Run { lab: lab(seed), random, counts, next_id: 0, next_node: 100 };
    if run.random.chance(50) {
        let faults = Faults { dropped: 10, repeated: 20, unanswered: 20, delay_ms: 300 };
        run.lab.stream.set_faults(faults);
    }
    for _ in 0..6 {
        for _ in 0..run.random.between(1, 8) {
            run.issue_and_consume()?;
        }
        match run.random.chance(60) {
            true => run.replace()?,
            false => run.kill()?,
        }
    }
    run.lab.stream.set_faults(Faults::default());
    run.lab.heal()?;
    let none = Faults { dropped: 100, ..Faults::default() };
    run.lab.stream.set_faults(none);
    run.lab.check_equal()?;
    let now = run.lab.truth.log_time;
    let tokens = &run.lab.truth.tokens;
    let is_alive = |id| tokens.get(&id).is_some_and(|held| held.is_alive(now));
    run.lab.oracle.judge_end(now, is_alive)?;
    Ok(run.counts)
}

#[test]
fn p2_nodes_that_leave_are_forgotten_and_join_lose_and_double_nothing() {
    let runs = seeds::run_all("decided", SEEDS, run, Counts::add);
    let counts = runs.counts.list();
    volume::tell("decided", &counts);
    runs.assert_none_broken("p2_nodes_that_leave_are_forgotten_and_join_lose_and_double_nothing");
    runs.assert_all_reached(&counts, SEEDS);
}

#[test]
fn of_the_last_two_nodes_that_leave_at_once_one_stays() {
    let mut lab = lab(1);
    decide(&mut lab, 0, Decision::Retire(NodeId(3))).expect("it lands");
    let leave = |lab: &Lab, at: usize| {
        let follower = lab.nodes[at].live.as_ref().unwrap().stepped.follower();
        follower.decide(Decision::Retire(NodeId(at as u64 + 1))).expect("taken")
    };
    let both = [leave(&lab, 0), leave(&lab, 1)];
    lab.run(2_000).unwrap();
    let stopped = Standing::Stopped(Stopped::Retired);
    let left = (0..2).filter(|at| standing(&lab, *at) == stopped).count();
    assert_eq!(left, 1, "{:?} and {:?}", standing(&lab, 0), standing(&lab, 1));
    both.into_iter().for_each(|landed| assert!(landed.wait().is_ok()));
}

#[test]
fn a_retired_node_holds_nothing_and_has_no_voice() {
    let mut lab = lab(2);
    assert!(lab.state(0).unwrap().reports.contains_key(&NodeId(2)));
    lab.kill(1, Keep::Everything);
    decide(&mut lab, 0, Decision::Retire(NodeId(2))).expect("it lands");
    for at in [0, 2] {
        lab.run(2_000).unwrap();
        let state = lab.state(at).unwrap();
        let nodes: Vec<u64> = state.members.iter().map(|row| row.node.0).collect();
        assert_eq!((nodes, state.reports.len()), (vec![1, 3], 2));
    }
}

#[test]
fn the_format_that_nodes_agree_on_is_kept_and_an_older_version_stops() {
    let mut lab = lab(3);
    assert_eq!(lab.state(0).unwrap().agreed, FORMAT, "a new cluster has the latest format");
    decide(&mut lab, 0, Decision::Agree(1)).expect("it lands");
    lab.run(1_000).unwrap();
    for at in 0..NODES {
        assert_eq!(lab.state(at).unwrap().agreed, FORMAT, "never an earlier one again");
        lab.kill(at, Keep::Everything);
        assert!(lab.open(at));
        assert_eq!(lab.state(at).unwrap().agreed, FORMAT, "after a restart");
        lab.run(1_000).unwrap();
    }
    // These nodes know no later format.
    let format = FORMAT + 1;
    decide(&mut lab, 0, Decision::Agree(format)).expect("it lands");
    lab.run(1_000).unwrap();
    for at in 0..NODES {
        let format = u32::from(format);
        assert_eq!(standing(&lab, at), Standing::Stopped(Stopped::Outdated { format }));
    }
}
