//! What a connection is doing and since when, in ticks of its worker; and what is to become of it.

pub(in crate::http) use crate::net::tick::{TICK, Tick};

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum Phase {
    /// The head of a request is arriving (or, on a new connection, should).
    Head,
    /// A request is with the service, whose own waits are bounded.
    Busy,
    /// The service has answered; settled into `Idle` or `Head` after hyper was polled.
    Answered,
    /// Nothing is going on.
    Idle,
    /// An HTTP/2 connection waits for the client's settings.
    Handshake,
    /// TLS is being agreed on.
    Tls,
    /// Everything was said; the peer may read it.
    Linger,
}

/// What is to become of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum Verdict {
    /// Tell the client that its request took too long, then close.
    SlowHead,
    /// Close after what has been said.
    Close,
    /// Drop at once.
    Drop,
    /// The server is shutting down: ask for nothing new, but take what is on its way.
    WindDown,
    /// The server is shutting down: finish what is in flight, take nothing new.
    Drain,
}
