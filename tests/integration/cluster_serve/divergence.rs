//! Nodes whose contents differ. That must not happen, so a test has to leave records out by hand.

use jeton::clock::SystemClock;
use jeton::cluster::message::{FORMAT, Sealer};
use jeton::cluster::node::{Node, NodeError, Word, rejoin};
use jeton::engine::clustered::{Membership, Proposal, Proposer};
use jeton::engine::{Engine, NoProgress, Op, Outcome, Rejected, read_secret};
use jeton::model::cluster::{BootNonce, NodeId};
use jeton::model::record::records;
use jeton::model::token::Token;
use jeton::permissions::Strictness;
use std::sync::Arc;
use std::time::Duration;

use super::simulated::{World, await_word, issue, knows, refused, stop};
use crate::cluster::servers::within;

struct Nobody;

impl Proposer for Nobody {
    fn propose(&mut self, _: &Proposal<'_>) {}
}

/// Makes a log of all messages of the stream, in which no token was ever issued.
fn log_without_tokens(world: &World, name: &str) {
    let membership = Membership {
        node: NodeId(99),
        nonce: BootNonce([9; 16]),
        answer_within: Duration::from_secs(10),
        format: u32::from(FORMAT),
        keys: [0; 16],
    };
    let config = world.engine(name);
    let secret = read_secret(config.secret_file.as_ref().expect("given")).expect("a secret");
    let clock = Arc::new(SystemClock::new());
    let opened = Engine::open_in_cluster(config, clock, &NoProgress, membership, Box::new(Nobody));
    let (engine, follower) = opened.expect("it opens");
    let messages = world.stream.messages();
    let last = messages.last().expect("a message").seq;
    for message in messages {
        let mut landed = Sealer::new(&secret)
            .open(message.seq, message.stored_at, &message.bytes)
            .expect("a known format");
        if let Some((_, body)) = &mut landed.content
            && records(body).flatten().any(|record| record.digest().is_some())
        {
            body.clear();
        }
        assert!(follower.land(landed));
    }
    within("it has landed all", || match follower.state().position.seq {
        seq if seq == last => Ok(()),
        seq => Err(format!("{seq} of {last}")),
    });
    engine.close().expect("closed");
}

fn consume(node: &Node, token: &Token) -> Result<Vec<Outcome>, Rejected> {
    let consume = Op::Consume { digest: node.engine().digest(token), key: None };
    node.engine().submit(vec![consume]).expect("queued").wait()
}

#[test]
fn p2_nodes_that_differ_stay_shut_whoever_says_hello_until_a_person_acts() {
    let world = World::begun();
    let one = world.start("a").expect("it starts");
    let (spent, kept) = (issue(&one), issue(&one));
    log_without_tokens(&world, "b");
    let two = world.start("b").expect("it starts");
    assert_eq!((knows(&one, &spent), knows(&two, &spent)), (true, false));
    let consumed = consume(&one, &spent).expect("taken");
    assert!(matches!(consumed[..], [Outcome::Consumed { .. }]), "{consumed:?}");
    await_word(&one, Word::Diverged);
    await_word(&two, Word::Diverged);
    // The chains of outcomes begin anew with the third node. It must not serve alone either.
    let three = world.start("c").expect("it starts");
    await_word(&three, Word::Diverged);
    std::thread::sleep(Duration::from_secs(3));
    for node in [&one, &two, &three] {
        assert_eq!(node.view().standing().0, Word::Diverged);
        assert_eq!(consume(node, &kept), Err(Rejected::NoQuorum));
        assert!(!node.view().fence().is_open(), "it answers no read");
    }
    [one, two, three].into_iter().for_each(stop);
    // A restart alone is no decision.
    for name in ["a", "b", "c"] {
        let error = refused(world.start(name));
        assert!(matches!(error, NodeError::Marked { .. }), "{error}");
    }
    rejoin(&world.path("a"), Strictness::Warn).expect("it may start again");
    let one = world.start("a").expect("it starts");
    await_word(&one, Word::Ready);
    let consumed = consume(&one, &kept).expect("taken");
    assert!(matches!(consumed[..], [Outcome::Consumed { .. }]), "{consumed:?}");
    stop(one);
}
