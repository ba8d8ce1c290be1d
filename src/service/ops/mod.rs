//! The operations, one file each: what is asked of the engine, what counts as a miss, what is
//! audited. They return typed outcomes or a [`Refusal`](super::refusal::Refusal).

pub(crate) mod consume;
pub(crate) mod extend;
pub(crate) mod issue;
mod offer;
pub(crate) mod resolve;
pub(crate) mod revoke;
pub(crate) mod status;
