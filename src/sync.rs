//! The primitives that [`crate::clock`], the engine's mailbox and the store's moments synchronise by.
//!
//! They are those of the standard library. In a test build with `--cfg jeton_loom` they are those
//! of `loom`, which runs a test once for each possible interleaving of its threads, and lets a
//! relaxed load return each value that the memory model allows. No other module may use them:
//! outside a loom model they panic.

#[cfg(not(all(test, jeton_loom)))]
pub(crate) use std::{
    hint::spin_loop,
    sync::atomic::{AtomicI64, AtomicU64, Ordering, fence},
    sync::{Mutex, MutexGuard},
    thread::{Thread, current, park},
};

#[cfg(all(test, jeton_loom))]
pub(crate) use loom::{
    hint::spin_loop,
    sync::atomic::{AtomicI64, AtomicU64, Ordering, fence},
    sync::{Mutex, MutexGuard},
    thread::{Thread, current, park},
};
