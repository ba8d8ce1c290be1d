//! What the commands of a connection are about, and what a command is.

use std::net::SocketAddr;

use bytes::Bytes;

use crate::engine::Holding;
use crate::resp::reply::Reply;
use crate::resp::session::Session;
use crate::service::authentication::{CachedCredentials, Denied};
use crate::service::principal::Principal;
use crate::service::state::Service;

/// The version of Redis whose answers these are. Clients switch features by it.
pub(in crate::resp) const REDIS_VERSION: &str = "7.2.4";

/// What the commands of a connection are about.
pub(in crate::resp) struct Desk<'a> {
    pub(in crate::resp) service: &'a Service,
    pub(in crate::resp) credentials: &'a CachedCredentials,
    pub(in crate::resp) peer: SocketAddr,
    /// Where the peer has connected to; `None` for a Unix socket.
    pub(in crate::resp) local: Option<SocketAddr>,
    /// Connections that are open, over all protocols.
    pub(in crate::resp) connections: usize,
    /// The commands of a connection, for who lists them.
    pub(in crate::resp) connects: &'static [Connect],
}

impl Desk<'_> {
    /// Authenticates the connection by the key that it has shown.
    pub(super) fn admit(&self, session: &Session) -> Result<Principal, Denied> {
        let (authenticator, now) = (&self.service.authenticator, self.service.now());
        authenticator.admit(self.credentials, session.presented(), now)
    }

    /// What the namespace of the caller holds. Nobody learns of others what they hold (promise P10).
    pub(super) fn holding(&self, session: &Session) -> Holding {
        match self.admit(session) {
            Ok(access) => self.service.engine.holding(access.digester.tag()),
            Err(_) => Holding::default(),
        }
    }
}

pub(super) type Run = fn(&Desk<'_>, &mut Session, &[Bytes], &mut Reply<'_>);

/// A command about the connection or the server.
pub(in crate::resp) struct Connect {
    /// Its name, in upper case.
    pub(in crate::resp) name: &'static str,
    /// Number of its words with the name; at least that many if negative.
    pub(in crate::resp) arity: i32,
    /// Whether it is performed before the client has authenticated where it must.
    pub(in crate::resp) is_for_strangers: bool,
    /// Performs it, with the words after its name, whose number was checked.
    pub(in crate::resp) run: Run,
    /// Its subcommands, if it has some.
    pub(super) subcommands: &'static [Subcommand],
}

/// A subcommand.
pub(super) struct Subcommand {
    /// Its name, in upper case.
    pub(super) name: &'static str,
    /// Number of its words with both names; at least that many if negative.
    pub(super) arity: i32,
    /// Performs it, with the words after both names.
    pub(super) run: Run,
}
