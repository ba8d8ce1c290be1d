//! Nodes on simulated disks and clocks that follow one simulated stream.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use jeton::clock::Clock;
use jeton::cluster::follow::{Following, Step, Unfollowable};
use jeton::cluster::reseed::Reseeding;
use jeton::cluster::stream::Stream;
use jeton::engine::clustered::stepped::SteppedNode;
use jeton::engine::clustered::{Membership, NodeState, Proposal, Standing};
use jeton::engine::replicated::{FORMAT, Sender};
use jeton::engine::{Config, Pending, Status};
use jeton::model::cluster::{BootNonce, ClusterId, Epoch, NodeId};
use jeton::model::record::replication::Ended;
use jeton::model::time::UnixMillis;
use jeton::model::token::Digester;
use jeton::testkit::clock::ManualClock;
use jeton::testkit::disk::{Keep, Memory, Random};
use jeton::testkit::stream::{Client, Faults, Simulated};

use super::names::{self, Call, Names};
use super::oracle::{Answered, Broken, Oracle};
use super::truth::Truth;
use super::wire::{Offsets, Out, Seen, leader_time, sealer, secret};
use crate::simulation::model::{Change, digest, seen};

pub const START_MS: u64 = 1_700_000_000_000;
/// How far log time may run ahead of the time when one clock is wrong.
const AHEAD_MAX_MS: u64 = 10_000;

pub struct Lab {
    pub stream: Simulated,
    pub nodes: Vec<Node>,
    pub oracle: Oracle,
    pub names: Names,
    pub truth: Truth,
    pub steps: u64,
    offsets: Offsets,
    now_ms: u64,
    asked: Vec<Asked>,
    random: Random,
    pub answered: u64,
}

pub struct Node {
    pub disk: Memory,
    clock: Arc<ManualClock>,
    /// What its clock is ahead by, in milliseconds.
    pub ahead_ms: i64,
    pub live: Option<Live>,
    config: Config,
    /// Its id.
    pub number: u64,
}

pub struct Live {
    pub stepped: SteppedNode,
    pub client: Arc<Mutex<Client>>,
    following: Following,
}

struct Asked {
    node: usize,
    asked_at: u64,
    asked_time: u64,
    changes: Vec<Change>,
    /// Whether they concern names, and are performed together.
    of_names: Option<bool>,
    pending: Pin<Box<Pending>>,
}

impl Lab {
    /// Nodes with empty disks, and a stream with a Genesis.
    pub fn new(seed: u64, configs: Vec<Config>) -> Self {
        let stream = Simulated::new(seed, UnixMillis(START_MS));
        let nodes = (1..).zip(configs).map(|(number, config)| Node {
            disk: Memory::seeded(seed ^ number),
            clock: Arc::new(ManualClock::at(UnixMillis(START_MS))),
            ahead_ms: 0,
            live: None,
            config,
            number,
        });
        let lab = Self {
            nodes: nodes.collect(),
            oracle: Oracle::default(),
            names: Names::default(),
            truth: Truth::new(sealer()),
            steps: 0,
            offsets: Arc::default(),
            now_ms: START_MS,
            asked: Vec::new(),
            random: Random::new(seed),
            answered: 0,
            stream,
        };
        let sender = Sender { node: NodeId(1), epoch: Epoch(1), nonce: BootNonce([0; 16]) };
        let genesis = Proposal::genesis(ClusterId([9; 16]), sender, UnixMillis(START_MS));
        let message = sealer().seal(&genesis).expect("it can be sealed");
        lab.stream.client().propose(&message).expect("it is sent");
        lab
    }

