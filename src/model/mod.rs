//! The vocabulary of tokens: values without I/O, clocks or threads of their own.
//!
//! | module | what |
//! |---|---|
//! | [`token`], [`mod@reference`], [`namespace`], [`scope`] | the names in a request |
//! | [`time`], [`rfc3339`] | instants, and their text form |
//! | [`text`], [`setting`] | durations and sizes as text; mistakes in settings |
//! | [`entry`], [`record`] | a live token in memory, and a change in the log |
//! | [`condition`] | the conditions under which a change happens |
//! | [`cluster`] | nodes, their lives, and positions in the stream of a cluster |
//! | [`value`] | whether a payload is JSON or other bytes |
//! | `network` | networks of addresses, with the feature `server` |
//! | [`json_equality`] | whether two payloads have the same value |
//! | [`metrics`], [`rate_limit`] | counters and histograms, and a rate per second |

#[expect(unsafe_code, reason = "a thin pointer to the payload saves 8 of 200 bytes a token")]
pub mod entry;

pub mod cluster;
pub mod condition;
pub mod json_equality;
pub mod metrics;
pub mod namespace;
#[cfg(feature = "server")]
pub mod network;
pub mod rate_limit;
pub mod record;
pub mod reference;
pub mod rfc3339;
pub mod scope;
pub mod setting;
mod short_mac;
pub mod text;
pub mod time;
pub mod token;
pub mod value;
