//! The server of a session, with all that a connection to it needs.

use std::sync::Arc;

use crate::drive::worker::{MakeCodec, Place};
use crate::protocol::{Caller, Protocol};
use crate::tls::Tls;

/// Where a server listens, and how it is asked.
#[derive(Clone)]
pub struct Endpoint {
    /// What is spoken.
    pub protocol: Protocol,
    /// Where it listens.
    pub address: std::net::SocketAddr,
    /// Makes the codec of a connection.
    pub make_codec: MakeCodec,
    /// What a connection begins with before anything is asked.
    pub tls: Option<Tls>,
}

impl Endpoint {
    /// A server to which `caller` introduces itself where the protocol does that.
    pub fn new(protocol: Protocol, address: std::net::SocketAddr, caller: Caller) -> Self {
        let make_codec = Arc::new(move || crate::protocol::make::codec(protocol, &caller));
        Self { protocol, address, make_codec, tls: None }
    }

    /// For the connections of a thread.
    pub(super) fn place(&self) -> Place {
        let (make_codec, tls) = (Arc::clone(&self.make_codec), self.tls.clone());
        Place { address: self.address, make_codec, tls }
    }

    /// The same by TLS.
    #[must_use]
    pub fn by(self, tls: Option<Tls>) -> Self {
        Self { tls, ..self }
    }
}