    /// Opens a node on its disk. Returns false if its disk refused.
    pub fn open(&mut self, at: usize) -> bool {
        self.pass(0);
        let nonce = BootNonce(std::array::from_fn(|_| self.random.number() as u8));
        let node = &mut self.nodes[at];
        let client = Arc::new(Mutex::new(self.stream.client()));
        let out = Out { client: Arc::clone(&client), sealer: sealer() };
        let membership = Membership {
            node: NodeId(node.number),
            nonce,
            answer_within: Duration::from_secs(10),
            format: u32::from(FORMAT),
            keys: [0; 16],
        };
        let stepped = SteppedNode::open(
            node.config.clone(),
            node.disk.storage(),
            Digester::new(&secret(), "default"),
            Arc::clone(&node.clock) as Arc<dyn Clock>,
            membership,
            Box::new(out),
        );
        let Ok(stepped) = stepped else { return false };
        let state = stepped.follower().state();
        let following = Following::after(&state, sealer());
        node.live = Some(Live { stepped, client, following });
        true
    }

    /// Makes a new stream that continues the log of a node, and ends the old one, which is returned.
    pub fn reseed(&mut self, at: usize) -> Simulated {
        let reseeding = self.reseeding(at);
        self.reseed_with(&reseeding)
    }

    /// What continues the log of a node as it is now.
    pub fn reseeding(&self, at: usize) -> Reseeding {
        let state = self.state(at).expect("it runs");
        let ended = Ended { position: state.position, chain: state.chain };
        Reseeding::at(state.cluster, ended, state.hash)
    }

    /// The same as [`Lab::reseed`], from the end of a log.
    pub fn reseed_with(&mut self, reseeding: &Reseeding) -> Simulated {
        let sender = Sender { node: NodeId(9), epoch: Epoch(1), nonce: BootNonce([9; 16]) };
        let message = reseeding.message(&mut sealer(), sender, UnixMillis(self.now_ms));
        let message = message.expect("it can be sealed");
        let new = Simulated::new(self.random.number(), self.stream.now());
        let old = std::mem::replace(&mut self.stream, new);
        for stream in [&self.stream, &old] {
            stream.set_faults(Faults::default());
            stream.client().propose(&message).expect("it is sent");
        }
        self.truth.begin_stream();
        old
    }

    /// Ends the process of a node; its disk keeps this much.
    pub fn kill(&mut self, at: usize, keep: Keep) {
        let node = &mut self.nodes[at];
        node.live = None;
        node.disk = node.disk.crash(keep);
    }

    /// Lets time pass, on all clocks.
    pub fn pass(&mut self, millis: u64) {
        self.stream.advance(millis);
        let now_ms = self.stream.now().0;
        for node in &self.nodes {
            node.clock.advance(now_ms - self.now_ms);
            node.clock.jump_to(UnixMillis(now_ms.saturating_add_signed(node.ahead_ms)));
        }
        self.now_ms = now_ms;
    }

    /// The leader's clock is ahead by this much from now on.
    pub fn set_leader_ahead(&mut self, millis: i64) {
        let now_ms = self.stream.now().0;
        self.offsets.lock().expect("one thread").push((now_ms + 1, millis));
        self.pass(1);
    }

    pub fn state(&self, at: usize) -> Option<NodeState> {
        Some(self.nodes[at].live.as_ref()?.stepped.follower().state())
    }

    /// Hands up to `count` messages to a node, and lets it take a turn.
    pub fn turn(
        &mut self,
        at: usize,
        count: usize,
        is_idle: bool,
    ) -> Result<Option<Unfollowable>, Broken> {
        let offsets = Arc::clone(&self.offsets);
        let Some(live) = &mut self.nodes[at].live else { return Ok(None) };
        let mut end = None;
        for _ in 0..count {
            if !live.stepped.follower().has_room() {
                break;
            }
            let mut client = live.client.lock().expect("one thread");
            let mut seen = Seen { client: &mut client, offsets: &offsets };
            match live.following.step(&mut seen, live.stepped.follower(), Duration::ZERO) {
                Ok(Step::Landed) => {}
                Ok(Step::Quiet | Step::Ended) => break,
                Err(error) => {
                    end = Some(error);
                    break;
                }
            }
        }
        live.stepped.turn(is_idle);
        self.pass(0);
        self.learn();
        self.check_time(at)?;
        self.check_set(at)?;
        self.collect()?;
        Ok(end)
    }

