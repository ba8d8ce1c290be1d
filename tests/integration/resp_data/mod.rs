//! The commands about tokens over the Redis protocol, compared with a real server where they are of
//! Redis.

pub mod clients;
mod compare;
mod differences;
pub mod key_scripts;
mod pair;
mod reconnect;
pub mod redis;
mod rights;
mod scripts;
mod together;
mod tokens;
mod transactions;
pub mod wire;
