//! The checked configuration of a server.

use std::path::PathBuf;
use std::time::Duration;

use tracing_subscriber::EnvFilter;

use super::log_format::LogFormat;
use super::resp::RespListen;
use crate::net::listen::ListenAddress;
use crate::service::quotas::NamespaceLimits;
use crate::tls::TlsFiles;
use crate::{engine, http};

/// The checked configuration of a server.
#[derive(Debug)]
pub struct ServeConfig {
    /// Address of the data listener.
    pub listen: ListenAddress,
    /// Address of the admin listener.
    pub admin_listen: ListenAddress,
    /// Where the Redis protocol is spoken; `None`: nowhere.
    pub resp: Option<RespListen>,
    /// Where spans are sent; `None`: nowhere.
    pub trace: Option<crate::trace::Config>,
    /// Configuration of the engine.
    pub engine: engine::Config,
    /// Whether no memory limit was given, so that it follows from the cgroup.
    pub is_memory_of_cgroup: bool,
    /// Configuration of the HTTP server.
    pub http: http::Config,
    /// The keys file.
    pub keys: Option<PathBuf>,
    /// Limits of the namespaces.
    pub quotas: Vec<NamespaceLimits>,
    /// Certificate and key; `None` without TLS.
    pub tls: Option<TlsFiles>,
    /// The audit log; `None` disables auditing.
    pub audit: Option<crate::audit::Config>,
    /// The cluster that the server is a node of; `None` for a single server.
    pub cluster: Option<crate::cluster::Config>,
    /// Time for which new connections are still served after a signal to stop.
    pub drain_delay: Duration,
    /// Whether the system may use transparent huge pages.
    pub huge_pages: bool,
    /// The log filter.
    pub log_filter: EnvFilter,
    /// Format of log lines.
    pub log_format: LogFormat,
}
