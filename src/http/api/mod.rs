//! From a request to its answer.

pub(in crate::http) mod audit_trail;
mod audit_words;
pub(in crate::http) mod dispatch;
pub(in crate::http) mod exchange;
pub(in crate::http) mod request_context;
