//! The operations, one file each. Each calls the engine, counts misses and records the audit trail.
//! They return typed outcomes or a [`Refusal`](super::refusal::Refusal).

pub(crate) mod consume;
pub(crate) mod deadline;
pub(crate) mod extend;
pub(crate) mod introspect;
pub(crate) mod issue;
mod offer;
pub(crate) mod put;
pub(crate) mod resolve;
pub(crate) mod revoke;
pub(crate) mod status;
pub(crate) mod together;

/// Maximum length of an idempotency key, in bytes.
pub(crate) const KEY_LEN_MAX: usize = 255;
