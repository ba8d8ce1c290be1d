//! The OpenAPI 3.1 description of the whole API, served at `GET /openapi.json`.
//!
//! Its only source is `openapi.json` in this directory.

/// The document, as JSON.
pub(in crate::http) const DOCUMENT: &str = include_str!("openapi.json");
