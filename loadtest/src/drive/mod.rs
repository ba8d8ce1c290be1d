//! Sends the load and times the answers: threads that each own connections, a plan and a recorder,
//! and share nothing but a few counters.
//!
//! In reading order: `session` (threads and phases), `worker` (the loop of one thread), `shared` (what
//! the two share), `link` (one connection), `connects` (how they are made), `pace` (when something is
//! due), `record` and `nodes` (what is counted), `delays` (what the harness is late with), `window` and
//! `histogram` (what they count in), `clock`.

pub mod clock;
pub mod connects;
mod delays;
pub mod histogram;
pub mod link;
pub mod nodes;
pub mod pace;
pub mod record;
pub mod session;
mod shared;
pub mod window;
mod worker;
