//! The connections of the data listener and the admin listener: sockets, workers, time limits, memory.

pub(in crate::http) mod buffer;
pub(in crate::http) mod conn_state;
pub(in crate::http) mod connection;
pub(in crate::http) mod context;
pub(in crate::http) mod gauges;
pub mod listen;
pub(in crate::http) mod memory_budget;
pub(in crate::http) mod outgoing;
pub(in crate::http) mod phase;
pub(in crate::http) mod pipe;
pub(in crate::http) mod pool;
pub(in crate::http) mod sending;
pub(in crate::http) mod socket_file;
pub(in crate::http) mod stream_task;
pub(in crate::http) mod timeouts;
pub(in crate::http) mod tls;
pub(in crate::http) mod worker;
