//! How servers are started, and how a running one is asked.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::secret::Words;
use crate::tls::Trust;

/// How servers are started.
#[derive(Clone, Debug)]
pub struct Options {
    /// jeton's binary; where none is given it is looked for, and built where that can be done.
    pub server_bin: Option<PathBuf>,
    /// Further arguments, behind those of the harness.
    pub arguments: Words,
    /// Variables of its environment, each `NAME=VALUE`, beside the few that every server gets.
    pub environment: Words,
    /// A file with the API key to show to jeton, and nothing else.
    pub key_file: Option<PathBuf>,
    /// A file with the password of a Redis or Valkey, or with user and password in two lines.
    pub auth_file: Option<PathBuf>,
    /// Which certificates TLS trusts, and which one it shows.
    pub trust: Trust,
    /// Whether a server that is started here speaks TLS, with a certificate made for it.
    pub tls: bool,
    /// Whether a server that is started here asks for a key or a password, made for it.
    pub with_key: bool,
    /// The admin listener of a running jeton, which states its configuration.
    pub admin: Option<SocketAddr>,
    /// A file with the API key for it.
    pub admin_key_file: Option<PathBuf>,
    /// Where data goes; on a disk, not in memory, or durability costs nothing.
    pub scratch: Option<PathBuf>,
    /// Whether every change is on disk before it is acknowledged, where the server can do that:
    /// jeton as it comes, Redis and Valkey with `--appendfsync always`. Otherwise nothing is
    /// written.
    pub durable: bool,
    /// Bytes of the body that the floor answers with.
    pub floor_body_bytes: usize,
    /// The harness, which the floor is a part of; this program where none is given.
    pub harness_bin: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            server_bin: None,
            arguments: Words::default(),
            environment: Words::default(),
            key_file: None,
            auth_file: None,
            trust: Trust::default(),
            tls: false,
            with_key: false,
            admin: None,
            admin_key_file: None,
            scratch: None,
            durable: true,
            floor_body_bytes: 128,
            harness_bin: None,
        }
    }
}
