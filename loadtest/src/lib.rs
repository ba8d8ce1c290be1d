//! The load-test harness and the benchmark regression gate.
//!
//! A black box: it speaks to servers over the wire alone and shares no code with jeton's.

pub mod cli;
pub mod compare;
pub mod console;
pub mod denial;
pub mod drive;
pub mod failure;
pub mod gate;
pub mod history;
pub mod merge;
pub mod outcome;
#[cfg(test)]
mod pages;
pub mod patience;
pub mod peers;
pub mod protocol;
pub mod quantity;
pub mod report;
pub mod run;
pub mod secret;
pub mod stats;
pub mod target;
pub mod tls;
pub mod traffic;
pub mod workload;
