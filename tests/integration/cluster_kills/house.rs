//! The processes of a cluster: three nats-servers and three nodes. Nodes start in the background,
//! because a node is ready only when the stream is.

use std::sync::{Arc, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::cluster_serve::lab::{Lab, await_equal, await_ready, started};
use crate::linear::history::{Call, Ticks};
use crate::raw::Conn;
use crate::server::{Launch, Server};
use crate::support::{Rng, copy_folder};

use super::caller::{Addresses, Token};

const NAMES: [&str; 3] = ["a", "b", "c"];

/// What is killed.
#[derive(Clone, Copy, Debug)]
pub enum Victim {
    Server(usize),
    Node {
        n: usize,
        /// It is also killed while it starts again.
        in_start: bool,
    },
}

enum Node {
    Runs(Server),
    Starts(JoinHandle<Server>),
    Gone,
}

/// A cluster whose processes are killed.
pub struct House {
    pub lab: Lab,
    launches: [Launch; 3],
    /// The data directory of each node.
    dirs: [String; 3],
    nodes: [Node; 3],
    pub addresses: Addresses,
    /// The order of all calls.
    pub ticks: Arc<Ticks>,
}

impl House {
    /// Everything runs; `None` where there is no nats-server, which is told.
    pub fn begun(check: &str) -> Option<Self> {
        let lab = Lab::begun(check)?;
        let launches = NAMES.map(|name| lab.node(name));
        Some(Self::of(lab, launches))
    }

    /// Nodes on these servers, started like this.
    pub fn of(lab: Lab, launches: [Launch; 3]) -> Self {
        let nodes = started(&launches).map(Node::Runs);
        let addresses = Arc::new(RwLock::new([None; 3]));
        let dirs = NAMES.map(str::to_owned);
        let house = Self { lab, launches, dirs, nodes, addresses, ticks: Arc::default() };
        for (n, node) in house.nodes.iter().enumerate() {
            let Node::Runs(server) = node else { continue };
            publish(&house.addresses, n, Some(server));
        }
        house
    }

    /// The server that leads the stream.
    pub fn leader(&self) -> usize {
        self.lab.nats.leader()
    }

    /// Any process that runs.
    pub fn choose(&mut self, rng: &mut Rng) -> Victim {
        loop {
            match rng.below(6) {
                n @ 0..3 => return Victim::Server(n),
                n => {
                    let n = n - 3;
                    self.settle(n, false);
                    if matches!(self.nodes[n], Node::Runs(_)) {
                        return Victim::Node { n, in_start: rng.below(4) == 0 };
                    }
                }
            }
        }
    }

    /// kill -9, and a start after the pause.
    pub fn kill(&mut self, victim: Victim, pause: Duration) {
        match victim {
            Victim::Server(n) => {
                self.lab.nats.kill(n);
                thread::sleep(pause);
                self.lab.nats.run(n);
            }
            Victim::Node { n, in_start } => {
                self.take(n).kill9();
                if in_start {
                    self.launches[n].start_and_kill9(pause);
                } else {
                    thread::sleep(pause);
                }
                self.start(n);
            }
        }
    }

    /// A node that runs, and that callers are no longer told of.
    pub fn take(&mut self, n: usize) -> Server {
        self.settle(n, true);
        publish(&self.addresses, n, None);
        match std::mem::replace(&mut self.nodes[n], Node::Gone) {
            Node::Runs(server) => server,
            Node::Starts(_) | Node::Gone => panic!("node {n} does not run"),
        }
    }

    /// Starts a node that is gone, in the background.
    pub fn start(&mut self, n: usize) {
        let (launch, addresses) = (self.launches[n].clone(), self.addresses.clone());
        let start = move || {
            let server = launch.start();
            publish(&addresses, n, Some(&server));
            server
        };
        self.nodes[n] = Node::Starts(thread::spawn(start));
    }

    /// Starts a copy of a node that is gone or stands still, in the background. It takes its place.
    pub fn start_copy(&mut self, n: usize, dir: &str) {
        copy_folder(&self.lab.path(&self.dirs[n]), &self.lab.path(dir));
        self.launches[n] = self.lab.node(dir);
        dir.clone_into(&mut self.dirs[n]);
        self.start(n);
    }

    /// Takes over a node that has started; waits for it, or not.
    fn settle(&mut self, n: usize, waits: bool) {
        let is_done = matches!(&self.nodes[n], Node::Starts(start) if waits || start.is_finished());
        if !is_done {
            return;
        }
        if let Node::Starts(start) = std::mem::replace(&mut self.nodes[n], Node::Gone) {
            self.nodes[n] = Node::Runs(start.join().expect("it starts"));
        }
    }

    pub fn servers(&self) -> [&Server; 3] {
        self.nodes.each_ref().map(|node| match node {
            Node::Runs(server) => server,
            Node::Starts(_) | Node::Gone => panic!("a node does not run"),
        })
    }

    /// Waits until every node takes changes.
    pub fn await_all_ready(&mut self) {
        (0..3).for_each(|n| self.settle(n, true));
        self.servers().into_iter().for_each(await_ready);
    }

    /// At an equal position all nodes have the same chains.
    pub fn assert_equal_chains(&self) {
        Self::assert_equal(&self.servers());
    }

    /// The same with one more node.
    pub fn assert_equal_chains_with(&self, other: &Server) {
        let [first, second, third] = self.servers();
        Self::assert_equal(&[first, second, third, other]);
    }

    fn assert_equal(servers: &[&Server]) {
        let chains = await_equal(servers);
        let is_whole = |(messages, outcomes): &(String, String)| {
            !messages.is_empty() && !outcomes.is_empty() && *messages == chains[0].0
        };
        assert!(chains.iter().all(|one| is_whole(one) && one.1 == chains[0].1), "{chains:?}");
    }

    /// The histories of the tokens, each with a last read on every node.
    pub fn finish(&self, mut tokens: Vec<Token>) -> Vec<Vec<Call>> {
        for server in self.servers() {
            let mut conn = Conn::open(server.data).expect("it runs");
            tokens.iter_mut().for_each(|token| token.finish(&mut conn, &self.ticks));
        }
        let sorted = tokens.into_iter().map(|mut token| {
            token.calls.sort_by_key(|call| call.began.tick);
            token.calls
        });
        sorted.collect()
    }

    /// Ends the nodes in order.
    pub fn stop(self) {
        for node in self.nodes {
            if let Node::Runs(server) = node {
                server.stop_well();
            }
        }
    }
}

fn publish(addresses: &Addresses, n: usize, server: Option<&Server>) {
    let mut all = addresses.write().unwrap_or_else(PoisonError::into_inner);
    all[n] = server.map(|server| server.data);
}
