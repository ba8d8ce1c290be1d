//! A node's start and end on a simulated stream, in this process: no nats-server is needed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jeton::clock::{Clock, SystemClock};
use jeton::cluster::Config;
use jeton::cluster::message::Sealer;
use jeton::cluster::node::{
    Connection, Ending, Node, NodeError, NodeView, Start, Wish, Word, marker,
};
use jeton::cluster::stream::{
    Bounds, Hint, Message, Mistake, Next, Promises, Server, Stream, StreamError,
};
use jeton::engine::clustered::Proposal;
use jeton::engine::replicated::Sender;
use jeton::engine::{self, NoProgress, Op, OpenError, Outcome, Rejected, SyncMode, read_secret};
use jeton::keys::Fingerprint;
use jeton::model::cluster::{BootNonce, ClusterId, Epoch, NodeId};
use jeton::model::token::Token;
use jeton::testkit::stream::{Client, Simulated};
use jeton::wal::DiskError;

use crate::cluster::servers::within;
use crate::support::copy_folder;

/// A connection to the simulated stream, on real time.
struct RealTime {
    stream: Simulated,
    client: Client,
    servers: Arc<Servers>,
}

/// What the servers of the stream say of themselves.
#[derive(Default)]
pub struct Servers {
    hides_sync: AtomicBool,
    is_edited: AtomicBool,
    /// The stream is full before what it says it may hold.
    pub hides_limit: AtomicBool,
}

impl Servers {
    fn mistakes(&self) -> Vec<Mistake> {
        let edited = || Mistake {
            place: "stream jeton-main".to_owned(),
            setting: "discard".to_owned(),
            found: "old".to_owned(),
            needed: "new".to_owned(),
        };
        self.is_edited.load(Ordering::Relaxed).then(edited).into_iter().collect()
    }
}

impl RealTime {
    fn hurry(&self) {
        self.stream.jump_to(SystemClock::new().wall());
    }
}

impl Stream for RealTime {
    fn propose(&mut self, message: &[u8]) -> Result<(), Hint> {
        self.hurry();
        self.client.propose(message)
    }

    fn answer(&mut self) -> Option<Result<u64, Hint>> {
        self.client.answer()
    }

    fn next(&mut self, seq: u64, patience: Duration) -> Result<Message, Next> {
        let step = Duration::from_millis(2);
        let mut waited = Duration::ZERO;
        loop {
            self.hurry();
            match self.client.next(seq, Duration::from_millis(1)) {
                Err(Next::Quiet) if waited < patience => {
                    std::thread::sleep(step);
                    waited += step;
                }
                found => return found,
            }
        }
    }

    fn bounds(&mut self) -> Result<Bounds, StreamError> {
        self.client.bounds()
    }

    fn trim(&mut self, seq: u64) -> Result<(), StreamError> {
        self.client.trim(seq)
    }

    fn promises(&mut self) -> Result<Promises, StreamError> {
        let promises = self.client.promises()?;
        let server = |name: &str| Server {
            name: name.to_owned(),
            syncs_always: (!self.servers.hides_sync.load(Ordering::Relaxed)).then_some(true),
            has_copy: true,
            ..Server::default()
        };
        let servers = ["n1", "n2", "n3"].map(server).into();
        let is_hidden = self.servers.hides_limit.load(Ordering::Relaxed);
        let bytes_max = promises.bytes_max.filter(|_| !is_hidden);
        let mistakes = self.servers.mistakes();
        Ok(Promises { copies: 3, servers, mistakes, bytes_max, ..promises })
    }
}

/// The stream of a cluster that has begun.
pub struct World {
    pub stream: Simulated,
    dir: tempfile::TempDir,
    pub servers: Arc<Servers>,
}

struct Ways {
    stream: Simulated,
    servers: Arc<Servers>,
}

impl Connection for Ways {
    fn stream(&self) -> Box<dyn Stream> {
        let (stream, servers) = (self.stream.clone(), self.servers.clone());
        Box::new(RealTime { client: stream.client(), stream, servers })
    }

