//! The harness from outside: the real program, against servers that are real, servers that lie, and
//! servers that are not there. Nothing here asserts a speed.
//!
//! What can't be tried on a machine (a store that is not installed, a disk that can't be filled)
//! prints that it was not checked.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod bad_input;
mod compare;
mod ends;
mod fake;
mod gate;
mod handshakes;
mod harness;
mod history;
mod lies;
mod measured;
mod merge;
mod nodes;
mod password;
mod peers;
mod runs;
mod search;
mod stalls;
mod target;
mod tls;
