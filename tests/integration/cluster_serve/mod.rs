//! `jeton serve --cluster`: three real nodes on three real nats-servers.

mod checkout;
mod divergence;
mod full;
mod guesses;
mod joining;
pub mod lab;
pub mod members;
mod redis;
mod reseed;
mod running;
mod simulated;
mod starting;
mod told;
mod upgrade;
