//! The admin listener: whether the server lives, whether it is ready, and what it measures.
//!
//! It begins before the log is read, so that `/readyz` can say so; meanwhile it also answers the
//! data listener's connections, with 503. Its load is small, so it has one thread; but anyone may
//! connect who can reach the port, so it has the limits of the data listener. Where TLS is spoken, it
//! is spoken here too: keys travel here as well.
//!
//! `seats` is who has a place and for how long, `entrance` who may ask, `answers` what they get.

mod answers;
pub(in crate::http) mod backup;
mod entrance;
pub(in crate::http) mod exposition;
mod listener;
pub(in crate::http) mod namespaces;
pub(in crate::http) mod openapi;
mod seats;
mod view;

pub use listener::Admin;
