//! The Redis protocol in front of the service: RESP2 and RESP3, as clients of Redis speak them.
//!
//! | file | what |
//! |---|---|
//! | `parse` | reads commands from bytes |
//! | `reply` | writes answers of either version |
//! | `refusal` | refusals of the service as errors |
//! | `session` | what a connection has said about itself |
//! | `connect` | the commands about the connection |
//! | `data` | the commands about tokens |
//! | `transaction` | commands that wait for `EXEC` |
//! | `performer` | performs commands about tokens: scopes, audit log, metrics |
//! | `named` | what the names of commands stand for |
//! | `dispatch` | from the words of a command to its answer |
//! | `quick` | the short way of a `GET` |
//! | `conn`, `connection` | a connection: its state, time limits, memory, bytes |
//! | `server` | workers, sockets, TLS, shutdown |
//! | `early` | the answer before the server serves |
//!
//! Who may do what, limits, quotas and the audit log are those of the [`service`](crate::service),
//! which HTTP asks too. Time limits and memory are bounded as for HTTP (promise P8): a command has at
//! most 16 MiB, and answers of up to 32 MiB wait for one connection.

mod config;
mod conn;
mod connect;
mod connection;
mod data;
mod dispatch;
mod early;
mod named;
#[doc(hidden)]
pub mod parse;
mod performer;
mod quick;
mod refusal;
mod reply;
mod server;
mod session;
mod transaction;

pub use crate::net::stop::EndDrain;
pub use config::{Config, IDLE_TIMEOUT, ReadLevel};
pub use early::Early;
pub use server::Server;
