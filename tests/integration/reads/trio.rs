//! Three nodes with their HTTP servers in this process, on one simulated stream. A thread lets
//! simulated time pass and the nodes work.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use jeton::clock::Clock;
use jeton::cluster::fence::{Fence, STALENESS};
use jeton::cluster::follow::Following;
use jeton::cluster::message::Sealer;
use jeton::cluster::stream::Stream;
use jeton::engine::clustered::stepped::SteppedNode;
use jeton::engine::clustered::{Membership, Proposal, Proposer, Standing};
use jeton::engine::replicated::{
    FORMAT, Landed, MessageHead, MessageKind, Replicated, Sender, hash_of,
};
use jeton::engine::{Config, SyncMode};
use jeton::http::{self, Server};
use jeton::model::cluster::{BootNonce, ClusterId, Epoch, Era, NodeId};
use jeton::model::record::replication::{Ended, Verdict};
use jeton::model::record::{Record, records};
use jeton::model::time::UnixMillis;
use jeton::model::token::{Digester, Secret};
use jeton::service::miss_limiter::MissLimits;
use jeton::service::reads::Reads;
use jeton::testkit::clock::ManualClock;
use jeton::testkit::disk::Memory;
use jeton::testkit::stream::{Client, Simulated};
use jeton::wal::{self, Preparing};

use crate::raw::{self, Conn, Response};
use crate::support::eventually;

const START: UnixMillis = UnixMillis(1_767_225_600_000);
/// The stream is the second one of the cluster, so that positions of the first can be asked for.
const ERA: u64 = 2;
/// Real time between two milliseconds of simulated time.
const REST: Duration = Duration::from_millis(1);

fn secret() -> Secret {
    Secret::from_bytes([7; 32])
}

/// What a node gets of the stream.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Link {
    Whole,
    /// What it sends is stored, but it follows nothing.
    Deaf,
    /// Nothing, in both directions.
    Cut,
}

struct Node {
    stepped: SteppedNode,
    client: Arc<Mutex<Client>>,
    following: Following,
    clock: Arc<ManualClock>,
    link: Link,
}

struct Inner {
    stream: Simulated,
    nodes: Vec<Node>,
}

pub struct Trio {
    inner: Arc<Mutex<Inner>>,
    is_over: Arc<AtomicBool>,
    driver: Option<JoinHandle<()>>,
    servers: Vec<Server>,
}

/// Seals what a node proposes.
struct Out {
    client: Arc<Mutex<Client>>,
    sealer: Sealer,
}

impl Proposer for Out {
    fn propose(&mut self, proposal: &Proposal<'_>) {
        let message = self.sealer.seal(proposal).expect("it can be sealed");
        let _ = self.client.lock().expect("nobody panics with it").propose(&message);
    }
}

impl Inner {
    fn step(&mut self) {
        self.stream.advance(1);
        for node in &mut self.nodes {
            node.clock.advance(1);
            if node.link == Link::Whole {
                node.follow();
            }
            node.stepped.turn(false);
        }
    }
}

impl Node {
    fn follow(&mut self) {
        let mut client = self.client.lock().expect("nobody panics with it");
        let follower = self.stepped.follower();
        for _ in 0..64 {
            if !follower.has_room() {
                return;
            }
            let step = self.following.step(&mut *client, follower, Duration::ZERO);
            if step != Ok(jeton::cluster::follow::Step::Landed) {
                return;
            }
        }
    }
}

impl Trio {
    pub fn start() -> Self {
        Self::with(MissLimits::default(), [0; 3])
    }

    /// With these limits of misses, and clocks that are ahead by so many milliseconds.
    pub fn with(miss_limits: MissLimits, ahead_ms: [i64; 3]) -> Self {
        Self::configured(ahead_ms, |config| config.miss_limits = miss_limits)
    }

