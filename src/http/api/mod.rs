//! One exchange, from a request to its answer.

mod endpoints;
pub(in crate::http) mod exchange;
pub(in crate::http) mod request_context;
