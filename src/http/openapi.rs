//! The description of the whole contract, in OpenAPI 3.1: what `GET /openapi.json` answers.
//!
//! Its one source is `openapi.json` beside this file, written by hand. The integration test `openapi`
//! sends every example in it to a running server and holds the answers against its schemas.

/// The document, as JSON.
pub(super) const DOCUMENT: &str = include_str!("openapi.json");
