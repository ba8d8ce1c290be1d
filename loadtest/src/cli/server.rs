//! The arguments that say which server is asked, and how it is started or reached.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use crate::target::Options;
use crate::tls::Trust;

#[derive(Args)]
pub(super) struct ServerArgs {
    /// The server: jeton, jeton-resp (the same in the protocol of Redis), floor, redis, valkey, memcached
    /// or pogocache starts one and stops it at the end; http://HOST:PORT, https://…, resp://…, resps://…,
    /// redis://…, rediss://…, valkey://…, valkeys://…, memcached://… or pogocache://… is a running one;
    /// several http://… or https://… with commas are the nodes of a jeton cluster
    #[arg(long, value_name = "TARGET", default_value = "jeton")]
    pub(super) target: String,
    /// jeton's binary; by default it is built from this repository, else searched on the PATH
    #[arg(long, env = "JETON_BIN", value_name = "PATH")]
    pub(super) server_bin: Option<PathBuf>,
    /// An additional argument for a server that the harness starts; may be given several times
    #[arg(long = "server-arg", value_name = "ARG", allow_hyphen_values = true)]
    server_args: Vec<String>,
    /// An environment variable for a server that the harness starts, such as MALLOC_CONF=…; may be
    /// given several times. Such a server inherits PATH, HOME and a few others only
    #[arg(long = "server-env", value_name = "NAME=VALUE")]
    server_env: Vec<String>,
    /// A file that holds the API key for jeton, and nothing else
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// A file with the password of a Redis or Valkey, or with user and password in two lines
    #[arg(long, value_name = "FILE")]
    auth_file: Option<PathBuf>,
    /// The CA certificates to trust instead of the system's roots (PEM)
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The client certificate for TLS (PEM)
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// The private key of --cert (PEM); an API key is given with --key-file
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// Starts the server with TLS, and makes a certificate for it
    #[arg(long)]
    tls: bool,
    /// Starts the server with an API key (jeton) or a password (Redis, Valkey) that it asks for
    #[arg(long, conflicts_with_all = ["key_file", "auth_file"])]
    with_key: bool,
    /// The admin listener of a running jeton, such as 127.0.0.1:7451: the report then holds its
    /// configuration
    #[arg(long, value_name = "ADDRESS")]
    pub(super) server_admin: Option<SocketAddr>,
    /// A file with the API key for --server-admin, of namespace * with the scope admin
    #[arg(long, value_name = "FILE", requires = "server_admin")]
    server_admin_key_file: Option<PathBuf>,
    /// The process id of a running server, to measure its CPU time and memory
    #[arg(long, value_name = "PID")]
    pub(super) server_pid: Option<u32>,
    /// Starts the server so that it writes nothing to disk
    #[arg(long)]
    not_durable: bool,
    /// Directory for the data of a server that the harness starts; on a disk, not in memory
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
}

impl ServerArgs {
    pub(super) fn options(&self) -> Options {
        Options {
            server_bin: self.server_bin.clone(),
            arguments: self.server_args.clone().into(),
            environment: self.server_env.clone().into(),
            key_file: self.key_file.clone(),
            auth_file: self.auth_file.clone(),
            trust: Trust { ca: self.ca.clone(), identity: self.cert.clone().zip(self.key.clone()) },
            tls: self.tls,
            with_key: self.with_key,
            admin: self.server_admin,
            admin_key_file: self.server_admin_key_file.clone(),
            scratch: self.scratch.clone(),
            durable: !self.not_durable,
            ..Options::default()
        }
    }
}