    /// Takes what the stream has stored meanwhile.
    fn learn(&mut self) {
        for message in self.stream.messages() {
            if message.seq > self.truth.seq {
                let stored_at = leader_time(&self.offsets, message.stored_at);
                self.truth.take(message.seq, stored_at, &message.bytes);
            }
        }
    }

    /// Promise P3: one wrong clock makes no log time run ahead.
    fn check_time(&self, at: usize) -> Result<(), Broken> {
        let log_time = self.state(at).map_or(0, |state| state.log_time.0);
        match log_time > self.now_ms + AHEAD_MAX_MS {
            true => Err(format!("log time is {} ms ahead", log_time - self.now_ms)),
            false => Ok(()),
        }
    }

    /// Asks a node for changes.
    pub fn ask(&mut self, at: usize, changes: Vec<Change>) -> Result<(), Broken> {
        let Some(state) = self.state(at) else { return Ok(()) };
        let Some(live) = &self.nodes[at].live else { return Ok(()) };
        changes.iter().for_each(|change| self.oracle.ask(change));
        let ops = changes.iter().map(Change::op).collect();
        let pending = live.stepped.engine().submit(ops).map_err(|rejected| rejected.to_string())?;
        self.asked.push(Asked {
            node: at,
            asked_at: self.steps,
            asked_time: state.log_time.0,
            changes,
            of_names: None,
            pending: Box::pin(pending),
        });
        Ok(())
    }

    /// Asks a node for changes of names.
    pub fn ask_names(&mut self, at: usize) -> Result<(), Broken> {
        let Some(state) = self.state(at) else { return Ok(()) };
        // What it has lost with its log it follows again.
        if state.agreed < FORMAT {
            return Ok(());
        }
        let Call { changes, is_together } = self.names.call(&mut self.random, state.log_time.0);
        let Some(live) = &self.nodes[at].live else { return Ok(()) };
        let (engine, ops) = (live.stepped.engine(), changes.iter().map(Change::op).collect());
        let pending = match is_together {
            true => engine.submit_together(ops),
            false => engine.submit(ops),
        };
        self.asked.push(Asked {
            node: at,
            asked_at: self.steps,
            asked_time: state.log_time.0,
            changes,
            of_names: Some(is_together),
            pending: Box::pin(pending.map_err(|rejected| rejected.to_string())?),
        });
        Ok(())
    }

    /// Promise P4: what is changed together is alike on each node, at any time.
    fn check_set(&self, at: usize) -> Result<(), Broken> {
        let (Some(live), Some(state)) = (&self.nodes[at].live, self.state(at)) else {
            return Ok(());
        };
        let (engine, now) = (live.stepped.engine(), state.log_time);
        let seen = |id| {
            let payload = engine.resolve(&digest(id), now, <[u8]>::to_vec);
            (payload, engine.status(&digest(id), now))
        };
        let all: Vec<_> = names::SET.map(seen).collect();
        match all.iter().all(|one| *one == all[0]) {
            true => Ok(()),
            false => Err(format!("half of a call on node {at}: {all:?}")),
        }
    }

    /// Judges the answers that have come.
    fn collect(&mut self) -> Result<(), Broken> {
        self.steps += 1;
        let mut cx = Context::from_waker(Waker::noop());
        let mut waiting = Vec::new();
        for mut asked in std::mem::take(&mut self.asked) {
            let Poll::Ready(result) = asked.pending.as_mut().poll(&mut cx) else {
                waiting.push(asked);
                continue;
            };
            self.answered += 1;
            let log_time = self.state(asked.node).map_or(u64::MAX, |state| state.log_time.0);
            let answered = Answered {
                asked_at: asked.asked_at,
                now: self.steps,
                asked_time: asked.asked_time,
                log_time,
                changes: &asked.changes,
                result,
            };
            match asked.of_names {
                None => self.oracle.judge(&answered)?,
                Some(is_together) => self.names.judge(&answered, is_together)?,
            }
        }
        self.asked = waiting;
        Ok(())
    }

    /// The stream forgets what is durable on all nodes, as one of them knows it.
    pub fn trim(&self, at: usize) {
        let Some(state) = self.state(at) else { return };
        if state.reports.len() == self.nodes.len() {
            let durable = state.reports.values().map(|report| report.durable).min();
            let _ = self.stream.client().trim(durable.unwrap_or(0));
        }
    }