    /// With such clocks, and servers whose configuration is changed.
    pub fn configured(ahead_ms: [i64; 3], change: impl Fn(&mut http::Config)) -> Self {
        let stream = Simulated::new(1, START);
        let message = Sealer::new(&secret()).seal(&genesis(&ended().encode()));
        let message = message.expect("it can be sealed");
        stream.client().propose(&message).expect("it is sent");
        let (mut nodes, mut servers) = (Vec::new(), Vec::new());
        for (number, ahead_ms) in (1..).zip(ahead_ms) {
            let (node, reads) = open(&stream, number, ahead_ms);
            let mut config = http::Config { workers: 1, reads: Some(reads), ..Default::default() };
            change(&mut config);
            let address = "127.0.0.1:0".parse().expect("an address");
            let listeners = jeton::net::listen::bind(&address, 1).expect("a free port");
            let server = Server::start(node.stepped.engine(), &config, listeners);
            servers.push(server.expect("a worker"));
            nodes.push(node);
        }
        let inner = Arc::new(Mutex::new(Inner { stream, nodes }));
        let is_over = Arc::new(AtomicBool::new(false));
        let driver = std::thread::spawn({
            let (inner, is_over) = (Arc::clone(&inner), Arc::clone(&is_over));
            move || {
                while !is_over.load(Ordering::Relaxed) {
                    inner.lock().expect("nobody panics with it").step();
                    std::thread::sleep(REST);
                }
            }
        });
        let trio = Self { inner, is_over, driver: Some(driver), servers };
        eventually("all nodes serve", || {
            let inner = trio.lock();
            let state = |node: &Node| node.stepped.follower().state().standing;
            inner.nodes.iter().all(|node| state(node) == Standing::Serving)
        });
        trio
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a node gets of the stream from now on.
    pub fn link(&self, at: usize, link: Link) {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let node = &mut inner.nodes[at];
        let client = node.client.lock().expect("nobody panics with it");
        inner.stream.cut_off(&client, link == Link::Cut);
        node.link = link;
    }

    /// Lets time pass on a node alone.
    pub fn pass(&self, at: usize, millis: u64) {
        self.lock().nodes[at].clock.advance(millis);
    }

    /// Lets time pass everywhere.
    pub fn pass_everywhere(&self, millis: u64) {
        let inner = self.lock();
        inner.stream.advance(millis);
        inner.nodes.iter().for_each(|node| node.clock.advance(millis));
    }

    /// The wall clock of a node steps, as after a pause of its machine or a correction.
    pub fn jump(&self, at: usize, millis: i64) {
        let inner = self.lock();
        let clock = &inner.nodes[at].clock;
        clock.jump_to(UnixMillis(clock.wall().0.saturating_add_signed(millis)));
    }

    /// Does this while no time passes and no node works.
    pub fn still<R>(&self, then: impl FnOnce() -> R) -> R {
        let _held = self.lock();
        then()
    }

    /// Where a node listens.
    pub fn address(&self, at: usize) -> std::net::SocketAddr {
        self.servers[at].address().socket().expect("an address")
    }

    /// Sends a request to a node over a connection of its own.
    pub fn ask(&self, at: usize, method: &str, path: &str, body: &str) -> Response {
        self.ask_with(at, method, path, &[], body)
    }

    pub fn ask_with(
        &self,
        at: usize,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Response {
        let mut conn = Conn::open(self.address(at)).expect("it listens");
        let mut headers = headers.to_vec();
        if !body.is_empty() {
            headers.push(("Content-Type", "application/json"));
        }
        conn.send(&raw::request(method, path, &headers, body.as_bytes())).expect("it reads");
        conn.response().expect("it answers")
    }

    /// Issues a token on a node.
    pub fn issue(&self, at: usize, fields: &str) -> (String, Response) {
        let answer = self.ask(at, "POST", "/v1/tokens", &format!(r#"{{"payload":7{fields}}}"#));
        assert_eq!(answer.status, 201, "{}", answer.text());
        (answer.json()["token"].as_str().expect("a token").to_owned(), answer)
    }

    /// Messages in the stream, by all nodes or by one, and the records of changes in them.
    pub fn messages(&self, by: Option<usize>) -> (usize, usize) {
        let mut sealer = Sealer::new(&secret());
        let (mut messages, mut changes) = (0, 0);
        for message in self.lock().stream.messages() {
            let opened = sealer.open(message.seq, message.stored_at, &message.bytes);
            let (head, body) = opened.expect("of this format").content.expect("of this cluster");
            if by.is_none_or(|at| head.sender.node == NodeId(at as u64 + 1)) {
                messages += 1;
                let is_change =
                    |record: &Record<'_>| !matches!(record, Record::Report(_) | Record::Time);
                changes += records(&body).flatten().filter(is_change).count();
            }
        }
        (messages, changes)
    }
}

impl Drop for Trio {
    fn drop(&mut self) {
        for server in self.servers.drain(..) {
            let _ = server.stop();
        }
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(driver) = self.driver.take() {
            let _ = driver.join();
        }
    }
}

/// The whole first stream of the cluster: its Genesis.
fn first() -> Landed {
    let Proposal { format, kind, cluster, sender, batch, attempt, proposed_at, .. } = genesis(&[]);
    let era = Era(1);
    let head = MessageHead { format, kind, cluster, era, sender, batch, attempt, proposed_at };
    let hash = hash_of(b"first");
    Landed { seq: 1, stream_time: START, hash, content: Some((head, Vec::new())) }
}

/// Where the first stream has ended.
fn ended() -> Ended {
    let after = Replicated::default().after(&first(), Verdict::Genesis, START);
    Ended { position: after.position, chain: after.chain }
}

/// The begin of the second one.
fn genesis(body: &[u8]) -> Proposal<'_> {
    Proposal {
        format: FORMAT,
        kind: MessageKind::Genesis,
        cluster: ClusterId([9; 16]),
        era: Era(ERA),
        sender: Sender { node: NodeId(1), epoch: Epoch(1), nonce: BootNonce([0; 16]) },
        batch: 0,
        attempt: 0,
        proposed_at: START,
        body,
    }
}

fn open(stream: &Simulated, number: u64, ahead_ms: i64) -> (Node, Reads) {
    let clock = ManualClock::at(UnixMillis(START.0.saturating_add_signed(ahead_ms)));
    let clock = Arc::new(clock);
    let client = Arc::new(Mutex::new(stream.client()));
    let out = Out { client: Arc::clone(&client), sealer: Sealer::new(&secret()) };
    let fence = Fence::new(Arc::clone(&clock) as Arc<dyn Clock>, STALENESS);
    let segment_size = 256 << 10;
    let config = Config {
        recovery_threads: 1,
        sync: SyncMode::Every(Duration::from_secs(1)),
        wal: wal::Config {
            segment_size,
            log_min_size: 4 * segment_size,
            max_age: None,
            preparing: Preparing::Inline,
        },
        ..Config::default()
    };
    let membership = Membership {
        node: NodeId(number),
        nonce: BootNonce([number as u8; 16]),
        answer_within: Duration::from_secs(10),
        format: u32::from(FORMAT),
        keys: [0; 16],
    };
    let mut stepped = SteppedNode::open(
        config,
        Memory::seeded(number).storage(),
        Digester::new(&secret(), "default"),
        Arc::clone(&clock) as Arc<dyn Clock>,
        membership,
        fence.watch(Box::new(out)),
    )
    .expect("an empty disk");
    assert!(stepped.follower().land(first()));
    stepped.turn(false);
    let reads = Reads::new(stepped.follower().clone(), fence);
    let following = Following::after(&stepped.follower().state(), Sealer::new(&secret()));
    (Node { stepped, client, following, clock, link: Link::Whole }, reads)
}
