//! The description of the whole contract, in OpenAPI 3.1: what `GET /openapi.json` answers.
//!
//! Its one source is `openapi.json` beside this file.

/// The document, as JSON.
pub(in crate::http) const DOCUMENT: &str = include_str!("openapi.json");