    /// Everything is well again: all nodes run, and a barrier of each has landed.
    pub fn heal(&mut self) -> Result<(), Broken> {
        for at in 0..self.nodes.len() {
            self.nodes[at].disk.set_space_left(None);
            if self.nodes[at].live.is_none() && !self.open(at) {
                return Err(format!("node {at} does not open"));
            }
        }
        self.run(12_000)?;
        let barrier = |live: &Live| live.stepped.follower().barrier();
        let all: Vec<_> = self.nodes.iter().flat_map(|node| &node.live).map(barrier).collect();
        self.run(3_000)?;
        for (at, pending) in all.into_iter().enumerate() {
            let mut pending = Box::pin(pending.map_err(|rejected| rejected.to_string())?);
            let mut cx = Context::from_waker(Waker::noop());
            let result = pending.as_mut().poll(&mut cx);
            if !matches!(result, Poll::Ready(Ok(_))) {
                let (state, seq) = (self.state(at), self.truth.seq);
                return Err(format!("barrier of node {at} at {seq}: {result:?}, {state:?}"));
            }
        }
        if !self.asked.is_empty() {
            return Err(format!("{} calls have no answer", self.asked.len()));
        }
        Ok(())
    }

    /// Lets all nodes work for this time.
    pub fn run(&mut self, millis: u64) -> Result<(), Broken> {
        let until = self.now_ms + millis;
        while self.now_ms < until {
            self.pass(50);
            for at in 0..self.nodes.len() {
                if let Some(error) = self.turn(at, 64, false)? {
                    return Err(format!("node {at} cannot follow: {error}"));
                }
            }
        }
        Ok(())
    }

    /// All nodes have landed the same messages; nothing more is on its way.
    pub fn check_equal(&mut self) -> Result<(), Broken> {
        for at in (0..self.nodes.len()).cycle().take(3 * self.nodes.len()) {
            self.turn(at, 256, false)?;
        }
        let states: Vec<NodeState> =
            (0..self.nodes.len()).filter_map(|at| self.state(at)).collect();
        for (at, state) in states.iter().enumerate() {
            let first = &states[0];
            if state.standing != Standing::Serving {
                return Err(format!("node {at} is {:?}", state.standing));
            }
            let all = |state: &NodeState| (state.position, state.hash, state.chain, state.log_time);
            if all(state) != all(first) || state.members != first.members {
                return Err(format!("node {at} differs: {state:?} and {first:?}"));
            }
            if state.outcomes != first.outcomes || !state.diverged.is_empty() {
                return Err(format!("node {at} had other outcomes: {state:?} and {first:?}"));
            }
            if (state.position.seq, state.log_time.0) != (self.truth.seq, self.truth.log_time) {
                return Err(format!("node {at} is not at the end: {state:?}"));
            }
        }
        (0..self.nodes.len()).try_for_each(|at| self.check_tokens(at))
    }

    /// A node has the tokens that the messages mean.
    pub fn check_tokens(&self, at: usize) -> Result<(), Broken> {
        let (Some(live), now) = (&self.nodes[at].live, self.truth.log_time) else { return Ok(()) };
        let engine = live.stepped.engine();
        for id in (0..self.next_id_max()).chain(names::LOOSE).chain(names::SET) {
            let status = engine.status(&digest(id), UnixMillis(now));
            let payload = engine.resolve(&digest(id), UnixMillis(now), <[u8]>::to_vec);
            let found = status.map(|Status { expires_at, uses_left, payload_len, .. }| {
                (expires_at.0, uses_left, payload_len, payload)
            });
            let expected = seen(self.truth.tokens.get(&id), now);
            if found != expected {
                return Err(format!("token {id} on node {at} is {found:?}, not {expected:?}"));
            }
        }
        Ok(())
    }

    /// No token but a name has a higher number.
    pub fn next_id_max(&self) -> u64 {
        self.oracle.next_id()
    }
}
