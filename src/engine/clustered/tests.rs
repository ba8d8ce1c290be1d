//! A node alone with messages that a test makes.

mod admission;
mod asked;
mod memory;

use std::sync::Arc;
use std::time::Duration;

use super::stepped::SteppedNode;
use super::*;
use crate::engine::recovery::{NoProgress, OpenError, verify_on};
use crate::engine::replicated::{FORMAT, MessageHead, MessageKind, Sender, hash_of};
use crate::engine::stepped::Stepped;
use crate::engine::{Config, Op, SyncMode};
use crate::model::cluster::{BootNonce, ClusterId, Epoch, Era, Position};
use crate::model::record::Record;
use crate::model::record::replication::Ended;
use crate::model::time::UnixMillis;
use crate::model::token::{Digest, Digester, Secret};
use crate::testkit::clock::ManualClock;
use crate::testkit::disk::{Keep, Memory};
use crate::wal::{self, Preparing};

const START: UnixMillis = UnixMillis(1_700_000_000_000);
const OTHER: Sender = Sender { node: NodeId(2), epoch: Epoch(1), nonce: BootNonce([2; 16]) };

/// A proposer that nobody hears.
struct Nobody;

impl Proposer for Nobody {
    fn propose(&mut self, _: &Proposal<'_>) {}
}

fn config() -> Config {
    let wal = wal::Config {
        segment_size: 8 << 10,
        log_min_size: 32 << 10,
        max_age: None,
        preparing: Preparing::Inline,
    };
    Config { wal, recovery_threads: 1, sync: SyncMode::Always, ..Config::default() }
}

fn digester() -> Digester {
    Digester::new(&Secret::from_bytes([1; 32]), "default")
}

fn open(disk: &Memory) -> Result<SteppedNode, OpenError> {
    open_with(disk, Box::new(Nobody))
}

fn open_with(disk: &Memory, proposer: Box<dyn Proposer>) -> Result<SteppedNode, OpenError> {
    open_at(disk, proposer, Arc::new(ManualClock::at(START)))
}

fn open_at(
    disk: &Memory,
    proposer: Box<dyn Proposer>,
    clock: Arc<ManualClock>,
) -> Result<SteppedNode, OpenError> {
    let membership = Membership {
        node: NodeId(1),
        nonce: BootNonce([1; 16]),
        answer_within: Duration::from_secs(10),
        format: u32::from(FORMAT),
        keys: [0; 16],
    };
    SteppedNode::open(config(), disk.storage(), digester(), clock, membership, proposer)
}

fn message(seq: u64, kind: MessageKind, batch: u64, time: UnixMillis, body: Vec<u8>) -> Landed {
    let head = MessageHead {
        format: 1,
        kind,
        cluster: ClusterId([9; 16]),
        era: Era(1),
        sender: OTHER,
        batch,
        attempt: 0,
        proposed_at: time,
    };
    let hash = hash_of(&seq.to_le_bytes());
    Landed { seq, stream_time: time, hash, content: Some((head, body)) }
}

fn land(node: &mut SteppedNode, message: Landed) {
    assert!(node.follower().land(message));
    node.turn(false);
}

/// A node that has landed a Genesis and the Hello of another node.
fn begun(disk: &Memory) -> SteppedNode {
    let mut node = open(disk).unwrap();
    land(&mut node, message(1, MessageKind::Genesis, 0, START, Vec::new()));
    land(&mut node, message(2, MessageKind::Hello, 0, START, Vec::new()));
    node
}

fn issue(id: u8, ttl_ms: u64, len: usize) -> Vec<u8> {
    let mut body = Vec::new();
    let record = Record::Issue {
        digest: Digest::from_bytes([id; 16]),
        deadline: UnixMillis(ttl_ms),
        uses: 1,
        peek: true,
        derived: false,
        replaces: false,
        payload: &vec![b'1'; len],
    };
    record.encode(&mut body);
    body
}

#[test]
fn p2_the_log_of_a_node_opens_in_a_cluster_only_and_that_of_a_server_alone_only() {
    let (node_disk, single_disk) = (Memory::new(), Memory::new());
    drop(begun(&node_disk));
    let clock = || Arc::new(ManualClock::at(START));
    let single = |disk: &Memory| Stepped::open(config(), disk.storage(), digester(), clock());
    assert!(matches!(single(&node_disk), Err(OpenError::OfCluster)));
    let mut alone = single(&single_disk).unwrap();
    let revoke = Op::Revoke { digest: Digest::from_bytes([1; 16]) };
    alone.carry_out(vec![revoke]).unwrap();
    drop(alone);
    assert!(matches!(open(&single_disk), Err(OpenError::OfSingle)));
    assert!(open(&node_disk).is_ok());
}

#[test]
fn p2_what_counts_next_survives_the_release_of_every_segment_but_the_current_one() {
    let disk = Memory::new();
    let mut node = begun(&disk);
    let mut seq = 2;
    let mut time = START;
    // Each frame fills much of a segment, and everything in it expires soon.
    for batch in 1..60 {
        (seq, time) = (seq + 1, UnixMillis(time.0 + 1_000));
        let body = issue(batch as u8, 100, 1_500);
        land(&mut node, message(seq, MessageKind::Batch, batch, time, body));
        node.turn(true);
    }
    let before = node.follower().state();
    let released = node.engine().stats().log.segments_released;
    assert!(released > 5, "{released}");
    drop(node);
    let mut node = open(&disk).unwrap();
    let after = node.follower().state();
    assert_eq!((after.position, after.chain), (before.position, before.chain));
    assert_eq!(after.members, before.members);
    // The last batch again, as the stream may store it twice, and after its token has expired.
    let time = UnixMillis(time.0 + 1_000);
    let digest = Digest::from_bytes([59; 16]);
    land(&mut node, message(seq + 1, MessageKind::Batch, 59, time, issue(59, 90_000, 10)));
    assert!(node.engine().status(&digest, time).is_none(), "it has expired, and counts once");
    land(&mut node, message(seq + 2, MessageKind::Batch, 60, time, issue(60, 90_000, 10)));
    let digest = Digest::from_bytes([60; 16]);
    assert!(node.engine().status(&digest, time).is_some());
}

/// The frame that states the members may not fit where a shorter one does, such as that of a release.
#[test]
fn p2_no_segment_is_released_while_the_disk_has_no_room_to_state_what_counts_next() {
    let (mut short, mut released) = (0, 0);
    for space in (1_560..2_000).step_by(20) {
        let (disk, clock) = (Memory::new(), Arc::new(ManualClock::at(START)));
        let mut node = open_at(&disk, Box::new(Nobody), Arc::clone(&clock)).unwrap();
        land(&mut node, message(1, MessageKind::Genesis, 0, START, Vec::new()));
        land(&mut node, message(2, MessageKind::Hello, 0, START, Vec::new()));
        for batch in 1..40 {
            disk.set_space_left(Some(space));
            let time = UnixMillis(START.0 + batch * 1_000);
            let body = issue(batch as u8, 100, 1_500);
            land(&mut node, message(batch + 2, MessageKind::Batch, batch, time, body));
            (0..3).for_each(|_| node.turn(true));
            short += u64::from(node.engine().readiness().is_err());
            let again = open(&disk.crash(Keep::Synced)).unwrap().follower().state();
            let before = node.follower().state();
            assert_eq!((again.position, &again.members), (before.position, &before.members));
            disk.set_space_left(None);
            clock.advance(1_000);
            node.turn(true);
        }
        released += node.engine().stats().log.segments_released;
    }
    assert!(short > 20 && released > 20, "{short} times without room, {released} released");
}

#[test]
fn p1_a_new_stream_goes_on_where_the_log_ends_and_the_lost_end_of_the_old_one_is_known() {
    let disk = Memory::new();
    let mut node = begun(&disk);
    land(&mut node, message(3, MessageKind::Batch, 1, START, issue(1, 90_000, 10)));
    let before = node.follower().state();
    let ended = Ended { position: before.position, chain: before.chain };
    let mut genesis = message(1, MessageKind::Genesis, 0, START, ended.encode().to_vec());
    let of_era_2 = |mut message: Landed| {
        message.content.as_mut().unwrap().0.era = Era(2);
        message
    };
    genesis = of_era_2(genesis);
    land(&mut node, genesis);
    // The life of a node goes on, and so do its numbers.
    let mut time = START;
    for batch in 2..60 {
        time = UnixMillis(time.0 + 1_000);
        let body = issue(batch as u8, 100, 1_500);
        land(&mut node, of_era_2(message(batch, MessageKind::Batch, batch, time, body)));
        node.turn(true);
    }
    assert!(node.engine().stats().log.segments_released > 5);
    drop(node);
    let node = open(&disk).unwrap();
    let state = node.follower().state();
    let at = |era, seq| crate::model::cluster::Position { era: Era(era), seq };
    assert_eq!((state.position, &state.ended), (at(2, 59), &vec![ended]));
    assert!(node.engine().status(&Digest::from_bytes([1; 16]), time).is_some());
    let has_lost = |position| node.follower().has_lost(position);
    assert_eq!(
        [at(1, 3), at(1, 4), at(2, 59), at(2, 60)].map(has_lost),
        [false, true, false, false]
    );
    assert!(has_lost(at(0, 1)));
}

#[test]
fn verify_tells_the_position_and_the_members() {
    let disk = Memory::new();
    let mut node = begun(&disk);
    land(&mut node, message(3, MessageKind::Batch, 1, START, issue(1, 90_000, 10)));
    land(&mut node, message(4, MessageKind::Batch, 1, START, issue(1, 90_000, 10)));
    let state = node.follower().state();
    drop(node);
    let verified =
        verify_on(disk.storage(), Some(&Secret::from_bytes([1; 32])), &NoProgress).unwrap();
    let found = verified.replicated.unwrap();
    assert_eq!((found.era, found.seq, found.members, found.messages), (1, 4, 1, 4));
    assert_eq!((found.chain, verified.tokens), (state.chain.0, Some(1)));
    assert_eq!(state.landed, LandedCounts { all: 4, repeats: 1, unopened: 0 });
}

#[test]
fn messages_that_do_not_open_are_counted() {
    let mut node = begun(&Memory::new());
    let foreign = message(3, MessageKind::Batch, 1, START, Vec::new());
    land(&mut node, Landed { content: None, ..foreign });
    let landed = node.follower().state().landed;
    assert_eq!(landed, LandedCounts { all: 3, repeats: 0, unopened: 1 });
}

#[test]
fn p2_outcomes_that_differed_once_differ_for_good_whoever_says_hello() {
    let mut node = begun(&Memory::new());
    let third = Sender { node: NodeId(3), ..OTHER };
    let hello = |seq, epoch, sender: Sender| {
        let mut hello = message(seq, MessageKind::Hello, 0, START, Vec::new());
        let (head, _) = hello.content.as_mut().unwrap();
        head.sender = Sender { epoch: Epoch(epoch), ..sender };
        hello
    };
    let report = |state: &NodeState, outcomes: Chain| {
        let Position { seq, .. } = state.position;
        let (chain, keys) = (state.chain, [0; 16]);
        let has_stopped = false;
        Report { has_stopped, format: 1, seq, durable: 0, memory_max: 0, chain, outcomes, keys }
    };
    let state = node.follower().state();
    let right = report(&state, state.outcomes.unwrap());
    land(&mut node, message(3, MessageKind::Batch, 1, START, right.encode().to_vec()));
    let state = node.follower().state();
    assert_eq!((state.alike.len(), state.diverged.len()), (1, 0));
    let wrong = report(&state, Chain([9; 16]));
    land(&mut node, message(4, MessageKind::Batch, 2, START, wrong.encode().to_vec()));
    let differs = BTreeMap::from([(OTHER.node, 3)]);
    let state = node.follower().state();
    assert_eq!((state.alike.len(), &state.diverged), (0, &differs));
    // The chains begin anew, and are equal from then on.
    land(&mut node, hello(5, 1, third));
    let state = node.follower().state();
    let right = report(&state, state.outcomes.unwrap());
    land(&mut node, message(6, MessageKind::Batch, 3, START, right.encode().to_vec()));
    let state = node.follower().state();
    assert_eq!((state.reports[&OTHER.node].seq, &state.diverged), (5, &differs));
    assert!(!state.alike.contains(&OTHER.node));
}

#[test]
fn p2_a_node_that_was_given_another_message_does_not_end_those_that_hear_its_report() {
    let mut node = begun(&Memory::new());
    let state = node.follower().state();
    let report = Report {
        has_stopped: false,
        format: 1,
        seq: 2,
        durable: 0,
        memory_max: 0,
        chain: Chain([7; 16]),
        outcomes: state.outcomes.unwrap(),
        keys: [0; 16],
    };
    land(&mut node, message(3, MessageKind::Batch, 1, START, report.encode().to_vec()));
    let state = node.follower().state();
    assert_eq!(state.diverged, BTreeMap::from([(OTHER.node, 2)]), "a majority decides");
    assert_eq!(state.standing, Standing::Following);
}

#[test]
fn p2_another_message_at_a_landed_position_ends_the_node() {
    let mut node = begun(&Memory::new());
    let again = message(2, MessageKind::Hello, 0, START, Vec::new());
    land(&mut node, again.clone());
    assert_eq!(node.follower().state().standing, Standing::Following);
    land(&mut node, Landed { hash: MessageHash([7; 16]), ..again });
    let lost = Standing::Stopped(Stopped::Lost { seq: 2 });
    assert_eq!(node.follower().state().standing, lost);
}
