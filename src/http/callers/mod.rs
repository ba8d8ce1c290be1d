//! Pages in browsers, and what the audit log says of a request.

pub(in crate::http) mod audit_trail;
pub mod browser;
