//! Cuts of the network between three real nats-servers and three real nodes: in both directions,
//! and in one alone.
//!
//! Each process has a network namespace of its own, and a bridge connects them. The test itself
//! reaches all of them all the time: as a client of a node does that is cut off from the servers.
//! Needs root and `ip`.
//!
//! Reading order: `net` (the namespaces, and what a cut is), `place` (the cluster in them), `node`
//! (a node that is cut off from the servers) and `leader` (a server that is cut off from the others).

mod leader;
mod net;
mod node;
mod place;
