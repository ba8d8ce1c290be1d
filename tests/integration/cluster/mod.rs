//! Several machines: the replicated stream.

mod access;
mod accounts;
mod checks;
mod contract;
mod losses;
mod nats;
pub mod servers;
mod simulated;
