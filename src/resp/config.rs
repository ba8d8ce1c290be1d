//! Configuration of the server that speaks the Redis protocol.

use std::time::Duration;

use crate::net::limits::Limits;
use crate::net::proxy_header::TrustedProxies;
use crate::tls::Tls;

/// Time that a connection may be idle, once it has sent a command. Clients keep connections in pools
/// and expect that they stay.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(3_600);

/// Configuration of the server that speaks the Redis protocol. What it does not name it shares with
/// the HTTP server.
#[derive(Clone, Debug)]
pub struct Config {
    /// Time limits. Before its first command a connection may be idle for `idle_timeout`.
    pub limits: Limits,
    /// For a connection that has sent a command and sends no other.
    pub idle_timeout: Duration,
    /// Maximum time for commands in flight during shutdown.
    pub drain_timeout: Duration,
    /// TLS settings of new connections; `None`: plain TCP.
    pub tls: Option<Tls>,
    /// Proxies whose connections begin with their client's address.
    pub proxies: TrustedProxies,
    /// How fresh an answer is, in a cluster.
    pub read: ReadLevel,
}

/// How fresh the answer to a read is, in a cluster. A client of the Redis protocol cannot say what it
/// demands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadLevel {
    /// From the memory of this node, as old as the fence allows. A miss is confirmed.
    #[default]
    Local,
    /// It knows everything that was acknowledged on any node before the read came.
    Linear,
}
