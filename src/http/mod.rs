//! HTTP: the data listener and the admin listener.
//!
//! | folder | what |
//! |---|---|
//! | `server` | sockets, workers, connections, TLS, time limits, the memory budget |
//! | `h1` | HTTP/1.1 before hyper: what has one reading, and the hot path of a resolve |
//! | `h2` | windows of HTTP/2 connections |
//! | `api` | paths, bodies, JSON, answers, problem documents; one exchange |
//! | `ops` | one file for each operation |
//! | `callers` | keys, the limit of misses, quotas, pages in browsers, the audit trail |
//! | `admin` | the admin listener: metrics, statistics, backups, the API's description |
//!
//! Imports go one way, also from file to file. From the bottom: `api::problem`, `callers`, `config`;
//! what connections share (`server::conn_state`, `server::context`); answers (`server::sending`,
//! `api::response`); `ops`; `api::exchange` and `h1::hot_path`; `server::connection`, and the loops of
//! `server::worker`; `server::pool` and `admin`.
//!
//! How a resolve travels: the worker's epoll wakes the connection, which reads once into its input;
//! hyper parses; `api::exchange` matches the path's bytes, hashes the token, looks it up, and copies the
//! payload into the answer; hyper appends it to the output; the connection writes the output once
//! hyper has nothing more to do. No lock, no channel, no wait, no timer.
//!
//! # Limits (promise P8)
//!
//! | what | default | where |
//! |---|---|---|
//! | connections | 10,000, fewer where descriptors are few | `--max-connections`; one more gets 503 |
//! | head of a request | 64 KiB (HTTP/2: 16 KiB) | 431 |
//! | body | by operation and `--max-payload` × `--max-batch`, at most 16 MiB | 413 |
//! | fields of a head | 100 | 431 |
//! | memory for heads, bodies and answers | 256 MiB | `--max-inflight`; 503 |
//! | of that while more than half is used | an eighth a connection, a quarter a key | 503 |
//! | HTTP/2 heads without a key that wait for their bodies | 256 KiB a connection | 503 |
//! | HTTP/2 stream that takes nothing of its answer | 10 s | `--write-timeout`; reset |
//! | a line with a chunk's size, all trailers | 1 KiB, 8 KiB | 400 |
//! | time for a head, a body, idle, a stalled write | 10 s, 30 s, 60 s, 10 s | `--header-timeout` … |
//! | time for a TLS handshake, which counts as a connection | 5 s | `--tls-handshake-timeout` |
//! | HTTP/2 streams, resets | 128 a connection, 20 | |

pub mod admin;
pub(crate) mod api;
pub mod callers;
mod config;
pub mod counters;
#[doc(hidden)]
pub mod h1;
mod h2;
mod ops;
pub mod server;
#[cfg(test)]
mod tests;

pub use config::{Config, Limits};
pub use server::gauges::Gauges;
pub use server::pool::{EndDrain, Server};
