//! `jeton serve --cluster`: three real nodes on three real nats-servers.

mod divergence;
mod full;
mod checkout;
pub mod lab;
mod running;
mod simulated;
mod starting;
mod told;
