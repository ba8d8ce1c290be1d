//! The primitives that [`crate::clock`] and the engine's mailbox synchronise by.
//!
//! They are those of the standard library. In a test build with `--cfg jeton_loom` they are those
//! of `loom`, which runs a test once for each possible interleaving of its threads, and lets a
//! relaxed load return each value that the memory model allows. No other module may use them:
//! outside a loom model they panic.

#[cfg(not(all(test, jeton_loom)))]
pub(crate) use std::{
    sync::Mutex,
    sync::atomic::{AtomicI64, AtomicU64, Ordering},
    thread::{Thread, current, park},
};

#[cfg(all(test, jeton_loom))]
pub(crate) use loom::{
    sync::Mutex,
    sync::atomic::{AtomicI64, AtomicU64, Ordering},
    thread::{Thread, current, park},
};
