//! HTTP: the data listener and the admin listener.
//!
//! | folder | what |
//! |---|---|
//! | `request` | reading a request: its head, its path, its body, pages in browsers |
//! | `answer` | answers: JSON, problem documents, prepared answers as bytes |
//! | `conn` | a connection: its state, time limits, memory, answers being sent |
//! | `h1` | HTTP/1.1 before hyper: the only parser of heads, and the hot path of a resolve |
//! | `h2` | windows of HTTP/2 connections |
//! | `ops` | one file per operation: parses the body, calls the service, makes the answer |
//! | `api` | the table of endpoints, and one exchange: from a request to its answer |
//! | `server` | sockets, TLS, connections, workers |
//! | `admin` | the admin listener: metrics, statistics, backups, the OpenAPI description |
//!
//! Imports go one way, also between files. From the bottom: `answer::problem` and `config`; the
//! state of a connection (`conn::state`), and the state that the connections of a worker share
//! (`conn::context`); answers being sent (`conn::sending`, `answer::response`); `ops`;
//! `api::exchange` and `h1::hot_path`; `server::connection`, and the loops of `server::worker`;
//! `server::pool`, `admin`.
//!
//! The path of a resolve: the worker's epoll wakes the connection, which reads once into its input.
//! `h1::hot_head` recognises the request, and `h1::hot_path` hashes the token, looks it up, and copies
//! the payload into the output. `h1::head` forwards any other request to hyper, or refuses it:
//! hyper parses, `api::exchange` answers, and hyper appends the answer to the output. The
//! connection writes the output when no more input is to be processed. No lock, no channel, no
//! wait, no timer.
//!
//! # Limits (promise P8)
//!
//! | what | default | where |
//! |---|---|---|
//! | connections | 10,000, or fewer for want of file descriptors | `--max-connections`; more: 503 |
//! | head of a request | 64 KiB (HTTP/2: 16 KiB) | 431 |
//! | body | by operation and `--max-payload` × `--max-batch`, at most 16 MiB | 413 |
//! | fields of a head | 100 | 431 |
//! | memory for heads, bodies and answers | 256 MiB | `--max-inflight`; 503 |
//! | shares while more than half is used | an eighth per connection, a quarter per key | 503 |
//! | HTTP/2 heads without a key that wait for their bodies | 256 KiB per connection | 503 |
//! | HTTP/2 stream whose client reads none of its answer | 10 s | `--write-timeout`; reset |
//! | a line with a chunk's size, the extensions of all chunks | 1 KiB, 16 KiB | 400 |
//! | all trailers of a body | 8 KiB, 100 fields | 400 |
//! | time for a head, a body, idle, a stalled write | 10 s, 30 s, 60 s, 10 s | `--header-timeout` … |
//! | time for a TLS handshake, which counts as a connection | 5 s | `--tls-handshake-timeout` |
//! | HTTP/2 streams, resets | 128 per connection, 20 | |
//! | requests that wait for a cluster | 65,536, of 4 KiB each | 503 |

pub mod admin;
mod answer;
mod api;
mod config;
mod conn;
#[doc(hidden)]
pub mod h1;
mod h2;
mod ops;
pub mod request;
pub mod server;
#[cfg(test)]
mod tests;

pub use crate::net::limits::Limits;
pub use crate::net::stop::EndDrain;
pub use config::Config;
pub use server::gauges::Gauges;
pub use server::pool::Server;
