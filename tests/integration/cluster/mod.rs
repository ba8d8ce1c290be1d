//! Several machines: the replicated stream.

mod checks;
mod contract;
mod nats;
mod servers;
mod simulated;