    fn connected(&self) -> Result<(), String> {
        Ok(())
    }

    fn gaps(&self) -> u64 {
        0
    }
}

impl World {
    pub fn begun() -> Self {
        let stream = Simulated::new(7, SystemClock::new().wall());
        let dir = tempfile::tempdir().expect("a folder");
        let world = Self { stream, dir, servers: Arc::default() };
        world.write_secret("secret.key", 7);
        world.begin(1);
        world
    }

    fn ways(&self) -> Ways {
        Ways { stream: self.stream.clone(), servers: self.servers.clone() }
    }

    fn write_secret(&self, name: &str, byte: u8) {
        std::fs::write(self.dir.path().join(name), [byte; 32]).expect("written");
    }

    /// Stores the first message of a cluster with this id.
    fn begin(&self, id: u8) {
        let secret = read_secret(&self.dir.path().join("secret.key")).expect("a secret");
        let sender = Sender { node: NodeId(1), epoch: Epoch(1), nonce: BootNonce([id; 16]) };
        let wall = SystemClock::new().wall();
        let genesis = Proposal::genesis(ClusterId([id; 16]), sender, wall);
        let message = Sealer::new(&secret).seal(&genesis).expect("sealed");
        let mut stream = self.ways().stream();
        stream.propose(&message).expect("taken");
        within("it is stored", || match stream.next(1, Duration::from_millis(50)) {
            Ok(_) => Ok(()),
            Err(other) => Err(format!("{other:?}")),
        });
    }

    pub fn start(&self, name: &str) -> Result<Node, NodeError> {
        self.start_with(name, "secret.key")
    }

    fn start_with(&self, name: &str, secret: &str) -> Result<Node, NodeError> {
        self.start_as(name, secret, &Config::default())
    }

    fn start_as(&self, name: &str, secret: &str, config: &Config) -> Result<Node, NodeError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let start = || {
            let secret_file = Some(self.dir.path().join(secret));
            let engine = engine::Config { secret_file, ..self.engine(name) };
            let view = NodeView::new(config.clone(), clock.clone());
            let start = Start { engine, clock: clock.clone(), progress: &NoProgress, view };
            start.run(|_| Ok(Box::new(self.ways())))
        };
        // A start opens its directory twice. A program that another test begins between the two has the
        // files of this process, and their locks, until it runs.
        let is_locked = |started: &Result<Node, NodeError>| {
            let Err(NodeError::Open(OpenError::Disk(error))) = started else { return false };
            matches!(error, DiskError::Locked { .. })
        };
        let mut started = start();
        for _ in 0..250 {
            if !is_locked(&started) {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
            started = start();
        }
        started
    }

    pub fn engine(&self, name: &str) -> engine::Config {
        engine::Config {
            secret_file: Some(self.dir.path().join("secret.key")),
            sync: SyncMode::Every(Duration::from_millis(100)),
            ..engine::Config::at(self.path(name))
        }
    }

    pub fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }
}

pub fn refused(started: Result<Node, NodeError>) -> NodeError {
    match started {
        Ok(_) => panic!("it started"),
        Err(error) => error,
    }
}

pub fn issue(node: &Node) -> Token {
    let token = Token::random().expect("random");
    let issue = Op::Issue {
        digest: node.engine().digest(&token),
        payload: b"1".to_vec(),
        ttl: Duration::from_secs(600),
        uses: 1,
        peek: true,
        derived: false,
    };
    let outcomes = node.engine().submit(vec![issue]).expect("taken").wait().expect("answered");
    assert!(matches!(outcomes[..], [Outcome::Issued { .. }]), "{outcomes:?}");
    token
}

pub fn knows(node: &Node, token: &Token) -> bool {
    let digest = node.engine().digest(token);
    node.engine().resolve(&digest, node.engine().now(), |_| ()).is_some()
}

pub fn stop(node: Node) {
    node.engine().close().expect("closed");
    node.stop();
}

