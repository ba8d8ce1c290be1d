//! The connections of the data listener and the admin listener: sockets, workers, time limits, memory.

pub(in crate::http) mod buffers;
pub(in crate::http) mod connection;
pub mod listen;
pub(in crate::http) mod memory_budget;
pub(in crate::http) mod outgoing;
pub(in crate::http) mod socket_file;
pub(in crate::http) mod timeouts;
pub(in crate::http) mod tls;
pub(in crate::http) mod worker;
