//! Linearizability: for any concurrent requests about one token, with lost answers, retries, expiry
//! and crashes in between, there is one order of the operations that explains every answer (P1 to
//! P4).
//!
//! - M. Herlihy, J. Wing: *Linearizability: a correctness condition for concurrent objects*, ACM
//!   TOPLAS 12(3), 1990. The property that is checked. It holds for a system if it holds for each
//!   object by itself, so each token is checked alone.
//! - J. Wing, C. Gong: *Testing and verifying concurrent objects*, Journal of Parallel and
//!   Distributed Computing 17, 1993. The search for the order.
//! - G. Lowe: *Testing for linearizability*, Concurrency and Computation: Practice and Experience
//!   29(4), 2017. The addition that makes the search short.
//!
//! Reading order: `history` (what clients see), `model` (what one token may answer), `checker`,
//! `simulated` and `judge` (the checker held against histories that are known to be right or wrong,
//! and against another checker), then the attacks: `embedded` on the engine with threads, and
//! `asked`, `rival` and `crowd` on the real binary over HTTP, and `nodes` on three nodes of a cluster.
//!
//! The machine decides which calls meet: a seed repeats the requests, not their timing. Volumes are
//! rounds: `JETON_LINEAR` over HTTP (about 215 calls and half a crash each), `JETON_LINEAR_MEMORY`
//! and `JETON_LINEAR_LOG` embedded (about 440 calls each), `JETON_LINEAR_NODES` on three simulated
//! nodes (about 120 calls each), and `JETON_LINEAR_CROSS` and
//! `JETON_LINEAR_VALID` are histories for the checker itself.

mod asked;
pub mod checker;
mod crowd;
mod embedded;
pub mod history;
mod judge;
pub mod model;
mod nodes;
mod rival;
mod simulated;