pub fn await_word(node: &Node, word: Word) {
    within("the node says so", || {
        let (found, sentence) = node.view().standing();
        if found == word { Ok(()) } else { Err(format!("{}: {sentence}", found.name())) }
    });
}

#[test]
fn node_serves_what_other_nodes_were_told_before() {
    let world = World::begun();
    let one = world.start("a").expect("it starts");
    let token = issue(&one);
    let two = world.start("b").expect("it starts");
    assert!(knows(&two, &token), "it serves only what is whole");
    await_word(&two, Word::Ready);
    let report = two.view().report();
    assert_eq!((report.nodes.len(), report.changes, report.reads), (2, true, true));
    stop(one);
    stop(two);
    let again = world.start("a").expect("it starts again");
    assert!(knows(&again, &token));
    stop(again);
}

#[test]
fn nodes_with_another_keys_file_are_named_and_the_odd_one_takes_no_changes() {
    let world = World::begun();
    let config = |requires| Config { requires_same_keys: requires, ..Config::default() };
    let start =
        |name, requires| world.start_as(name, "secret.key", &config(requires)).expect("it starts");
    let nodes = [start("a", true), start("b", false), start("c", true)];
    let differing = |node: &Node| {
        let report = node.view().report();
        report.nodes.iter().filter(|one| one.keys_differ).count()
    };
    let are_named = |counts: [usize; 3]| {
        within("the nodes that differ are named", || {
            let found = nodes.each_ref().map(differing);
            if found == counts { Ok(()) } else { Err(format!("{found:?}")) }
        });
    };
    are_named([0, 0, 0]);
    let (old, new) = (Fingerprint([1; 16]), Fingerprint([2; 16]));
    nodes.iter().for_each(|node| node.view().have_keys(old));
    are_named([0, 0, 0]);
    nodes[2].view().have_keys(new);
    are_named([1, 1, 2]);
    await_word(&nodes[2], Word::KeysDiffer);
    await_word(&nodes[0], Word::Ready);
    let degraded = nodes[0].view().report().degraded;
    let named = nodes[2].view().node().expect("it has started").to_string();
    let about = degraded.iter().find(|why| why.contains("keys file")).expect("a sentence");
    assert!(about.contains(&named), "{about}");
    nodes[0].view().have_keys(new);
    are_named([1, 2, 1]);
    await_word(&nodes[2], Word::Ready);
    // The odd one has no such flag.
    await_word(&nodes[1], Word::Ready);
    nodes[1].view().have_keys(new);
    are_named([0, 0, 0]);
    nodes.into_iter().for_each(stop);
}

#[test]
fn node_with_another_secret_makes_no_log() {
    let world = World::begun();
    world.write_secret("other.key", 9);
    let error = refused(world.start_with("a", "other.key"));
    let NodeError::Mistaken(mistakes) = error else { panic!("{error}") };
    assert!(mistakes[0].contains("do not open with the secret"), "{mistakes:?}");
    let files = std::fs::read_dir(world.path("a")).expect("a folder");
    let names: Vec<_> = files.map(|file| file.expect("a file").file_name()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().starts_with("segment")), "{names:?}");
}

#[test]
fn sync_that_nobody_knows_of_is_a_mistake() {
    let world = World::begun();
    world.servers.hides_sync.store(true, Ordering::Relaxed);
    let error = refused(world.start("a"));
    let NodeError::Mistaken(mistakes) = error else { panic!("{error}") };
    assert!(mistakes[0].contains("the servers n1, n2, n3 sync each message"), "{mistakes:?}");
}

#[test]
fn sync_that_is_no_longer_known_is_told_while_the_node_runs() {
    let world = World::begun();
    let node = world.start("a").expect("it starts");
    await_word(&node, Word::Ready);
    let complaint = || {
        let report = node.view().report();
        let is_told = report.degraded.iter().any(|said| said.contains("a majority of the servers"));
        assert_eq!(is_told, !report.stream.sync_verified);
        is_told
    };
    assert!(!complaint());
    for is_known in [false, true] {
        world.servers.hides_sync.store(!is_known, Ordering::Relaxed);
        within("it is checked again", || match complaint() == is_known {
            false => Ok(()),
            true => Err(format!("known: {is_known}")),
        });
    }
    assert_eq!(node.view().standing().0, Word::Ready, "it is no reason to stop");
    stop(node);
}

