//! A client of jeton, a token resolution engine, on tokio and hyper.
//!
//! ```no_run
//! # async fn example() -> Result<(), jeton_client::Error> {
//! use jeton_client::{Client, Issue};
//!
//! let jeton = Client::new("http://127.0.0.1:7450")?;
//! let issue = Issue::new(r#"{"order":"A-17","pay":"139.10"}"#)?.ttl("15m");
//! let issued = jeton.issue(&issue).await?;
//! let payload = jeton.consume(&issued.token).await?;
//! assert_eq!(payload.raw(), br#"{"order":"A-17","pay":"139.10"}"#);
//! # Ok(())
//! # }
//! ```
//!
//! - **Retries.** A call without a connection or an answer, and one that got 408, 429, 502, 503 or
//!   504, is sent again, at most twice, within its deadline. Retries are at most a fifth of the calls.
//! - **Changes** carry one `Idempotency-Key` over their tries. [`Error::OutcomeUnknown`] holds it.
//! - **Coalescing.** Concurrent resolves share requests: see [`Builder::coalesce`].
//! - No token is in a URL, no redirect is followed, no proxy of the environment is used, and no
//!   `Debug` shows a token, a payload or a key.
//!
//! A dropped future of a call ends its request and closes its connection. Calls need a tokio runtime
//! with I/O and time.
//!
//! # How a call travels
//!
//! [`Client`] makes an operation (`ops`) and gives it to `call`, which tries it up to three times on a
//! node (`nodes`), each time over a connection of `pool`; `answers` reads what came. A resolve goes
//! through `lanes` first, which decide with whom it shares a request; `batch` makes the call for all. One
//! that goes at once is driven by its caller (`alone`).

#![deny(missing_docs, unsafe_code)]

mod alone;
mod answers;
mod batch;
mod call;
mod client;
mod config;
mod core;
mod error;
mod issue;
mod lanes;
mod nodes;
mod ops;
mod pool;
mod types;

pub use client::Client;
pub use config::Builder;
pub use error::{Error, IdempotencyKey, NoConnection, Problem, ProblemKind};
pub use issue::{Issue, Issued, Ttl};
pub use types::{Payload, Read, Reference, Status, Target, Token};

/// The examples of the README are compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
