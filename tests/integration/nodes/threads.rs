//! Nodes with threads of their own, and a stream that hands each message to all of them at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jeton::clock::{Clock, SystemClock};
use jeton::engine::clustered::{Follower, Membership, Proposal, Proposer, Standing};
use jeton::engine::replicated::{FORMAT, Landed, MessageHead, Sender, hash_of};
use jeton::engine::{Config, Engine, NoProgress, Op, Outcome, Put, SyncMode, When};
use jeton::model::cluster::{BootNonce, ClusterId, Epoch, NodeId};
use jeton::model::token::Digest;

use crate::support::Over;

/// The messages in order, and the nodes that get them.
#[derive(Clone, Default)]
struct Hub(Arc<Mutex<(Vec<Landed>, Vec<Follower>)>>);

impl Proposer for Hub {
    fn propose(&mut self, proposal: &Proposal<'_>) {
        let Proposal { format, kind, cluster, era, sender, batch, attempt, proposed_at, .. } =
            *proposal;
        let head = MessageHead { format, kind, cluster, era, sender, batch, attempt, proposed_at };
        let mut inner = self.0.lock().expect("nobody panics with it");
        let (messages, followers) = &mut *inner;
        let seq = messages.len() as u64 + 1;
        let stream_time = SystemClock::new().wall();
        let content = Some((head, proposal.body.to_vec()));
        let message = Landed { seq, stream_time, hash: hash_of(&seq.to_le_bytes()), content };
        messages.push(message.clone());
        followers.retain(|follower| follower.land(message.clone()));
    }
}

impl Hub {
    fn begin(&mut self) {
        let sender = Sender { node: NodeId(1), epoch: Epoch(1), nonce: BootNonce([0; 16]) };
        let wall = SystemClock::new().wall();
        self.propose(&Proposal::genesis(ClusterId([9; 16]), sender, wall));
    }

    /// Opens a node, which gets what it has missed.
    fn open(&self, dir: &std::path::Path, node: u64, nonce: u8) -> (Engine, Follower) {
        let membership = Membership {
            node: NodeId(node),
            nonce: BootNonce([nonce; 16]),
            answer_within: Duration::from_secs(10),
            format: u32::from(FORMAT),
            keys: [0; 16],
        };
        let secret = dir.parent().expect("a directory").join("secret");
        std::fs::write(&secret, [7; 32]).expect("it can be written");
        let config = Config {
            secret_file: Some(secret),
            sync: SyncMode::Every(Duration::from_millis(100)),
            ..Config::at(dir)
        };
        let clock = Arc::new(SystemClock::new());
        let out = Box::new(self.clone());
        let (engine, follower) =
            Engine::open_in_cluster(config, clock, &NoProgress, membership, out).expect("it opens");
        let mut inner = self.0.lock().expect("nobody panics with it");
        let landed = follower.state().position.seq as usize;
        for message in &inner.0[landed..] {
            assert!(follower.land(message.clone()));
        }
        inner.1.push(follower.clone());
        drop(inner);
        follower.caught_up();
        let until = Instant::now() + Duration::from_secs(20);
        while follower.state().standing != Standing::Serving {
            assert!(Instant::now() < until, "{:?}", follower.state());
            std::thread::sleep(Duration::from_millis(5));
        }
        (engine, follower)
    }
}

fn call(engine: &Engine, op: Op) -> Outcome {
    let outcomes = engine.submit(vec![op]).expect("it is taken").wait().expect("it is answered");
    outcomes.into_iter().next().expect("one outcome")
}

