//! Several machines: the replicated stream.

mod contract;
mod simulated;
