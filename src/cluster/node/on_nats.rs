//! The ways of a node to a stream on NATS: one connection for all its threads.

use crate::cluster::Config;
use crate::cluster::nats::{self, Nats};
use crate::cluster::stream::Stream;

use super::check::MESSAGE_LEN_MAX;
use super::connection::Connection;

/// A connection to the servers of a cluster.
pub struct OnNats(Nats);

impl OnNats {
    /// Starts to connect; does not wait for the connection. `node` is the last part of the subject
    /// that is published to.
    ///
    /// # Errors
    /// The configuration has a mistake, or the thread cannot be started.
    pub fn open(config: &Config, node: &str) -> Result<Self, String> {
        let of_nats = nats::Config {
            servers: config.servers.iter().map(ToString::to_string).collect(),
            name: config.name.clone(),
            node: node.to_owned(),
            credentials: config.credentials.clone(),
            ca: config.ca.clone(),
            monitors: config.monitors.iter().map(ToString::to_string).collect(),
            message_len_max: MESSAGE_LEN_MAX,
        };
        Nats::open(of_nats).map(Self).map_err(|error| error.to_string())
    }

    /// The stream itself, for what only its creator does.
    #[must_use]
    pub fn nats(&self) -> &Nats {
        &self.0
    }

    /// For [`Start::run`](super::Start::run).
    #[must_use]
    pub fn boxed(self) -> Box<dyn Connection> {
        Box::new(self)
    }
}

impl Connection for OnNats {
    fn stream(&self) -> Box<dyn Stream> {
        Box::new(self.0.clone())
    }

    fn connected(&self) -> Result<(), String> {
        self.0.connected()
    }

    fn gaps(&self) -> u64 {
        self.0.gaps()
    }
}
