//! The wire of the Redis protocol: what clients say when they connect, hostile clients, long
//! pipelines, and how connections end.

mod attacks;
mod connect;
mod ends;
mod floods;
pub mod peer;
mod rights;
mod short_way;
