//! One exchange, from a request to its answer.

mod answering;
pub(in crate::http) mod change;
mod endpoints;
pub(in crate::http) mod exchange;
mod oauth;
pub(in crate::http) mod request_context;
