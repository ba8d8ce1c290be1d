//! Several machines: the replicated stream.

mod checks;
mod contract;
mod nats;
pub mod servers;
mod simulated;
