//! Three nats-servers and three nodes, each in a network namespace of its own.

use std::sync::{Arc, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::Client;
use crate::cluster::servers::Setup;
use crate::cluster_kills::caller::Addresses;
use crate::cluster_serve::lab::{Lab, admin, await_equal, await_ready, report, setup};
use crate::server::Server;

use super::net::Net;

/// The servers.
pub const SERVERS: [&str; 3] = ["n0", "n1", "n2"];
/// The nodes.
const NODES: [&str; 3] = ["a", "b", "c"];
/// `--cluster-staleness` of the nodes.
pub const STALENESS: Duration = Duration::from_secs(5);

/// The nodes end first, then the servers, then the network.
pub struct Place {
    pub nodes: [Server; 3],
    pub lab: Lab,
    pub net: Net,
}

impl Place {
    /// A cluster that is ready; `None` where something for it is missing, which is told.
    pub fn begun(check: &str) -> Option<Self> {
        let net = Net::new(check)?;
        let hosts = Some(SERVERS.map(|name| net.host(name)));
        let lab = Lab::begun_with(check, Setup { hosts, ..setup() })?;
        let launches = NODES.map(|name| {
            let host = net.host(name);
            let words: Vec<&str> = host.wrapper.iter().map(String::as_str).collect();
            let any_port = format!("{}:0", host.address);
            lab.node(name)
                .under(&words)
                .flag("--listen", &any_port)
                .flag("--admin-listen", &any_port)
                .switch("--insecure")
                .flag("--cluster-staleness", &format!("{}s", STALENESS.as_secs()))
        });
        let nodes = thread::scope(|scope| {
            let starting = launches.each_ref().map(|launch| scope.spawn(|| launch.start()));
            starting.map(|starting| starting.join().expect("it starts"))
        });
        nodes.iter().for_each(await_ready);
        Some(Self { nodes, lab, net })
    }

    pub fn addresses(&self) -> Addresses {
        Arc::new(RwLock::new(self.nodes.each_ref().map(|node| Some(node.data))))
    }

    pub fn clients(&self) -> [Client; 3] {
        self.nodes.each_ref().map(Client::of)
    }

    /// The server to which a node is connected.
    pub fn server_of(&self, node: usize) -> Option<usize> {
        let id = report(&self.nodes[node])["node"].as_str().expect("an id").to_owned();
        self.lab.nats.server_of(&id)
    }

    /// At an equal position all nodes have the same chains.
    pub fn assert_equal_chains(&self) {
        let chains = await_equal(&self.nodes.each_ref());
        let is_whole = |one: &(String, String)| !one.0.is_empty() && !one.1.is_empty();
        assert!(chains.iter().all(|one| is_whole(one) && *one == chains[0]), "{chains:?}");
    }

    /// The first word of `/readyz?for=changes` of a node.
    pub fn word(&self, node: usize) -> String {
        let answer = admin(&self.nodes[node], "/readyz?for=changes");
        answer.text().split(':').next().unwrap_or_default().trim().to_owned()
    }

    /// Ends the nodes in order.
    pub fn stop(self) {
        self.nodes.into_iter().for_each(Server::stop_well);
    }
}

/// The milliseconds since.
pub fn since_ms(begin: Instant) -> u64 {
    u64::try_from(begin.elapsed().as_millis()).expect("not that long")
}

/// The token that an issue answered with.
pub fn token_in(answer: &Value) -> String {
    answer["token"].as_str().expect("a token").to_owned()
}
