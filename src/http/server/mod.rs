//! The connections of the data listener and the admin listener: sockets, workers, time limits, memory.

pub(in crate::http) mod connection;
pub(in crate::http) mod gauges;
pub(in crate::http) mod pool;
pub(in crate::http) mod proxied;
pub(in crate::http) mod tls;
pub(in crate::http) mod worker;
