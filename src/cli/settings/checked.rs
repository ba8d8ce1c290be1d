//! The checked configuration of a server.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tracing_subscriber::EnvFilter;

use super::log_format::LogFormat;
use super::resp::RespListen;
use super::secret::SecretSource;
use crate::cli::secret_command::{SecretCommand, SecretCommandError};
use crate::clock::Clock;
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
    /// The program that prints the secret; `None`: the secret is in a file.
    pub secret_command: Option<SecretCommand>,
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
    /// Whether core dumps and debuggers are allowed.
    pub allow_core: bool,
    /// Whether the system may use transparent huge pages.
    pub huge_pages: bool,
    /// The log filter.
    pub log_filter: EnvFilter,
    /// Format of log lines.
    pub log_format: LogFormat,
}

impl ServeConfig {
    /// Runs the program of `--secret-command`, if there is one, and logs where the secret is from.
    ///
    /// # Errors
    /// The program does not give the secret, or `is_stopped` became true meanwhile.
    pub(in crate::cli) fn load_secret(
        &mut self,
        clock: &dyn Clock,
        is_stopped: &AtomicBool,
    ) -> Result<(), SecretCommandError> {
        if let Some(command) = &self.secret_command {
            self.engine.secret = Some(command.run(clock, is_stopped)?);
        }
        let origin = self.secret_origin();
        match (self.secret_source(), &self.engine.data_dir) {
            (Some(source), _) => {
                tracing::info!(origin, %source, "the secret is kept apart from the data");
            }
            (None, Some(dir)) => tracing::warn!(
                origin,
                dir = %dir.display(),
                "the secret lies beside the data: anyone who copies the directory has both; in \
                 production give --secret-file or --secret-command"
            ),
            (None, None) => tracing::info!(origin, "the secret is made for this start"),
        }
        Ok(())
    }

    /// Where the secret comes from, if not from the data directory.
    #[must_use]
    pub fn secret_source(&self) -> Option<SecretSource> {
        let file = || self.engine.secret_file.clone().map(SecretSource::File);
        self.secret_command.clone().map(SecretSource::Command).or_else(file)
    }

    /// The same in one word: `command`, `file`, `memory` (made for this start, written nowhere) or
    /// `data-dir`.
    #[must_use]
    pub fn secret_origin(&self) -> &'static str {
        match (self.secret_source(), &self.engine.data_dir) {
            (Some(SecretSource::Command(_)), _) => "command",
            (Some(SecretSource::File(_)), _) => "file",
            (None, None) => "memory",
            (None, Some(_)) => "data-dir",
        }
    }
}