#[test]
fn p2_a_token_of_one_node_is_consumed_once_on_any() {
    let dir = tempfile::tempdir().expect("a directory");
    let dirs = [dir.path().join("one"), dir.path().join("two")];
    dirs.iter().for_each(|dir| std::fs::create_dir(dir).expect("it can be made"));
    let mut hub = Hub::default();
    hub.begin();
    let (one, _) = hub.open(&dirs[0], 1, 1);
    let (two, follower) = hub.open(&dirs[1], 2, 2);
    let digest = |n: u64| Digest::from_bytes(std::array::from_fn(|at| (n >> (at % 8)) as u8));
    for n in 0..50 {
        let issue = Op::Issue {
            digest: digest(n << 8),
            payload: b"1".to_vec(),
            ttl: Duration::from_secs(60),
            uses: 1,
            peek: true,
            derived: false,
        };
        assert!(matches!(call(&one, issue), Outcome::Issued { .. }));
        let consume = Op::Consume { digest: digest(n << 8), key: None };
        assert!(matches!(call(&two, consume.clone()), Outcome::Consumed { .. }));
        assert_eq!(call(&one, consume), Outcome::NotFound);
    }
    assert_eq!(follower.barrier().expect("it is taken").wait(), Ok(Vec::new()));
    // A node that was away comes back with what it had, and gets the rest.
    hub.0.lock().expect("nobody panics with it").1.truncate(1);
    two.close().expect("it closes");
    let landed = hub.0.lock().expect("nobody panics with it").0[0].clone();
    assert!(!follower.land(landed), "a node that has closed takes no message");
    drop((two, follower));
    let issue = Op::Issue {
        digest: digest(7),
        payload: b"2".to_vec(),
        ttl: Duration::from_secs(60),
        uses: 1,
        peek: true,
        derived: false,
    };
    assert!(matches!(call(&one, issue), Outcome::Issued { .. }));
    let (two, _) = hub.open(&dirs[1], 2, 3);
    let found = two.resolve(&digest(7), two.now(), <[u8]>::to_vec);
    assert_eq!(found.as_deref(), Some(&b"2"[..]));
    one.close().expect("it closes");
    two.close().expect("it closes");
}

/// Readers on other threads, on the node that was asked and on another one.
#[test]
fn p4_readers_of_a_node_never_see_half_of_a_call() {
    const TOKENS: u64 = 64;
    const ROUNDS: u64 = 400;
    let dir = tempfile::tempdir().expect("a directory");
    let dirs = [dir.path().join("one"), dir.path().join("two")];
    dirs.iter().for_each(|dir| std::fs::create_dir(dir).expect("it can be made"));
    let mut hub = Hub::default();
    hub.begin();
    let nodes = [hub.open(&dirs[0], 1, 1).0, hub.open(&dirs[1], 2, 2).0];
    let digests: Vec<Digest> = (0..TOKENS).map(|n| Digest::from_bytes([n as u8 + 1; 16])).collect();
    let is_over = AtomicBool::new(false);
    let (nodes, digests, is_over) = (&nodes, &digests, &is_over);
    let looks: u64 = std::thread::scope(|scope| {
        let _over = Over(is_over);
        let readers = nodes.each_ref().map(|node| {
            scope.spawn(move || {
                let mut looks = 0;
                while !is_over.load(Ordering::Relaxed) {
                    let mut seen = Vec::new();
                    node.resolve_many(digests, node.now(), |payload| {
                        seen.push(payload.map(<[u8]>::to_vec));
                    });
                    assert!(seen.iter().all(|one| *one == seen[0]), "half of a call: {seen:?}");
                    let mut uses = Vec::new();
                    node.statuses(digests, node.now(), |status| {
                        uses.push(status.map(|status| status.uses_left));
                    });
                    assert!(uses.iter().all(|one| *one == uses[0]), "half of a call: {uses:?}");
                    looks += 1;
                }
                looks
            })
        });
        for round in 1..=ROUNDS {
            let change = |digest: &Digest| match round % 5 {
                0 => Op::Revoke { digest: *digest },
                _ => Op::Put(Put {
                    digest: *digest,
                    payload: round.to_le_bytes().to_vec(),
                    ttl: Some(Duration::from_secs(600)),
                    default_ttl: Duration::from_secs(600),
                    uses: (round % 100) as u32 + 1,
                    peek: true,
                    when: When::Always,
                    wants_previous: false,
                }),
            };
            let node = &nodes[(round % 2) as usize];
            let asked = node.submit_together(digests.iter().map(change).collect());
            let outcomes = asked.expect("it is taken").wait().expect("it is answered");
            assert_eq!(outcomes.len() as u64, TOKENS);
        }
        is_over.store(true, Ordering::Relaxed);
        readers.map(|reader| reader.join().expect("it ends well")).iter().sum()
    });
    assert!(looks > 0);
    nodes.iter().for_each(|node| node.close().expect("it closes"));
}