#[test]
fn copy_of_a_node_ends_the_older_process_and_its_marker_keeps_it_away() {
    let world = World::begun();
    let first = world.start("a").expect("it starts");
    let token = issue(&first);
    copy_folder(&world.path("a"), &world.path("copy"));
    let second = world.start("copy").expect("it starts");
    // Messages come without a pause, so the older process learns it in the middle of its work.
    within("the first ends", || match first.view().ended() {
        Some(Ending::Superseded) => Ok(()),
        other => {
            (0..20).for_each(|_| drop(issue(&second)));
            Err(format!("{other:?}"))
        }
    });
    assert_eq!(first.view().standing().0, Word::Superseded);
    stop(first);
    let error = refused(world.start("a"));
    assert!(matches!(error, NodeError::Marked { .. }), "{error}");
    assert_eq!(second.view().ended(), None);
    assert!(knows(&second, &token));
    stop(second);
}

#[test]
fn p2_a_node_that_was_taken_out_while_it_was_down_leaves_its_marker() {
    let world = World::begun();
    let [one, two] = ["a", "b"].map(|name| world.start(name).expect("it starts"));
    let gone = two.view().node().expect("it has started");
    stop(two);
    let landed = one.view().wish(Wish::Forget(gone)).expect("proposed");
    assert_eq!(landed.wait(), Ok(Vec::new()));
    assert!(one.view().fulfilled(Wish::Forget(gone)).is_ok());
    // Nothing comes after the decision, so nothing else shows the thread that the engine has stopped.
    stop(one);
    let error = refused(world.start("b"));
    assert!(matches!(error, NodeError::Ended(Ending::Retired)), "{error}");
    let marker = marker(&world.path("b")).expect("readable").expect("a marker");
    assert!(marker.reason.contains("taken out of its cluster") && !marker.is_spoiled);
}

#[test]
fn stream_made_anew_is_lost_and_the_log_stays_as_it_is() {
    let world = World::begun();
    let node = world.start("a").expect("it starts");
    let token = issue(&node);
    world.stream.remake();
    world.begin(2);
    await_word(&node, Word::Lost);
    let position = node.view().state().expect("open").position;
    assert!(knows(&node, &token));
    stop(node);
    let error = refused(world.start("a"));
    let is_told = matches!(error, NodeError::OtherCluster(_) | NodeError::Lost(_));
    assert!(is_told, "{error}");
    assert!(position.seq > 1);
}

#[test]
fn setting_that_becomes_wrong_stops_changes_until_it_is_right() {
    let world = World::begun();
    let node = world.start("a").expect("it starts");
    let token = issue(&node);
    world.servers.is_edited.store(true, Ordering::Relaxed);
    await_word(&node, Word::WrongSettings);
    let revoke = || node.engine().submit(vec![Op::Revoke { digest: node.engine().digest(&token) }]);
    assert_eq!(revoke().expect("queued").wait(), Err(Rejected::NoQuorum));
    assert!(knows(&node, &token), "it resolves");
    world.servers.is_edited.store(false, Ordering::Relaxed);
    await_word(&node, Word::Ready);
    assert!(revoke().expect("queued").wait().is_ok());
    stop(node);
}

#[test]
fn trimmed_begin_of_the_stream_is_told_to_a_new_node_alone() {
    let world = World::begun();
    let node = world.start("a").expect("it starts");
    issue(&node);
    let durable = node.view().state().expect("open").position.seq;
    world.ways().stream().trim(durable).expect("forgotten");
    let error = refused(world.start("new"));
    assert!(error.to_string().contains("run jeton cluster join into a new directory"), "{error}");
    await_word(&node, Word::Ready);
    stop(node);
}
