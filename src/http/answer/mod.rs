//! Answers: bodies with their headers, problem documents, and prepared answers as bytes.

pub(in crate::http) mod array;
pub(in crate::http) mod canned;
pub(in crate::http) mod encode;
pub(in crate::http) mod meaning;
pub(in crate::http) mod oauth;
pub(in crate::http) mod problem;
pub(in crate::http) mod refusal;
pub(in crate::http) mod response;
