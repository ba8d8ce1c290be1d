//! The properties that fuzzing checks: one for each target, as a function of any bytes.
//!
//! The targets of `tests/fuzz/targets` run them under cargo-fuzz; `tests/integration/fuzz_cases.rs`
//! runs them in the ordinary test suite, on all seeds, all that was found once, and random bytes. A
//! property computes the expected result with its own code: [`spec`] and [`json`] are second
//! readers of the documented formats.

#![allow(
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a property fails by panicking"
)]

pub mod answers;
pub mod body;
pub mod cipher;
pub mod commands;
pub mod duration;
pub mod forge;
pub mod frame;
pub mod hot_path;
pub mod http;
pub mod input;
pub mod json;
pub mod legal;
pub mod lists;
pub mod log;
pub mod model;
pub mod record;
pub mod reference;
pub mod resp;
pub mod segment;
pub mod size;
pub mod spec;
pub mod stream;
pub mod talk;
pub mod token;
pub mod wheel;

/// A target's name and its property.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 13] = [
    ("body", body::check),
    ("duration", duration::check),
    ("frame", frame::check),
    ("hot_path", hot_path::check),
    ("http", http::check),
    ("legal", legal::check),
    ("log", log::check),
    ("record", record::check),
    ("reference", reference::check),
    ("resp", resp::check),
    ("size", size::check),
    ("token", token::check),
    ("wheel", wheel::check),
];
