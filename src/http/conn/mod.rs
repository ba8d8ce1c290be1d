//! One connection as all that serve it share it: its state and buffers, its time limits, the memory
//! that it holds, and the answers on their way.

pub(in crate::http) mod context;
pub(in crate::http) mod outgoing;
pub(in crate::http) mod phase;
pub(in crate::http) mod pipe;
pub(in crate::http) mod sampler;
pub(in crate::http) mod sending;
pub(in crate::http) mod state;
pub(in crate::http) mod stream_task;
pub(in crate::http) mod timeouts;
