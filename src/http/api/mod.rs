//! One exchange, from a request to its answer.

mod answering;
mod endpoints;
pub(in crate::http) mod exchange;
mod oauth;
pub(in crate::http) mod request_context;
