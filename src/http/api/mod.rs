//! From a request to an answer: paths, bodies, JSON, problem documents.

pub(in crate::http) mod authorization;
pub(in crate::http) mod body;
pub(in crate::http) mod canned;
pub(in crate::http) mod dispatch;
pub(in crate::http) mod exchange;
pub(crate) mod json;
pub(in crate::http) mod list;
pub(in crate::http) mod payload;
pub(in crate::http) mod problem;
pub(in crate::http) mod refusal;
pub(in crate::http) mod request_context;
pub(in crate::http) mod request_head;
pub(in crate::http) mod response;
pub(in crate::http) mod routes;
